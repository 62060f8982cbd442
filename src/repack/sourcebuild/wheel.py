"""The wheel of a pin that exists as source only, built or remembered."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...difypkg.record import BuildRecord
from ...difypkg.target import Target
from ..resolution import ArchiveSource, FolderSource, GitSource, Pin
from ..source import Plugin
from ..wheels import Wheel
from ..workshop import Workshop
from .built import Built, build_failed
from .here import build_here
from .inputs import CONSTRAINTS, SOURCE_DATE_EPOCH, BuildInputs, constraints_for, declared_requirements
from .trees import Tree, clone, copy, unpack

if TYPE_CHECKING:
    from ...sandbox.engine import DaemonImage  # with it comes the engine's client, which few builds need


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A wheel that was built before, or just now: it lies in the store."""

    filename: str
    sha256: str
    size: int
    requirements: tuple[str, ...]


def build_wheel(pin: Pin, sha256: str | None, plugin: Plugin, workshop: Workshop) -> Wheel:
    """Build the wheel of a pin on source, or take it from the cache under the key of its inputs.

    `sha256` is that of a fetched source archive. Raises `DifyoffError`: `source-build-failed`, `no-compiler`,
    `cannot-build-for-target`, `git-source-unreachable`, and what fetching build requirements and the engine raise.
    """
    work = workshop.folder(f"build-{pin.name}")
    tree = _tree(pin, sha256, plugin, work, workshop)
    image, target, machine = _place(pin.targets, workshop)
    requires = declared_requirements(tree.path)
    inputs = BuildInputs(
        source=tree.source,
        requires=requires,
        constraints=constraints_for(requires),
        python=target.python_version,
        machine=machine,
        source_date_epoch=SOURCE_DATE_EPOCH,
        uv=workshop.uv.version,
        image=image.digest if image else None,
    )
    file = workshop.cache / "built" / f"{inputs.key}.json"
    known = _recall(file, workshop)
    if known is None:
        (work / CONSTRAINTS).write_text(inputs.constraints, encoding="utf-8")
        if image is None:
            built = build_here(pin.name, tree.path, work, inputs, target, workshop)
        else:
            from .image import build_in_image

            built = build_in_image(tree.path, work, inputs, target, image, workshop)
        known = _keep(pin.name, built, work / "wheel", image, workshop)
        _remember(file, known, work)
    _check_tags(pin.name, known.filename, pin.targets)
    name, version, _, _ = parse_wheel_filename(known.filename)
    return Wheel(
        name=name,
        version=str(version),
        filename=known.filename,
        sha256=known.sha256,
        size=known.size,
        origin=tree.origin,
        targets=pin.targets,
        direct=pin.direct,
        built=BuildRecord(
            source=inputs.source,
            python=inputs.python,
            machine=inputs.machine,
            requirements=known.requirements,
            source_date_epoch=SOURCE_DATE_EPOCH,
            image=inputs.image,
        ),
    )


def _tree(pin: Pin, sha256: str | None, plugin: Plugin, work: Path, workshop: Workshop) -> Tree:
    source = pin.source
    if isinstance(source, GitSource):
        return clone(pin.name, source, work, workshop)
    if isinstance(source, FolderSource):
        return copy(source, plugin, work)
    assert isinstance(source, ArchiveSource)
    assert sha256 is not None
    return unpack(workshop.store.path(sha256), sha256, source, work)


def _place(targets: frozenset[Target], workshop: Workshop) -> "tuple[DaemonImage | None, Target, str]":
    """Return the image to build in, None for this machine, the target built for, and what `uname -m` is there."""
    if workshop.build_in is None:
        return None, min(targets, key=lambda target: target.architecture), platform.machine()
    from .image import image_for, target_in

    image = image_for(workshop.build_in)
    target = target_in(image, targets)
    return image, target, target.machine


def _keep(name: str, built: Built, out: Path, image: "DaemonImage | None", workshop: Workshop) -> _Known:
    """Put the one wheel that was built into the store. Raises what `build_failed` makes where there is none."""
    wheels = sorted(out.glob("*.whl")) if out.is_dir() else []
    if not built.outcome.ok or len(wheels) != 1:
        raise build_failed(name, built.outcome, image.reference if image else None)
    return _Known(
        filename=wheels[0].name,
        sha256=workshop.store.add_file(wheels[0]),
        size=wheels[0].stat().st_size,
        requirements=built.requirements,
    )


def _recall(file: Path, workshop: Workshop) -> _Known | None:
    try:
        known = _Known(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    if workshop.store.intact(known.sha256) is None:
        return None
    return _Known(**{**asdict(known), "requirements": tuple(known.requirements)})


def _remember(file: Path, known: _Known, work: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(f".{os.getpid()}-{work.parent.name}")
    temporary.write_text(json.dumps(asdict(known)), encoding="utf-8")
    temporary.replace(file)


def _check_tags(name: str, filename: str, targets: frozenset[Target]) -> None:
    try:
        tags = parse_wheel_filename(filename)[-1]
    except InvalidWheelFilename as error:
        raise DifyoffError(
            Diagnosis(
                slug="source-build-failed", message=f"building {name} gave {filename}, which is not the name of a wheel"
            )
        ) from error
    for target in sorted(targets, key=lambda target: target.architecture):
        if tags.isdisjoint(target.tags):
            architecture = target.architecture
            python = target.python_version
            raise DifyoffError(
                Diagnosis(
                    slug="cannot-build-for-target",
                    message=f"{name} has no wheel for {architecture}, and building it here gives {filename}",
                    note="It holds compiled code, which only a machine like the target's can build.",
                    hint=f"Build on a Linux {architecture} machine with CPython {python} and a compiler, or in the"
                    f" daemon's image: `--build-in docker --platform linux/{architecture}`.",
                )
            )
