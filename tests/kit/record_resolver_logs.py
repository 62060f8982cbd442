"""Record what uv says when it resolves and something goes wrong: `python -m kit.record_resolver_logs UV...`.

Each situation is a server on loopback that fails in one way, or requirements that cannot be met. The texts go to
`fixtures/uv-logs/VERSION/resolving/SLUG.NAME.COMMAND.txt`; `SLUG` is what must be said of them.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kit.faulty import Fault, FileServer, Handler, file_server, redirect, reset, server_context, short, status
from kit.wheels import Distribution, wheel

FIXTURES = Path(__file__).parents[2] / "fixtures" / "uv-logs"
COMMANDS = {
    "lock": ("lock", "--quiet"),
    "compile": (
        *("pip", "compile", "--universal", "--python-version", "3.12", "--format", "pylock.toml", "--quiet"),
        *("requirements.txt", "--output-file", "pylock.toml"),
    ),
}
PAGE = b"<!DOCTYPE html><html><body><h1>Log in to the guest network</h1></body></html>"


@dataclass(frozen=True, kw_only=True)
class Situation:
    """`faults` are by path; the last of each is met again and again. `environment` is added to uv's."""

    slug: str
    name: str
    wants: tuple[str, ...] = ("demo",)
    offers: tuple[Distribution, ...] = (wheel("demo", "1.0"),)
    faults: Mapping[str, Fault] = field(default_factory=dict)
    index: str = "{server}/simple"
    environment: Mapping[str, str] = field(default_factory=dict)
    tls: bool = False


def situations() -> Iterator[Situation]:
    """Yield every situation, told apart by slug and name."""
    demo = "/simple/demo/"
    for code in (401, 403):
        yield Situation(slug="index-unauthorised", name=f"status-{code}", faults={demo: status(code)})
    yield Situation(slug="index-unauthorised", name="status-407", faults={demo: status(407)})
    for code in (429, 500, 502, 503):
        yield Situation(slug="index-unreachable", name=f"status-{code}", faults={demo: status(code)})
    yield Situation(slug="index-unreachable", name="refused", index="http://127.0.0.1:9/simple")
    yield Situation(slug="index-unreachable", name="no-such-host", index="http://index.invalid/simple")
    yield Situation(slug="index-unreachable", name="reset", faults={demo: reset(20)})
    yield Situation(slug="index-unreachable", name="cut", faults={demo: short(20)})
    yield Situation(slug="index-answer-unusable", name="redirects", faults={demo: redirect(demo)})
    yield Situation(
        slug="index-unreachable",
        name="bad-gzip",
        faults={
            demo: lambda handler, body: handler.answer(200, gzip.compress(body)[:30], {"Content-Encoding": "gzip"})
        },
    )
    yield Situation(slug="index-answer-unusable", name="portal", faults={demo: html(PAGE)})
    yield Situation(slug="index-answer-unusable", name="portal-untyped", faults={demo: typed(PAGE, "")})
    yield Situation(slug="index-answer-unusable", name="json", faults={demo: typed(b"{}", "application/json")})
    yield Situation(slug="index-answer-unusable", name="json-cut", faults={demo: typed(b'{"files": [', JSON)})
    yield Situation(
        slug="index-unreachable",
        name="slow",
        faults={demo: slow},
        environment={"UV_HTTP_TIMEOUT": "1", "UV_HTTP_RETRIES": "0"},
    )
    yield Situation(slug="index-unreachable", name="proxy", environment={"HTTP_PROXY": "http://127.0.0.1:9"})
    yield Situation(slug="index-unreachable", name="not-tls", index="https://127.0.0.1:{port}/simple")
    yield Situation(slug="tls-failed", name="private-ca", tls=True)
    file = "/files/demo-1.0-py3-none-any.whl"
    for name, fault in (("401", status(401)), ("403", status(403))):
        yield Situation(slug="index-unauthorised", name=f"file-{name}", faults={file: fault, file + META: fault})
    for name, fault in (("404", status(404)), ("503", status(503)), ("cut", short(20)), ("portal", html(PAGE))):
        slug = "index-answer-unusable" if name == "portal" else "index-unreachable"
        yield Situation(slug=slug, name=f"file-{name}", faults={file: fault, file + META: fault})
    yield Situation(slug="unsatisfiable", name="no-such-project", wants=("absent",))
    yield Situation(slug="unsatisfiable", name="no-such-version", wants=("demo>=2",))
    yield Situation(
        slug="unsatisfiable",
        name="conflict",
        wants=("demo", "base>=2"),
        offers=(wheel("demo", "1.0", requires=["base<2"]), wheel("base", "1.0"), wheel("base", "2.0")),
    )
    yield Situation(slug="unsatisfiable", name="other-python", offers=(wheel("demo", "1.0", requires_python=">=3.13"),))
    yield Situation(
        slug="transitive-direct-reference",
        name="url",
        offers=(wheel("demo", "1.0", requires=["base @ http://files.example/base-1.0-py3-none-any.whl"]),),
    )
    yield Situation(slug="git-source-unreachable", name="refused", wants=("demo @ git+http://127.0.0.1:9/demo.git",))
    yield Situation(
        slug="index-unreachable",
        name="direct-url",
        wants=("demo @ http://127.0.0.1:9/demo-1.0-py3-none-any.whl",),
    )


