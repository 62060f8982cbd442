"""The shelf of broken packages: each made from a good offline package, each to be refused with its own diagnosis.

A verifier that cannot fail is decoration. `SHELF` says of every fault which slug names it, on which of the daemon's
install branches the audit refuses it, and on which the daemon itself does: that column was read off the daemon's own
code (`plugin run` of 0.3.1, 0.5.2, 0.5.3, 0.5.5, 0.6.3 and 0.6.10, no network) put over these packages.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from difyoff.difypkg.daemons import Branch, Release, newest
from difyoff.difypkg.manifest import read_manifest
from difyoff.difypkg.place import local_place
from difyoff.difypkg.target import TARGETS, Architecture
from difyoff.repack.api import build
from difyoff.repack.options import Options
from difyoff.repack.workshop import open_workshop
from difyoff.uvrun.environment import read_index_settings
from difyoff.uvrun.uv import LOCK_UV
from kit.index import Index
from kit.plugins import write_plugin

Files: TypeAlias = dict[str, bytes]
"""A package: its files by path."""

REQUIREMENTS: Final[frozenset[Branch]] = frozenset({"requirements"})
RESOLVING: Final[frozenset[Branch]] = frozenset({"sync", "sync-offline"})
FROZEN: Final[frozenset[Branch]] = frozenset({"sync-frozen"})
SYNC: Final = RESOLVING | FROZEN
EVERY: Final = REQUIREMENTS | SYNC
NONE: Final[frozenset[Branch]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One broken package.

    `audit` are the branches for which the audit refuses it, `daemon` those on which the daemon does not get as far as
    a ready plugin; the two differ only where `why` says so. `starts` False: it installs everywhere, and only releases
    that wait for a heartbeat notice; `at_start` says the same of the branches in `daemon`. `finding`: it passes, and
    `slug` is what the report says of it. `stale_record` leaves `difyoff.json` as it was; all others bring it into line,
    so that it is not what gives them away.
    """

    name: str
    slug: str
    make: Callable[[Files], Files]
    audit: frozenset[Branch] = NONE
    daemon: frozenset[Branch] = NONE
    at_start: bool = False
    starts: bool = True
    finding: bool = False
    stale_record: bool = False
    directories: bool = False
    why: str = ""

    def is_ready(self, release: Release, branch: Branch | None) -> bool:
        """Say whether the daemon's own code makes this package ready; None is a release that finds no file to read."""
        if branch is None:
            return False
        if branch in self.daemon:
            return self.at_start and not release.waits_for_heartbeat
        return self.starts or not release.waits_for_heartbeat

    def is_refused_by_audit(self, branch: Branch | None) -> bool:
        """Say whether the audit refuses it for this branch."""
        return branch is None or branch in self.audit

    def write(self, good: Path, folder: Path) -> Path:
        """Make the package from a good one, in `folder`, and return it."""
        files = self.make(read(good))
        if not self.stale_record:
            files = _in_line(files)
        return write(files, folder / f"{self.name}.difypkg", directories=self.directories)


def read(package: Path) -> Files:
    """Return the files of a package."""
    with zipfile.ZipFile(package) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def write(
    files: Mapping[str, bytes], package: Path, *, directories: bool = False, compression: int = zipfile.ZIP_STORED
) -> Path:
    """Write a package as difyoff does: sorted, no times, and stored unless told otherwise."""
    with zipfile.ZipFile(package, "w", compression) as archive:
        folders = {f"{path.rpartition('/')[0]}/" for path in files if "/" in path} if directories else set()
        for path in sorted({*files, *folders}):
            archive.writestr(zipfile.ZipInfo(path), files.get(path, b""), compression)
    return package


def _in_line(files: Files) -> Files:
    """Let the record say what the files are."""
    if "difyoff.json" not in files:
        return files
    record = json.loads(files["difyoff.json"])
    record["files"] = [
        {"path": path, "sha256": _sha256(data), "size": len(data)}
        for path, data in sorted(files.items())
        if path != "difyoff.json"
    ]
    wheels = {path.removeprefix("wheels/"): data for path, data in files.items()}
    record["wheels"] = [
        wheel | {"sha256": _sha256(data), "size": len(data)}
        for wheel in record["wheels"]
        if (data := wheels.get(wheel["filename"])) is not None
    ]
    return files | {"difyoff.json": sealed(record)}


def sealed(record: Mapping[str, Any]) -> bytes:
    """Return a record with its own hash, as difyoff writes it."""
    bare = {key: value for key, value in record.items() if key != "sha256"}
    return _canonical(bare | {"sha256": _sha256(_canonical(bare))})


