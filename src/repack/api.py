"""The way of a plugin, on one screen: source -> resolution -> wheels -> offline shape -> package."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..difypkg.files import output_errors
from ..difypkg.place import PluginPlace
from ..difypkg.record import RECORD, FileRecord, Record, SourceRecord, dump_record
from .checks import as_read, disagreement_findings, refuse, refuse_to_replace_source
from .events import Done, Listener, PluginOpened, silent
from .gather import Wheelhouse, foretell, gather
from .options import Options, package_name
from .pack import Packed, write_package
from .package import Contents, OfflinePackage, describe, up_to_date
from .publication import STAGES, PublicationStage, run_stages
from .resolution import MadeBefore, Resolution
from .resolve import resolve
from .shape import Shape, shape
from .source import Plugin, file_of, open_plugin
from .wheels import wheel_record
from .workshop import Workshop


def build(
    place: PluginPlace,
    options: Options,
    workshop: Workshop,
    *,
    listen: Listener = silent,
    stages: Sequence[PublicationStage] = STAGES,
    before: MadeBefore | None = None,
) -> OfflinePackage:
    """Make an offline package of the plugin at a place, from a resolution that was made `before` if there is one.

    It gets its final name in the last of `stages`, and only when it is whole and every one lets it pass. Raises
    `DifyoffError` for everything that stops the work; nothing is left half-written.
    """
    with open_plugin(place, with_env=options.with_env) as plugin:
        listen(PluginOpened(identity=plugin.identity, findings=plugin.findings))
        if plugin.record is not None:
            return _carry(plugin, plugin.record, options, listen, stages)
        refuse(plugin, options)
        plugin, findings = as_read(plugin, options)
        path = options.output / package_name(plugin.identity, options)
        refuse_to_replace_source(path, place.path)
        resolution = resolve(plugin, options, workshop, before=before)
        foretell(plugin, resolution, options, workshop, listen)
        wheelhouse = gather(plugin, resolution, options, workshop, listen)
        shaped = shape(plugin, wheelhouse, options.targets, workshop)
        listen(Done(name="edited", text=shaped.summary))
        record = _record(plugin, resolution, wheelhouse, shaped, options, workshop)
        files = {**shaped.files, RECORD: file_of(dump_record(record))}
        write = partial(write_package, files=files, manifest=plugin.manifest)
        packed, state = run_stages(path, write, stages, force=options.force)
        listen(Done(name="packed", text=path.name if state == "written" else f"{path.name} (up to date)"))
        contents = Contents(
            resolution=resolution.origin,
            wheels=wheelhouse.wheels,
            edits=shaped.edits,
            findings=(
                *plugin.findings,
                *findings,
                *resolution.findings,
                *disagreement_findings(plugin, resolution, options.targets),
                *wheelhouse.findings,
            ),
        )
        return describe(plugin, contents, packed, state, options)


def resolve_place(place: PluginPlace, options: Options, workshop: Workshop) -> tuple[Plugin, Resolution]:
    """Return the plugin at a place, whose files are closed, and its resolution, without making anything.

    Raises `DifyoffError` as `build` does.
    """
    with open_plugin(place, with_env=options.with_env) as plugin:
        refuse(plugin, options)
        plugin, _ = as_read(plugin, options)
        return plugin, resolve(plugin, options, workshop)


def _carry(
    plugin: Plugin, record: Record, options: Options, listen: Listener, stages: Sequence[PublicationStage]
) -> OfflinePackage:
    """Put a package that difyoff made where this build's would be, unless it lies there. Refuse one for others."""
    package = up_to_date(plugin, record, options)
    lies = plugin.place.path
    # A fetched file lies in the cache, under a name of no meaning.
    path = options.output / (lies.name if plugin.place.origin is None else package_name(plugin.identity, options))
    if path.exists() and path.samefile(lies):
        listen(Done(name="packed", text=f"{plugin.place.name} (is an offline package already, and stays as it is)"))
        return package

    def copy(target: Path) -> Packed:
        with output_errors(target, package.package.size):
            shutil.copyfile(lies, target)
        return replace(package.package, path=target)

    packed, state = run_stages(path, copy, stages, force=options.force)
    how = "copied" if state == "written" else "up to date"
    listen(Done(name="packed", text=f"{path.name} (is an offline package already; {how})"))
    return replace(package, package=packed, state=state)


def _record(
    plugin: Plugin,
    resolution: Resolution,
    wheelhouse: Wheelhouse,
    shaped: Shape,
    options: Options,
    workshop: Workshop,
) -> Record:
    return Record(
        source=SourceRecord(identity=str(plugin.identity), sha256=plugin.sha256, origin=plugin.place.origin),
        targets=options.target_records,
        resolution=resolution.origin,
        wheels=tuple(map(wheel_record, wheelhouse.wheels)),
        edits=shaped.edits,
        files=tuple(
            FileRecord(path=path, sha256=file.sha256, size=file.size) for path, file in sorted(shaped.files.items())
        ),
        difyoff=workshop.version,
        uv=workshop.uv.version,
    )
