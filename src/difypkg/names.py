"""The names of the files and folders that decide what an install does."""

from typing import Final

REQUIREMENTS: Final = "requirements.txt"
PYPROJECT: Final = "pyproject.toml"
LOCK: Final = "uv.lock"
DEPENDENCY_FILES: Final = (REQUIREMENTS, PYPROJECT, LOCK)

UV_TOML: Final = "uv.toml"
"""uv's settings of a folder; where there is one, `[tool.uv]` beside it does not count."""

PYTHON_VERSIONS: Final = (".python-version", ".python-versions")
"""The files by which uv chooses another Python than the one it would take."""

WHEELS: Final = "wheels"
"""The folder of a package that holds its wheels."""
