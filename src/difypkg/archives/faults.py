"""Why an archive is refused: what is wrong, where, and how two readers would take it."""

from typing import Literal

from ..diagnosis import Diagnosis
from .profiles import Profile

Slug = Literal["not-a-zip", "corrupt-archive", "duplicate-entry", "unsafe-path", "unsupported-archive", "zip-bomb"]


class ArchiveFault(Exception):  # noqa: N818 - it becomes a Diagnosis, whose names these are
    """An archive that is refused.

    `what` is a clause about the archive or the entry, `offset` a byte of the file, `field` the name of what is read
    there. `readings` say what different programs make of it, a line each.
    """

    def __init__(
        self, slug: Slug, what: str, *, offset: int | None = None, field: str = "", readings: tuple[str, ...] = ()
    ) -> None:
        super().__init__(what)
        self.slug: Slug = slug
        self.what = what
        self.offset = offset
        self.field = field
        self.readings = readings

    @property
    def evidence(self) -> tuple[str, ...]:
        """Where it is and how it is read, a line each."""
        place = () if self.offset is None else (f"at byte {self.offset:,}: {self.field}",)
        return (*place, *self.readings)

    def diagnosis(self, name: str, profile: Profile) -> Diagnosis:
        """Return what a user is told of the archive called `name`."""
        return Diagnosis(slug=self.slug, message=f"{name}: {self.what}", context=self.evidence, hint=profile.repair)
