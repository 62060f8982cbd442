"""The isolation ladder on this machine: each rung that can be had here, by what a command in it can still do."""

import json
import os
import pwd
import signal
import socket
import sys
import sysconfig
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
import uv

import difyoff
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.sandbox.isolation import LADDER, NOT_ISOLATED, Isolation, choose_isolation, find_obstacle, prove
from difyoff.sandbox.process import Command, Outcome, run, start
from kit.uvs import python312
from kit.wheels import wheel

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has the means")

PYTHON = os.path.realpath(sys.executable)
PREFIXES = (Path(sys.base_prefix), Path(sys.base_exec_prefix))
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
SOURCES = Path(difyoff.__file__).parents[1]


def _had(isolation: Isolation) -> Isolation:
    if reason := find_obstacle(isolation):
        pytest.skip(f"{isolation.name} cannot be had here: {reason}")
    return isolation


def _name(isolation: Isolation) -> str:
    return isolation.name if isolation.host_protected else f"{isolation.name}-unprotected"


@pytest.fixture(params=LADDER, ids=_name)
def isolation(request: pytest.FixtureRequest) -> Isolation:
    return _had(request.param)


@pytest.fixture(params=[rung for rung in LADDER if rung.host_protected], ids=_name)
def protecting(request: pytest.FixtureRequest) -> Isolation:
    return _had(request.param)


@pytest.fixture(params=[rung for rung in LADDER if rung.name != "seccomp"], ids=_name)
def namespaces(request: pytest.FixtureRequest) -> Isolation:
    return _had(request.param)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "the wörk folder"  # mount tables escape blanks
    folder.mkdir()
    return folder


def _wrap(isolation: Isolation, work: Path, code: str, *arguments: str | Path) -> tuple[str, ...]:
    argv = (PYTHON, "-I", "-S", "-c", textwrap.dedent(code), *map(str, arguments))
    return isolation.wrap(argv, writable=(work,), readable=PREFIXES)


def _python(isolation: Isolation, work: Path, code: str, *arguments: str | Path) -> Outcome:
    argv = _wrap(isolation, work, code, *arguments)
    return run(Command(argv=argv, environment={"PATH": os.defpath}, cwd=work, timeout=60))


def _error(isolation: Isolation, work: Path, statement: str, *arguments: str | Path) -> str:
    """Return the errno's name that a statement ends with, an empty text when it succeeds."""
    code = f"""
        import ctypes, errno, os, pathlib, socket, sys
        try:
            {statement}
        except OSError as error:
            print(errno.errorcode[error.errno])
    """
    outcome = _python(isolation, work, code, *arguments)
    assert outcome.ok, outcome.stderr
    return outcome.stdout.strip()


# --- the network ---------------------------------------------------------------------------------------------------


def test_the_canary_proves_that_the_network_is_cut(isolation: Isolation) -> None:
    proof = prove(isolation)
    assert proof.ok, proof.failure
    assert proof.resolve_error
    assert proof.attempts[0].address == "127.0.0.1"
    assert all(attempt.error for attempt in proof.attempts)
    assert set(proof.interfaces) <= {"lo"} or isolation.name == "seccomp"


def test_a_network_left_on_is_not_proved() -> None:
    proof = prove(NOT_ISOLATED)
    assert not proof.ok
    assert proof.attempts[0].error is None
    assert "127.0.0.1 (connected)" in (proof.failure or "")


def test_a_namespace_has_a_loopback_of_its_own(namespaces: Isolation, work: Path) -> None:
    code = """
        import socket
        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()):
                print("met", socket.gethostbyname("localhost"))
    """
    assert _python(namespaces, work, code).stdout == "met 127.0.0.1\n"


