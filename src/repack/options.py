"""How to build, as a value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..difypkg.daemons import Release
from ..difypkg.identity import Identity
from ..difypkg.record import TargetRecord
from ..difypkg.target import Target
from ..uvrun.environment import IndexSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildImage:
    """The image to build wheels in: `platform` is Docker's (`linux/arm64`), None for the engine's own."""

    reference: str
    pull: Literal["never", "missing", "always"] = "missing"
    platform: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to build. `max_size` is the site's limit in bytes, None for the daemon's default.

    `build_in` is where wheels are built that exist as source only, None for this machine.
    """

    targets: tuple[Target, ...]
    release: Release
    output: Path
    index: IndexSettings
    cache: Path
    version: str
    suffix: str = "-offline"
    max_size: int | None = None
    force: bool = False
    with_env: bool = False
    build_in: BuildImage | None = None

    @property
    def target_records(self) -> tuple[TargetRecord, ...]:
        """The targets as the record of a package names them."""
        return tuple(map(TargetRecord.of, self.targets))


def package_name(identity: Identity, options: Options) -> str:
    """Return the file name of a package, as the marketplace names its own, with the suffix and the architecture."""
    architectures = [target.architecture for target in options.targets]
    which = "-all" if len(architectures) > 1 else "" if architectures == ["amd64"] else f"-{architectures[0]}"
    return f"{identity.author}-{identity.name}_{identity.version}{options.suffix}{which}.difypkg"
