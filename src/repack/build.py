"""Build a wheel where only source exists, from pinned requirements, the same bytes each time.

On this machine, or (`build_in_image`) in the daemon's image.
"""

import hashlib
import json
import platform
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.record import BuildRecord
from ..difypkg.redaction import public_url, redact
from ..difypkg.target import TARGETS, Architecture
from ..sandbox.process import Command, Outcome, run
from ..transfer.client import Client
from ..transfer.store import WheelStore
from ..uvrun.interpreters import find_python
from .resolution import ArchiveSource, FolderSource, GitSource
from .source import Plugin
from .tools import Tools
from .wheels import Wheel

if TYPE_CHECKING:
    from ..sandbox.engine import DaemonImage  # with it comes the engine's client, which few builds need

SOURCE_DATE_EPOCH: Final = 315532800
"""1980-01-01, the first moment that a zip file can tell."""

_NO_COMPILER: Final = re.compile(
    r"command '[^']*(cc|\+\+|clang)[^']*' failed: No such file|No such file or directory: '[^']*(cc|\+\+|clang)'"
    "|unable to execute|no C compiler"
)
# Debug information would hold the path of the scratch folder.
_ENVIRONMENT: Final = {"SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH), "CFLAGS": "-g0", "CXXFLAGS": "-g0"}
_LEGACY: Final = {"requires": ["setuptools>=40.8.0"], "build-backend": "setuptools.build_meta:__legacy__"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """All that decides the bytes of a wheel built here; with `image`, its digest, its own uv builds."""

    source: str
    requires: tuple[str, ...]
    constraints: str
    python: str
    machine: str
    source_date_epoch: int
    uv: str
    image: str | None


def build_wheel(
    name: str,
    source: ArchiveSource | GitSource | FolderSource,
    architectures: frozenset[Architecture],
    *,
    plugin: Plugin,
    store: WheelStore,
    client: Client,
    sha256: str | None,
    direct: bool,
    tools: Tools,
) -> Wheel:
    """Build the wheel of a distribution, or take it from the cache under the key of its inputs.

    `sha256` is that of a fetched source archive, `direct` is the wheel's. Raises `DifyoffError`: `source-build-failed`,
    `no-compiler`, `cannot-build-for-target`, `git-source-unreachable`, and what fetching build requirements and the
    engine raise.
    """
    folder = tools.folder(f"build-{name}")
    if isinstance(source, ArchiveSource):
        assert sha256 is not None
        tree, source_id = _unpack(store.path(sha256), source, folder), f"sha256:{sha256}"
        origin = public_url(source.url)
    elif isinstance(source, GitSource):
        tree, source_id = _clone(name, source, folder, tools), f"{public_url(source.url)}@{source.commit}"
        origin = f"git+{public_url(source.url)}@{source.commit}"
    else:
        tree, source_id = _copy(source, plugin, folder)
        origin = source.path
    subdirectory = None if isinstance(source, FolderSource) else source.subdirectory
    tree = tree / subdirectory if subdirectory else tree
    build_system = _build_system(tree)
    image, machine = _image(tools)
    inputs = _Inputs(
        source=f"{source_id}#{subdirectory}" if subdirectory else source_id,
        requires=tuple(build_system.get("requires", ())),
        constraints=_constraints(build_system.get("requires", ())),
        python="3.12",
        machine=machine,
        source_date_epoch=SOURCE_DATE_EPOCH,
        uv=tools.uv.version,
        image=image.digest if image else None,
    )
    file = tools.cache / "built" / f"{_key(inputs)}.json"
    known = _recall(file, store)
    if known is None:
        known = _build(name, tree, folder, inputs, image, store=store, client=client, tools=tools)
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.with_suffix(f".{tools.scratch.name}")
        temporary.write_text(json.dumps(known), encoding="utf-8")
        temporary.replace(file)
    _check_tags(name, known["filename"], architectures)
    distribution, version, _, _ = parse_wheel_filename(known["filename"])
    return Wheel(
        name=distribution,
        version=str(version),
        filename=known["filename"],
        sha256=known["sha256"],
        size=known["size"],
        origin=origin,
        architectures=architectures,
        direct=direct,
        built=BuildRecord(
            source=inputs.source,
            python=inputs.python,
            machine=inputs.machine,
            requirements=tuple(known["requirements"]),
            source_date_epoch=SOURCE_DATE_EPOCH,
            image=inputs.image,
        ),
    )


def _image(tools: Tools) -> "tuple[DaemonImage | None, str]":
    """Return the image to build in, None for this machine, and what `uname -m` is there."""
    if tools.build_in is None:
        return None, platform.machine()
    from .build_in_image import image_for, machine_of

    image = image_for(tools.build_in)
    return image, machine_of(image)


def _key(inputs: _Inputs) -> str:
    return hashlib.sha256(json.dumps(asdict(inputs), sort_keys=True).encode()).hexdigest()


def _recall(file: Path, store: WheelStore) -> dict[str, Any] | None:
    try:
        known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return known if store.intact(known["sha256"]) is not None else None


def _build(
    name: str,
    tree: Path,
    work: Path,
    inputs: _Inputs,
    image: "DaemonImage | None",
    *,
    store: WheelStore,
    client: Client,
    tools: Tools,
) -> dict[str, Any]:
    (work / "constraints.txt").write_text(inputs.constraints, encoding="utf-8")
    out = work / "wheel"
    if image is None:
        requirements, outcome = _build_here(name, tree, work, inputs, out, tools)
    else:
        from .build_in_image import build_in_image

        requirements, outcome = build_in_image(
            tree, work, inputs.requires, image, out, _ENVIRONMENT, store=store, client=client, tools=tools
        )
    wheels = sorted(out.glob("*.whl")) if out.is_dir() else []
    if not outcome.ok or len(wheels) != 1:
        raise _build_failed(name, outcome, image)
    wheel = wheels[0]
    return {
        "filename": wheel.name,
        "sha256": store.add_file(wheel),
        "size": wheel.stat().st_size,
        "requirements": requirements,
    }


def _build_here(
    name: str, tree: Path, work: Path, inputs: _Inputs, out: Path, tools: Tools
) -> tuple[list[str], Outcome]:
    requirements = _pin_requirements(name, inputs, work, tools)
    constraints = work / "constraints.txt"
    constraints.write_text("\n".join(requirements) + "\n" + inputs.constraints, encoding="utf-8")
    python = find_python((3, 12))
    return requirements, tools.resolving(
        *("build", "--wheel", "--out-dir", str(out), "--build-constraints", str(constraints)),
        *("--python", str(python.path if python else tools.python), str(tree)),
        cwd=work,
        extra=_ENVIRONMENT,
    )


def _pin_requirements(name: str, inputs: _Inputs, work: Path, tools: Tools) -> list[str]:
    """Resolve the declared build requirements to pins, within our constraints."""
    if not inputs.requires:
        return []
    declared = work / "requires.txt"
    declared.write_text("\n".join(inputs.requires) + "\n", encoding="utf-8")
    outcome = tools.resolving(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", "3.12"),
        *("--python", str(tools.python), "--constraints", "constraints.txt", declared.name),
        cwd=work,
    )
    if not outcome.ok:
        raise _build_failed(name, outcome)
    return [line for line in outcome.stdout.splitlines() if line.strip()]


def _constraints(requires: Iterable[str]) -> str:
    """Return our pins, without those that a declared build requirement excludes."""
    declared = [each for line in requires if (each := _requirement(line)) is not None]
    kept = []
    for line in (files("difyoff.repack") / "build-constraints.txt").read_text(encoding="utf-8").splitlines():
        pin = None if line.startswith("#") else _requirement(line)
        if pin is not None:
            version = str(pin.specifier).removeprefix("==")
            same = (each for each in declared if canonicalize_name(each.name) == pin.name)
            if all(each.specifier.contains(version) for each in same):
                kept.append(line)
    return "\n".join(kept) + "\n"


def _requirement(line: str) -> Requirement | None:
    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def _build_system(tree: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8")).get("build-system", _LEGACY)
    except (OSError, ValueError):
        table = _LEGACY
    return table if isinstance(table, dict) else dict(_LEGACY)


def _unpack(archive: Path, source: ArchiveSource, folder: Path) -> Path:
    """Unpack a source archive safely; return its one top folder."""
    target = folder / "source"
    target.mkdir()
    try:
        if source.filename.endswith(".zip"):
            with zipfile.ZipFile(archive) as opened:
                opened.extractall(target)
        else:
            with tarfile.open(archive) as opened_tar:
                opened_tar.extractall(target, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
        raise DifyoffError(
            Diagnosis(
                slug="source-build-failed",
                message=f"{source.filename} cannot be unpacked: {error}",
                context=(public_url(source.url),),
            )
        ) from error
    inside = list(target.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else target


def _clone(name: str, source: GitSource, folder: Path, tools: Tools) -> Path:
    """Check the commit out, with its history: version tools read tags."""
    target = folder / "source"
    quiet = ("-c", "core.autocrlf=false", "-c", "advice.detachedHead=false")
    commands = (
        ("git", "clone", "--quiet", "--no-checkout", "--", source.url, str(target)),
        ("git", *quiet, "-C", str(target), "checkout", "--quiet", source.commit),
        ("git", *quiet, "-C", str(target), "submodule", "--quiet", "update", "--init", "--recursive"),
        # The clone may go into an image, and a URL may hold a password.
        ("git", "-C", str(target), "remote", "set-url", "origin", public_url(source.url)),
    )
    environment = {**tools.index.environment, "GIT_TERMINAL_PROMPT": "0"}
    for argv in commands:
        outcome = run(Command(argv=argv, environment=environment, cwd=folder, umask=0o022))
        if not outcome.ok:
            raise DifyoffError(
                Diagnosis(
                    slug="git-source-unreachable",
                    message=f"{name} comes from a git repository that cannot be had: {public_url(source.url)}",
                    context=tuple(redact(outcome.stderr).strip().splitlines()[-5:]),
                    hint="Build where the repository can be reached, with the rights to read it.",
                )
            )
    return target


def _copy(source: FolderSource, plugin: Plugin, folder: Path) -> tuple[Path, str]:
    """Copy a folder of the plugin; return it and the digest of its files."""
    root = PurePosixPath(source.path)
    digest = hashlib.sha256()
    target = folder / "source"
    for path, file in sorted(plugin.files.items()):
        if root == PurePosixPath() or PurePosixPath(path).is_relative_to(root):
            content = file.read()
            digest.update(hashlib.sha256(path.encode()).digest() + hashlib.sha256(content).digest())
            copy = target / PurePosixPath(path).relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    if not target.is_dir():
        raise DifyoffError(
            Diagnosis(
                slug="source-build-failed",
                message=f"the plugin depends on the folder {source.path}, which is not part of it",
                hint="Put the folder into the plugin, or publish it as a wheel.",
            )
        )
    return target, f"files:{digest.hexdigest()}"


def _check_tags(name: str, filename: str, architectures: frozenset[Architecture]) -> None:
    try:
        tags = parse_wheel_filename(filename)[-1]
    except InvalidWheelFilename as error:
        raise DifyoffError(
            Diagnosis(slug="source-build-failed", message=f"building {name} gave {filename}, which is no wheel's name")
        ) from error
    for architecture in sorted(architectures):
        if tags.isdisjoint(TARGETS[architecture].tags):
            raise DifyoffError(
                Diagnosis(
                    slug="cannot-build-for-target",
                    message=f"{name} has no wheel for {architecture}, and building it here gives {filename}",
                    note="It holds compiled code, which only a machine like the target's can build.",
                    hint=f"Build on a Linux {architecture} machine with CPython 3.12 and a compiler, or in the daemon's"
                    f" image: `--build-in docker --platform linux/{architecture}`.",
                )
            )


def _build_failed(name: str, outcome: Outcome, image: "DaemonImage | None" = None) -> DifyoffError:
    text = redact(outcome.stderr)
    lines = tuple(line for line in text.strip().splitlines() if line.strip())
    where = f" in {image.reference}" if image else ""
    if _NO_COMPILER.search(text):
        return DifyoffError(
            Diagnosis(
                slug="no-compiler",
                message=f"{name} has to be compiled, and there is no C compiler{where}",
                context=lines[-8:],
                hint="Build in the daemon's own image, or in one made from it with a compiler (`--build-image`)."
                if image
                else "Install a C compiler (on Debian `apt-get install build-essential`) and build again.",
            )
        )
    return DifyoffError(
        Diagnosis(
            slug="source-build-failed",
            message=f"{name} has no wheel for the target, and building one from its source{where} failed",
            context=(*lines[-12:], *(["it did not end within its time limit"] if outcome.stopped else [])),
            hint="The lines above are the build's own words. A wheel of it on your index would do, too.",
        )
    )
