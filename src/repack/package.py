"""A finished package, and all there is to say of it."""

from dataclasses import dataclass, replace

from packaging.utils import parse_wheel_filename

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.edits import Edit
from ..difypkg.identity import Identity
from ..difypkg.place import PluginPlace
from ..difypkg.record import Record, WheelRecord
from ..difypkg.site import SiteSetting, SizeVerdict, site_findings, site_settings, size_verdict
from ..difypkg.target import Target
from .options import Options
from .pack import Packed
from .publication import State
from .source import Plugin
from .wheels import Wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSource:
    """The plugin that a package was made from: where it was read and its own identity."""

    place: PluginPlace
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in a package: where its pins came from, its wheels, the edits that made it, and what was found."""

    resolution: str
    wheels: tuple[Wheel, ...]
    edits: tuple[Edit, ...]
    findings: tuple[Diagnosis, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePackage:
    """A finished package and all there is to say of it. `state` tells whether the file was there already."""

    source: PackageSource
    package: Packed
    state: State
    targets: tuple[Target, ...]
    contents: Contents
    size: SizeVerdict
    site: tuple[SiteSetting, ...]


def describe(plugin: Plugin, contents: Contents, packed: Packed, state: State, options: Options) -> OfflinePackage:
    """Return a finished package with its size verdict, its findings and what a site must set for it."""
    size = size_verdict(
        options.release, file_size=packed.size, unpacked_size=packed.unpacked_size, limit=options.max_size
    )
    wheels_size = sum(wheel.size for wheel in contents.wheels)
    return OfflinePackage(
        source=PackageSource(place=plugin.place, identity=plugin.identity),
        package=packed,
        state=state,
        targets=options.targets,
        contents=replace(
            contents,
            findings=(
                *contents.findings,
                *size_findings(size),
                *site_findings(options.release, wheels_size=wheels_size),
            ),
        ),
        size=size,
        site=site_settings(
            options.release,
            author=plugin.manifest.author,
            file_size=packed.size,
            unpacked_size=packed.unpacked_size,
            wheels_size=wheels_size,
            signed=packed.signed,
            limit=options.max_size,
        ),
    )


def up_to_date(plugin: Plugin, record: Record, options: Options) -> OfflinePackage:
    """Return a package that difyoff made for these targets as it is; refuse one for others."""
    if record.targets != options.target_records:
        raise DifyoffError(
            Diagnosis(
                slug="already-offline",
                message=f"{plugin.place.name} is an offline package of difyoff already, for "
                + " and ".join(target.architecture for target in record.targets),
                hint=f"Build another target from the original, {record.source.identity}.",
            )
        )
    packed = Packed(
        path=plugin.place.path,
        sha256=plugin.sha256 or "",
        size=plugin.place.path.stat().st_size,
        unpacked_size=plugin.size,
        identity=plugin.identity,
    )
    contents = Contents(
        resolution=record.resolution,
        wheels=tuple(_recorded_wheel(wheel, options.targets) for wheel in record.wheels),
        edits=record.edits,
        findings=plugin.findings,
    )
    return describe(plugin, contents, packed, "up to date", options)


def size_findings(verdict: SizeVerdict) -> tuple[Diagnosis, ...]:
    """Return the finding `size-limit` for a package over its limit."""
    if verdict.verdict != "over":
        return ()
    return (
        Diagnosis(
            slug="size-limit",
            message=f"the package is larger than the site takes: {verdict.text}",
            context=tuple(f"{each.name}={each.value}" for each in verdict.settings),
            hint="Raise these settings on the site before uploading.",
        ),
    )


def _recorded_wheel(wheel: WheelRecord, targets: tuple[Target, ...]) -> Wheel:
    name, version, _, _ = parse_wheel_filename(wheel.filename)
    return Wheel(
        name=name,
        version=str(version),
        filename=wheel.filename,
        sha256=wheel.sha256,
        size=wheel.size,
        origin=wheel.origin,
        targets=frozenset(each for each in targets if each.architecture in wheel.architectures),
        built=wheel.built,
    )
