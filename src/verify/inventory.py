"""Take the inventory of a package: wheels with their licences, edits, origin, sizes, what a site must set."""

from collections.abc import Iterator

from packaging.utils import NormalizedName, canonicalize_name

from ..difypkg.daemons import Release
from ..difypkg.record import TargetRecord
from ..difypkg.signature import VERIFICATION, read_signature
from ..difypkg.site import site_settings
from .audit.closure import read_project
from .contents.world import world_of
from .package import Package
from .report import BundledDistribution, Inventory, MeasuredSize


def take_inventory(package: Package, release: Release, limit: int | None) -> Inventory:
    """Return what a package holds, against a release and, where the site has one of its own, its size limit in bytes.

    Raises `DifyoffError`: what `Archive` raises.
    """
    record = package.record
    largest = release.max_package_size if limit is None else limit
    return Inventory(
        release=str(release),
        targets=tuple(map(TargetRecord.of, package.targets)),
        source=record.source.identity if record else None,
        tools=f"difyoff {record.difyoff}, uv {record.uv}" if record else None,
        signature=_signature(package),
        requires=tuple(sorted(_asked(package))),
        permissions=package.manifest.permissions if package.manifest else (),
        minimum_dify=package.manifest.minimum_dify_version if package.manifest else None,
        wheels=tuple(_distributions(package)),
        edits=record.edits if record else (),
        sizes=(
            MeasuredSize(name="packed", size=package.size, limit=largest),
            MeasuredSize(name="unpacked", size=package.unpacked_size, limit=largest),
            MeasuredSize(name="upload", size=package.size, limit=release.nginx_max_body),
        ),
        site=site_settings(
            release,
            author=package.manifest.author if package.manifest else "",
            file_size=package.size,
            unpacked_size=package.unpacked_size,
            wheels_size=sum(wheel.size for wheel in package.house.wheels),
            signed=VERIFICATION in package.archive,
        ),
    )


def _signature(package: Package) -> str:
    verification = package.archive.read(VERIFICATION) if VERIFICATION in package.archive else None
    found = read_signature(package.archive.comment, verification)
    if found is None:
        return "unsigned"
    return f"signed as {found.category or 'langgenius'}, {found.bits} bits, not checked against a key"


def _asked(package: Package) -> set[NormalizedName]:
    """Return the names that the plugin's own dependency file asks for, and the package carries."""
    project = package.dependencies.project
    if project is not None:
        asked = read_project(project).requires
    else:
        asked = package.requirements.requires if package.requirements else ()
    return {canonicalize_name(each.name) for each in asked} & {wheel.name for wheel in package.house.wheels}


def _distributions(package: Package) -> Iterator[BundledDistribution]:
    recorded = {wheel.filename: wheel for wheel in package.record.wheels} if package.record else {}
    there = {wheel.name for wheel in package.house.wheels}
    world = world_of(package.targets[0]) if package.targets else None
    for wheel in sorted(package.house.wheels, key=lambda each: (each.name, each.filename)):
        known = recorded.get(wheel.filename)
        asked = (each for each in wheel.requires if world is None or world.applies(each.marker))
        names = sorted({canonicalize_name(each.name) for each in asked} & there)
        yield BundledDistribution(
            name=wheel.name,
            version=str(wheel.version),
            filename=wheel.filename,
            sha256=wheel.sha256,
            size=wheel.size,
            licence=wheel.licence,
            licence_is_expression=wheel.licence_is_expression,
            origin=known.origin if known else None,
            built=known is not None and known.built is not None,
            requires=tuple(names),
        )
