"""The subprocess door: what a child sees, what is kept of it, and that nothing of it is left."""

import os
import select
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import DifyoffError, Exit
from difyoff.sandbox import output
from difyoff.sandbox.process import Command, run, start

_PATH = {"PATH": os.defpath}


def shell(script: str, **options: float) -> Command:
    return Command(argv=("sh", "-c", script), environment=_PATH, **options)  # type: ignore[arg-type]


def python(script: str) -> Command:
    return Command(argv=(sys.executable, "-I", "-c", script), environment=_PATH)


@pytest.fixture
def witness(tmp_path: Path) -> "Witness":
    return Witness(tmp_path / "witness")


class Witness:
    """A FIFO that processes hold open; it comes to its end when the last of them is gone."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        script = f'exec 9>{shlex.quote(str(path))}; echo held >&9; trap "" TERM; for i in $(seq 120); do sleep 1; done'
        self.holder = f"sh -c {shlex.quote(script)}"

    def sees_the_end(self) -> bool:
        seen = b""
        while select.select([self._reader], [], [], 30)[0]:
            data = os.read(self._reader, 100)
            if not data:  # nobody holds the other end any more
                return seen == b"held\n"
            seen += data
        return False


def test_outcome_has_code_and_both_streams() -> None:
    outcome = run(shell("echo out; echo err >&2; exit 3"))

    assert (outcome.code, outcome.stdout, outcome.stderr, outcome.stopped) == (3, "out\n", "err\n", None)
    assert not outcome.ok


def test_child_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_EXCLUDE_NEWER", "2001-01-01")

    outcome = run(
        Command(argv=(sys.executable, "-I", "-c", "import os; print(sorted(os.environ))"), environment={"A": "1"})
    )

    assert "'A'" in outcome.stdout
    assert "UV_EXCLUDE_NEWER" not in outcome.stdout
    assert "HOME" not in outcome.stdout


def test_program_is_looked_up_on_the_childs_path(tmp_path: Path) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)

    outcome = run(Command(argv=("only-here",), environment={"PATH": str(tmp_path)}))

    assert outcome.stdout == "found\n"


def test_child_gets_folder_umask_and_empty_stdin(tmp_path: Path) -> None:
    outcome = run(Command(argv=("sh", "-c", "pwd -P; umask; cat"), environment=_PATH, cwd=tmp_path, umask=0o027))

    assert outcome.stdout.split() == [str(tmp_path.resolve()), "0027"]


def test_much_output_on_either_stream_does_not_block() -> None:
    outcome = run(python("import sys; sys.stderr.write('e' * 200_000); sys.stdout.write('o' * 200_000)"))

    assert outcome.ok
    assert (outcome.stdout, outcome.stderr) == ("o" * 200_000, "e" * 200_000)


def test_limit_keeps_head_and_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "LIMIT", 1000)
    outcome = run(python("print('head' + 'x' * 500_000 + 'tail', end='')"))

    assert outcome.stdout.startswith("headx")
    assert outcome.stdout.endswith("xtail")
    assert f"[{500_008 - 1000} bytes left out]" in outcome.stdout


def test_bytes_that_are_not_utf8_are_escaped() -> None:
    assert run(shell(r"printf 'a\377b'")).stdout == r"a\xffb"


def test_lines_come_as_they_are_written_the_last_without_newline_too() -> None:
    with start(shell(r"printf 'one\r\ntwo\n'; printf three")) as child:
        assert list(child.lines(timeout=60)) == ["one", "two", "three"]


@pytest.mark.parametrize("limit", ["timeout", "silence"])
def test_time_limit_ends_the_whole_group(witness: Witness, limit: str) -> None:
    outcome = run(shell(f"{witness.holder} & wait", **{limit: 0.5}))

    assert outcome.stopped == limit
    assert not outcome.ok
    assert witness.sees_the_end()


def test_output_holds_silence_off() -> None:
    outcome = run(shell("for i in 1 2 3 4 5 6 7 8; do echo .; sleep 0.25; done", silence=1.5))

    assert outcome.ok


def test_an_exception_ends_the_whole_group(witness: Witness) -> None:
    def fail() -> None:
        with start(shell(f"{witness.holder} & sleep 0.3; echo line; wait")) as child:
            next(child.lines(timeout=60))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert witness.sees_the_end()


def test_another_thread_cancels(witness: Witness) -> None:
    cancel = threading.Event()
    timer = threading.Timer(0.5, cancel.set)
    timer.start()

    with pytest.raises(KeyboardInterrupt):
        run(shell(f"{witness.holder} & wait"), cancel=cancel)

    timer.join()
    assert witness.sees_the_end()


def test_listening_is_cancelled_too(witness: Witness) -> None:
    cancel = threading.Event()

    with start(shell(f"echo line; {witness.holder}"), cancel=cancel) as running:
        lines = running.lines(timeout=60)
        next(lines)
        cancel.set()
        with pytest.raises(KeyboardInterrupt):
            next(lines)

    assert witness.sees_the_end()


def test_child_that_leaves_a_helper_with_its_pipes_is_not_waited_for(witness: Witness) -> None:
    outcome = run(shell(f"{witness.holder} & sleep 0.3; echo done"))

    assert outcome.ok
    assert outcome.stdout == "done\n"
    assert witness.sees_the_end()


def test_child_that_closes_its_pipes_is_waited_for() -> None:
    assert run(shell("exec >&- 2>&-; sleep 0.2; exit 7")).code == 7


@pytest.mark.parametrize("content", [None, "not a program"])
def test_program_that_cannot_be_started_is_diagnosed(tmp_path: Path, content: str | None) -> None:
    program = tmp_path / "program"
    if content:
        program.write_text(content)

    with pytest.raises(DifyoffError) as caught:
        run(Command(argv=(str(program),), environment=_PATH))

    assert caught.value.diagnosis.slug == "command-not-started"
    assert str(program) in caught.value.diagnosis.message
    assert caught.value.exit_code == Exit.MACHINE


_SIGNALS = ["INT", "QUIT", "TERM", "HUP", "USR1", "USR2", "CHLD"]
_REPORT = r"""
import signal, sys
from difyoff.sandbox.process import Command, run
from difyoff.sandbox.signals import handle_signals
handle_signals()
ignored = "import signal; print([n.name for n in signal.Signals if signal.getsignal(n) is signal.SIG_IGN])"
outcome = run(Command(argv=(sys.executable, "-I", "-c", ignored + "; raise SystemExit(3)"), environment={}))
print(outcome.code, outcome.stdout.strip())
"""


@pytest.mark.parametrize("name", _SIGNALS)
def test_a_child_starts_with_the_defaults_of_signals_and_its_exit_code_is_kept(name: str) -> None:
    """`nohup` ignores HUP, a shell's `trap ''` whatever it names; with SIGCHLD ignored all children seem to succeed."""
    script = f'trap "" {name}; exec "$0" -c "$1"'
    outcome = subprocess.run(["sh", "-c", script, sys.executable, _REPORT], capture_output=True, text=True, check=True)
    assert outcome.stdout == "3 ['SIGPIPE', 'SIGXFSZ']\n"  # these two are Python's own


