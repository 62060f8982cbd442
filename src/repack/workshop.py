"""What plugins are made offline with: stores, connections and tools, opened once for any number of builds."""

import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from ..difypkg.diagnosis import DifyoffError
from ..difypkg.names import PYPROJECT, UV_TOML
from ..difypkg.target import Target, admits
from ..sandbox.cache import open_scratch, use_cache
from ..sandbox.launcher.hook import WORK
from ..sandbox.process import Command, Outcome, run
from ..transfer.client import Client
from ..transfer.store import WheelStore
from ..uvrun.environment import IndexSettings, closed, credentials, resolving
from ..uvrun.guarded import guard_python
from ..uvrun.interpreters import Python, find_python, install_python
from ..uvrun.uv import LOCK_UV, Uv, explain_machine_fault, provide_uv
from .events import Done

_FENCE: Final = '[project]\nname = "fence"\nversion = "0"\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildImage:
    """The image to build wheels in: `platform` is Docker's (`linux/arm64`), None for the engine's own."""

    reference: str
    pull: Literal["never", "missing", "always"] = "missing"
    platform: str | None = None


class _Found:
    """What a workshop finds on first use. One thread looks, the others wait for it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.scratch: Path | None = None
        self.uv: Uv | None = None
        self.pythons: dict[tuple[int, int], Python] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """The tools of any number of builds, side by side or one after the other; `open_workshop` makes one.

    `version` is difyoff's own, `cache` the user's cache folder, `build_in` where wheels are built from source, None for
    this machine. `trust_plugin` lets sources run their build backends without isolation. uv, a Python and the
    scratch folder are found or made when the first build needs them.
    """

    version: str
    index: IndexSettings
    cache: Path
    store: WheelStore
    client: Client
    build_in: BuildImage | None
    trust_plugin: bool
    report: Callable[[Done], None] = field(repr=False)
    stack: ExitStack = field(repr=False, compare=False)
    found: _Found = field(repr=False, compare=False, default_factory=_Found)

    @property
    def scratch(self) -> Path:
        """A private folder that goes when the workshop is closed."""
        with self.found.lock:
            if self.found.scratch is None:
                self.found.scratch = self.stack.enter_context(open_scratch(self.cache, "build"))
            return self.found.scratch

    @property
    def uv(self) -> Uv:
        """The uv that writes our locks, fetched the first time."""
        with self.found.lock:
            if self.found.uv is None:
                self.found.uv = provide_uv(
                    LOCK_UV,
                    cache=self.cache,
                    settings=self.index,
                    on_fetch=lambda version: self.report(Done(name="uv", text=f"fetching uv {version}, once")),
                )
            return self.found.uv

    def python(self, target: Target, requires: str | None = None) -> Path:
        """Return an interpreter that uv takes for the target's: of its minor release, or else a newer one.

        `requires` is a `requires-python` that the target satisfies. Where the interpreter of this machine does not, it
        says that it is the target's: which Python this machine has decides nothing. Build backends that uv runs with it
        are isolated, unless the plugin is trusted.
        """
        with self.found.lock:
            python = self._interpreter(target)
            fits = requires is None or admits(requires, python.version)
            version = python.version if fits else target.python
            return guard_python(python, version=version, cache=self.cache, trusted=self.trust_plugin)

    def closed(self, *arguments: str, cwd: Path, python: Path) -> Outcome:
        """Run uv with no index and no configuration but that of `cwd`."""
        environment = closed(home=self.scratch / "home", cache=self.cache / "uv-cache")
        return self._uv((*arguments, "--python", str(python)), environment, cwd)

    def resolving(
        self, *arguments: str, cwd: Path, index: IndexSettings | None = None, extra: Mapping[str, str] | None = None
    ) -> Outcome:
        """Run uv with the user's index settings, or those given."""
        home = Path(tempfile.mkdtemp(prefix="resolving-", dir=self.scratch))
        environment, configuration = resolving(index or self.index, home=home, cache=self.cache / "uv-cache")
        return self._uv((*arguments, *configuration), {**environment, **(extra or {})}, cwd)

    def folder(self, name: str) -> Path:
        """Make a new folder in the scratch folder, in which uv finds no configuration or workspace further up."""
        fence = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.scratch))
        # uv looks upwards for both kinds of file, and stops at these.
        (fence / UV_TOML).touch()
        (fence / PYPROJECT).write_text(_FENCE, encoding="utf-8")
        work = fence / "plugin"
        work.mkdir()
        return work

    def _uv(self, arguments: tuple[str, ...], environment: Mapping[str, str], cwd: Path) -> Outcome:
        given = {**environment, WORK: str(cwd.parent)}
        outcome = run(Command(argv=(str(self.uv.path), *arguments), environment=given, cwd=cwd, umask=0o022))
        if fault := explain_machine_fault(outcome):
            raise DifyoffError(fault)
        return outcome

    def _interpreter(self, target: Target) -> Python:
        minor = target.python_minor
        if minor not in self.found.pythons:
            python = find_python(minor, or_newer=True)
            if python is None:
                wanted = target.python_version
                self.report(Done(name="uv", text=f"no CPython {wanted} or newer on this machine; uv installs one"))
                cache = self.cache / "uv-cache"
                home = self.scratch / "python"
                python = install_python(minor, uv=self.uv, settings=self.index, home=home, cache=cache)
            self.found.pythons[minor] = python
        return self.found.pythons[minor]


@contextmanager
def open_workshop(
    *,
    version: str,
    index: IndexSettings,
    cache: Path,
    build_in: BuildImage | None = None,
    trust_plugin: bool = False,
    report: Callable[[Done], None] = lambda done: None,
) -> Iterator[Workshop]:
    """Open a workshop; what it made for itself goes when the block ends. `report` is told what has to be fetched."""
    with ExitStack() as stack:
        stack.enter_context(use_cache(cache))
        client = _client(version, index)
        stack.callback(client.close)
        yield Workshop(
            version=version,
            index=index,
            cache=cache,
            store=WheelStore(cache / "wheels"),
            client=client,
            build_in=build_in,
            trust_plugin=trust_plugin,
            report=report,
            stack=stack,
        )


def _client(version: str, index: IndexSettings) -> Client:
    """Return an HTTP client with the credentials and exceptions of the user's index settings."""
    hosts = index.config.get("allow-insecure-host", ())
    pairs = {
        f"{each.scheme}://{f'[{each.host}]' if ':' in each.host else each.host}"
        f"{f':{each.port}' if each.port else ''}": (each.user, each.password)
        for each in reversed(credentials(index))
    }
    insecure = (*hosts, *index.environment.get("UV_INSECURE_HOST", "").split())
    return Client(version=version, credentials=pairs, insecure_hosts=insecure, offline=index.offline)
