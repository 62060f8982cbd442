"""Plugins built for the command line: located, made, proved and shown, one after the other or many at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..difypkg.diagnosis import DifyoffError, Exit
from ..difypkg.place import PluginPlace
from ..difypkg.sizes import human_size
from ..render.documents import BuildResult, PackageDocument, SettingDocument, SizeDocument, WheelDocument
from ..repack.api import build
from ..repack.options import Options
from ..repack.package import OfflinePackage
from ..repack.publication import PublicationStage, pack, publish
from ..repack.resolution import MadeBefore
from ..repack.workshop import Workshop
from ..sets.config import SetConfig
from ..sets.lock import LOCK, Locked, check_drift, check_place
from ..sets.shard import Shard
from ..sources.source import Access
from ..sources.table import locate_member, plugin_key
from .console import say
from .places import Told, Wish, expand, write_copy
from .progress import BuildView
from .sets import Job, build_side_by_side
from .site import Site
from .verification import NotPublishedError

if TYPE_CHECKING:
    from .gate import VerifyingGate
    from .signer import Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the plugins of one run are built with; `locked` is the set's lock, by name."""

    locked: Mapping[str, Locked] | None
    config: SetConfig | None
    access: Access
    options: Options
    workshop: Workshop
    site: Site
    backend: str | None
    signer: "Signer | None"


def _gate(site: Site, workshop: Workshop, backend: str, *, signer: "Signer | None", quiet: bool) -> "VerifyingGate":
    from ..verify.trust import NO_TRUST, Trust
    from .gate import VerifyingGate  # with it comes the whole verifier, which a mere build does without
    from .proof import make_verify_options

    trust = Trust(public_keys=(signer.public_key,)) if signer else NO_TRUST
    return VerifyingGate(make_verify_options(site, workshop.index, backend=backend, trust=trust), quiet=quiet)


def build_all(
    plugins: Sequence[str],
    bench: Bench,
    *,
    shard: Shard | None,
    jobs: int | None,
    on_path: Callable[[str], None],
    quiet: bool,
) -> list[BuildResult]:
    """Build every plugin that the texts stand for: one after the other, or with `jobs` at once (0: as many as fit)."""
    told = Told()
    groups: list[list[Wish] | BuildResult] = []
    names: list[str] = []
    for plugin in plugins:
        try:
            wishes = expand(plugin, replace(bench.access, listen=told))
        except DifyoffError as error:
            groups.append(failed(plugin, error, told))
        else:
            names += [_lock_name(wish, bench) for wish in wishes]
            groups.append([wish for wish in wishes if shard is None or shard.has(_shard_key(wish, bench))])
    if bench.locked is not None and bench.config is not None:
        check_drift(bench.locked, names, bench.config.folder / LOCK)
    every = [wish for group in groups if isinstance(group, list) for wish in group]
    left: Iterator[BuildResult]
    if jobs is None:
        left = (build_one(wish, bench, Told(), quiet=quiet) for wish in every)
    else:
        left = iter(
            build_side_by_side(
                [wish.name for wish in every],
                lambda place, job: build_one(every[place], bench, Told(loud=False), quiet=True, job=job),
                jobs=jobs or None,
                quiet=quiet,
            )
        )
    results: list[BuildResult] = []
    for group in groups:
        results += [group] if isinstance(group, BuildResult) else _with_copy(group, left, bench, told, on_path)
    if results and (more := told.take()):
        results[0] = replace(results[0], findings=(*more, *results[0].findings))
    return results


def _lock_name(wish: Wish, bench: Bench) -> str:
    return bench.config.portable(wish.name) if bench.config else wish.name


def _locate(wish: Wish, bench: Bench, told: Told) -> tuple[PluginPlace, MadeBefore | None]:
    """Bring a plugin onto this machine, and what it was resolved to when it was locked."""
    access = replace(bench.access, listen=told)
    if bench.locked is None or bench.config is None:
        return locate_member(wish.member, access), None
    entry = bench.locked[_lock_name(wish, bench)]
    member = (
        wish.member
        if isinstance(wish.member.source, PluginPlace)
        else replace(wish.member, source=bench.config.local(entry.source))
    )
    place = locate_member(member, access)
    check_place(entry, place, bench.options)
    return place, entry.resolution


