"""What counts as a proof that the network is cut off: one judge of the canary's answers, for every kind of sandbox."""

import errno
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CANARY: Final = Path(__file__).with_name("canary.py")
ELSEWHERE: Final = (("192.0.2.1", 443), ("2001:db8::1", 443))
"""Documentation addresses (RFC 5737, RFC 3849), which nothing can reach without a network."""

_NAME: Final = "example.com"  # one that resolves wherever there is a network
_CUT: Final = frozenset(
    errno.errorcode[code]
    for code in (errno.ENETUNREACH, errno.EACCES, errno.EPERM, errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
)
# The kernel puts these, which are down, into every network namespace once their module is loaded.
_TUNNELS: Final = re.compile(r"(ip6?_?)?(tunl|gre|gretap|erspan|vti|sit|tnl)0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to connect: `error` is the errno's name (`ENETUNREACH`), None for a success.

    `expected` says whether the error proves that nothing was sent: a time-out or an answer from another host does not.
    """

    address: str
    port: int
    error: str | None
    expected: bool

    def __str__(self) -> str:
        return f"connect {self.address}:{self.port}: {self.error or 'connected'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationProof:
    """What the canary found. Only `ok` is a proof; `failure` says what is missing from it.

    `facts` is what else is known of the isolation, a line each.
    """

    rung: str
    facts: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    resolve_error: str | None = None
    attempts: tuple[Attempt, ...] = ()
    failure: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the network is cut off beyond doubt."""
        return self.failure is None

    @property
    def evidence(self) -> tuple[str, ...]:
        """What was seen, a line each."""
        return (
            *self.facts,
            *([f"interfaces: {', '.join(self.interfaces)}"] if self.interfaces else ()),
            f"resolve: {self.resolve_error or 'resolved'}",
            *map(str, self.attempts),
            *filter(None, (self.failure,)),
        )


def canary_arguments(ends: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    """Return what the canary is started with to try these addresses and ports."""
    return (_NAME, *(str(word) for end in ends for word in end))


def judge_canary(
    seen: str, *, rung: str, ends: Sequence[tuple[str, int]], facts: tuple[str, ...] = (), doubts: Sequence[str] = ()
) -> IsolationProof:
    """Judge the JSON that the canary printed after trying `ends`; `doubts` already speak against the isolation."""
    try:
        report = json.loads(seen)
        attempts = tuple(
            Attempt(address=address, port=port, error=error, expected=error in _refusals(address))
            for (address, port), error in zip(ends, report["connect"], strict=True)
        )
        resolve_error, interfaces = report["resolve"], tuple(report["interfaces"])
        ways = [name for name in interfaces if name != "lo" and not _TUNNELS.fullmatch(name)]
    except (ValueError, KeyError, TypeError) as error:
        return IsolationProof(rung=rung, facts=facts, failure=f"the canary cannot be understood: {error!r}")
    reached = [
        *doubts,
        *([f"there is an interface {', '.join(ways)}"] if ways else ()),
        *(f"{each.address} ({each.error or 'connected'})" for each in attempts if not each.expected),
        *([f"{_NAME} resolves"] if resolve_error is None else ()),
    ]
    return IsolationProof(
        rung=rung,
        facts=facts,
        interfaces=interfaces,
        resolve_error=resolve_error,
        attempts=attempts,
        failure=f"the network is not cut off: {', '.join(reached)}" if reached else None,
    )


def _refusals(address: str) -> frozenset[str]:
    # A loopback of one's own has nobody listening; from any other address a refusal is an answer.
    return _CUT | {"ECONNREFUSED"} if address.startswith("127.") else _CUT
