"""A plugin's dependency files: which there are, what they say, and whether someone made them offline already."""

import codecs
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .diagnosis import Diagnosis, DifyoffError
from .names import DEPENDENCY_FILES, LOCK, PYPROJECT, REQUIREMENTS
from .pep508 import is_nested_without_end, parse_requirement
from .target import Target, admits, is_specifier

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_COMMENT: Final = re.compile(r"(^|\s)#.*$")
_LOCAL_WHEEL: Final = re.compile(r"(^|@\s*)(file:)?\.{0,2}/?[\w./-]+\.whl\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class DependencyFiles:
    """The dependency files of a plugin, decoded; None where there is none.

    `pyproject` is the parsed text of `pyproject_text`. `lock` is kept as text: only uv reads it.
    """

    requirements: str | None
    pyproject_text: str | None
    lock: str | None
    pyproject: dict[str, Any] | None

    @property
    def present(self) -> tuple[str, ...]:
        """The names of the files there are."""
        texts = (self.requirements, self.pyproject_text, self.lock)
        return tuple(name for name, text in zip(DEPENDENCY_FILES, texts, strict=True) if text is not None)

    @property
    def project(self) -> dict[str, Any] | None:
        """The `[project]` table: without one uv installs nothing from a pyproject.toml and reports success."""
        table = self.pyproject.get("project") if self.pyproject is not None else None
        return table if isinstance(table, dict) else None

    @property
    def tool_uv(self) -> dict[str, Any]:
        """The `[tool.uv]` table, empty where there is none."""
        tool = self.pyproject.get("tool") if self.pyproject is not None else None
        table = tool.get("uv") if isinstance(tool, dict) else None
        return table if isinstance(table, dict) else {}

    @property
    def requirement_lines(self) -> tuple[str, ...]:
        """The lines of requirements.txt without comments, continuations joined, blanks left out."""
        return requirement_lines(self.requirements or "")


def requirement_lines(text: str) -> tuple[str, ...]:
    """Return the lines of a requirements file without comments, continuations joined, blanks left out."""
    joined = text.replace("\r\n", "\n").replace("\\\n", " ")
    lines = (_COMMENT.sub("", line).strip() for line in joined.split("\n"))
    return tuple(line for line in lines if line)


def decode(content: bytes, path: str) -> str:
    """Decode a text file as uv does: by its byte order mark, else UTF-8. Raises `text-unreadable`."""
    encoding = "utf-8"
    for bom, name in _BOMS:
        if content.startswith(bom):
            content, encoding = content.removeprefix(bom), name
            break
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DifyoffError(
            Diagnosis(
                slug="text-unreadable",
                message=f"{path} is not {encoding.upper()} text",
                context=(str(error),),
                hint="Ask the plugin's author for a corrected package.",
            )
        ) from error
    if any(map(is_nested_without_end, text.splitlines())):
        raise DifyoffError(
            Diagnosis(
                slug="text-unreadable",
                message=f"{path} nests brackets without end",
                note="uv overflows its stack over such a file.",
                hint="Ask the plugin's author for a corrected package.",
            )
        )
    return text


def parse_toml(text: str, path: str) -> dict[str, Any]:
    """Parse TOML. Raises `toml-unreadable`."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # an integer of too many digits is a plain `ValueError`
        raise DifyoffError(
            Diagnosis(
                slug="toml-unreadable",
                message=f"{path} is not valid TOML",
                context=(str(error),),
                hint="Correct the file, or ask the plugin's author for a corrected package.",
            )
        ) from error


def read_dependency_files(contents: dict[str, bytes]) -> DependencyFiles:
    """Decode the dependency files given by name. Raises `text-unreadable`, `toml-unreadable`, `no-dependency-file`."""
    texts = {name: decode(contents[name], name) for name in DEPENDENCY_FILES if name in contents}
    if REQUIREMENTS not in texts and PYPROJECT not in texts:
        found = f" ({LOCK} alone is not one)" if LOCK in texts else ""
        raise DifyoffError(
            Diagnosis(
                slug="no-dependency-file",
                message=f"the plugin has neither {PYPROJECT} nor {REQUIREMENTS}{found}",
                note="The daemon refuses such a plugin when it prepares the Python environment.",
                hint="Check that the package is complete and that no ignore rule drops the file.",
            )
        )
    pyproject = parse_toml(texts[PYPROJECT], PYPROJECT) if PYPROJECT in texts else None
    files = DependencyFiles(
        requirements=texts.get(REQUIREMENTS),
        pyproject_text=texts.get(PYPROJECT),
        lock=texts.get(LOCK),
        pyproject=pyproject,
    )
    if files.project is None and files.requirements is None:
        raise DifyoffError(
            Diagnosis(
                slug="no-dependency-file",
                message=f"{PYPROJECT} has no [project] table, and there is no {REQUIREMENTS}",
                note="uv installs nothing from such a file and reports success; the plugin then cannot start.",
                hint="Ask the plugin's author for a package with its dependencies.",
            )
        )
    return files


def check_python(files: DependencyFiles, python: str) -> None:
    """Refuse a `requires-python` that excludes the target's Python (a full version). Raises `python-excluded`."""
    value = (files.project or {}).get("requires-python")
    if value is None:
        return
    if not is_specifier(str(value)):
        raise DifyoffError(
            Diagnosis(
                slug="toml-unreadable",
                message=f"{PYPROJECT}: requires-python {value!r} is not a version specifier",
                hint="Correct the file, or ask the plugin's author for a corrected package.",
            )
        )
    if not admits(str(value), python):
        raise DifyoffError(
            Diagnosis(
                slug="python-excluded",
                message=f"the plugin asks for Python {value}; the daemon's image runs {python}",
                note="The daemon would look for another Python, find none, and fail without a network.",
                hint="Ask the plugin's author for a release that supports Python 3.12.",
            )
        )


def check_dynamic(files: DependencyFiles) -> None:
    """Refuse `dynamic` fields (PEP 621) that uv would build the plugin for. Raises `dynamic-dependencies`."""
    dynamic = (files.project or {}).get("dynamic", [])
    fields = sorted(field for field in dynamic if field in _BUILT_FIELDS)
    if fields:
        raise DifyoffError(
            Diagnosis(
                slug="dynamic-dependencies",
                message=f"{PYPROJECT} leaves {', '.join(fields)} to its build backend",
                note="uv would have to build the plugin, at every install, without a network.",
                hint=f"Write {fields[0]} into {PYPROJECT} and take it out of `dynamic`.",
            )
        )


_BUILT_FIELDS: Final = ("dependencies", "optional-dependencies", "requires-python")


def offline_marks(files: DependencyFiles, paths: Collection[str]) -> tuple[str, ...]:
    """Return the signs that a package was made offline already, each a phrase; empty for an original."""
    marks: list[str] = []
    bundled = [path for path in paths if path.endswith(".whl")]
    if bundled:
        folder = bundled[0].rpartition("/")[0] or "."
        marks.append(f"{folder}/ holds {len(bundled)} wheels")
    options = [line for line in files.requirement_lines if line.startswith("--no-index")]
    if options:
        marks.append(f"{REQUIREMENTS} begins with {options[0]!r}")
    if any(_LOCAL_WHEEL.search(line) for line in files.requirement_lines):
        marks.append(f"{REQUIREMENTS} names local wheels")
    if files.tool_uv.get("no-index"):
        marks.append(f"{PYPROJECT} sets no-index under [tool.uv]")
    return tuple(marks)


def offline_maker(files: DependencyFiles) -> str | None:
    """Name the tool whose marks an offline package bears, by the form that each is known to write; None for others."""
    lines = files.requirement_lines
    uv = files.tool_uv
    if any(re.match(r"--no-index\s+--find-links", line) for line in lines) or uv.get("prerelease") == "allow":
        return "dify-plugin-repackaging or a fork of it"
    if uv.get("environments") and uv.get("no-index"):
        return "dify-plugin-offline-packager"
    if lines and all("./deps/" in line for line in lines):
        return "dify-plugin-offline"
    return None


def _applies(requirement: Requirement, targets: Iterable[Target]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate(cast("dict[str, str]", each.environment)) for each in targets)


def disagreements(
    files: DependencyFiles, versions: Mapping[str, Collection[str]], targets: Collection[Target]
) -> tuple[str, ...]:
    """Return the requirements.txt lines that the resolved versions do not satisfy.

    `versions` maps each normalised name to the versions chosen. Lines that are not requirements of PEP 508, or
    that a marker keeps off all targets, are passed over.
    """
    result: list[str] = []
    for line in files.requirement_lines:
        if line.startswith("-"):
            continue
        requirement = parse_requirement(line.split(" --hash", 1)[0])
        if requirement is None or not _applies(requirement, targets):
            continue
        chosen = versions.get(canonicalize_name(requirement.name), ())
        if requirement.url is None and not any(requirement.specifier.contains(v, prereleases=True) for v in chosen):
            result.append(line)
    return tuple(result)
