"""uv and CPython on this machine: found, fetched, and run in exactly the environment meant for them."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from difyoff.difypkg.daemons import release
from difyoff.difypkg.diagnosis import DifyoffError, Exit, page
from difyoff.difypkg.redaction import redact
from difyoff.sandbox.process import Command, Outcome, run
from difyoff.uvrun import uv as uv_module
from difyoff.uvrun.environment import IndexSettings, closed, credentials, read_index_settings, resolving
from difyoff.uvrun.interpreters import Python, find_python, install_python
from difyoff.uvrun.uv import LOCK_UV, Uv, explain_machine_fault, fetch_uv, installed_uv, provide_uv
from kit.broken import build_good
from kit.cli import difyoff
from kit.index import Index, serve
from kit.plugins import write_plugin
from kit.uvs import python312
from kit.wheels import wheel

OLD = wheel("alpha", "1.0", upload_time="2020-01-01T00:00:00.000000Z")
UV_999 = wheel("uv", "9.9.9", files={"uv-9.9.9.data/scripts/uv": "#!/bin/sh\necho uv 9.9.9\n"})
NEW = wheel("alpha", "2.0", upload_time="2025-01-01T00:00:00.000000Z")
LOGIN = "reader:s3cret"


@pytest.fixture
def guarded() -> Iterator[Index]:
    with serve([OLD, NEW], login=LOGIN) as index:
        yield index


@pytest.fixture
def public() -> Iterator[Index]:
    with serve([OLD, NEW]) as index:
        yield index


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write the user's own `uv.toml`."""

    def write(text: str) -> Path:
        file = Path(os.environ["XDG_CONFIG_HOME"], "uv", "uv.toml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.fixture(params=["installed", "lock"])
def uv(request: pytest.FixtureRequest, lock_uv: Path) -> Uv:
    """Each uv that we run: settings have other names in other releases."""
    if request.param == "lock":
        return Uv(path=lock_uv, version=LOCK_UV)
    installed = installed_uv()
    assert installed
    return installed


@pytest.fixture
def resolve(uv: Uv, tmp_path: Path) -> Callable[..., Outcome]:
    """Resolve `alpha` as the resolving environment lets uv do it; stdout has the pin chosen."""

    def compile_pins(settings: IndexSettings, *, cwd: Path | None = None) -> Outcome:
        environment, arguments = resolving(settings, home=tmp_path / "private", cache=tmp_path / "uv-cache")
        requirements = tmp_path / "requirements.in"
        requirements.write_text("alpha\n")
        options = ("--python", sys.executable, "--no-deps", "--no-header", "--no-annotate", "--quiet")
        argv = (str(uv.path), "pip", "compile", *arguments, *options, str(requirements))
        return run(Command(argv=argv, environment=environment, cwd=cwd or tmp_path, timeout=120))

    return compile_pins


def chosen(outcome: Outcome) -> str:
    assert outcome.ok, outcome.stderr
    return outcome.stdout.strip()


class TestIndexSettings:
    def test_nothing_configured(self) -> None:
        assert not read_index_settings(os.environ).configured

    @pytest.mark.parametrize(
        ("variable", "value"),
        [
            ("UV_INDEX", "corp=https://index.example/simple"),
            ("UV_DEFAULT_INDEX", "https://index.example/simple"),
            ("UV_INDEX_URL", "https://index.example/simple"),
            ("UV_EXTRA_INDEX_URL", "https://index.example/simple"),
            ("UV_FIND_LINKS", "wheels"),
        ],
    )
    def test_variable_that_names_an_index(self, variable: str, value: str) -> None:
        assert read_index_settings({variable: value}).configured
        assert not read_index_settings({variable: ""}).configured

    @pytest.mark.parametrize(
        ("text", "configured"),
        [
            ('index-url = "https://index.example/simple"', True),
            ('[[index]]\nurl = "https://index.example/simple"\ndefault = true', True),
            ('[[index]]\nname = "torch"\nurl = "https://index.example/simple"\nexplicit = true', False),
            ("no-index = true", True),
            ("no-index = false", False),
            ('find-links = ["wheels"]', True),
            ('[pip]\nindex-url = "https://index.example/simple"', True),
            ('exclude-newer = "2001-01-01T00:00:00Z"', False),
        ],
    )
    def test_file_that_names_an_index(self, configure: Callable[[str], Path], text: str, configured: bool) -> None:
        configure(text)

        assert read_index_settings(os.environ).configured is configured

    def test_files_in_uvs_order(
        self, configure: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = tmp_path / "first" / "uv" / "uv.toml", tmp_path / "second" / "uv" / "uv.toml"
        for file in (first, second):
            file.parent.mkdir(parents=True)
            name = file.parts[-3]
            file.write_text(f'index-url = "https://{name}.example"\nextra-index-url = ["https://{name}.example/extra"]')
        monkeypatch.setenv("XDG_CONFIG_DIRS", f"{tmp_path / 'absent'}:{first.parent.parent}:{second.parent.parent}")
        configure('index-url = "https://user.example"\nextra-index-url = ["https://user.example/extra"]')

        config = read_index_settings(os.environ).config

        assert config["index-url"] == "https://user.example"
        assert config["extra-index-url"] == ["https://user.example/extra", "https://first.example/extra"]

    def test_uv_config_file_replaces_the_others(self, configure: Callable[[str], Path], tmp_path: Path) -> None:
        configure('index-url = "https://user.example"')
        chosen_file = tmp_path / "chosen.toml"
        chosen_file.write_text("")

        assert not read_index_settings({**os.environ, "UV_CONFIG_FILE": str(chosen_file)}).configured

    def test_uv_config_file_that_is_not_there_is_diagnosed(self, tmp_path: Path) -> None:
        with pytest.raises(DifyoffError, match=r"absent\.toml"):
            read_index_settings({"UV_CONFIG_FILE": str(tmp_path / "absent.toml")})

        assert not read_index_settings({"UV_CONFIG_FILE": os.devnull}).configured

    def test_uv_no_config_is_honoured(self, configure: Callable[[str], Path]) -> None:
        configure('index-url = "https://user.example"')

        assert not read_index_settings({**os.environ, "UV_NO_CONFIG": "1"}).configured

    def test_relative_paths_are_of_their_file_or_folder(
        self, configure: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        folder = configure('find-links = ["./wheels"]').parent

        settings = read_index_settings({**os.environ, "UV_FIND_LINKS": "a,https://index.example/b", "NETRC": "netrc"})

        assert settings.config["find-links"] == [str(folder / "wheels")]
        assert settings.environment["UV_FIND_LINKS"] == f"{tmp_path / 'a'},https://index.example/b"
        assert settings.environment["NETRC"] == str(tmp_path / "netrc")

    @pytest.mark.parametrize("text", ["index-url = ", "index-url = 3", 'index = ["https://index.example"]', "pip = 1"])
    def test_unreadable_file_is_diagnosed(self, configure: Callable[[str], Path], text: str) -> None:
        file = configure(text)

        with pytest.raises(DifyoffError) as caught:
            read_index_settings(os.environ)

        assert caught.value.diagnosis.slug == "uv-configuration-unreadable"
        assert str(file) in caught.value.diagnosis.message
        assert caught.value.exit_code == Exit.MACHINE


class TestCredentials:
    def test_from_urls_and_from_variables(self, configure: Callable[[str], Path]) -> None:
        configure('[[index]]\nname = "my-corp.io"\nurl = "https://index.example:8443/simple"')
        environ = {
            **os.environ,
            "UV_INDEX_MY_CORP_IO_USERNAME": "named",
            "UV_INDEX_MY_CORP_IO_PASSWORD": "n%40med",
            "UV_EXTRA_INDEX_URL": "https://u:p%40ss@one.example/simple https://token@two.example/simple",
        }

        found = credentials(read_index_settings(environ))

        assert [(one.host, one.port, one.user, one.password) for one in found] == [
            ("one.example", None, "u", "p@ss"),
            ("two.example", None, "token", ""),
            ("index.example", 8443, "named", "n%40med"),
        ]

    def test_secrets_stay_out_of_repr(self) -> None:
        settings = read_index_settings(
            {"UV_INDEX_URL": "https://u:s3cret@index.example/"}, index_url="https://x:s3cret@y"
        )

        assert "s3cret" not in repr(settings) + repr(credentials(settings))

    @pytest.mark.parametrize(
        ("text", "clean"),
        [
            ("get https://u:p@index.example/a", "get https://****@index.example/a"),
            ("`https://token@index.example`", "`https://****@index.example`"),
            ("https://u:p@ss@index.example/a@b", "https://****@index.example/a@b"),
            ("git+ssh://git@host.example/x, http://a:b@c", "git+ssh://****@host.example/x, http://****@c"),
            ("https://index.example/?to=me@home.example", "https://index.example/?to=me@home.example"),
        ],
    )
    def test_redact(self, text: str, clean: str) -> None:
        assert redact(text) == clean


class TestResolving:
    def test_guarded_index_refuses_without_credentials(self, guarded: Index, resolve: Callable[..., Outcome]) -> None:
        assert not resolve(read_index_settings(os.environ, index_url=guarded.url)).ok

    def test_credentials_in_our_own_index_url(self, guarded: Index, resolve: Callable[..., Outcome]) -> None:
        assert chosen(resolve(read_index_settings(os.environ, index_url=guarded.url_with_login))) == "alpha==2.0"

    def test_credentials_in_a_url_of_the_environment(self, guarded: Index, resolve: Callable[..., Outcome]) -> None:
        environ = {**os.environ, "UV_DEFAULT_INDEX": guarded.url_with_login}

        assert chosen(resolve(read_index_settings(environ))) == "alpha==2.0"

    def test_credentials_in_variables_for_a_named_index(
        self, guarded: Index, resolve: Callable[..., Outcome], configure: Callable[[str], Path]
    ) -> None:
        configure(f'[[index]]\nname = "my-corp"\nurl = "{guarded.url}"\ndefault = true\n')
        user, _, password = LOGIN.partition(":")
        environ = {**os.environ, "UV_INDEX_MY_CORP_USERNAME": user, "UV_INDEX_MY_CORP_PASSWORD": password}

        assert chosen(resolve(read_index_settings(environ))) == "alpha==2.0"

    @pytest.mark.parametrize("by_variable", [True, False])
    def test_credentials_in_netrc(
        self, guarded: Index, resolve: Callable[..., Outcome], tmp_path: Path, by_variable: bool
    ) -> None:
        netrc = tmp_path / "elsewhere" if by_variable else Path(os.environ["HOME"], ".netrc")
        user, _, password = LOGIN.partition(":")
        netrc.write_text(f"machine 127.0.0.1 login {user} password {password}\n")
        netrc.chmod(0o600)
        environ = {**os.environ, "UV_DEFAULT_INDEX": guarded.url, **({"NETRC": str(netrc)} if by_variable else {})}

        assert chosen(resolve(read_index_settings(environ))) == "alpha==2.0"

    def test_credentials_from_keyring(self, guarded: Index, resolve: Callable[..., Outcome], tmp_path: Path) -> None:
        user, _, password = LOGIN.partition(":")
        program(tmp_path / "bin" / "keyring", f"echo {password}")
        environ = {
            **os.environ,
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "UV_KEYRING_PROVIDER": "subprocess",
            "UV_DEFAULT_INDEX": guarded.url.replace("://", f"://{user}@"),
        }

        assert chosen(resolve(read_index_settings(environ))) == "alpha==2.0"

    def test_proxy(self, public: Index, resolve: Callable[..., Outcome]) -> None:
        environ = {**os.environ, "HTTP_PROXY": public.url.removesuffix("/simple")}

        resolve(read_index_settings(environ, index_url="http://index.example/simple"))

        assert any("index.example/simple/alpha" in request.path for request in public.requests)

    def test_proxy_of_a_file(
        self, public: Index, resolve: Callable[..., Outcome], configure: Callable[[str], Path]
    ) -> None:
        configure(f'http-proxy = "{public.url.removesuffix("/simple")}"\nno-proxy = ["other.example"]\n')

        resolve(read_index_settings(os.environ, index_url="http://index.example/simple"))

        assert any("index.example/simple/alpha" in request.path for request in public.requests)

    def test_our_index_url_replaces_every_other(
        self, public: Index, guarded: Index, resolve: Callable[..., Outcome], configure: Callable[[str], Path]
    ) -> None:
        configure(f'no-index = true\nextra-index-url = ["{guarded.url}"]\n')
        environ = {**os.environ, "UV_INDEX": f"corp={guarded.url}", "UV_FIND_LINKS": "/nowhere"}

        assert chosen(resolve(read_index_settings(environ, index_url=public.url))) == "alpha==2.0"
        assert guarded.requests == []

    def test_variables_that_steer_the_choice_have_no_effect(
        self, public: Index, resolve: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        constraint = tmp_path / "constraint.txt"
        constraint.write_text("alpha<2\n")
        steering = {
            "UV_EXCLUDE_NEWER": "2021-01-01T00:00:00Z",
            "UV_RESOLUTION": "lowest",
            "UV_PRERELEASE": "allow",
            "UV_CONSTRAINT": str(constraint),
            "UV_PROJECT": "/nowhere",
            "UV_PYTHON": "/nowhere/python",
            "UV_OFFLINE": "1",
        }

        settings = read_index_settings({**os.environ, **steering, "UV_DEFAULT_INDEX": public.url})

        assert chosen(resolve(settings)) == "alpha==2.0"
        assert not steering.keys() & settings.environment.keys()

    @pytest.mark.parametrize("place", ["user", "pip", "system", "above"])
    def test_files_that_steer_the_choice_have_no_effect(
        self,
        public: Index,
        resolve: Callable[..., Outcome],
        configure: Callable[[str], Path],
        tmp_path: Path,
        place: str,
    ) -> None:
        steering = 'exclude-newer = "2021-01-01T00:00:00Z"\nresolution = "lowest"\n'
        work = tmp_path / "above" / "work"
        work.mkdir(parents=True)
        files = {
            "user": configure(""),
            "pip": configure(""),
            "system": Path(os.environ["XDG_CONFIG_DIRS"], "uv", "uv.toml"),
            "above": work.parent / "uv.toml",
        }
        files[place].parent.mkdir(parents=True, exist_ok=True)
        files[place].write_text(("[pip]\n" if place == "pip" else "") + steering)

        settings = read_index_settings(os.environ, index_url=public.url)

        assert chosen(resolve(settings, cwd=work)) == "alpha==2.0"

    def test_every_index_setting_is_written_as_uv_reads_it(
        self, public: Index, resolve: Callable[..., Outcome], configure: Callable[[str], Path]
    ) -> None:
        configure(
            'index-strategy = "unsafe-best-match"\nallow-insecure-host = ["127.0.0.1"]\nkeyring-provider = "disabled"\n'
            'find-links = ["wheels \\"quoted\\" ü"]\n'
            f'[[index]]\nname = "corp"\nurl = "{public.url}"\ndefault = true\nignore-error-codes = [403]\n'
            f'authenticate = "never"\nexclude-newer = "2021-01-01T00:00:00Z"\ncache-control = {{ api = "no-store" }}\n'
        ).with_name('wheels "quoted" ü').mkdir()

        assert chosen(resolve(read_index_settings(os.environ))) == "alpha==2.0"

    def test_only_its_owner_may_read_the_file(self, resolve: Callable[..., Outcome], tmp_path: Path) -> None:
        _, arguments = resolving(
            read_index_settings({}, index_url="https://u:s3cret@index.example"), home=tmp_path / "p", cache=tmp_path
        )

        assert stat.S_IMODE(Path(arguments[1]).stat().st_mode) == 0o600
        assert "s3cret" not in " ".join(arguments)


class TestClosed:
    def uv_reads_its_configuration(self, uv: Uv, environment: dict[str, str], cwd: Path) -> Outcome:
        return run(Command(argv=(str(uv.path), "cache", "dir"), environment=environment, cwd=cwd, timeout=60))

    def test_has_nothing_of_the_users(
        self, uv: Uv, configure: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure("broken = ")
        system = Path(os.environ["XDG_CONFIG_DIRS"], "uv", "uv.toml")
        system.parent.mkdir(parents=True)
        system.write_text("broken = ")
        monkeypatch.setenv("UV_EXCLUDE_NEWER", "2021-01-01T00:00:00Z")
        assert not self.uv_reads_its_configuration(uv, dict(os.environ), tmp_path).ok

        environment = closed(home=tmp_path / "closed", cache=tmp_path / "uv-cache")

        assert self.uv_reads_its_configuration(uv, environment, tmp_path).ok
        assert "UV_EXCLUDE_NEWER" not in environment

    def test_hides_the_configuration_in_etc(self, uv: Uv, tmp_path: Path) -> None:
        environment = closed(home=tmp_path / "closed", cache=tmp_path / "uv-cache")
        script = 'mount -t tmpfs none /etc && mkdir /etc/uv && echo "broken = " >/etc/uv/uv.toml && exec "$0" cache dir'
        unshare = ("unshare", "--mount", "--map-root-user", "sh", "-c")
        if (
            not shutil.which("unshare")
            or subprocess.run([*unshare, "mount -t tmpfs none /etc"], check=False).returncode
        ):
            pytest.skip("no mount namespace to be had")

        def with_broken_etc(environment: dict[str, str]) -> Outcome:
            argv = (*unshare, script, str(uv.path))
            return run(Command(argv=argv, environment=environment, cwd=tmp_path, timeout=60))

        exposed = {name: value for name, value in environment.items() if name != "XDG_CONFIG_DIRS"}
        assert "/etc/uv/uv.toml" in with_broken_etc(exposed).stderr
        assert with_broken_etc(environment).ok

    def test_leaves_the_projects_own_configuration(self, uv: Uv, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").write_text('[tool.uv]\nrequired-version = "==0.0.1"\n')

        outcome = self.uv_reads_its_configuration(uv, closed(home=tmp_path / "h", cache=tmp_path / "c"), tmp_path)

        assert "0.0.1" in outcome.stderr


class TestMachineFaults:
    """Killed, without memory, without disk: nothing is known of what uv worked on."""

    @pytest.mark.parametrize(
        ("script", "slug"),
        [
            ("kill -KILL $$", "program-killed"),
            ("kill -SEGV $$", "program-killed"),
            ("echo 'memory allocation of 4096 bytes failed' >&2; kill -ABRT $$", "out-of-memory"),
            ("echo 'Caused by: Cannot allocate memory (os error 12)' >&2; exit 2", "out-of-memory"),
            ("echo 'Caused by: Resource temporarily unavailable (os error 11)' >&2; exit 2", "out-of-memory"),
            ("echo 'Caused by: Too many open files (os error 24)' >&2; exit 2", "out-of-memory"),
            ("echo 'Caused by: No space left on device (os error 28)' >&2; exit 2", "disk-full"),
            ("echo 'Caused by: Disk quota exceeded (os error 122)' >&2; exit 2", "disk-full"),
            ("echo 'Because there is no version of x, we can conclude' >&2; exit 1", None),
            ("echo 'No space left on device' >&2; exit 0", None),
        ],
    )
    def test_what_is_said(self, script: str, slug: str | None) -> None:
        outcome = run(Command(argv=("sh", "-c", script), environment={"PATH": os.defpath}))
        fault = explain_machine_fault(outcome)
        assert (fault.slug if fault else None) == slug
        assert fault is None or page(fault.slug).exit_code is Exit.MACHINE

    def test_uv_itself_without_memory(self, uv: Uv) -> None:
        script = f"ulimit -v 30000; exec '{uv.path}' --version"
        outcome = run(Command(argv=("sh", "-c", script), environment={"PATH": os.defpath}))
        fault = explain_machine_fault(outcome)
        assert fault
        assert fault.slug in {"out-of-memory", "program-killed"}

    @pytest.mark.parametrize(
        "script",
        [
            "kill -KILL $$",
            '[ "$1" = venv ] || kill -KILL $$',
            "echo 'No space left on device (os error 28)' >&2; exit 2",
        ],
    )
    @pytest.mark.parametrize("command", ["build", "verify"])
    def test_the_command_line_gives_no_verdict(
        self, tmp_path: Path, index: Index, lock_uv: Path, monkeypatch: pytest.MonkeyPatch, command: str, script: str
    ) -> None:
        cache_uv(tmp_path / "cache", LOCK_UV, script)
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
        if command == "build":
            words: tuple[str | Path, ...] = ("build", write_plugin(tmp_path / "plugin"))
        else:
            (tmp_path / "good").mkdir()
            words = ("verify", build_good(tmp_path / "good", index, lock_uv), "--daemon", "0.6.10")
            cache_uv(tmp_path / "cache", release("0.6.10").uv or "", script)
        done = difyoff(*words, "--cache-dir", tmp_path / "cache", "--json", cwd=tmp_path)
        assert done.code == 5, done.stderr
        assert "failed" not in {each.get("verdict") for each in done.document["results"]}
        assert ": ;" not in done.stderr  # what was not checked has a reason


class TestInstalledUv:
    def test_first_on_path_that_answers_when_none_came_with_us(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(tmp_path / "shim" / "uv", "exit 127")
        (tmp_path / "foreign").mkdir()
        (tmp_path / "foreign" / "uv").write_bytes(b"\x7fELF of another machine")
        (tmp_path / "foreign" / "uv").chmod(0o755)
        real = program(tmp_path / "real" / "uv", "echo 'uv 1.2.3 (somewhere)'")
        monkeypatch.setenv("PATH", f"{tmp_path / 'shim'}:{tmp_path / 'foreign'}:{real.parent}")
        monkeypatch.setattr(uv_module, "_bundled_uv", lambda: ())

        assert installed_uv.__wrapped__() == Uv(path=real, version="1.2.3")


class TestProvideUv:
    def test_installed_release_is_used_as_it_is(self, tmp_path: Path) -> None:
        installed = installed_uv()
        assert installed

        assert provide_uv(installed.version, cache=tmp_path, settings=read_index_settings({})) == installed

    def test_fetched_once_even_by_two_at_a_time(self, tmp_path: Path) -> None:
        both = Barrier(2)
        told: list[str] = []

        def on_fetch(version: str) -> None:
            told.append(version)
            both.wait(timeout=60)

        with serve([UV_999], login=LOGIN) as index:
            settings = read_index_settings(os.environ, index_url=index.url_with_login)

            def fetch(_: int) -> Uv:
                return provide_uv("9.9.9", cache=tmp_path, settings=settings, on_fetch=on_fetch)

            with ThreadPoolExecutor(2) as pool:
                first, second = pool.map(fetch, range(2))
        again = fetch(0)  # the index is gone

        assert first == second == again
        assert told == ["9.9.9", "9.9.9"]
        assert (
            run(Command(argv=(str(again.path), "--version"), environment={"PATH": os.defpath})).stdout == "uv 9.9.9\n"
        )
        leftovers = [
            path for path in tmp_path.rglob("*") if path.is_file() and LOGIN in path.read_text(errors="ignore")
        ]
        assert leftovers == []

    def test_release_in_the_cache_needs_no_other_uv(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        cache_uv(tmp_path, "1.2.3", "echo uv 1.2.3")
        monkeypatch.setattr(uv_module, "installed_uv", lambda: pytest.fail("asked for the installed uv"))

        assert provide_uv("1.2.3", cache=tmp_path, settings=read_index_settings({})).version == "1.2.3"

    @pytest.mark.parametrize("damage", [b"", b"#!/bin/sh\n", b"#!/bin/sh\necho another program\n"])
    def test_release_that_is_not_what_was_fetched_is_fetched_anew(self, tmp_path: Path, damage: bytes) -> None:
        settings = {"UV_HTTP_RETRIES": "0", **os.environ}
        with serve([UV_999]) as index:
            first = provide_uv("9.9.9", cache=tmp_path, settings=read_index_settings(settings, index_url=index.url))
            first.path.write_bytes(damage)
            again = provide_uv("9.9.9", cache=tmp_path, settings=read_index_settings(settings, index_url=index.url))
        assert first == again
        assert run(Command(argv=(str(again.path),), environment={"PATH": os.defpath})).stdout == "uv 9.9.9\n"
        first.path.write_bytes(damage)
        gone = read_index_settings({**settings, "UV_DEFAULT_INDEX": index.url})
        with pytest.raises(DifyoffError) as caught:
            provide_uv("9.9.9", cache=tmp_path, settings=gone)
        assert caught.value.diagnosis.slug == "uv-not-available"
        assert not first.path.exists()

    def test_release_comes_from_this_machine_s_index_where_the_plugin_s_lacks_it(self, tmp_path: Path) -> None:
        with serve([OLD], login=LOGIN) as plugins, serve([UV_999]) as machines:
            for number, own in enumerate(({"UV_DEFAULT_INDEX": machines.url}, {"UV_INDEX_URL": machines.url})):
                settings = read_index_settings({**os.environ, **own}, index_url=plugins.url_with_login)
                assert provide_uv("9.9.9", cache=tmp_path / str(number), settings=settings).version == "9.9.9"

    def test_release_comes_from_the_plugin_s_index_where_this_machine_s_lacks_it(self, tmp_path: Path) -> None:
        with serve([UV_999], login=LOGIN) as plugins, serve([OLD]) as machines:
            own = {**os.environ, "UV_DEFAULT_INDEX": machines.url}
            settings = read_index_settings(own, index_url=plugins.url_with_login)
            assert provide_uv("9.9.9", cache=tmp_path, settings=settings).version == "9.9.9"

    def test_release_comes_from_a_folder_of_wheels(self, tmp_path: Path) -> None:
        (tmp_path / "wheels").mkdir()
        (tmp_path / "wheels" / UV_999.filename).write_bytes(UV_999.data)
        settings = read_index_settings({**os.environ, "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"})
        found = fetch_uv("9.9.9", cache=tmp_path / "cache", settings=settings, wheels=tmp_path / "wheels")
        assert provide_uv("9.9.9", cache=tmp_path / "cache", settings=settings) == found

    def test_release_that_the_index_lacks(self, tmp_path: Path) -> None:
        with serve([OLD], login=LOGIN) as index:
            own = {**os.environ, "UV_DEFAULT_INDEX": index.url_with_login}
            settings = read_index_settings(own, index_url=index.url_with_login)
            with pytest.raises(DifyoffError) as caught:
                provide_uv("9.9.9", cache=tmp_path, settings=settings)

        assert caught.value.diagnosis.slug == "uv-not-available"
        assert caught.value.exit_code == Exit.NETWORK
        assert LOGIN not in str(caught.value.diagnosis)

    def test_no_uv_at_all(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uv_module, "installed_uv", lambda: None)

        with pytest.raises(DifyoffError) as caught:
            provide_uv("9.9.9", cache=tmp_path, settings=read_index_settings({}))

        assert caught.value.diagnosis.slug == "uv-not-found"
        assert caught.value.exit_code == Exit.MACHINE

    @pytest.mark.network
    def test_the_release_that_locks(self, tmp_path: Path) -> None:
        uv = provide_uv(LOCK_UV, cache=tmp_path, settings=read_index_settings(os.environ))

        assert run(Command(argv=(str(uv.path), "--version"), environment={})).stdout.split()[:2] == ["uv", LOCK_UV]


def cache_uv(cache: Path, version: str, script: str) -> Path:
    """Put a program into a cache as `fetch_uv` does."""
    content = f"#!/bin/sh\n{script}\n"
    return program(cache / "uv" / version / hashlib.sha256(content.encode()).hexdigest() / "uv", script)


def program(file: Path, script: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def interpreter(file: Path, version: str, implementation: str = "cpython") -> Path:
    """Make a program that answers our question as an interpreter of that version would."""
    answer = json.dumps([str(file), version, implementation, "x86_64", "glibc 2.36"])
    return program(file, f"echo '{answer}'")


class TestFindPython:
    """With versions of CPython that do not exist, so that none of this machine's is in the way."""

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{tmp_path / 'second'}:{os.defpath}")
        monkeypatch.delenv("PYENV_ROOT", raising=False)

    def test_our_own(self) -> None:
        found = find_python(sys.version_info[:2])

        assert found
        assert found.version == ".".join(map(str, sys.version_info[:3]))
        assert found.machine == os.uname().machine
        assert found.path.is_absolute()

    @pytest.mark.parametrize(
        "dead", ["exit 127", "echo 'pyenv: python3.27: command not found' >&2; exit 1", "echo '{}'"]
    )
    def test_shim_that_does_not_answer_is_passed_over(self, tmp_path: Path, dead: str) -> None:
        program(tmp_path / "first" / "python3.27", dead)
        real = interpreter(tmp_path / "second" / "python3.27", "3.27.4")

        assert find_python((3, 27)) == Python(
            path=real, version="3.27.4", implementation="cpython", machine="x86_64", glibc=(2, 36)
        )

    def test_real_one_behind_a_shim(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = python312()
        if real is None:
            pytest.skip("no CPython 3.12 on this machine")
        program(tmp_path / "first" / "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
        monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{real.parent}:{os.defpath}")

        found = find_python((3, 12))

        assert found
        assert found.minor == (3, 12)
        asked = run(Command(argv=(str(found.path), "-VV"), environment={}))
        assert asked.stdout.startswith(f"Python {found.version} ")

    def test_another_implementation_or_version_is_passed_over(self, tmp_path: Path) -> None:
        interpreter(tmp_path / "first" / "python3.27", "3.27.1", implementation="pypy")
        interpreter(tmp_path / "second" / "python3.27", "3.26.1")

        assert find_python((3, 27)) is None

    @pytest.mark.parametrize(
        ("variable", "folder", "name"),
        [
            ("PYENV_ROOT", "{home}/pyenv", "versions/{version}"),
            (None, "{home}/.pyenv", "versions/{version}"),
            ("UV_PYTHON_INSTALL_DIR", "{home}/pythons", "cpython-{version}-linux-x86_64-gnu"),
            (None, "{home}/.local/share/uv/python", "cpython-{version}-linux-x86_64-gnu"),
        ],
    )
    def test_version_managers_newest_patch_first(
        self, monkeypatch: pytest.MonkeyPatch, variable: str | None, folder: str, name: str
    ) -> None:
        root = Path(folder.format(home=os.environ["HOME"]))
        if variable:
            monkeypatch.setenv(variable, str(root))
        for version in ("3.27.9", "3.27.10", "3.27.2"):
            interpreter(root / name.format(version=version) / "bin" / "python3.27", version)

        found = find_python((3, 27))

        assert found
        assert found.version == "3.27.10"

    def test_folder_of_versions_that_may_not_be_read_is_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        versions = tmp_path / "pyenv" / "versions"
        versions.mkdir(parents=True)
        versions.parent.chmod(0)
        monkeypatch.setenv("PYENV_ROOT", str(versions.parent))  # root may read it all the same

        assert find_python((3, 27)) is None

    def test_uv_cannot_install_one(self, uv: Uv, tmp_path: Path) -> None:
        mirror = {"UV_PYTHON_INSTALL_MIRROR": "http://reader:s3cret@127.0.0.1:9", "UV_HTTP_RETRIES": "0"}
        settings = read_index_settings({**os.environ, **mirror, "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons")})

        with pytest.raises(DifyoffError) as caught:
            install_python((3, 12), uv=uv, settings=settings, home=tmp_path / "private", cache=tmp_path / "cache")

        assert caught.value.diagnosis.slug == "python-not-found"
        assert caught.value.exit_code == Exit.MACHINE
        assert "s3cret" not in str(caught.value.diagnosis)
        assert any("127.0.0.1:9" in line for line in caught.value.diagnosis.context)

    @pytest.mark.parametrize(
        ("script", "says"),
        [
            ("echo 'error while loading shared libraries: libpython3.12.so.1.0' >&2; exit 127", "libpython3.12.so.1.0"),
            ("echo \"ModuleNotFoundError: No module named 'encodings'\" >&2; exit 1", "encodings"),
            ("exit 3", "it ends with code 3"),
            ("echo gibberish", "gibberish"),
        ],
    )
    def test_one_that_does_not_start_is_named_with_its_words(
        self, uv: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, says: str
    ) -> None:
        broken = program(tmp_path / "first" / "python3.27", script)
        settings = read_index_settings({**os.environ, "UV_PYTHON_INSTALL_DIR": str(tmp_path / "pythons")})

        with pytest.raises(DifyoffError) as caught:
            install_python((3, 27), uv=uv, settings=settings, home=tmp_path / "private", cache=tmp_path / "cache")

        diagnosis = caught.value.diagnosis
        assert diagnosis.message == "no CPython 3.27 on this machine starts, and uv could not install one"
        assert diagnosis.context[0].startswith(f"{broken} does not start: ")
        assert says in diagnosis.context[0]
        assert "UV_PYTHON_INSTALL_MIRROR" in (diagnosis.hint or "")

    def test_newer_one_when_that_will_do(self, tmp_path: Path) -> None:
        interpreter(tmp_path / "first" / "python3.28", "3.28.0")
        interpreter(tmp_path / "second" / "python3.29", "3.29.0")

        found = find_python((3, 27), or_newer=True)

        assert find_python((3, 27)) is None
        assert found
        assert found.version == "3.28.0"