META = ".metadata"
JSON = "application/vnd.pypi.simple.v1+json"


def typed(body: bytes, kind: str) -> Fault:
    return lambda handler, _: handler.answer(200, body, {"Content-Type": kind})


def half_gzipped(handler: Handler, body: bytes) -> None:
    handler.answer(200, gzip.compress(body)[:30], {"Content-Encoding": "gzip"})


def html(body: bytes) -> Fault:
    return typed(body, "text/html")


def slow(handler: Handler, body: bytes) -> None:
    time.sleep(3)


class _Always(list[Fault]):
    def pop(self, _: object = -1) -> Fault:
        return self[0]


def say(uv: Path, folder: Path, situation: Situation, command: str) -> str:
    """Run one command in one situation and return what uv printed, without this machine's paths."""
    folder.mkdir()
    (folder / "home").mkdir()
    context = server_context(folder) if situation.tls else None
    work = folder / "plugin"
    work.mkdir()
    with file_server(context) as server:
        _fill(server, situation)
        wants = ", ".join(f'"{each}"' for each in situation.wants)
        (work / "pyproject.toml").write_text(
            f'[project]\nname = "plugin"\nversion = "0.1.0"\nrequires-python = ">=3.12"\ndependencies = [{wants}]\n'
        )
        (work / "requirements.txt").write_text("".join(f"{each}\n" for each in situation.wants))
        python = shutil.which("python3.12") or sys.exit("no python3.12 on PATH")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home"),
            "UV_CACHE_DIR": str(folder / "cache"),
            "UV_PYTHON": python,
            "UV_DEFAULT_INDEX": situation.index.format(server=server.url(""), port=server.server_port),
            **situation.environment,
        }
        done = subprocess.run(
            [uv, *COMMANDS[command]],
            cwd=work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=200,
        )
    if not done.returncode:
        return ""
    text = done.stdout.replace(str(folder), "/build").replace(python, "/usr/bin/python3.12")
    text = re.sub(r"\b[0-9.]+(ms|s)\b", r"1\1", text)
    return re.sub(r"127\.0\.0\.1:\d+", "index.example", text)


def _fill(server: FileServer, situation: Situation) -> None:
    server.faults = defaultdict(list, {path: _Always([fault]) for path, fault in situation.faults.items()})
    links = defaultdict(list)
    for each in situation.offers:
        server.files[f"/files/{each.filename}"] = each.data
        if each.metadata is not None:
            server.files[f"/files/{each.filename}{META}"] = each.metadata
        limit = f' data-requires-python="{each.requires_python.replace(">", "&gt;")}"' if each.requires_python else ""
        links[each.project].append(
            f'<a href="/files/{each.filename}#sha256={each.sha256}" data-core-metadata="true"{limit}>'
            f"{each.filename}</a>"
        )
    for project, lines in links.items():
        server.files[f"/simple/{project}/"] = f"<!DOCTYPE html><html><body>{''.join(lines)}</body></html>".encode()


def main(binaries: list[str]) -> None:
    """Record every situation with each uv."""
    for uv in map(Path, binaries):
        version = subprocess.run([uv, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
        jobs = [(situation, command) for situation in situations() for command in COMMANDS]
        with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(6) as pool:
            folders = [Path(scratch) / str(number) for number in range(len(jobs))]
            texts = pool.map(partial(say, uv.resolve()), folders, *zip(*jobs, strict=True))
            for (situation, command), text in zip(jobs, texts, strict=True):
                if text:
                    file = FIXTURES / version / "resolving" / f"{situation.slug}.{situation.name}.{command}.txt"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
