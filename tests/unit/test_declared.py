"""What the code imports is declared, and what is declared is used."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def imported() -> Iterator[str]:
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (each.name.partition(".")[0] for each in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                yield node.module.partition(".")[0]


def test_imports_and_dependencies_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    optional = project.get("optional-dependencies", {}).values()
    extra = {canonicalize_name(Requirement(line).name) for lines in optional for line in lines}
    homes = packages_distributions()
    foreign = {name for name in imported() if name not in sys.stdlib_module_names and name != "difyoff"}
    used = {canonicalize_name(each) for name in foreign for each in homes.get(name, [name])}

    assert used - declared - extra - {"pytest"} == set()  # whoever loads the pytest plugin has pytest
    assert declared - used == set()
