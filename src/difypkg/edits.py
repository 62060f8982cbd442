"""What difyoff changes in a plugin, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One change to one file: what was done and why."""

    file: str
    what: str
    why: str
