"""How to build one plugin, as a value. What it is built with is the workshop's."""

from dataclasses import dataclass
from pathlib import Path

from ..difypkg.daemons import Release
from ..difypkg.identity import Identity
from ..difypkg.record import TargetRecord
from ..difypkg.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to build.

    `release` is the one whose limits count, `releases` all that were asked for (none: every one). `max_size` is the
    site's limit in bytes, None for the daemon's default. `exclude_newer` is a date as uv takes it, or `created` for the
    plugin's own, before which a release must have been uploaded to be chosen now; `constraints` are requirements of PEP
    508 that it must fit, too. A fresh lock is followed whatever they say.
    """

    targets: tuple[Target, ...]
    release: Release
    releases: tuple[Release, ...] = ()
    output: Path
    suffix: str = "-offline"
    max_size: int | None = None
    force: bool = False
    with_env: bool = False
    exclude_newer: str | None = None
    constraints: tuple[str, ...] = ()

    @property
    def target_records(self) -> tuple[TargetRecord, ...]:
        """The targets as the record of a package names them."""
        return tuple(map(TargetRecord.of, self.targets))


def package_name(identity: Identity, options: Options) -> str:
    """Return the file name of a package, as the marketplace names its own, with the suffix and the architecture."""
    architectures = [target.architecture for target in options.targets]
    which = "-all" if len(architectures) > 1 else "" if architectures == ["amd64"] else f"-{architectures[0]}"
    return f"{identity.author}-{identity.name}_{identity.version}{options.suffix}{which}.difypkg"
