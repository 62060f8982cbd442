"""What cannot be made offline, and what a user should know before it is."""

from collections.abc import Collection
from pathlib import Path

from ..difypkg.dependencies import check_dynamic, check_python, disagreements, offline_maker, offline_marks
from ..difypkg.diagnosis import Diagnosis, DifyoffError
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
    for target in options.targets:
        check_python(plugin.dependencies, target.python)
    check_dynamic(plugin.dependencies)


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
