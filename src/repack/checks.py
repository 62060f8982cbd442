"""What cannot be made offline, and what a user should know before it is."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ..difypkg.daemons import Settings, plan_branch
from ..difypkg.dependencies import check_dynamic, check_python, disagreements, offline_maker, offline_marks
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.names import PYPROJECT, REQUIREMENTS
from ..difypkg.target import Target
from .options import Options
from .resolution import Resolution
from .source import Plugin


def refuse(plugin: Plugin, options: Options) -> None:
    """Refuse what cannot be made offline, and what another tool made so."""
    marks = offline_marks(plugin.dependencies, plugin.files)
    maker = offline_maker(plugin.dependencies)
    has_wheels = any(path.endswith(".whl") for path in plugin.files)
    # Wheels that no known tool put there are the author's own; options without wheels are left from somewhere.
    if maker and marks and (has_wheels or plugin.dependencies.tool_uv.get("no-index")):
        original = f"{plugin.manifest.author}/{plugin.manifest.name}:{plugin.manifest.version}"
        raise DifyoffError(
            Diagnosis(
                slug="already-offline",
                message=f"{plugin.place.name} was made offline already, by {maker}",
                context=marks,
                note="What its author wrote cannot be told any more from what that tool changed.",
                hint=f"Build from the original, {original}, as the marketplace or its author gives it.",
            )
        )


def as_read(plugin: Plugin, options: Options) -> tuple[Plugin, tuple[Diagnosis, ...]]:
    """Return a plugin with the dependency files that count, and what was found.

    A pyproject that no daemon can install from is refused, unless none of the releases that were asked for reads it.
    """
    try:
        for target in options.targets:
            check_python(plugin.dependencies, target.python)
        check_dynamic(plugin.dependencies)
    except DifyoffError as error:
        names = plugin.dependencies.present
        readers = [release for release in options.releases if plan_branch(release, Settings(), names) != "requirements"]
        if plugin.dependencies.requirements is None or not options.releases:
            raise
        if readers:
            what = f"for daemon {', '.join(map(str, readers))}: {error.diagnosis.message}"
            raise DifyoffError(replace(error.diagnosis, message=what)) from error
        finding = Diagnosis(
            slug="pyproject-not-read",
            message=f"{error.diagnosis.message}; daemon {', '.join(map(str, options.releases))} does not read it",
            note=f"The package is made from {REQUIREMENTS} and has no {PYPROJECT}. Whether it runs is not promised.",
        )
        dependencies = replace(plugin.dependencies, pyproject_text=None, pyproject=None, lock=None)
        return replace(plugin, dependencies=dependencies), (finding,)
    return plugin, architecture_findings(plugin, options)


def architecture_findings(plugin: Plugin, options: Options) -> tuple[Diagnosis, ...]:
    """Report architectures that are built for and that the manifest does not name."""
    named = plugin.manifest.architectures
    missing = [target.architecture for target in options.targets if named and target.architecture not in named]
    if not missing:
        return ()
    return (
        Diagnosis(
            slug="architecture-not-declared",
            message=f"the manifest names {', '.join(named)} only, and the package is built for {', '.join(missing)}",
            note="No daemon looks at that. The author may never have tried the plugin there.",
            hint="Verify the package for that architecture before you carry it across.",
        ),
    )


def disagreement_findings(plugin: Plugin, resolution: Resolution, targets: Collection[Target]) -> tuple[Diagnosis, ...]:
    """Tell where requirements.txt, which older daemons read, asks for something else than what is bundled."""
    if plugin.dependencies.project is None or plugin.dependencies.requirements is None:
        return ()
    versions: dict[str, list[str]] = {}
    for pin in resolution.pins:
        versions.setdefault(pin.name, []).extend((pin.version,) if pin.version else ())
    lines = disagreements(plugin.dependencies, {name: tuple(each) for name, each in versions.items()}, targets)
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


def refuse_to_replace_source(path: Path, source: Path) -> None:
    """Refuse to write the package over the plugin that it is made from. Raises `output-exists`."""
    if path.exists() and source.exists() and path.samefile(source):
        raise DifyoffError(
            Diagnosis(
                slug="output-exists",
                message=f"{path} is the plugin itself, which would be lost",
                hint="Use --suffix, or -o for another folder.",
            )
        )
