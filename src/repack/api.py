"""The way of a plugin, on one screen: source -> resolution -> wheels -> offline shape -> package."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from ..difypkg.files import temporary_name
from ..difypkg.place import PluginPlace
from ..difypkg.record import Record, SourceRecord, dump_record
from ..transfer.store import WheelStore
from .checks import disagreement_findings, refuse
from .events import Listener, Opened, Stage, silent
from .gather import client_for, foretell, gather, own_wheel
from .options import Options, package_name
from .pack import file_records, publish, write_package
from .package import OfflinePackage, describe, up_to_date
from .resolve import resolve
from .shape import shape
from .source import Plugin, open_plugin
from .tools import Tools, find_tools
from .wheels import wheel_record

Gate: TypeAlias = Callable[[Path, Path], None]
"""Called with the finished package under its temporary name, and its final one; raises to keep it from getting that."""


def build(
    place: PluginPlace, options: Options, *, listen: Listener = silent, gate: Gate | None = None
) -> OfflinePackage:
    """Make an offline package of the plugin at a place.

    The package is published under its final name only when it is whole and `gate`, where given, lets it pass. Raises
    `DifyoffError` for everything that stops the work; nothing is left half-written.
    """
    with open_plugin(place, with_env=options.with_env) as plugin:
        listen(Opened(identity=plugin.identity, findings=plugin.findings))
        if plugin.record is not None:
            return up_to_date(plugin, plugin.record, options)
        refuse(plugin, options)
        options.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="build-", dir=options.cache) as scratch:
            tools = find_tools(options, Path(scratch), listen)
            return _build(plugin, options, tools, listen, gate)


def _build(plugin: Plugin, options: Options, tools: Tools, listen: Listener, gate: Gate | None) -> OfflinePackage:
    store = WheelStore(options.cache / "wheels")
    client = client_for(options)
    resolution, findings = resolve(plugin, options.targets, tools)
    foretell(plugin, resolution, options, client, listen)
    wheels = gather(plugin, resolution, store, client, tools, listen)
    own = own_wheel(plugin, options.targets, store, client, tools)
    if own is not None:
        wheels = tuple(sorted((*wheels, own), key=lambda wheel: wheel.name))
    shaped = shape(plugin, wheels, options.targets, own_wheel=own, store=store, tools=tools)
    listen(Stage(name="edited", text=shaped.summary))
    records = file_records(shaped)
    record = Record(
        source=SourceRecord(identity=str(plugin.identity), sha256=plugin.sha256),
        targets=options.target_records,
        resolution=resolution.origin,
        wheels=tuple(wheel_record(wheel) for wheel in wheels),
        edits=shaped.edits,
        files=records,
        difyoff=options.version,
        uv=tools.uv.version,
    )
    path = options.output / package_name(plugin.identity, options)
    with temporary_name(path) as temporary:
        packed = write_package(temporary, shaped, records, dump_record(record), plugin.manifest)
        if gate is not None:
            gate(temporary, path)
        written = publish(temporary, path, force=options.force)
    listen(Stage(name="packed", text=path.name if written else f"{path.name} (up to date)"))
    return describe(
        plugin,
        replace(packed, path=path),
        "written" if written else "up to date",
        resolution.origin,
        wheels,
        shaped.edits,
        (*plugin.findings, *findings, *disagreement_findings(plugin, resolution)),
        options,
    )