def test_a_service_of_the_host_behind_a_unix_socket_is_out_of_reach(protecting: Isolation, tmp_path: Path) -> None:
    # A folder of its own: names of Unix sockets are at most 107 bytes long.
    work = tmp_path / "w"
    work.mkdir()
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        os.chdir(tmp_path)
        named.bind("s")
        abstract.bind(f"\0difyoff-{os.getpid()}")
        named.listen()
        abstract.listen()
        connect = "socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
        assert _error(protecting, work, connect, tmp_path / "s") in {"ENOENT", "EACCES"}
        connect = "socket.socket(socket.AF_UNIX).connect(chr(0) + sys.argv[1])"
        assert _error(protecting, work, connect, f"difyoff-{os.getpid()}") in {"ECONNREFUSED", "EACCES"}


def test_no_other_way_to_a_socket_is_open(isolation: Isolation, work: Path) -> None:
    assert _error(isolation, work, "socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)") == "EACCES"
    io_uring = "ctypes.CDLL(None, use_errno=True).syscall(425, 8, None) < 0 and os.rmdir('/') or print('open')"
    assert "open" not in _error(isolation, work, io_uring)


# --- the host ------------------------------------------------------------------------------------------------------


def test_only_the_work_folder_can_be_written_to(protecting: Isolation, work: Path) -> None:
    outside = work.parent / "outside"
    outside.write_text("as it was")
    library = Path(sysconfig.get_path("stdlib"))
    write = "pathlib.Path(sys.argv[1]).write_text('changed')"
    assert _error(protecting, work, write, work / "file") == ""
    assert (work / "file").read_text() == "changed"
    assert _error(protecting, work, write, "relative") == ""
    assert (work / "relative").read_text() == "changed"
    for path in (library / "difyoff-was-here", "/usr/difyoff-was-here", "/proc/sys/kernel/core_pattern"):
        assert _error(protecting, work, write, path) in {"EROFS", "EACCES"}
    # In a namespace what surrounds the work folder may be scratch of its own: what counts is the host's file.
    for statement in (write, "os.truncate(sys.argv[1], 0)", "os.unlink(sys.argv[1])", "os.rmdir(sys.argv[1])"):
        _error(protecting, work, statement, outside)
    assert outside.read_text() == "as it was"
    assert _error(protecting, work, write, "/dev/null") == ""


def test_secrets_of_the_host_cannot_be_read(protecting: Isolation, work: Path) -> None:
    secret = work.parent / "home" / "token"
    secret.write_text("secret")
    read = "print(pathlib.Path(sys.argv[1]).read_text())"
    assert _error(protecting, work, read, secret) in {"EACCES", "ENOENT"}
    for path in ("/etc/shadow", "/etc/ssl/private", "/etc/uv/uv.toml", "/run/docker.sock"):
        assert _error(protecting, work, "print(os.open(sys.argv[1], os.O_RDONLY))", path) in {"EACCES", "ENOENT"}
    listing = _python(protecting, work, "import os; print(*os.listdir(os.path.expanduser('~')))")
    shown = {path.relative_to(HOME).parts[0] for path in PREFIXES if path.is_relative_to(HOME)}
    assert set(listing.stdout.split()) <= shown


def test_other_processes_cannot_be_read(protecting: Isolation, work: Path) -> None:
    code = """
        import pathlib
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            for name in ("environ", "root/etc/hostname", "cwd/token"):
                try:
                    print((process / name).read_bytes())
                except OSError:
                    pass
    """
    (work.parent / "token").write_text("the token")
    waiting = Command(
        argv=(PYTHON, "-c", "print('ready', flush=True); input()"), environment={"T": "the token"}, cwd=work.parent
    )
    with start(waiting) as other:
        assert next(other.lines(timeout=60)) == "ready"
        outcome = _python(protecting, work, code)
    assert outcome.ok, outcome.stderr
    assert "PATH=" in outcome.stdout  # its own
    assert "the token" not in outcome.stdout