def _shard_key(wish: Wish, bench: Bench) -> str:
    return wish.member.plugin_id or plugin_key(wish.name, bench.access)


def _with_copy(
    wishes: Sequence[Wish], left: Iterator[BuildResult], bench: Bench, told: Told, on_path: Callable[[str], None]
) -> list[BuildResult]:
    """Return the results of what one text stands for; an app gets a copy that names the packages."""
    results = []
    for _ in wishes:
        results.append(next(left))
        if (package := results[-1].package) is not None:
            on_path(package.path)
    try:
        app = write_copy(list(zip(wishes, results, strict=True)), bench.options)
    except DifyoffError as error:
        assert wishes[0].collection is not None
        return [*results, failed(wishes[0].collection.name, error, told)]
    if app is None:
        return results
    on_path(str(app))
    return [replace(result, app=str(app)) for result in results]


def failed(name: str, error: DifyoffError, told: Told) -> BuildResult:
    """Return the result of a plugin that could not be built."""
    told.error(error.diagnosis)
    return BuildResult(
        input=name, status="failed", exit_code=error.exit_code, findings=told.take(), diagnosis=error.diagnosis
    )


def build_one(wish: Wish, bench: Bench, told: Told, *, quiet: bool, job: Job | None = None) -> BuildResult:
    """Build one plugin; what goes wrong with it is its result."""
    gate = None
    if bench.backend:
        gate = _gate(bench.site, bench.workshop, bench.backend, signer=bench.signer, quiet=quiet)
    between: tuple[PublicationStage, ...] = tuple(stage for stage in (bench.signer, gate) if stage is not None)
    options = bench.options
    try:
        place, before = _locate(wish, bench, told)
        with job or BuildView(release=options.release, targets=options.targets, quiet=quiet) as view:
            built = build(place, options, bench.workshop, listen=view, stages=(pack, *between, publish), before=before)
            if gate is not None and gate.report is None:
                gate.check(built.package.path)
            for finding in built.contents.findings:
                view(finding)
    except DifyoffError as error:
        return failed(wish.name, error, told)
    except NotPublishedError as error:
        if told.loud:
            say(f"not published: {error}")
        return BuildResult(
            input=wish.name,
            status="refused" if error.report.verdict == "failed" else "not verified",
            exit_code=error.report.exit_code,
            identity=error.report.identity,
            findings=told.take(),
            verification=error.report,
            aside=str(error.aside) if error.aside else None,
            diagnosis=error.report.first_failure(),
        )
    if not quiet:
        _show(built)
    findings = (*told.take(), *built.contents.findings)
    result = _result(wish.name, built, options)
    return replace(result, findings=findings, origin=place.origin, verification=gate.report if gate else None)


def _show(built: OfflinePackage) -> None:
    package = built.package
    say(f"{package.path.name}  {human_size(package.size)}  sha256 {package.sha256}")
    say(str(package.identity))


def _result(name: str, built: OfflinePackage, options: Options) -> BuildResult:
    package = built.package
    return BuildResult(
        input=name,
        status=built.state,
        exit_code=Exit.DONE,
        identity=str(built.source.identity),
        package=PackageDocument(
            path=str(package.path),
            sha256=package.sha256,
            size=package.size,
            unpacked_size=package.unpacked_size,
            identity=str(package.identity),
        ),
        targets=options.target_records,
        daemon=str(options.release),
        resolution=built.contents.resolution,
        wheels=tuple(
            WheelDocument(
                name=wheel.name,
                version=wheel.version,
                filename=wheel.filename,
                sha256=wheel.sha256,
                size=wheel.size,
                origin=wheel.origin,
                architectures=wheel.architectures,
                built=wheel.built,
            )
            for wheel in built.contents.wheels
        ),
        edits=built.contents.edits,
        size=SizeDocument(verdict=built.size.verdict, limit=built.size.limit, text=built.size.text),
        site=tuple(
            SettingDocument(name=each.name, value=each.value, where=each.where, reason=each.reason)
            for each in built.site
        ),
    )
