"""Record what uv says over broken packages: the fixtures of `difypkg.uvtext`.

    python tests/kit/record_uv_logs.py FOLDER/VERSION/bin/uv...      (root on Linux, CPython 3.12 and iproute2 on PATH)

Each situation is made afresh, run with the daemon's argv and environment in a network namespace that has loopback
alone, and written to `fixtures/uv-logs/VERSION/SLUG.SITUATION.COMMAND.txt`. A text that an older version said
word for word is not written again.
"""

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

FIXTURES = Path(__file__).parents[2] / "fixtures" / "uv-logs"
HOME = "/app/storage/cwd/acme/demo-0.0.1@" + "5f1c" * 16
INDEX = "https://index.example/simple"
CLOSED = 'no-index = true\nfind-links = ["./wheels/"]\npackage = false\n'
LINUX = (
    "environments = [\"sys_platform == 'linux' and python_full_version >= '3.12' and python_full_version < '3.13'\"]\n"
)

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "frozen": ("sync", "--no-dev", "--frozen"),
    "frozen-verbose": ("sync", "--no-dev", "--frozen", "-v"),
    "sync": ("sync", "--no-dev"),
    "offline": ("sync", "--no-dev", "--offline"),
    "mirror": ("sync", "--no-dev", "-i", "http://127.0.0.1:9/simple"),
    "mirror-tls": ("sync", "--no-dev", "-i", "https://127.0.0.1:4443/simple"),
    "mirror-empty": ("sync", "--no-dev", "-i", "http://127.0.0.1:8080/simple"),
    "pip": ("pip", "install", "-r", "requirements.txt"),
    "pip-mirror": ("pip", "install", "-i", "http://127.0.0.1:9/simple", "-r", "requirements.txt"),
    "pip-verbose": ("pip", "install", "-r", "requirements.txt", "-vvv"),
}


@dataclass(frozen=True, kw_only=True)
class Situation:
    """Files of one broken plugin and the commands that meet the fault; `slug` is what must be told of it.

    `before` is shell that runs in the sealed namespace first; its children end with it.
    """

    slug: str
    name: str
    files: Mapping[str, bytes | str]
    commands: tuple[str, ...]
    before: str = ":"


def wheel(
    name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), tag: str = "py3-none-any", python: str = ">=3"
) -> bytes:
    """Return the bytes of a wheel with one empty module."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {python}\n"
    files = {
        f"{name}/__init__.py": "",
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {line}\n" for line in requires),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: kit\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in (*files.items(), (f"{info}/RECORD", record)):
            archive.writestr(zipfile.ZipInfo(path), text)
    return buffer.getvalue()


def sdist(name: str, version: str = "1.0") -> bytes:
    """Return the bytes of a source distribution that setuptools would build."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in {
            "setup.py": f"from setuptools import setup\nsetup(name={name!r}, version={version!r})\n",
            "PKG-INFO": f"Metadata-Version: 1.1\nName: {name}\nVersion: {version}\n",
        }.items():
            member = tarfile.TarInfo(f"{name}-{version}/{path}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return buffer.getvalue()


def pyproject(*dependencies: str, uv: str = CLOSED + LINUX, python: str = ">=3.12", more: str = "") -> str:
    """Return the text of a plugin's pyproject.toml."""
    lines = "".join(f'  "{dependency}",\n' for dependency in dependencies)
    project = f'[project]\nname = "demo"\nversion = "0.0.1"\nrequires-python = "{python}"\ndependencies = [\n{lines}]\n'
    return project + more + (f"\n[tool.uv]\n{uv}" if uv else "")


def requirements(*lines: str) -> str:
    """Return the text of an offline requirements.txt."""
    return "\n".join(("--no-index", "--find-links=./wheels/", *lines, ""))


def lock(name: str, source: str, files: str, *, version: str = "1.0", python: str = ">=3.12") -> str:
    """Return a uv.lock with one package beside the project."""
    return (
        f'version = 1\nrequires-python = "{python}"\n\n[[package]]\nname = "demo"\nversion = "0.0.1"\n'
        f'source = {{ virtual = "." }}\ndependencies = [\n    {{ name = "{name}" }},\n]\n\n'
        f'[package.metadata]\nrequires-dist = [{{ name = "{name}", specifier = "=={version}" }}]\n\n'
        f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "{source}" }}\n{files}\n'
    )