def test_a_library_keeps_exit_codes_too() -> None:
    script = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)" + _REPORT.replace("handle_signals()", "")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("3 ")


class TestStart:
    def test_lines_until_one_is_seen_then_the_end(self, witness: Witness) -> None:
        with start(shell(f"{witness.holder} & sleep 0.3; echo ready; echo alive; wait")) as child:
            seen = next(line for line in child.lines(timeout=60) if line == "ready")
            assert next(child.lines(timeout=60)) == "alive"
            assert child.poll() is None

        assert seen == "ready"
        assert witness.sees_the_end()

    def test_child_that_says_nothing_runs_into_the_deadline(self) -> None:
        with start(shell("sleep 60")) as child, pytest.raises(TimeoutError):
            next(child.lines(timeout=0.2))

    def test_child_that_ends_leaves_code_and_tail_of_stderr(self) -> None:
        with start(python("import sys; print('x'); sys.stderr.write('a' * 5000 + 'end'); sys.exit(4)")) as child:
            assert list(child.lines(timeout=60)) == ["x"]
            assert child.poll() == 4
            assert child.stderr_tail == "a" * 1021 + "end"

    def test_stdin_stays_open(self) -> None:
        with start(shell("echo started; read line; echo closed")) as child:
            lines = child.lines(timeout=0.5)
            assert next(lines) == "started"
            with pytest.raises(TimeoutError):
                next(lines)
            assert child.poll() is None
