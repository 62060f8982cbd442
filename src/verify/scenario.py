"""What is verified against: daemon release x settings x architecture x backend."""

from dataclasses import dataclass

from difypkg.daemons import Release, Settings
from difypkg.target import Architecture
from verify.report import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One run: `launch` says that the plugin is started as well. `uv` is the version to install with, where it matters."""

    release: Release
    settings: Settings
    architecture: Architecture
    backend: Backend
    launch: bool
    uv: str | None = None
