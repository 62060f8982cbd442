"""`difyoff inspect`: what a package holds, who it is, and what each daemon release does with it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path, PurePosixPath

import click

from ...difypkg.daemons import Layout, Release, Settings, plan, releases
from ...difypkg.dependencies import offline_marks
from ...difypkg.diagnosis import DifyoffError, Exit, worst
from ...difypkg.place import local_place
from ...difypkg.sizes import human_size
from ...render.documents import InspectDocument, InspectResult, ReleasePlan, SignatureDocument
from ...repack.source import Plugin, open_plugin
from ..console import printable, put, show_error, show_finding
from ..options import common
from ..reports import check_reports, emit

_LAYOUT = Layout(
    plugin=PurePosixPath("."), working_path=PurePosixPath(".."), uv=PurePosixPath("uv"), path="", entrypoint="main"
)


@click.command("inspect")
@click.argument("packages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PACKAGE...")
@common
def command(packages: tuple[Path, ...], as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Show what each PACKAGE holds and what each daemon release would run to install it."""
    check_reports(reports, packages)
    results = []
    for package in packages:
        results.append(_inspect(package))
        if not as_json and results[-1].diagnosis is None:
            for line in _describe(results[-1]):
                put(printable(line))
    code = worst(Exit(result.exit_code) for result in results)
    emit(InspectDocument(results=tuple(results), exit_code=code), as_json=as_json, reports=reports)
    return code


def _inspect(package: Path) -> InspectResult:
    try:
        with open_plugin(local_place(package)) as plugin:
            for finding in plugin.findings:
                show_finding(finding)
            return _result(package, plugin)
    except DifyoffError as error:
        show_error(error.diagnosis)
        return InspectResult(input=str(package), status="failed", exit_code=error.exit_code, diagnosis=error.diagnosis)


def _result(package: Path, plugin: Plugin) -> InspectResult:
    signature = plugin.signature
    size = package.stat().st_size if package.is_file() else None
    largest = max(plugin.size, size or 0)
    return InspectResult(
        input=str(package),
        status="read",
        exit_code=Exit.DONE,
        identity=str(plugin.identity),
        sha256=plugin.sha256,
        size=size,
        unpacked_size=plugin.size,
        files=len(plugin.files),
        kinds=plugin.manifest.kinds,
        dependency_files=plugin.dependencies.present,
        signature=SignatureDocument(time=signature.time, bits=signature.bits, category=signature.category)
        if signature
        else None,
        offline=offline_marks(plugin.dependencies, plugin.files),
        made_from=plugin.record.source.identity if plugin.record else None,
        targets=plugin.record.targets if plugin.record else (),
        wheels=sum(path.endswith(".whl") for path in plugin.files),
        releases=tuple(_plan(release, plugin, largest) for release in releases()),
        findings=plugin.findings,
    )


def _plan(release: Release, plugin: Plugin, largest: int) -> ReleasePlan:
    made = plan(release, Settings(), plugin.files, _LAYOUT)
    install = next((step.argv for step in made.steps if step.kind == "install"), ())
    return ReleasePlan(
        daemon=str(release),
        uv=release.uv,
        branch=made.branch,
        dependency_file=made.dependency_file,
        command=install,
        within_size_limit=largest <= release.max_package_size,
    )


def _describe(result: InspectResult) -> Iterator[str]:
    signature = result.signature
    yield result.identity or ""
    yield f"  kinds         {', '.join(result.kinds)}"
    yield f"  dependencies  {', '.join(result.dependency_files)}"
    if signature is None:
        yield "  signature     none"
    else:
        category = f", category {signature.category}" if signature.category else ""
        yield f"  signature     {signature.bits} bits of {_date(signature.time)}{category} (not checked against a key)"
    packed = f"{human_size(result.size)} packed, " if result.size is not None else ""
    yield f"  size          {packed}{human_size(result.unpacked_size or 0)} unpacked, {result.files} files"
    if result.sha256:
        yield f"  sha256        {result.sha256}"
    if result.made_from:
        targets = " and ".join(target.architecture for target in result.targets)
        yield f"  offline       by difyoff for {targets}, {result.wheels} wheels, from {result.made_from}"
    elif result.offline:
        yield f"  offline       by another tool: {'; '.join(result.offline)}"
    else:
        yield "  offline       no: installing it needs a package index"
    yield "  installed by"
    for (command, within), group in groupby(result.releases, lambda each: (each.command, each.within_size_limit)):
        names = [each.daemon for each in group]
        span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        limit = "" if within else "   (over the default size limit)"
        yield f"    {span:<16} {' '.join(command) or 'nothing: it finds no dependency file'}{limit}"


def _date(time: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return f"second {time}"  # beyond what a calendar holds
