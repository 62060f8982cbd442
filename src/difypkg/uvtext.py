"""What uv's words mean for a plugin: one pure function from its output to a diagnosis.

uv tells a failure in two layouts (framed and wrapped at 80 columns up to 0.12, `error: … cause: …` from 0.13 on) and
in words that differ by version. The rules, `uvtext.toml`, are read off recorded output of 0.6.5 to 0.13.8.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Final, cast

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from .diagnosis import Diagnosis
from .pep508 import parse_marker
from .target import TARGETS
from .textrules import RuleSet, Side, find, flatten, load_rules

_LOOKED_FOR: Final = re.compile(
    r"Because (?:there are no versions of )?(?:only )?(?P<package>[A-Za-z0-9._-]+)(?:\{[^}]*\}|\[[^\]]*\])*"
    r"(?: was not found in the provided package locations|<| and )"
)


def diagnose_uv(text: str, *, wheels: Iterable[str] = ()) -> Diagnosis | None:
    """Return what uv's output (stdout, stderr or both) says is wrong, or None if no rule knows it.

    `wheels` are the file names of the package's wheels. Some versions of uv only say that a wheel does not fit; its
    name then tells whether its Python or its platform is the wrong one (`wrong-wheel-tag` where there is no such name).
    """
    finding = find(uv_rules().rules, flatten(text.splitlines()))
    if finding is None:
        return None
    if finding.diagnosis.slug == "wrong-wheel-tag":
        return _with_tags(finding.diagnosis, wheels)
    return finding.diagnosis


def diagnose_resolution(text: str) -> Diagnosis | None:
    """Return what uv's output says is wrong where it resolved with an index, or None if no rule knows it."""
    finding = find(uv_rules("resolving").rules, flatten(text.splitlines()))
    return finding.diagnosis if finding else None


def missing_distributions(text: str) -> tuple[str, ...]:
    """Return the distributions that uv looked for among local wheels in vain, in the order that it names them."""
    flat = flatten(text.splitlines()).text
    return tuple(dict.fromkeys(canonicalize_name(match["package"]) for match in _LOOKED_FOR.finditer(flat)))


def _with_tags(diagnosis: Diagnosis, wheels: Iterable[str]) -> Diagnosis:
    package = diagnosis.message.split()[0].partition("==")[0]
    try:
        name = canonicalize_name(package)
        files = {wheel: parse_wheel_filename(wheel) for wheel in wheels}
    except InvalidWheelFilename:
        return diagnosis
    ours = {wheel: tags for wheel, (project, _, _, tags) in files.items() if project == name}
    if not ours:
        return diagnosis
    if any(_python_fits(tag) for tags in ours.values() for tag in tags):
        wrong, what, hint = "wrong-platform", "platform", "other-platform"
    else:
        wrong, what, hint = "wrong-python-tag", "Python", "other-python"
    message = f"the wheels of {package} are for another {what} than the daemon's: {', '.join(sorted(ours))}"
    return replace(diagnosis, slug=wrong, message=message, hint=uv_rules().phrases[hint])


def _python_fits(tag: Tag) -> bool:
    return any((tag.interpreter, tag.abi) == (fit.interpreter, fit.abi) for fit in TARGETS["amd64"].tags)


def _is_foreign(match: re.Match[str]) -> bool:
    """Tell whether the marker is false on every target: a dependency that only other machines have.

    What is not a marker (braces of another text, or a marker cut short) proves nothing.
    """
    marker = parse_marker(match["marker"])
    if marker is None:
        return False
    try:
        return not any(marker.evaluate(cast("dict[str, str]", target.environment)) for target in TARGETS.values())
    except (UndefinedComparison, UndefinedEnvironmentName):
        return False


@cache
def uv_rules(side: Side = "installing") -> RuleSet:
    """Return the rules of `uvtext.toml` for one side."""
    return load_rules("uvtext.toml", {"foreign-marker": _is_foreign}, side)