def local_lock(name: str, file: str, *, digest: str = "", python: str = ">=3.12") -> str:
    """Return a uv.lock whose one wheel lies in `wheels/`."""
    pin = f', hash = "sha256:{digest}"' if digest else ""
    return lock(name, "wheels", f'wheels = [\n    {{ path = "{file}"{pin} }},\n]', python=python)


def situations() -> Iterator[Situation]:
    """Yield every situation, told apart by slug and name."""
    tqdm, plain = "wheels/tqdm-1.0-py3-none-any.whl", wheel("tqdm")
    remote = lock(
        "tqdm",
        INDEX,
        'wheels = [\n    { url = "https://files.example/packages/ab/cd/tqdm-1.0-py3-none-any.whl",'
        f' hash = "sha256:{hashlib.sha256(plain).hexdigest()}", size = 900 }},\n]',
    )
    files: dict[str, bytes | str]

    files = {"pyproject.toml": pyproject("tqdm==1.0"), "uv.lock": remote, tqdm: plain}
    yield Situation(
        slug="lock-pins-remote-urls", name="wheels-beside", files=files, commands=("frozen", "frozen-verbose")
    )
    original = {"pyproject.toml": pyproject("tqdm==1.0", uv=""), "uv.lock": remote, "requirements.txt": "tqdm==1.0\n"}
    yield Situation(slug="lock-pins-remote-urls", name="original", files=original, commands=("frozen", "offline"))
    yield Situation(slug="index-not-disabled", name="original", files=original, commands=("pip", "pip-verbose"))
    yield Situation(
        slug="index-not-disabled",
        name="find-links-alone",
        files={"requirements.txt": "--find-links=./wheels/\ntqdm==2.0\n", tqdm: plain},
        commands=("pip",),
    )
    unlocked = {"pyproject.toml": pyproject("tqdm==1.0", uv="")}
    yield Situation(slug="index-not-disabled", name="no-lock", files=unlocked, commands=("sync", "offline"))
    yield Situation(
        slug="mirror-unreachable",
        name="refused",
        files=unlocked | {"requirements.txt": "tqdm==1.0\n"},
        commands=("mirror", "pip-mirror"),
    )
    server = (
        "(openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=mirror -addext basicConstraints=critical,CA:FALSE"
        " -keyout key.pem -out cert.pem; openssl s_server -www -accept 4443 -cert cert.pem -key key.pem)"
        " </dev/null >/dev/null 2>&1 & sleep 3"
    )
    yield Situation(slug="tls-failed", name="private-ca", files=unlocked, commands=("mirror-tls",), before=server)
    server = "python3 -m http.server 8080 </dev/null >/dev/null 2>&1 & sleep 1"
    yield Situation(slug="mirror-incomplete", name="lagging", files=unlocked, commands=("mirror-empty",), before=server)

    dev = '\n[dependency-groups]\ndev = ["black>=24"]\n'
    files = {"pyproject.toml": pyproject("tqdm==1.0", more=dev), tqdm: plain}
    yield Situation(slug="dev-group-unavailable", name="group", files=files, commands=("sync",))
    legacy = CLOSED + LINUX + 'dev-dependencies = ["pytest"]\n'
    files = {"pyproject.toml": pyproject("tqdm==1.0", uv=legacy), tqdm: plain}
    yield Situation(slug="dev-group-unavailable", name="legacy", files=files, commands=("sync",))

    marked = wheel("tqdm", requires=('colorama ; sys_platform == "win32"',))
    files = {"pyproject.toml": pyproject("tqdm==1.0", uv=CLOSED), tqdm: marked}
    yield Situation(slug="universal-resolution", name="absent", files=files, commands=("sync",))
    files = {
        "pyproject.toml": pyproject("gevent==25.5.1", uv=CLOSED),
        "wheels/gevent-25.5.1-py3-none-any.whl": wheel(
            "gevent",
            "25.5.1",
            requires=('cffi>=1.17.1 ; platform_python_implementation == "CPython" and sys_platform == "win32"',),
        ),
        "wheels/cffi-1.15.0-py3-none-any.whl": wheel("cffi", "1.15.0"),
    }
    yield Situation(slug="universal-resolution", name="too-old", files=files, commands=("sync",))
    files = {
        "pyproject.toml": pyproject("tqdm==1.0", uv=CLOSED),
        tqdm: wheel("tqdm", requires=('brotlicffi ; platform_python_implementation != "CPython"',)),
    }
    yield Situation(slug="universal-resolution", name="pypy", files=files, commands=("sync",))

    files = {
        "pyproject.toml": pyproject("jieba==1.0"),
        "requirements.txt": requirements("jieba==1.0"),
        "wheels/jieba-1.0.tar.gz": sdist("jieba"),
    }
    yield Situation(slug="source-build-needed", name="sdist", files=files, commands=("sync", "pip"))
    backend = '\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    files = {"pyproject.toml": pyproject("tqdm==1.0", uv=CLOSED.replace("package = false\n", "") + LINUX, more=backend)}
    files |= {tqdm: plain, "main.py": ""}
    yield Situation(slug="build-backend-needed", name="hatchling", files=files, commands=("sync",))

    for slug, name, tag in (
        ("wrong-python-tag", "cp313", "cp313-cp313-manylinux_2_17_x86_64"),
        ("wrong-platform", "arm64", "cp312-cp312-manylinux_2_17_aarch64"),
        ("wrong-platform", "glibc", "cp312-cp312-manylinux_2_99_x86_64"),
        ("wrong-platform", "macos", "cp312-cp312-macosx_11_0_arm64"),
    ):
        native = f"gevent-1.0-{tag}.whl"
        files = {
            "pyproject.toml": pyproject("gevent==1.0"),
            "requirements.txt": requirements("gevent==1.0"),
            f"wheels/{native}": wheel("gevent", tag=tag),
        }
        yield Situation(slug=slug, name=name, files=files, commands=("sync", "pip"))
        files = files | {"uv.lock": local_lock("gevent", native)}
        yield Situation(slug=slug, name=name, files=files, commands=("frozen",))
    native = "gevent-1.0-cp313-cp313-manylinux_2_17_x86_64.whl"
    files = {
        "pyproject.toml": pyproject("dify-plugin==1.0"),
        "requirements.txt": requirements("dify-plugin==1.0"),
        "wheels/dify_plugin-1.0-py3-none-any.whl": wheel("dify_plugin", requires=("gevent==1.0",)),
        f"wheels/{native}": wheel("gevent", tag="cp313-cp313-manylinux_2_17_x86_64"),
    }
    yield Situation(slug="wrong-python-tag", name="transitive", files=files, commands=("sync", "pip"))

    needy = wheel("tqdm", requires=("certifi>=2024",))
    files = {"pyproject.toml": pyproject("tqdm==1.0"), "requirements.txt": requirements("tqdm==1.0"), tqdm: needy}
    yield Situation(slug="missing-wheel", name="transitive", files=files, commands=("sync", "pip"))
    files = files | {"wheels/certifi-2023.1-py3-none-any.whl": wheel("certifi", "2023.1")}
    yield Situation(slug="missing-wheel", name="too-old", files=files, commands=("sync", "pip"))
    files = {
        "pyproject.toml": pyproject("certifi", "tqdm==1.0"),
        "requirements.txt": requirements("certifi==1.0", "tqdm==1.0"),
        tqdm: plain,
    }
    yield Situation(slug="missing-wheel", name="direct", files=files, commands=("sync", "pip"))
    files = {
        "pyproject.toml": pyproject("tqdm==2.0"),
        "requirements.txt": requirements("tqdm==2.0"),
        tqdm: plain,
    }
    yield Situation(slug="missing-wheel", name="version", files=files, commands=("sync", "pip"))
    files = {
        "pyproject.toml": pyproject("certifi==1.0"),
        "uv.lock": local_lock("certifi", "certifi-1.0-py3-none-any.whl", digest="0" * 64),
        tqdm: plain,
    }
    yield Situation(slug="missing-wheel", name="locked", files=files, commands=("frozen", "frozen-verbose"))
    files = {"pyproject.toml": pyproject("tqdm==1.0"), "requirements.txt": requirements("tqdm==1.0")}
    yield Situation(slug="find-links-missing", name="no-folder", files=files, commands=("sync", "pip"))

    digest = "0" * 64
    files = {
        "pyproject.toml": pyproject("tqdm==1.0"),
        "uv.lock": local_lock("tqdm", "tqdm-1.0-py3-none-any.whl", digest=digest),
        "requirements.txt": requirements(f"tqdm==1.0 --hash=sha256:{digest}"),
        tqdm: plain,
    }
    yield Situation(slug="tampered-wheel", name="hash", files=files, commands=("frozen", "pip"))
    files = {
        "pyproject.toml": pyproject("tqdm==1.0"),
        "uv.lock": local_lock("tqdm", "tqdm-1.0-py3-none-any.whl"),
        "requirements.txt": requirements("tqdm==1.0"),
        tqdm: b"<html>404</html>",
    }
    yield Situation(slug="damaged-wheel", name="html", files=files, commands=("frozen", "sync", "pip"))
    files = files | {tqdm: plain[: len(plain) // 2]}
    yield Situation(slug="damaged-wheel", name="cut", files=files, commands=("frozen", "pip"))

    good: dict[str, bytes | str] = {"pyproject.toml": pyproject("tqdm==1.0"), tqdm: plain}
    flat = local_lock("tqdm", "tqdm-1.0-py3-none-any.whl")
    files = good | {"uv.lock": flat, ".python-version": "3.99\n"}
    yield Situation(slug="python-version-mismatch", name="pinned", files=files, commands=("frozen", "sync"))
    files = {"pyproject.toml": pyproject("tqdm==1.0", python=">=3.99", uv=CLOSED), tqdm: plain}
    yield Situation(slug="python-version-mismatch", name="requires", files=files, commands=("sync",))
    files = good | {".python-version": "3.14\n", "uv.lock": flat}
    yield Situation(slug="python-version-mismatch", name="download", files=files, commands=("frozen",))
    files = {
        "pyproject.toml": pyproject("tqdm==1.0").replace(">= '3.12'", ">= '3.14'").replace("< '3.13'", "< '3.15'"),
        "uv.lock": flat + "",
        tqdm: plain,
    }
    yield Situation(slug="wrong-platform", name="environments", files=files, commands=("sync",))
    supported = flat.replace(
        "\n\n[[package]]", "\nsupported-markers = [\n    \"sys_platform == 'win32'\",\n]\n\n[[package]]", 1
    )
    files = good | {"uv.lock": supported}
    yield Situation(slug="wrong-platform", name="lock", files=files, commands=("frozen",))

    files = {"pyproject.toml": "[tool.uv]\n" + CLOSED, tqdm: plain}
    yield Situation(slug="nothing-installed", name="no-project", files=files, commands=("sync",))
    files = good | {"uv.lock": "version = 99\n"}
    yield Situation(slug="lock-unreadable", name="version", files=files, commands=("frozen", "sync"))
    files = good | {"uv.lock": "<<<<<<< HEAD\n"}
    yield Situation(slug="lock-unreadable", name="conflict", files=files, commands=("frozen",))
    files = {"pyproject.toml": "[project\n", tqdm: plain}
    yield Situation(slug="toml-unreadable", name="toml", files=files, commands=("sync",))
    files = good | {"pyproject.toml": pyproject("tqdm==1.0", uv=CLOSED + 'required-version = "==0.5.0"\n')}
    yield Situation(slug="uv-version-mismatch", name="required", files=files, commands=("sync",))
    files = {
        "pyproject.toml": pyproject("tqdm @ git+https://git.example/acme/tqdm@v1", uv=""),
        "requirements.txt": "tqdm @ git+https://git.example/acme/tqdm@v1\n",
    }
    yield Situation(slug="direct-reference", name="git", files=files, commands=("sync", "pip"))
    files = {"requirements.txt": requirements("tqdm @ https://files.example/tqdm-1.0-py3-none-any.whl"), tqdm: plain}
    yield Situation(slug="direct-reference", name="url", files=files, commands=("pip",))

    files = good | {"uv.lock": flat, "requirements.txt": requirements("tqdm==1.0")}
    nobody = 'set -- setpriv --reuid 65534 --clear-groups "$@"'
    yield Situation(slug="cache-not-writable", name="denied", files=files, commands=("frozen", "pip"), before=nobody)
    newer = wheel("tqdm", python=">=3.13")
    files = {"pyproject.toml": pyproject("tqdm==1.0"), "requirements.txt": requirements("tqdm==1.0"), tqdm: newer}
    yield Situation(slug="python-version-mismatch", name="dependency", files=files, commands=("sync", "pip"))


def say(uv: Path, folder: Path, situation: Situation, command: str) -> str:
    """Run one command over one situation and return what uv printed, without this machine's paths."""
    for path, content in situation.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    python = shutil.which("python3.12") or sys.exit("no python3.12 on PATH")
    cache = folder.parent / f"{folder.name}-cache"
    cache.mkdir()
    environment = {"VIRTUAL_ENV": str(folder / ".venv"), "PATH": os.environ["PATH"], "UV_CACHE_DIR": str(cache)}
    if "-i" not in COMMANDS[command]:
        environment["UV_DEFAULT_INDEX"] = INDEX  # stands for the public index, uv's own default
    subprocess.run([uv, "venv", "-q", "--no-config", folder / ".venv", "--python", python], check=True, cwd="/")
    sealed = ["unshare", "-npf", "--kill-child", "sh", "-c", f'ip link set lo up; {situation.before}; "$@"', "sh"]
    done = subprocess.run(
        [*sealed, uv, *COMMANDS[command]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    if not done.returncode and situation.slug != "nothing-installed":
        return ""  # this uv does not mind
    return scrub(
        done.stdout,
        {
            str(cache): "/app/storage/cwd/.uv-cache",
            str(folder): HOME,
            python: "/usr/bin/python3.12",
            str(Path.home()): "/home/daemon",
        },
    )


def scrub(text: str, paths: Mapping[str, str]) -> str:
    """Replace this machine's paths, times and process ids."""
    for ours, theirs in paths.items():
        for spelling in {ours, os.path.realpath(ours)}:
            text = text.replace(spelling, theirs)
    text = re.sub(r"\b[0-9.]+(ms|s)\b", r"1\1", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "mirror.example", text)
    return re.sub(r"(?<=/)\.tmp\w+", ".tmpXyz", text)


def main(binaries: list[str]) -> None:
    """Record every situation with each uv, oldest first."""
    said: dict[str, list[str]] = {}
    for uv in map(Path, binaries):
        version = subprocess.run([uv, "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
        jobs = [(situation, command) for situation in situations() for command in situation.commands]
        with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(6) as pool:
            Path(scratch).chmod(0o755)
            folders = [Path(scratch) / str(number) for number in range(len(jobs))]
            texts = pool.map(partial(say, uv.resolve()), folders, *zip(*jobs, strict=True))
            for (situation, command), text in zip(jobs, texts, strict=True):
                name = f"{situation.slug}.{situation.name}.{command}.txt"
                words = re.sub(r"[\W\d]+", "", text)
                if words and words not in said.setdefault(name, []):
                    said[name].append(words)
                    file = FIXTURES / version / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
