"""How to build one plugin, as a value. What it is built with is the workshop's."""

from dataclasses import dataclass
from pathlib import Path

from ..difypkg.daemons import Release
from ..difypkg.identity import Identity
from ..difypkg.record import TargetRecord
from ..difypkg.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to build. `max_size` is the site's limit in bytes, None for the daemon's default."""

    targets: tuple[Target, ...]
    release: Release
    output: Path
    suffix: str = "-offline"
    max_size: int | None = None
    force: bool = False
    with_env: bool = False

    @property
    def target_records(self) -> tuple[TargetRecord, ...]:
        """The targets as the record of a package names them."""
        return tuple(map(TargetRecord.of, self.targets))


def package_name(identity: Identity, options: Options) -> str:
    """Return the file name of a package, as the marketplace names its own, with the suffix and the architecture."""
    architectures = [target.architecture for target in options.targets]
    which = "-all" if len(architectures) > 1 else "" if architectures == ["amd64"] else f"-{architectures[0]}"
    return f"{identity.author}-{identity.name}_{identity.version}{options.suffix}{which}.difypkg"
