"""The way of a plugin, on one screen: source -> resolution -> wheels -> offline shape -> package."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from packaging.utils import parse_wheel_filename

from difypkg.daemons import Release
from difypkg.dependencies import check_dynamic, check_python, disagreements, offline_maker, offline_marks
from difypkg.diagnosis import Diagnosis, DifyoffError
from difypkg.edits import Edit
from difypkg.identity import Identity
from difypkg.record import Record, SourceRecord, TargetRecord, WheelRecord, dump_record
from difypkg.site import SiteSetting, SizeVerdict, site_findings, site_settings, size_verdict
from difypkg.target import ARCHITECTURES, Target
from repack.build import build_wheel
from repack.events import Listener, Opened, Stage, silent
from repack.fetch import Download, Fetched, fetch, sizes
from repack.http import Client
from repack.pack import Packed, file_records, publish, temporary_name, write_package
from repack.resolution import ArchiveSource, FolderSource, Pin, Resolution, WheelSource
from repack.resolve import resolve
from repack.shape import shape
from repack.source import Plugin, open_plugin
from repack.store import WheelStore
from repack.tools import Tools
from repack.wheels import Wheel, top_level_modules
from uvrun.environment import IndexSettings, credentials, redact
from uvrun.interpreters import find_python, install_python
from uvrun.uv import LOCK_UV, provide_uv

State: TypeAlias = Literal["written", "up to date"]

Gate: TypeAlias = Callable[[Path], None]
"""Called with the finished package under its temporary name; raises to keep it from being published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to build. `max_size` is the site's limit in bytes, None for the daemon's default."""

    targets: tuple[Target, ...]
    release: Release
    output: Path
    index: IndexSettings
    cache: Path
    version: str
    suffix: str = "-offline"
    max_size: int | None = None
    force: bool = False
    with_env: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The plugin that a package was made from: what it was read from and its own identity."""

    location: Path
    identity: Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflinePackage:
    """A finished package and all there is to say of it. `state` tells whether the file was there already."""

    source: Source
    package: Packed
    state: State
    targets: tuple[Target, ...]
    resolution: str
    wheels: tuple[Wheel, ...]
    edits: tuple[Edit, ...]
    findings: tuple[Diagnosis, ...]
    size: SizeVerdict
    site: tuple[SiteSetting, ...]


def build(location: Path, options: Options, *, listen: Listener = silent, gate: Gate | None = None) -> OfflinePackage:
    """Make an offline package of a `.difypkg` or a plugin folder.

    The package is published under its final name only when it is whole and `gate`, where given, lets it pass. Raises
    `DifyoffError` for everything that stops the work; nothing is left half-written.
    """
    with open_plugin(location, with_env=options.with_env) as plugin:
        listen(Opened(identity=plugin.identity, findings=plugin.findings))
        if plugin.record is not None:
            return _up_to_date(plugin, plugin.record, options)
        _refuse(plugin, options)
        options.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=options.cache) as scratch:
            tools = _tools(options, Path(scratch), listen)
            return _build(plugin, options, tools, listen, gate)


def _build(plugin: Plugin, options: Options, tools: Tools, listen: Listener, gate: Gate | None) -> OfflinePackage:
    store = WheelStore(options.cache / "wheels")
    client = _client(options)
    findings = list(plugin.findings)
    resolution, found = resolve(plugin, options.targets, tools)
    findings += [*found, *_disagreement(plugin, resolution)]
    _foretell(plugin, resolution, options, client, listen)
    fetched = _fetch(resolution, store, client, listen)
    wheels = tuple(_wheel(pin, fetched.get(_url(pin)), plugin, store, tools, listen) for pin in resolution.pins)
    own_wheel = _own_wheel(plugin, options.targets, store, tools)
    if own_wheel is not None:
        wheels = tuple(sorted((*wheels, own_wheel), key=lambda wheel: wheel.name))
    shaped = shape(plugin, wheels, options.targets, own_wheel=own_wheel, store=store, tools=tools)
    listen(Stage(name="edited", text=_edited(shaped.edits)))
    records = file_records(shaped)
    record = Record(
        source=SourceRecord(identity=str(plugin.identity), sha256=plugin.sha256),
        targets=_target_records(options.targets),
        resolution=resolution.origin,
        wheels=tuple(_wheel_record(wheel) for wheel in wheels),
        edits=shaped.edits,
        files=records,
        difyoff=options.version,
        uv=tools.uv.version,
    )
    path = options.output / package_name(plugin.identity, options)
    with temporary_name(path) as temporary:
        packed = write_package(temporary, shaped, records, dump_record(record), plugin.manifest)
        if gate is not None:
            gate(temporary)
        written = publish(temporary, path, force=options.force)
    listen(Stage(name="packed", text=path.name if written else f"{path.name} (up to date)"))
    state: State = "written" if written else "up to date"
    return _finished(
        plugin, replace(packed, path=path), state, resolution.origin, wheels, shaped.edits, tuple(findings), options
    )


