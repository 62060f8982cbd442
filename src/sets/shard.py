"""Which part of a set one of several machines builds."""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

_SHARD: Final = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Part `number` (from 1) of `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `I/N`. Raises `ValueError`."""
        match = _SHARD.fullmatch(text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"{text!r} is not a part of a whole, such as 2/8, counted from 1")
        return cls(number=int(match[1]), count=int(match[2]))

    def has(self, key: str) -> bool:
        """Say whether a plugin belongs to this part, by a hash of its name: one more plugin moves no other."""
        return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) % self.count == self.number - 1
