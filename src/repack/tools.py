"""What a build works with, found once: uv, a Python, the user's index settings, folders."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..difypkg.names import PYPROJECT, UV_TOML
from ..sandbox.process import Command, Outcome, run
from ..uvrun.environment import IndexSettings, closed, resolving
from ..uvrun.interpreters import find_python, install_python
from ..uvrun.uv import LOCK_UV, Uv, provide_uv
from .events import Listener, Stage
from .options import BuildImage, Options


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The tools of one build.

    `python` is the interpreter that uv locks with, `cache` the user's cache folder, `scratch` a private folder that
    goes when the build ends, `build_in` where wheels are built, None for here.
    """

    uv: Uv
    python: Path
    index: IndexSettings
    cache: Path
    scratch: Path
    build_in: BuildImage | None = None

    def closed(self, *arguments: str, cwd: Path) -> Outcome:
        """Run uv with no index and no configuration but that of `cwd`."""
        environment = closed(home=self.scratch / "home", cache=self.cache / "uv-cache")
        return self._uv((*arguments, "--python", str(self.python)), environment, cwd)

    def resolving(
        self, *arguments: str, cwd: Path, index: IndexSettings | None = None, extra: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run uv with the user's index settings, or those given."""
        environment, configuration = resolving(
            index or self.index, home=self.scratch / "resolving", cache=self.cache / "uv-cache"
        )
        return self._uv((*arguments, *configuration), {**environment, **(extra or {})}, cwd)

    def folder(self, name: str) -> Path:
        """Make a new folder in the scratch folder, in which uv finds no configuration or workspace further up."""
        fence = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.scratch))
        # uv looks upwards for both kinds of file, and stops at these.
        (fence / UV_TOML).touch()
        (fence / PYPROJECT).write_text('[project]\nname = "fence"\nversion = "0"\n', encoding="utf-8")
        work = fence / "plugin"
        work.mkdir()
        return work

    def _uv(self, arguments: tuple[str, ...], environment: Mapping[str, str], cwd: Path) -> Outcome:
        return run(Command(argv=(str(self.uv.path), *arguments), environment=environment, cwd=cwd, umask=0o022))


def find_tools(options: Options, scratch: Path, listen: Listener) -> Tools:
    """Find uv and a Python; what is missing is fetched, and said so."""

    def tell(version: str) -> None:
        listen(Stage(name="uv", text=f"fetching uv {version}, once"))

    uv = provide_uv(LOCK_UV, cache=options.cache, settings=options.index, on_fetch=tell)
    python = find_python((3, 12), or_newer=True)
    if python is None:
        listen(Stage(name="uv", text="no CPython 3.12 or newer on this machine; uv installs one"))
        python = install_python(
            (3, 12), uv=uv, settings=options.index, home=scratch / "python", cache=options.cache / "uv-cache"
        )
    return Tools(
        uv=uv,
        python=python.path,
        index=options.index,
        cache=options.cache,
        scratch=scratch,
        build_in=options.build_in,
    )