def _finished(
    plugin: Plugin,
    packed: Packed,
    state: State,
    resolution: str,
    wheels: tuple[Wheel, ...],
    edits: tuple[Edit, ...],
    findings: tuple[Diagnosis, ...],
    options: Options,
) -> OfflinePackage:
    """Say all there is to say of a finished package."""
    size = size_verdict(
        options.release, file_size=packed.size, unpacked_size=packed.unpacked_size, limit=options.max_size
    )
    wheels_size = sum(wheel.size for wheel in wheels)
    return OfflinePackage(
        source=Source(location=plugin.location, identity=plugin.identity),
        package=packed,
        state=state,
        targets=options.targets,
        resolution=resolution,
        wheels=wheels,
        edits=edits,
        findings=(*findings, *_size_finding(size), *site_findings(options.release, wheels_size=wheels_size)),
        size=size,
        site=site_settings(
            options.release,
            author=plugin.manifest.author,
            file_size=packed.size,
            unpacked_size=packed.unpacked_size,
            wheels_size=wheels_size,
            signed=False,
        ),
    )


def package_name(identity: Identity, options: Options) -> str:
    """Return the file name of a package, as the marketplace names its own, with the suffix and the architecture."""
    architectures = [target.architecture for target in options.targets]
    which = "-all" if len(architectures) > 1 else "" if architectures == ["amd64"] else f"-{architectures[0]}"
    return f"{identity.author}-{identity.name}_{identity.version}{options.suffix}{which}.difypkg"


def _up_to_date(plugin: Plugin, record: Record, options: Options) -> OfflinePackage:
    """Return a package that difyoff made for these targets as it is; refuse one for others."""
    if record.targets != _target_records(options.targets):
        raise DifyoffError(
            Diagnosis(
                slug="already-offline",
                message=f"{plugin.location.name} is an offline package of difyoff already, for "
                + " and ".join(target.architecture for target in record.targets),
                hint=f"Build another target from the original, {record.source.identity}.",
            )
        )
    packed = Packed(
        path=plugin.location,
        sha256=plugin.sha256 or "",
        size=plugin.location.stat().st_size,
        unpacked_size=plugin.size,
        identity=plugin.identity,
    )
    wheels = tuple(map(_recorded_wheel, record.wheels))
    return _finished(plugin, packed, "up to date", record.resolution, wheels, record.edits, plugin.findings, options)


def _refuse(plugin: Plugin, options: Options) -> None:
    """Refuse what cannot be made offline, and what another tool made so."""
    marks = offline_marks(plugin.dependencies, plugin.files)
    if marks:
        original = f"{plugin.manifest.author}/{plugin.manifest.name}:{plugin.manifest.version}"
        raise DifyoffError(
            Diagnosis(
                slug="already-offline",
                message=f"{plugin.location.name} was made offline already, by {offline_maker(plugin.dependencies)}",
                context=marks,
                note="What its author wrote cannot be told any more from what that tool changed.",
                hint=f"Build from the original, {original}, as the marketplace or its author gives it.",
            )
        )
    for target in options.targets:
        check_python(plugin.dependencies, target.python)
    check_dynamic(plugin.dependencies)


def _tools(options: Options, scratch: Path, listen: Listener) -> Tools:
    def tell(version: str) -> None:
        listen(Stage(name="uv", text=f"fetching uv {version}, once"))

    uv = provide_uv(LOCK_UV, cache=options.cache, settings=options.index, on_fetch=tell)
    python = find_python((3, 12), or_newer=True)
    if python is None:
        listen(Stage(name="uv", text="no CPython 3.12 or newer on this machine; uv installs one"))
        python = install_python(
            (3, 12), uv=uv, settings=options.index, home=scratch / "python", cache=options.cache / "uv-cache"
        )
    return Tools(uv=uv, python=python.path, index=options.index, cache=options.cache, scratch=scratch)


def _client(options: Options) -> Client:
    hosts = options.index.config.get("allow-insecure-host", ())
    pairs = {
        f"{each.scheme}://{f'[{each.host}]' if ':' in each.host else each.host}"
        f"{f':{each.port}' if each.port else ''}": (each.user, each.password)
        for each in reversed(credentials(options.index))
    }
    insecure = (*hosts, *options.index.environment.get("UV_INSECURE_HOST", "").split())
    return Client(version=options.version, credentials=pairs, insecure_hosts=insecure)


def _disagreement(plugin: Plugin, resolution: Resolution) -> tuple[Diagnosis, ...]:
    """Tell where requirements.txt, which older daemons read, asks for something else than what is bundled."""
    if plugin.dependencies.project is None or plugin.dependencies.requirements is None:
        return ()
    versions: dict[str, list[str]] = {}
    for pin in resolution.pins:
        versions.setdefault(pin.name, []).extend((pin.version,) if pin.version else ())
    lines = disagreements(plugin.dependencies, {name: tuple(each) for name, each in versions.items()})
    if not lines:
        return ()
    return (
        Diagnosis(
            slug="dependency-files-disagree",
            message=f"requirements.txt asks for other releases than {resolution.origin}, which is followed",
            context=lines[:8],
            note="Daemons up to 0.5.2 installed by the one, newer ones by the other; now all install the same.",
        ),
    )


