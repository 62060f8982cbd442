"""Resolution -> wheels in the store: foretell the size, fetch, build what has no wheel."""

from collections.abc import Mapping, Sequence

from ..difypkg.redaction import public_url
from ..difypkg.site import size_verdict
from ..difypkg.target import Target
from ..transfer.client import Client
from ..transfer.fetch import Download, Fetched, fetch, sizes
from ..transfer.store import WheelStore
from ..uvrun.environment import credentials
from .build import build_wheel
from .events import Listener, Stage
from .options import Options
from .package import size_findings
from .resolution import ArchiveSource, FolderSource, Pin, Resolution, WheelSource
from .source import Plugin
from .tools import Tools
from .wheels import Wheel, top_level_modules


def client_for(options: Options) -> Client:
    """Return an HTTP client with the credentials and exceptions of the user's index settings."""
    hosts = options.index.config.get("allow-insecure-host", ())
    pairs = {
        f"{each.scheme}://{f'[{each.host}]' if ':' in each.host else each.host}"
        f"{f':{each.port}' if each.port else ''}": (each.user, each.password)
        for each in reversed(credentials(options.index))
    }
    insecure = (*hosts, *options.index.environment.get("UV_INSECURE_HOST", "").split())
    return Client(version=options.version, credentials=pairs, insecure_hosts=insecure)


def foretell(plugin: Plugin, resolution: Resolution, options: Options, client: Client, listen: Listener) -> None:
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
    for finding in size_findings(verdict):
        listen(finding)


def gather(
    plugin: Plugin, resolution: Resolution, store: WheelStore, client: Client, tools: Tools, listen: Listener
) -> tuple[Wheel, ...]:
    """Fetch or build every pin's wheel into the store."""
    fetched = _fetch(resolution, store, client, listen)
    return tuple(_wheel(pin, fetched.get(_url(pin)), plugin, store, client, tools, listen) for pin in resolution.pins)


def own_wheel(
    plugin: Plugin, targets: Sequence[Target], store: WheelStore, client: Client, tools: Tools
) -> Wheel | None:
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
        client=client,
        sha256=None,
        direct=False,
        tools=tools,
    )
    at_root = {path.partition("/")[0].removesuffix(".py") for path in plugin.files}
    return None if top_level_modules(store.path(wheel.sha256)) <= at_root else wheel


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
    pin: Pin,
    fetched: Fetched | None,
    plugin: Plugin,
    store: WheelStore,
    client: Client,
    tools: Tools,
    listen: Listener,
) -> Wheel:
    source = pin.source
    if not isinstance(source, WheelSource):
        sha256 = fetched.sha256 if fetched else None
        wheel = build_wheel(
            pin.name,
            source,
            pin.architectures,
            plugin=plugin,
            store=store,
            client=client,
            sha256=sha256,
            direct=pin.direct,
            tools=tools,
        )
        where = " in the image" if wheel.built and wheel.built.image else ""
        listen(Stage(name="built", text=f"{wheel.filename} from source{where}"))
        return wheel
    assert fetched is not None
    assert pin.version is not None
    return Wheel(
        name=pin.name,
        version=pin.version,
        filename=source.filename,
        sha256=fetched.sha256,
        size=fetched.size,
        origin=_origin(source),
        architectures=pin.architectures,
        direct=pin.direct,
    )


def _origin(source: WheelSource) -> str:
    # A folder of this machine says nothing to others, and would make the package depend on it.
    return public_url(source.url) if source.url.startswith(("http://", "https://")) else source.filename
