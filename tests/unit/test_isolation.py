"""What counts as a proof: the canary's answers, made up."""

import json
from collections.abc import Mapping
from types import MappingProxyType

import pytest

from difyoff.sandbox import isolation
from difyoff.sandbox.isolation import NOT_ISOLATED, Isolation, prove
from difyoff.sandbox.launcher import seccomp
from difyoff.sandbox.process import Command, Outcome

SECCOMP = Isolation(name="seccomp", host_protected=True)
EXTERNAL = frozenset({"192.0.2.1", "2001:db8::1"})


def answer(
    monkeypatch: pytest.MonkeyPatch,
    errors: Mapping[str, str | None] = MappingProxyType({}),
    *,
    resolve: str | None = "Temporary failure in name resolution",
    code: int = 0,
    stdout: str | None = None,
) -> None:
    """Let the canary answer `stdout`, or that everything was refused but for `errors` by address."""

    def run(command: Command) -> Outcome:
        ends = command.argv[command.argv.index("example.com") + 1 :: 2]
        connect = [errors.get(address, "ENETUNREACH") for address in ends]
        text = json.dumps({"interfaces": ["lo"], "resolve": resolve, "connect": connect})
        return Outcome(code=code, stdout=text if stdout is None else stdout, stderr="why\n", seconds=0.1)

    monkeypatch.setattr(isolation, "run", run)


def test_everything_refused_is_a_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"127.0.0.1": "ECONNREFUSED"})
    proof = prove(SECCOMP)
    assert proof.ok
    assert (proof.rung, proof.interfaces) == ("seccomp", ("lo",))
    assert {attempt.address for attempt in proof.attempts} >= EXTERNAL | {"127.0.0.1"}


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1", "2001:db8::1"])
@pytest.mark.parametrize("error", [None, "ETIMEDOUT", "EHOSTUNREACH", "ECONNRESET"])
def test_an_answer_from_anywhere_is_none(monkeypatch: pytest.MonkeyPatch, address: str, error: str | None) -> None:
    answer(monkeypatch, {address: error})
    proof = prove(SECCOMP)
    assert not proof.ok
    assert address in (proof.failure or "")


def test_a_refusal_from_afar_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"192.0.2.1": "ECONNREFUSED"})
    assert not prove(SECCOMP).ok


def test_a_name_that_resolves_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, resolve=None)
    assert prove(SECCOMP).failure == "the network is not cut off: example.com resolves"


@pytest.mark.parametrize("stdout", ["", "{}", "[]", "null", '{"interfaces": [], "resolve": "no", "connect": []}'])
def test_a_canary_that_says_nothing_clear_is_none(monkeypatch: pytest.MonkeyPatch, stdout: str) -> None:
    answer(monkeypatch, stdout=stdout)
    assert "cannot be understood" in (prove(SECCOMP).failure or "")


def test_a_canary_that_did_not_run_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, code=125)
    assert prove(SECCOMP).failure == "the canary did not run: why"


def test_no_isolation_leaves_the_command_alone() -> None:
    assert NOT_ISOLATED.wrap(["uv", "sync"]) == ("uv", "sync")


def execute(machine: str, *, number: int, family: int = 0, audit: int | None = None) -> str:
    """Run the filter as the kernel would."""
    known = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    data = {0: number, 4: known if audit is None else audit, 16: family}
    lines = seccomp.program(machine, (seccomp.UNIX, seccomp.INET))
    accumulator = position = 0
    while True:
        code, if_true, if_false, operand = lines[position]
        position += 1
        match code:
            case 0x20:
                accumulator = data[operand]
            case 0x15:
                position += if_true if accumulator == operand else if_false
            case 0x35:
                position += if_true if accumulator >= operand else if_false
            case _:
                return "allow" if operand == 0x7FFF0000 else "refuse"


@pytest.mark.parametrize(("machine", "socket"), [("x86_64", 41), ("aarch64", 198)])
def test_the_filter_lets_only_the_named_families_pass(machine: str, socket: int) -> None:
    assert execute(machine, number=socket, family=seccomp.UNIX) == "allow"
    assert execute(machine, number=socket, family=seccomp.INET) == "allow"
    assert execute(machine, number=socket, family=seccomp.INET6) == "refuse"
    assert execute(machine, number=socket + 1) == "allow"
    assert execute(machine, number=425) == "refuse"
    assert execute(machine, number=socket, family=seccomp.UNIX, audit=0x40000003) == "refuse"


def test_the_filter_refuses_the_second_numbering_of_x86_64() -> None:
    assert execute("x86_64", number=0x40000000 + 41, family=seccomp.UNIX) == "refuse"


def test_a_machine_without_a_filter_is_an_error() -> None:
    with pytest.raises(OSError, match="riscv64"):
        seccomp.program("riscv64", ())