def _canonical(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# --- Editing ---------------------------------------------------------------------------------------------------------


def _edit(path: str, pattern: str, replacement: str, *, count: int = 0) -> Callable[[Files], Files]:
    """Replace a pattern in a text file, which must have it."""

    def edit(files: Files) -> Files:
        text, done = re.subn(pattern, replacement, files[path].decode(), count=count, flags=re.MULTILINE)
        assert done, f"{path} has no {pattern!r}"
        return files | {path: text.encode()}

    return edit


def _repeat_a_key(files: Files) -> Files:
    """Set a key twice in the first provider file."""
    path = next(iter(next(filter(None, read_manifest(files["manifest.yaml"]).providers.values()))))
    return files | {path: files[path] + b"\nnote: one\nnote: two\n"}


def _set(key: str, value: str) -> Callable[[Files], Files]:
    return _edit("pyproject.toml", r"^\[tool\.uv\]\n", rf"[tool.uv]\n{key} = {value}\n")


def _append(path: str, text: str) -> Callable[[Files], Files]:
    return lambda files: files | {path: files.get(path, b"") + text.encode()}


def _prepend(path: str, text: str) -> Callable[[Files], Files]:
    return lambda files: files | {path: text.encode() + files[path]}


def _without(*patterns: str) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        kept = {path: data for path, data in files.items() if not any(re.search(each, path) for each in patterns)}
        assert len(kept) < len(files), patterns
        return kept

    return edit


def _all(*edits: Callable[[Files], Files]) -> Callable[[Files], Files]:
    def edit(files: Files) -> Files:
        for each in edits:
            files = each(files)
        return files

    return edit


def _wheel(files: Files, project: str) -> str:
    return next(path for path in files if re.match(rf"wheels/{project}-[^/]*\.whl$", path))


def _renamed(project: str, pattern: str, replacement: str) -> Callable[[Files], Files]:
    """Give a wheel another file name, in the lock too."""

    def edit(files: Files) -> Files:
        path = _wheel(files, project)
        old = path.removeprefix("wheels/")
        new = re.sub(pattern, replacement, old)
        assert new != old, f"{old} has no {pattern!r}"
        files = dict(files)
        files[f"wheels/{new}"] = files.pop(path)
        for text in ("uv.lock", "difyoff.json"):
            files[text] = files[text].replace(old.encode(), new.encode())
        return files

    return edit


def _rehashed(files: Files, path: str, data: bytes) -> Files:
    """Change a wheel's content and, as one who covers the traces would, its hash wherever that is written."""
    old, new = _sha256(files[path]).encode(), _sha256(data).encode()
    changed = {text: files[text].replace(old, new) for text in ("uv.lock", "requirements.txt", "difyoff.json")}
    return files | changed | {path: data}


def _planted(files: Files) -> bytes:
    """Return the wheel of idna with a file that its RECORD does not name."""
    content = io.BytesIO(files[_wheel(files, "idna")])
    with zipfile.ZipFile(content, "a") as wheel:
        wheel.writestr("idna/planted.py", "import os\n")
    return content.getvalue()


def _tampered(files: Files) -> Files:
    return files | {_wheel(files, "idna"): _planted(files)}


def _untrue(files: Files) -> Files:
    return _rehashed(files, _wheel(files, "idna"), _planted(files))


def _damaged(files: Files) -> Files:
    path = _wheel(files, "idna")
    return _rehashed(files, path, files[path][: len(files[path]) // 2])


def _source_only(files: Files) -> Files:
    """Put an sdist, whose build needs what the package has not, in the place of a wheel."""
    path = _wheel(files, "idna")
    name = path.removeprefix("wheels/")
    stem = "-".join(name.split("-")[:2])
    sdist = _sdist(stem)
    files = _rehashed(files, path, sdist)
    lock = re.sub(
        rf'^wheels = \[\n *\{{ path = "{re.escape(name)}", hash = "([^"]+)" \}},\n\]',
        rf'sdist = {{ path = "{stem}.tar.gz", hash = "\1" }}',
        files["uv.lock"].decode(),
        flags=re.MULTILINE,
    )
    assert f"{stem}.tar.gz" in lock
    return _without(re.escape(path))(files) | {f"wheels/{stem}.tar.gz": sdist, "uv.lock": lock.encode()}


def _sdist(stem: str) -> bytes:
    name, _, version = stem.rpartition("-")
    contents = {
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\n",
        "pyproject.toml": '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'\n[project]\nname = "{name}"\nversion = "{version}"\n',
        f"{name}/__init__.py": "",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path, text in contents.items():
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _remote_lock(files: Files) -> Files:
    lock = files["uv.lock"].decode()
    lock = lock.replace('{ registry = "wheels" }', '{ registry = "https://index.example/simple" }')
    lock = re.sub(r'\{ path = "([^"]+\.whl)"', r'{ url = "https://files.example/\1"', lock)
    return files | {"uv.lock": lock.encode()}


_WITHOUT_ENVIRONMENTS: Final = _edit("pyproject.toml", r"^environments = .*\n", "")
_WITHOUT_LOCK: Final = _without(r"^uv\.lock$")
_WITHOUT_NO_INDEX: Final = _edit("pyproject.toml", r"^no-index = true\n", "")
_WITHOUT_PROJECT: Final = _edit("pyproject.toml", r"\A(?s:.*?)^\[tool\.uv\]\n", "[tool.uv]\n")


def build_good(
    folder: Path, index: Index, uv: Path, *, arch: Sequence[Architecture] = ("amd64",), **plugin: Any
) -> Path:
    """Build a good offline package of the tiny plugin in `folder`, with the uv that writes our locks."""
    release = folder / "cache/uv" / LOCK_UV
    release.parent.mkdir(parents=True)
    release.symlink_to(uv.parent.parent, target_is_directory=True)
    clean = {"HOME": str(folder), "PATH": os.environ.get("PATH", os.defpath), "UV_DEFAULT_INDEX": index.url}
    options = Options(
        targets=tuple(TARGETS[each] for each in arch),
        release=newest(),
        output=folder,
    )
    with open_workshop(version="0.0.0", index=read_index_settings(clean), cache=folder / "cache") as workshop:
        return build(local_place(write_plugin(folder / "tiny", **plugin)), options, workshop).package.path


# --- The shelf -------------------------------------------------------------------------------------------------------

SHELF: Final = (
    Broken(name="missing-wheel", slug="missing-wheel", make=_without(r"^wheels/idna-"), audit=EVERY, daemon=EVERY),
    Broken(
        name="wrong-python-tag",
        slug="wrong-python-tag",
        make=_renamed("pydantic_core", "cp312-cp312", "cp313-cp313"),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="wrong-platform-machine",
        slug="wrong-platform",
        make=_renamed("pydantic_core", "x86_64", "aarch64"),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="wrong-platform-glibc",
        slug="wrong-platform",
        make=_renamed("pydantic_core", r"cp312-cp312-.*\.whl", "cp312-cp312-manylinux_2_49_x86_64.whl"),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="lock-pins-remote-urls",
        slug="lock-pins-remote-urls",
        make=_remote_lock,
        audit=FROZEN,
        daemon=FROZEN,
    ),
    Broken(
        name="dev-group-unavailable",
        slug="dev-group-unavailable",
        make=_append("pyproject.toml", '\n[dependency-groups]\ndev = ["black"]\n'),
        audit=RESOLVING,
        daemon=RESOLVING,
    ),
    Broken(
        name="universal-resolution",
        slug="universal-resolution",
        make=_WITHOUT_ENVIRONMENTS,
        audit=RESOLVING,
        daemon=RESOLVING,
    ),
    Broken(
        name="universal-resolution-unlocked",
        slug="universal-resolution",
        make=_all(_WITHOUT_ENVIRONMENTS, _WITHOUT_LOCK),
        audit=SYNC,
        daemon=SYNC,
    ),
    Broken(
        name="source-build-needed",
        slug="source-build-needed",
        make=_source_only,
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="build-backend-needed",
        slug="build-backend-needed",
        make=_all(
            _edit("pyproject.toml", r"^package = false\n", ""),
            _append(
                "pyproject.toml", '\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            ),
        ),
        audit=RESOLVING,
        daemon=RESOLVING,
    ),
    Broken(
        name="build-backend-needed-locked",
        slug="build-backend-needed",
        make=_all(
            _edit("pyproject.toml", r"^package = false\n", ""),
            _append(
                "pyproject.toml", '\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
            ),
            _edit("uv.lock", r'\{ virtual = "\." \}', '{ editable = "." }'),
        ),
        audit=SYNC,
        daemon=SYNC,
    ),
    Broken(
        name="python-version-file",
        slug="python-version-mismatch",
        make=_append(".python-version", "3.13\n"),
        audit=SYNC,
        daemon=SYNC,
    ),
    Broken(
        name="python-version-required",
        slug="python-version-mismatch",
        make=_edit("pyproject.toml", r"^requires-python = .*$", 'requires-python = ">=3.13"'),
        audit=SYNC,
        daemon=SYNC,
    ),
    Broken(
        name="index-not-disabled",
        slug="index-not-disabled",
        make=_all(_edit("requirements.txt", r"^--no-index\n", ""), _WITHOUT_NO_INDEX, _WITHOUT_LOCK),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="index-not-disabled-locked",
        slug="index-not-disabled",
        make=_all(_edit("requirements.txt", r"^--no-index\n", ""), _WITHOUT_NO_INDEX),
        audit=REQUIREMENTS,
        daemon=REQUIREMENTS,
    ),
    Broken(
        name="find-links-missing",
        slug="find-links-missing",
        make=_all(
            _set("find-links", '["./elsewhere/"]'),
            _edit("pyproject.toml", r'^find-links = \["\./wheels/"\]\n', ""),
            _edit("requirements.txt", r"^--find-links=.*$", "--find-links=./elsewhere/"),
        ),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="configuration-redirects-cache",
        slug="configuration-redirects",
        make=_set("cache-dir", '"../outside"'),
        audit=EVERY,
        why="the daemon installs it, and up to 0.5.3 writes outside the plugin's folder",
    ),
    Broken(
        name="configuration-redirects-system",
        slug="configuration-redirects",
        make=_append("pyproject.toml", "\n[tool.uv.pip]\nsystem = true\n"),
        audit=REQUIREMENTS,
        daemon=REQUIREMENTS,
        at_start=True,
        why="all goes into another Python; daemons up to 0.4.1 do not wait until the plugin misses it",
    ),
    Broken(
        name="configuration-redirects-uv-toml",
        slug="configuration-redirects",
        make=_append("uv.toml", 'no-index = true\nfind-links = ["./wheels/"]\nno-binary = true\n'),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="configuration-redirects-sources",
        slug="configuration-redirects",
        make=_append(
            "pyproject.toml",
            '\n[tool.uv.sources]\ndify_plugin = { url = "https://files.example/dify_plugin-9-py3-none-any.whl" }\n',
        ),
        audit=RESOLVING,
        daemon=RESOLVING,
    ),
    Broken(name="tampered-wheel", slug="tampered-wheel", make=_tampered, audit=EVERY, daemon=EVERY),
    Broken(
        name="tampered-file",
        slug="package-altered",
        make=_prepend("main.py", "# one more line\n"),
        audit=EVERY,
        stale_record=True,
        why="the daemon does not read the record",
    ),
    Broken(
        name="untrue-wheel",
        slug="untrue-wheel",
        make=_untrue,
        audit=EVERY,
        why="uv installs a local wheel with files that its RECORD does not name; what was put in would run",
    ),
    Broken(name="damaged-wheel", slug="damaged-wheel", make=_damaged, audit=EVERY, daemon=EVERY),
    Broken(
        name="directory-entry",
        slug="directory-entry",
        make=lambda files: files,
        directories=True,
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="size-limit",
        slug="size-limit",
        make=lambda files: files | {"large.bin": bytes(52_428_801)},
        audit=EVERY,
        why="limits are for uploads, which `plugin run` has none of",
    ),
    Broken(
        name="no-dependency-file",
        slug="no-dependency-file",
        make=_without(r"^pyproject\.toml$", r"^requirements\.txt$"),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="no-requirements-file",
        slug="no-dependency-file",
        make=_without(r"^requirements\.txt$"),
        audit=REQUIREMENTS,
        daemon=REQUIREMENTS,
    ),
    Broken(
        name="nothing-installed",
        slug="nothing-installed",
        make=_WITHOUT_PROJECT,
        audit=SYNC,
        daemon=SYNC,
    ),
    Broken(
        name="direct-reference",
        slug="direct-reference",
        make=_all(
            _edit(
                "pyproject.toml",
                r"^(dependencies = \[\n)",
                r'\1    "idna @ https://files.example/idna-1.0-py3-none-any.whl",\n',
            ),
            _edit("requirements.txt", r"^idna==.*$", "idna @ https://files.example/idna-1.0-py3-none-any.whl"),
        ),
        audit=REQUIREMENTS | RESOLVING,
        daemon=REQUIREMENTS | RESOLVING,
    ),
    Broken(
        name="manifest-invalid",
        slug="manifest-invalid",
        make=_edit("manifest.yaml", r"^author: .*$", "author: Not An Author"),
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="repeated-key-in-a-provider",
        slug="declaration-invalid",
        make=_repeat_a_key,
        audit=EVERY,
        daemon=EVERY,
    ),
    Broken(
        name="asset-missing",
        slug="asset-missing",
        make=_edit("manifest.yaml", r"^icon: .*$", "icon: not-there.svg"),
        audit=EVERY,
        why="assets are copied at upload, which `plugin run` has none of",
    ),
    Broken(
        name="start-import-error",
        slug="plugin-does-not-start",
        make=_prepend("main.py", "import a_module_that_is_not_there\n"),
        starts=False,
    ),
    Broken(
        name="start-exit",
        slug="plugin-does-not-start",
        make=_prepend("main.py", "import sys\nsys.exit(0)\n"),
        starts=False,
    ),
    Broken(
        name="start-hang",
        slug="plugin-does-not-start",
        make=_prepend("main.py", "import time\ntime.sleep(3600)\n"),
        starts=False,
    ),
    Broken(
        name="network-at-start",
        slug="network-at-start",
        make=_prepend(
            "main.py",
            "import socket\ntry:\n    socket.create_connection(('index.example', 443), 2)\nexcept OSError:\n    pass\n",
        ),
        finding=True,
    ),
)
