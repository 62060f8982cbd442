"""Many findings of one kind become one, in the words of the kind."""

from collections.abc import Iterable, Iterator
from typing import Final

from ...difypkg.diagnosis import REBUILD, Diagnosis
from ..finding import Branches, Finding

_SHOWN: Final = 12
_WORDS: Final = {
    "missing-wheel": ("the package has no wheel of {}", REBUILD),
    "wrong-python-tag": (
        "the wheels of {} are for another Python than the daemon's CPython 3.12",
        f"The daemon's Python is CPython 3.12, whatever built the package. {REBUILD}",
    ),
    "wrong-platform": (
        "the wheels of {} are for another platform than the daemon's",
        "Look at the machine (`uname -m`) and rebuild with `difyoff build --arch amd64`, `arm64` or `all`.",
    ),
    "source-build-needed": (
        "{} is included as source only and would have to be built on the daemon's machine",
        f"Bundle a wheel instead of the source distribution. {REBUILD}",
    ),
    "python-version-mismatch": (
        "{} does not support the daemon's Python",
        "Pin a version of it that supports Python 3.12, then build again with `difyoff build`.",
    ),
    "direct-reference": (
        "{} is required from a URL, which cannot be reached",
        f"Only a wheel in the package helps. {REBUILD}",
    ),
    "lock-pins-remote-urls": (
        "uv.lock names {} by a URL that cannot be reached",
        f"Mirrors, `no-index` and wheels beside it do not overrule a lock. {REBUILD}",
    ),
    "lock-outdated": ("uv.lock leaves out {}, which the plugin needs", f"Do not edit a built package. {REBUILD}"),
    "dev-group-unavailable": (
        "uv asks for {}, which no daemon installs and the package need not carry",
        f"Remove groups and extras that are not bundled from pyproject.toml. {REBUILD}",
    ),
    "universal-resolution": (
        "uv resolves for other machines and Pythons too and asks for {}, which only those need",
        f"`environments` in `[tool.uv]` confines it to the daemon's machine. {REBUILD}",
    ),
    "tampered-wheel": (
        "{} is not the file that was packed",
        f"Do not install it: find out where the package was changed, and carry it across again. {REBUILD}",
    ),
}


def merge(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Make one finding for each slug, of everything that was found of it on whatever branch."""
    bites: dict[tuple[str, str], Branches] = {}
    details: dict[tuple[str, str], str] = {}
    for finding in findings:
        key = finding.slug, finding.subject
        bites[key] = bites.get(key, frozenset()) | finding.bites
        details.setdefault(key, finding.diagnosis.message)
    # Apart where they bite apart: else one line would blame every branch for all of them.
    groups: dict[tuple[str, Branches], list[tuple[str, str]]] = {}
    for key, branches in bites.items():
        groups.setdefault((key[0], branches), []).append(key)
    for (slug, branches), keys in groups.items():
        message, hint = _WORDS[slug]
        subjects = [subject for _, subject in keys]
        yield Finding(
            diagnosis=Diagnosis(
                slug=slug,
                message=message.format(_list_names(subjects)),
                context=tuple(details[key] for key in keys[:_SHOWN]),
                hint=hint,
            ),
            bites=branches,
        )


def _list_names(subjects: list[str]) -> str:
    if len(subjects) > 4:
        return f"{', '.join(subjects[:3])} and {len(subjects) - 3} more"
    return " and ".join(filter(None, [", ".join(subjects[:-1]), subjects[-1]]))
