"""Make a stand-in of the daemon's image where no registry can be reached.

The layout is that of `docker/local.dockerfile` of the daemon (uv in `/usr/local/bin`, CPython 3.12 in `/usr/bin`, tini,
`/app`), the insides are Debian's trixie by debootstrap, this machine's CPython 3.12 and uv in the release's version. It
is never the real image, and its name and label say so. The base is kept in the user's cache: the first run takes two
minutes and needs root and a Debian mirror, every other a second.

    python tests/daemon_image/stand_in.py 0.6.10 [--commandline FILE]
"""

import argparse
import contextlib
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import docker
import platformdirs
from docker.errors import ImageNotFound

from difyoff.difypkg.daemons import release as daemon_release
from difyoff.uvrun.environment import IndexSettings, read_index_settings
from difyoff.uvrun.interpreters import Python, find_python
from difyoff.uvrun.uv import provide_uv

NAME: Final = "difyoff/daemon-stand-in"
LABEL: Final = "io.difyoff.stand-in"

_SUITE: Final = "trixie"
_PACKAGES: Final = ("libffi8", "libreadline8t64", "libsqlite3-0", "libssl3t64", "tini")
_MODULES: Final = ("bz2", "ctypes", "hashlib", "lzma", "sqlite3", "ssl", "uuid", "zlib")
_NOT_NEEDED: Final = ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists")
_ENVIRONMENT: Final = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "UV_PATH": "/usr/local/bin/uv",
    "TIKTOKEN_CACHE_DIR": "/app/.tiktoken",
    "PLATFORM": "local",
    "GIN_MODE": "release",
}


def stand_in(
    release: str, *, cache: Path, index: IndexSettings, commandline: Path | None = None, variant: str = ""
) -> str:
    """Return the reference of the stand-in for a daemon release, made where it is not there or has changed.

    `commandline` is any program to be `/app/commandline`; `variant` tells such an image from the plain one.
    Raises `RuntimeError` with the reason where this machine cannot make it.
    """
    version = daemon_release(release).uv
    if version is None:
        raise RuntimeError(f"the uv of daemon {release} is not known")
    uv = provide_uv(version, cache=cache, settings=index).path
    with contextlib.closing(docker.from_env(timeout=600)) as client:
        base = _base(client, cache)
        programs = {"usr/local/bin/uv": uv} | ({"app/commandline": commandline} if commandline else {})
        contents = _key(base, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in programs.values()))
        reference = f"{NAME}:{release}-local{variant and f'-{variant}'}"
        with contextlib.suppress(ImageNotFound):
            if client.images.get(reference).labels.get("io.difyoff.contents") == contents:
                return reference
        container = client.containers.create(base, command=["true"], network_mode="none")
        try:
            container.put_archive("/", _programs(programs))
            container.commit(*reference.split(":"), changes=_changes(release, contents))
        finally:
            container.remove()
        return reference


def _changes(release: str, contents: str) -> list[str]:
    labels = {
        LABEL: "true",
        "io.difyoff.contents": contents,
        "org.opencontainers.image.title": f"{NAME}, not the image",
    }
    tini = ['ENTRYPOINT ["/usr/bin/tini", "-g", "--"]'] if daemon_release(release).pid1 == "tini" else []
    return [
        *(f"ENV {name}={value}" for name, value in _ENVIRONMENT.items()),
        *(f'LABEL {name}="{value}"' for name, value in labels.items()),
        "WORKDIR /app",
        *tini,
        'CMD ["/bin/false"]',
    ]


def _programs(programs: dict[str, Path]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for folder in ("app", "app/.tiktoken", "app/storage"):
            archive.addfile(_root(tarfile.TarInfo(folder), directory=True))
        for name, path in programs.items():
            archive.add(path, name, filter=_root)
    return buffer.getvalue()


def _root(info: tarfile.TarInfo, *, directory: bool = False) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mode = 0o755
    if directory:
        info.type = tarfile.DIRTYPE
    return info


def _base(client: docker.DockerClient, cache: Path) -> str:
    """Return the image without uv, imported from the cache where the engine has it not."""
    python = find_python((3, 12))
    if python is None:
        raise RuntimeError("no CPython 3.12 on this machine")
    reference = f"{NAME}:base-{_key(_SUITE, *_PACKAGES, python.version, python.machine)}"
    with contextlib.suppress(ImageNotFound):
        client.images.get(reference)
        return reference
    archive = cache / "daemon-image" / f"{reference.rpartition(':')[2]}.tar.gz"
    if not archive.is_file():
        archive.parent.mkdir(parents=True, exist_ok=True)
        _made_whole(archive, partial(_bootstrap, python))
    client.api.import_image_from_file(str(archive), *reference.split(":"))
    return reference


def _bootstrap(python: Python, archive: Path) -> None:
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        raise RuntimeError("the stand-in image is made by root with debootstrap")
    with tempfile.TemporaryDirectory(prefix="stand-in-") as scratch:
        root = Path(scratch, "root")
        _run("debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", _SUITE, str(root))
        for folder in _NOT_NEEDED:
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir()
        _copy_python(python, root)
        _run("chroot", str(root), "/usr/bin/python3.12", "-c", f"import {', '.join(_MODULES)}")
        # Device files cannot be imported everywhere, and every container has its own.
        with tarfile.open(archive, "w:gz", compresslevel=1) as stream:
            stream.add(root, ".", filter=lambda info: None if info.ischr() or info.isblk() else info)


def _copy_python(python: Python, root: Path) -> None:
    """Put an interpreter, its library and its standard library under `/usr`; what it links to is Debian's."""
    query = (
        "import sysconfig as s; print(s.get_path('stdlib'), s.get_config_var('LIBDIR'), s.get_config_var('INSTSONAME'))"
    )
    stdlib, libdir, library = _run(str(python.path), "-I", "-c", query).split()
    shutil.copy2(python.path, root / "usr/bin/python3.12")
    (root / "usr/bin/python3").symlink_to("python3.12")
    if library.endswith(".so.1.0"):
        shutil.copy2(Path(libdir, library), root / "usr/lib" / library)
    left_out = shutil.ignore_patterns("__pycache__", "test", "site-packages", "idlelib", "tkinter", "config-*")
    shutil.copytree(stdlib, root / "usr/lib/python3.12", ignore=left_out, symlinks=True)


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"}, check=False)
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).splitlines()[-5:])
        raise RuntimeError(f"{argv[0]} ended with {done.returncode}:\n{last}")
    return done.stdout


def _made_whole(path: Path, write: Callable[[Path], None]) -> None:
    with _scratch_beside(path) as scratch:
        write(scratch)
        scratch.replace(path)


@contextlib.contextmanager
def _scratch_beside(path: Path) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".")
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def main() -> None:
    """Print the reference of the image."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("release", help="the daemon's release, 0.6.10")
    parser.add_argument("--commandline", type=Path, metavar="FILE", help="a program to be /app/commandline")
    parser.add_argument("--variant", default="", help="a word for the tag, to tell images apart")
    options = parser.parse_args()
    cache = Path(os.environ.get("DIFYOFF_CACHE_DIR") or platformdirs.user_cache_path("difyoff"))
    try:
        reference = stand_in(
            options.release,
            cache=cache,
            index=read_index_settings(os.environ),
            commandline=options.commandline,
            variant=options.variant,
        )
    except RuntimeError as error:
        sys.exit(f"stand-in: {error}")
    sys.stdout.write(f"{reference}\n")


if __name__ == "__main__":
    main()
