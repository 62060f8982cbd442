"""Files that never belong in a package, whatever a plugin comes as: clutter of a working copy, and secrets."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Final, Literal, TypeAlias

from ..difypkg.diagnosis import Diagnosis

CLUTTER: Final = {
    ".git": "git's own data",
    ".hg": "Mercurial's own data",
    ".svn": "Subversion's own data",
    ".venv": "a virtual environment",
    ".uv-cache": "uv's cache",
    "__pycache__": "compiled files",
    ".mypy_cache": "a cache of mypy",
    ".pytest_cache": "a cache of pytest",
    ".ruff_cache": "a cache of Ruff",
    ".tox": "environments of tox",
    ".DS_Store": "a file of macOS's Finder",
}
"""Names of files and folders, at any depth, and what they are."""

_ENV: Final = ".env"
_EXAMPLES: Final = (".example", ".sample", ".template", ".dist")
_KEYS: Final = ("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", "_netrc", ".pypirc", ".git-credentials")
_PEM: Final = (".pem", ".key")
_PRIVATE: Final = b"PRIVATE KEY-----"

Kind: TypeAlias = Literal["secret"] | str
"""`secret`, or the name of `CLUTTER` that a path has in it."""


def kind_of(path: str, read: Callable[[], bytes]) -> Kind | None:
    """Return why a file is left out, None for one that stays; `read` is asked only where its name does not tell."""
    parts = PurePosixPath(path).parts
    clutter = next((part for part in parts if part in CLUTTER), None)
    if clutter is not None:
        return clutter
    name = parts[-1]
    if name == _ENV or (name.startswith(f"{_ENV}.") and not name.endswith(_EXAMPLES)) or name in _KEYS:
        return "secret"
    if name.endswith(".private.pem") or (name.endswith(_PEM) and _PRIVATE in read()):
        return "secret"
    return None


def left_out_findings(left_out: Mapping[Kind, list[str]]) -> Iterator[Diagnosis]:
    """Yield a finding for each kind of file that is left out."""
    for kind, paths in sorted(left_out.items()):
        if kind == "secret":
            more = f" and {len(paths) - 1} more are" if len(paths) > 1 else " is"
            yield Diagnosis(
                slug="secrets-left-out",
                message=f"{paths[0]}{more} left out of the package: such files usually hold secrets",
                context=tuple(paths[:8]) if len(paths) > 1 else (),
                hint="Use --with-env to pack them all the same.",
            )
        else:
            yield Diagnosis(
                slug="clutter-left-out",
                message=f"{kind} is left out of the package: {CLUTTER[kind]}",
                context=tuple(paths[:5]),
            )