def test_a_readable_folder_is_read_only_even_inside_a_writable_one(protecting: Isolation, tmp_path: Path) -> None:
    work, store = tmp_path / "work", tmp_path / "store"
    for folder in (work, store):
        folder.mkdir()
    (store / "wheel").write_text("bytes")
    (tmp_path / "alias").symlink_to(store)
    code = """
        import pathlib, sys
        for folder in map(pathlib.Path, sys.argv[1:]):
            print((folder / "wheel").read_text())
            try:
                (folder / "wheel").write_text("changed")
            except OSError:
                print("refused")
    """
    argv = (PYTHON, "-I", "-S", "-c", textwrap.dedent(code), str(store), str(tmp_path / "alias"))
    wrapped = protecting.wrap(argv, writable=(work,), readable=(*PREFIXES, store, tmp_path / "alias"))
    outcome = run(Command(argv=wrapped, environment={}, cwd=work))
    assert outcome.stdout.split() == ["bytes", "refused"] * 2, outcome.stderr
    assert (store / "wheel").read_text() == "bytes"


def test_nothing_is_left_to_gain_rights_with(isolation: Isolation, work: Path) -> None:
    status = _python(isolation, work, "print(open('/proc/self/status').read())").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
    assert fields["NoNewPrivs"] == "1"


def test_a_namespace_looks_like_the_daemons_image(namespaces: Isolation, work: Path) -> None:
    code = """
        import os, pathlib
        print(os.getuid(), os.path.expanduser("~root"), os.getppid() != 1)
        pathlib.Path("/tmp/scratch").touch()
        pathlib.Path("/root/scratch").touch()
    """
    outcome = _python(namespaces, work, code)
    assert (outcome.stdout, outcome.stderr) == ("0 /root True\n", "")
    root = set(_python(namespaces, work, "import os; print(*os.listdir('/'))").stdout.split())
    system = {
        "bin",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "nix",
        "proc",
        "root",
        "run",
        "sbin",
        "sys",
        "tmp",
        "usr",
        "var",
    }
    assert root <= system | {path.parts[1] for path in (work, *PREFIXES)}
    assert not Path("/tmp/scratch").exists()


# --- the process ---------------------------------------------------------------------------------------------------


def test_the_exit_code_is_the_commands(isolation: Isolation, work: Path) -> None:
    assert _python(isolation, work, "raise SystemExit(7)").code == 7
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
        assert _python(isolation, work, f"import os; os.kill(os.getpid(), {number.value})").code == -number


def test_the_command_gets_exactly_its_environment_and_plain_signals(isolation: Isolation, work: Path) -> None:
    code = """
        import signal
        print(open("/proc/self/environ").read().split("\\0"), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        print(next(line for line in open("/proc/self/status") if line.startswith("SigIgn")))
    """
    argv = _wrap(isolation, work, code)
    outcome = run(Command(argv=argv, environment={"ONE": "1=1", "EMPTY": ""}, cwd=work))
    # Python itself ignores SIGPIPE (13) and SIGXFSZ (25); what it was given shows in what it adds.
    assert outcome.stdout.split("\n")[0] == "['ONE=1=1', 'EMPTY=', ''] set()"
    shell = isolation.wrap(("/bin/sh", "-c", "grep SigIgn /proc/self/status"), writable=(work,))
    assert run(Command(argv=shell, environment={}, cwd=work)).stdout.split() == ["SigIgn:", "0" * 16]


def test_a_command_that_is_not_there_is_told_apart(isolation: Isolation, work: Path) -> None:
    outcome = run(Command(argv=isolation.wrap(("no-such-program",), writable=(work,)), environment={}, cwd=work))
    assert outcome.code == 125
    assert "no-such-program" in outcome.stderr


def test_a_missing_work_folder_is_an_error(protecting: Isolation, work: Path) -> None:
    argv = protecting.wrap(("/bin/sh", "-c", ":"), writable=(work / "missing",))
    assert run(Command(argv=argv, environment={}, cwd=work)).code == 125


