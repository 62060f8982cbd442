"""Resolution -> wheels in the store: foretell the size, fetch, build what has no wheel."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..difypkg.diagnosis import Diagnosis
from ..difypkg.redaction import public_url
from ..difypkg.site import size_verdict
from ..difypkg.sizes import human_size
from ..transfer.fetch import Download, Fetched, fetch, sizes
from .events import Done, Listener
from .inspection import inspect_early, inspect_wheels
from .options import Options
from .package import size_findings
from .resolution import ArchiveSource, FolderSource, Pin, Resolution, WheelSource
from .source import Plugin
from .wheels import Wheel, top_level_modules
from .workshop import Workshop


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheelhouse:
    """The wheels of a package, in the store.

    `own` is that of the plugin's own project, where its modules do not lie at the plugin's root; it is one of `wheels`.
    `findings` are what is worth knowing of them.
    """

    wheels: tuple[Wheel, ...]
    own: Wheel | None
    findings: tuple[Diagnosis, ...]


def foretell(plugin: Plugin, resolution: Resolution, options: Options, workshop: Workshop, listen: Listener) -> None:
    """Report the size verdict before anything is downloaded."""
    files = {each.url: each for pin in resolution.pins if isinstance(each := pin.source, WheelSource | ArchiveSource)}
    unknown = [_download(each) for each in files.values() if each.size is None]
    asked = dict(zip((each.url for each in unknown), sizes(unknown, workshop.client), strict=True)) if unknown else {}
    known = {url: size if (size := file.size) is not None else asked[url] for url, file in files.items()}
    # What is built from source has a size only afterwards: that of the source says little.
    wheel_sizes = [known[pin.source.url] for pin in resolution.pins if isinstance(pin.source, WheelSource)]
    complete = len(wheel_sizes) == len(resolution.pins) and None not in wheel_sizes
    total = plugin.size + sum(size or 0 for size in wheel_sizes)
    verdict = size_verdict(
        options.release, file_size=total, unpacked_size=total, limit=options.max_size, complete=complete
    )
    listen(Done(name="resolved", text=f"{len(resolution.pins)} distributions from {resolution.origin}; {verdict.text}"))
    for finding in size_findings(verdict):
        listen(finding)


def gather(
    plugin: Plugin, resolution: Resolution, options: Options, workshop: Workshop, listen: Listener
) -> Wheelhouse:
    """Fetch or build every pin's wheel into the store, and the plugin's own where it needs one."""
    fetched = _fetch(resolution, workshop, listen)
    wheels = []
    for pin in resolution.pins:
        if isinstance(pin.source, WheelSource):
            wheels.append(_fetched_wheel(pin, pin.source, fetched[pin.source.url]))
        else:
            wheels.append(_built_wheel(pin, fetched, plugin, workshop))
            where = " in the image" if wheels[-1].built and wheels[-1].built.image else ""
            listen(Done(name="built", text=f"{wheels[-1].filename} from source{where}"))
    own = _own_wheel(plugin, options, workshop)
    if own is not None:
        wheels = sorted([*wheels, own], key=lambda wheel: wheel.name)
    judged, findings = inspect_wheels(wheels, workshop.store)
    return Wheelhouse(wheels=judged, own=own, findings=findings)


def _own_wheel(plugin: Plugin, options: Options, workshop: Workshop) -> Wheel | None:
    """Build the plugin's own project, where it is one to build and its modules do not lie at the plugin's root."""
    project = plugin.dependencies.project
    built = "build-system" in (plugin.dependencies.pyproject or {})
    if project is None or not plugin.dependencies.tool_uv.get("package", built):
        return None
    pin = Pin(
        name=str(project.get("name", "plugin")),
        version=None,
        source=FolderSource(path="."),
        targets=frozenset(options.targets),
        direct=False,
    )
    wheel = _built_wheel(pin, {}, plugin, workshop)
    at_root = {path.partition("/")[0].removesuffix(".py") for path in plugin.files}
    return None if top_level_modules(workshop.store.path(wheel.sha256)) <= at_root else wheel


def _download(source: WheelSource | ArchiveSource) -> Download:
    return Download(url=source.url, filename=source.filename, hashes=source.hashes, size=source.size)


def _fetch(resolution: Resolution, workshop: Workshop, listen: Listener) -> Mapping[str, Fetched]:
    """Bring every file into the store; return them by URL."""
    sources = [pin.source for pin in resolution.pins if isinstance(pin.source, WheelSource | ArchiveSource)]
    results = fetch(
        [_download(source) for source in sources],
        workshop.store,
        workshop.client,
        on_progress=listen,
        on_arrival=lambda fetched: inspect_early(fetched, workshop.store),
    )
    fetched = {each.download.url: each for each in results}
    new = [each for each in fetched.values() if not each.from_store]
    size = human_size(sum(each.size for each in new))
    listen(Done(name="fetched", text=f"{len(new)} files, {size} ({len(fetched) - len(new)} were cached)"))
    return fetched


def _built_wheel(pin: Pin, fetched: Mapping[str, Fetched], plugin: Plugin, workshop: Workshop) -> Wheel:
    from .sourcebuild.wheel import build_wheel  # few plugins need one

    archive = fetched[pin.source.url].sha256 if isinstance(pin.source, ArchiveSource) else None
    return build_wheel(pin, archive, plugin, workshop)


def _fetched_wheel(pin: Pin, source: WheelSource, fetched: Fetched) -> Wheel:
    assert pin.version is not None
    return Wheel(
        name=pin.name,
        version=pin.version,
        filename=source.filename,
        sha256=fetched.sha256,
        size=fetched.size,
        origin=_origin(source),
        targets=pin.targets,
        direct=pin.direct,
    )


def _origin(source: WheelSource) -> str:
    # A folder of this machine says nothing to others, and would make the package depend on it.
    return public_url(source.url) if source.url.startswith(("http://", "https://")) else source.filename
