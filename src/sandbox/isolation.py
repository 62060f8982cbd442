"""Run a command without a network, on a host that it can neither change nor read secrets from.

Linux only. The ladder, strongest first: a network namespace made as root, one inside a user namespace, and a filter
that refuses sockets. In the first two a command finds itself root without capabilities, in an empty home, among nothing
but the system's programs and the paths it is given, with a loopback of its own, as in the daemon's image. The filter
refuses the loopback too, and protects the host only where there is Landlock. That hides nothing, it forbids: uv stops
at a `uv.toml` above the work folder or in the user's home, and `/tmp` and `/dev/shm` cannot be used.

An isolation is a prefix to an argv (`Isolation.wrap`); what stands behind the prefix is `sandbox.launcher`.
"""

import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from .process import Command, Outcome, run
from .proof import CANARY, ELSEWHERE, IsolationProof, canary_arguments, judge_canary

Rung = Literal["netns", "userns", "seccomp", "none"]

_BOOT: Final = (
    "import sys; sys.path.append(sys.argv[1]); from difyoff.sandbox.launcher.main import main; main(sys.argv[2:])"
)
_PACKAGES: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """One rung of the ladder; `host_protected` says whether an untrusted command may be run."""

    name: Rung
    host_protected: bool

    @property
    def can_hide(self) -> bool:
        """Whether single files of the host can be hidden: only where there is a view of its own."""
        return self.name in ("netns", "userns")

    def wrap(
        self,
        argv: Sequence[str],
        *,
        writable: Iterable[Path] = (),
        readable: Iterable[Path] = (),
        hidden: Iterable[Path] = (),
    ) -> tuple[str, ...]:
        """Return the argv that runs `argv` in isolation, in the same environment and working directory.

        Of the host only system folders are visible, and `readable` and `writable` (files or folders, absolute, at the
        same paths inside); the interpreter, uv and the working directory must be among them. Of the folders above them
        only the names are there, and no stray `uv.toml`. Give one work folder rather than several: files can neither
        be linked nor moved from one to another. Files that are `hidden` cannot be opened, where `can_hide`. The exit
        code and signals are the command's own, and nothing it started outlives it; code 125 with a line on stderr means
        that it was not run.
        """
        if self.name == "none":
            return tuple(argv)
        specification = {
            "namespaces": self.name != "seccomp",
            "user_namespace": self.name == "userns",
            "protect": self.host_protected,
            "writable": [str(path) for path in writable],
            "readable": [str(path) for path in readable],
            "hidden": [str(path) for path in hidden],
        }
        launcher = (sys.executable, "-I", "-S", "-c", _BOOT, str(_PACKAGES))
        return (*launcher, json.dumps(specification), *argv)


LADDER: Final = (
    Isolation(name="netns", host_protected=True),
    Isolation(name="userns", host_protected=True),
    Isolation(name="seccomp", host_protected=True),
    Isolation(name="seccomp", host_protected=False),
)
NOT_ISOLATED: Final = Isolation(name="none", host_protected=False)


def find_obstacle(isolation: Isolation) -> str | None:
    """Try an isolation; return why this machine refuses it, or None where it works."""
    if sys.platform != "linux":
        return "only Linux has it"
    outcome = _python(isolation, "-c", "")
    return None if outcome.ok else _last_line(outcome)


def choose_isolation(allowed: Iterable[Rung] = ("netns", "userns", "seccomp")) -> Isolation | None:
    """Return the first isolation of the ladder that holds here, None if none does."""
    names = frozenset(allowed)
    return next((rung for rung in LADDER if rung.name in names and find_obstacle(rung) is None), None)


def prove(isolation: Isolation) -> IsolationProof:
    """Show that a command in this isolation can neither resolve nor connect.

    It is tried on documentation addresses and on listeners opened for it on the host, on loopback and on an outward
    address where there is one, each of which is seen to answer from outside. Whatever goes wrong is a failed proof.
    """
    with ExitStack() as stack:
        listening = [end for address in _host_addresses() if (end := _listen(address, stack))]
        if not listening:
            return IsolationProof(rung=isolation.name, failure="nothing can be reached on the host either")
        ends = (*listening, *ELSEWHERE)
        outcome = _python(isolation, str(CANARY), *canary_arguments(ends), readable=(CANARY,))
    if not outcome.ok:
        return IsolationProof(rung=isolation.name, failure=f"the canary did not run: {_last_line(outcome)}")
    return judge_canary(outcome.stdout, rung=isolation.name, ends=ends)


def _host_addresses() -> Iterator[str]:
    yield "127.0.0.1"
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(ELSEWHERE[0])  # sends nothing, only asks which of our addresses it would be
        if not (outward := str(probe.getsockname()[0])).startswith("127."):
            yield outward


def _listen(address: str, stack: ExitStack) -> tuple[str, int] | None:
    """Open a listener until the stack is unwound; None where it does not answer even from outside."""
    try:
        server = stack.enter_context(socket.create_server((address, 0)))
        end = (address, int(server.getsockname()[1]))
        socket.create_connection(end, timeout=2).close()
    except OSError:
        return None
    return end


def _python(isolation: Isolation, *arguments: str, readable: tuple[Path, ...] = ()) -> Outcome:
    """Run our own interpreter in an isolation."""
    interpreter = os.path.realpath(sys.executable)  # a virtual environment's own is not needed, and may be hidden
    prefixes = (Path(sys.base_prefix), Path(sys.base_exec_prefix))
    return run(
        Command(
            argv=isolation.wrap((interpreter, "-I", "-S", *arguments), readable=(*prefixes, *readable)),
            environment={"PATH": os.defpath},
            cwd=Path("/"),
            shown=("try", "the", "isolation", isolation.name),
            timeout=60,
        )
    )


def _last_line(outcome: Outcome) -> str:
    lines = outcome.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {outcome.code}"