def test_being_ended_politely_reaches_the_command(isolation: Isolation, work: Path) -> None:
    code = """
        import signal, sys
        def leave(*_):
            open("left", "w").close()
            sys.exit()
        signal.signal(signal.SIGTERM, leave)
        print("ready", flush=True)
        while True:
            signal.pause()
    """
    command = Command(argv=_wrap(isolation, work, code), environment={}, cwd=work)
    with start(command) as running:
        assert next(running.lines(timeout=60)) == "ready"
    assert (work / "left").exists()


# The command and a daemon of its own that left its session: as long as one of them lives the pipe has a writer.
TREE = """
    import os, signal
    pipe = os.open("pipe", os.O_WRONLY)
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        os.write(pipe, b"x")
    while True:
        signal.pause()
"""


@pytest.fixture
def pipe(work: Path) -> Path:
    os.mkfifo(work / "pipe")
    return work / "pipe"


def _spawn(argv: tuple[str, ...], work: Path) -> int:
    os.chdir(work)
    return os.posix_spawnp(argv[0], argv, {"PATH": os.defpath})


def _await_the_end(pipe: Path, spawned: int, number: signal.Signals) -> None:
    """Kill when the whole tree is there; returns once nobody of it is left."""
    with pipe.open("rb", buffering=0) as reader:
        assert reader.read(1) == b"x"
        os.kill(spawned, number)
        assert reader.read(1) == b""  # the end of the file: the last writer is gone
    os.waitpid(spawned, 0)


def test_nothing_outlives_the_command(isolation: Isolation, work: Path, pipe: Path) -> None:
    _await_the_end(pipe, _spawn(_wrap(isolation, work, TREE), work), signal.SIGTERM)


def test_nothing_outlives_a_killed_launcher(namespaces: Isolation, work: Path, pipe: Path) -> None:
    _await_the_end(pipe, _spawn(_wrap(namespaces, work, TREE), work), signal.SIGKILL)


def test_nothing_outlives_who_started_it(isolation: Isolation, work: Path, pipe: Path) -> None:
    code = "import os, sys; os.waitpid(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)"
    parent = (PYTHON, "-I", "-S", "-c", code)
    _await_the_end(pipe, _spawn((*parent, *_wrap(isolation, work, TREE)), work), signal.SIGKILL)


def test_the_thread_that_started_it_may_end(isolation: Isolation, work: Path) -> None:
    starter = """
        import os, sys, threading
        def start():
            started.append(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ))
            open("ready").read()
        started = []
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
        open("go", "w").close()
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(started[0], 0)[1]))
    """
    for name in ("ready", "go"):
        os.mkfifo(work / name)
    command = _wrap(isolation, work, "open('ready', 'w').close(); open('go').read(); raise SystemExit(9)")
    argv = (PYTHON, "-I", "-S", "-c", textwrap.dedent(starter), *command)
    assert run(Command(argv=argv, environment={}, cwd=work, timeout=60)).code == 9


# --- uv ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def python() -> Path:
    path = python312()
    if path is None:
        pytest.skip("no CPython 3.12 on this machine")
    return path.resolve()


def test_uv_installs_a_wheel_and_finds_no_stray_configuration(isolation: Isolation, python: Path, work: Path) -> None:
    plugin = work / "author" / "name-1.0@0"
    (plugin / "wheels").mkdir(parents=True)
    tiny = wheel("tiny", "1.0")
    (plugin / "wheels" / tiny.filename).write_bytes(tiny.data)
    (plugin / "requirements.txt").write_text("--no-index\n--find-links=./wheels/\ntiny\n")
    uv_program = Path(uv.find_uv_bin())
    if isolation.name != "seccomp":
        (work.parent / "uv.toml").write_text("not = 'what uv knows'")

    def step(*argv: str | Path, **environment: str) -> Outcome:
        wrapped = isolation.wrap(
            tuple(map(str, argv)), writable=(work,), readable=(uv_program, python.parents[1], *PREFIXES)
        )
        closed = {"PATH": os.defpath, "UV_CACHE_DIR": str(work / ".uv-cache"), **environment}
        outcome = run(Command(argv=wrapped, environment=closed, cwd=plugin, timeout=120))
        assert outcome.ok, outcome.stderr
        return outcome

    step(uv_program, "venv", ".venv", "--python", python)
    step(uv_program, "pip", "install", "-r", "requirements.txt", VIRTUAL_ENV=str(plugin / ".venv"))
    assert step(plugin / ".venv/bin/python", "-c", "import tiny; print(tiny.__version__)").stdout == "1.0\n"