def _foretell(plugin: Plugin, resolution: Resolution, options: Options, client: Client, listen: Listener) -> None:
    """Say the size verdict before anything is downloaded."""
    files = {each.url: each for pin in resolution.pins if isinstance(each := pin.source, WheelSource | ArchiveSource)}
    unknown = [_download(each) for each in files.values() if each.size is None]
    asked = dict(zip((each.url for each in unknown), sizes(unknown, client), strict=True)) if unknown else {}
    known = {url: size if (size := file.size) is not None else asked[url] for url, file in files.items()}
    # What is built from source has a size only afterwards: that of the source says little.
    wheel_sizes = [known[pin.source.url] for pin in resolution.pins if isinstance(pin.source, WheelSource)]
    complete = len(wheel_sizes) == len(resolution.pins) and None not in wheel_sizes
    total = plugin.size + sum(size or 0 for size in wheel_sizes)
    verdict = size_verdict(
        options.release, file_size=total, unpacked_size=total, limit=options.max_size, complete=complete
    )
    listen(
        Stage(name="resolved", text=f"{len(resolution.pins)} distributions from {resolution.origin}; {verdict.text}")
    )
    for finding in _size_finding(verdict):
        listen(finding)


def _size_finding(verdict: SizeVerdict) -> tuple[Diagnosis, ...]:
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


def _download(source: WheelSource | ArchiveSource) -> Download:
    return Download(url=source.url, filename=source.filename, hashes=source.hashes, size=source.size)


def _url(pin: Pin) -> str:
    return pin.source.url if isinstance(pin.source, WheelSource | ArchiveSource) else ""


def _fetch(resolution: Resolution, store: WheelStore, client: Client, listen: Listener) -> Mapping[str, Fetched]:
    """Bring every file into the store; return them by URL."""
    sources = [pin.source for pin in resolution.pins if isinstance(pin.source, WheelSource | ArchiveSource)]
    results = fetch([_download(source) for source in sources], store, client, on_progress=listen)
    fetched = {each.download.url: each for each in results}
    new = [each for each in fetched.values() if not each.from_store]
    text = (
        f"{len(new)} files, {sum(each.size for each in new) / 1e6:.1f} MB ({len(fetched) - len(new)} were in the store)"
    )
    listen(Stage(name="fetched", text=text))
    return fetched


def _wheel(
    pin: Pin, fetched: Fetched | None, plugin: Plugin, store: WheelStore, tools: Tools, listen: Listener
) -> Wheel:
    source = pin.source
    if not isinstance(source, WheelSource):
        sha256 = fetched.sha256 if fetched else None
        wheel = build_wheel(pin.name, source, pin.architectures, plugin=plugin, store=store, sha256=sha256, tools=tools)
        listen(Stage(name="built", text=f"{wheel.filename} from source"))
        return wheel
    assert fetched is not None
    assert pin.version is not None
    return Wheel(
        name=pin.name,
        version=pin.version,
        filename=source.filename,
        sha256=fetched.sha256,
        size=fetched.size,
        origin=redact(source.url),
        architectures=pin.architectures,
        direct=pin.direct,
    )


def _own_wheel(plugin: Plugin, targets: Sequence[Target], store: WheelStore, tools: Tools) -> Wheel | None:
    """Build the plugin's own project, where it is one to build and its modules do not lie at the plugin's root."""
    project = plugin.dependencies.project
    built = "build-system" in (plugin.dependencies.pyproject or {})
    if project is None or not plugin.dependencies.tool_uv.get("package", built):
        return None
    wheel = build_wheel(
        str(project.get("name", "plugin")),
        FolderSource(path="."),
        frozenset(target.architecture for target in targets),
        plugin=plugin,
        store=store,
        sha256=None,
        tools=tools,
    )
    at_root = {path.partition("/")[0].removesuffix(".py") for path in plugin.files}
    return None if top_level_modules(store.path(wheel.sha256)) <= at_root else wheel


def _edited(edits: Sequence[Edit]) -> str:
    counts: dict[str, int] = {}
    for edit in edits:
        counts[edit.file] = counts.get(edit.file, 0) + 1
    return ", ".join(f"{file} ({count} edits)" if count > 1 else file for file, count in counts.items())


def _target_records(targets: Sequence[Target]) -> tuple[TargetRecord, ...]:
    return tuple(
        TargetRecord(architecture=each.architecture, python=each.python, glibc=".".join(map(str, each.glibc)))
        for each in targets
    )


def _wheel_record(wheel: Wheel) -> WheelRecord:
    return WheelRecord(
        filename=wheel.filename,
        sha256=wheel.sha256,
        size=wheel.size,
        origin=wheel.origin,
        architectures=tuple(sorted(wheel.architectures)),
        built=wheel.built,
    )


def _recorded_wheel(wheel: WheelRecord) -> Wheel:
    name, version, _, _ = parse_wheel_filename(wheel.filename)
    return Wheel(
        name=name,
        version=str(version),
        filename=wheel.filename,
        sha256=wheel.sha256,
        size=wheel.size,
        origin=wheel.origin,
        architectures=frozenset(each for each in ARCHITECTURES if each in wheel.architectures),
        built=wheel.built,
    )