# --- other people --------------------------------------------------------------------------------------------------

SYSTEM = "/usr/bin/python3"  # which any user can run, as ours may lie in a private home

NOBODY = """
import os
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
"""

REPORT = """
import json
from difyoff.sandbox.isolation import choose_isolation, prove
chosen = choose_isolation()
print(json.dumps(chosen and [chosen.name, chosen.host_protected, prove(chosen).failure]))
"""

# A user namespace in which no further namespace may be made: what a default container amounts to.
NO_NAMESPACES = """
import os
from pathlib import Path
from difyoff.sandbox.launcher import kernel
user, group = os.getuid(), os.getgid()
kernel.unshare(kernel.CLONE_NEWUSER)
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"0 {user} 1")
Path("/proc/self/gid_map").write_text(f"0 {group} 1")
for kind in ("user", "pid", "mnt", "net"):
    Path(f"/proc/sys/user/max_{kind}_namespaces").write_text("0")
"""

NO_LANDLOCK = """
from difyoff.sandbox.launcher import kernel, seccomp
seccomp._MACHINES = {name: machine._replace(refused=(444,)) for name, machine in seccomp._MACHINES.items()}
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
seccomp.restrict_sockets(range(64))
"""


def _report(code: str, *, python: str = PYTHON) -> list[object] | None:
    environment: Mapping[str, str] = {"PATH": os.defpath, "PYTHONPATH": str(SOURCES)}
    outcome = run(Command(argv=(python, "-c", code), environment=environment, cwd=Path("/"), timeout=120))
    assert outcome.ok, outcome.stderr
    report: list[object] | None = json.loads(outcome.stdout)
    return report


@pytest.fixture
def confined() -> None:
    if reason := find_obstacle(LADDER[1]):
        pytest.skip(f"needs a user namespace to take them away in: {reason}")


def test_root_gets_a_network_namespace() -> None:
    if os.getuid() != 0 or find_obstacle(LADDER[0]):
        pytest.skip("this is no root with CAP_SYS_ADMIN")
    assert _report(REPORT) == ["netns", True, None]


def test_a_plain_user_gets_a_user_namespace(confined: None) -> None:
    if os.getuid() != 0:
        assert _report(REPORT) == ["userns", True, None]
        return
    try:
        usable = _report(
            NOBODY + "import sys, difyoff.sandbox.process\nprint('[]' if sys.version_info >= (3, 11) else 'null')",
            python=SYSTEM,
        )
    except (AssertionError, DifyoffError):
        usable = None
    if usable is None:
        pytest.skip("the system has no Python 3.11, or not every user can read our sources")
    assert _report(NOBODY + REPORT, python=SYSTEM) == ["userns", True, None]


def test_without_namespaces_the_filter_holds(confined: None) -> None:
    protected = find_obstacle(LADDER[2]) is None
    assert _report(NO_NAMESPACES + REPORT) == ["seccomp", protected, None]


def test_without_landlock_the_host_is_not_protected(confined: None) -> None:
    assert _report(NO_NAMESPACES + NO_LANDLOCK + REPORT) == ["seccomp", False, None]


def test_the_caller_may_leave_rungs_out() -> None:
    assert choose_isolation(allowed=()) is None
    _had(LADDER[-1])
    chosen = choose_isolation(allowed=("seccomp",))
    assert chosen is not None
    assert chosen.name == "seccomp"
