"""What an isolated command sees of the host: a system to run programs with, and nobody's files.

An allow-list, so that what we never heard of (another disk, `/srv`, a service's socket in `/run`) is not there.
"""

import re
from collections.abc import Collection
from os import chdir, fsdecode, statvfs
from pathlib import Path
from typing import Final

from . import kernel

DEVICES: Final = tuple(Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom"))
SYSTEM: Final = (
    *(Path("/", name) for name in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "nix/store", "sys/devices/system")),
    *(
        Path("/etc", name)
        for name in (
            "alternatives",
            "ca-certificates",
            "crypto-policies",
            "ld.so.cache",
            "ld.so.conf",
            "ld.so.conf.d",
            "localtime",
            "mime.types",
            "os-release",
            "pki/ca-trust",
            "pki/tls/cert.pem",
            "pki/tls/certs",
            "protocols",
            "services",
            "ssl/certs",
            "ssl/openssl.cnf",
        )
    ),
)

FILES: Final = {
    Path("/etc/passwd"): "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    Path("/etc/group"): "root:x:0:\nnogroup:x:65534:\n",
    Path("/etc/hosts"): "127.0.0.1 localhost\n::1 localhost\n",
    Path("/etc/nsswitch.conf"): "passwd: files\ngroup: files\nhosts: files dns\n",
}
"""As in the daemon's image: root, at home in /root, and a machine that knows only itself."""

_LINKS: Final = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
_SCRATCH: Final = tuple(map(Path, ("/tmp", "/var/tmp", "/root", "/run", "/dev/shm")))
_ROOT: Final = Path("/")
_HOST: Final = Path("/.host")
_KEPT: Final = 0xF | 1024 | 2048  # ro, nosuid, nodev, noexec, noatime, nodiratime: the same bits in statvfs and mount
_ST_RELATIME: Final = 4096


def enter(*, writable: Collection[Path], readable: Collection[Path], hidden: Collection[Path] = ()) -> None:
    """Replace the root of this mount namespace; every path that is shown keeps its name.

    Only `writable` and empty scratch folders can be written to; files that are `hidden` cannot be opened. Needs a mount
    namespace and a PID namespace of our own; the caller's working directory is lost. Raises `OSError`, also when a path
    of `writable` is missing.
    """
    sources = {path: path.resolve() for path in (*SYSTEM, *DEVICES, *readable) if path.exists()}
    sources |= {path: path.resolve(strict=True) for path in writable}
    open_ = {sources[path] for path in writable} | set(_SCRATCH)
    shown = {source: source for source in sources.values()} | sources
    real = {path.resolve() for path in hidden if path.is_file()}
    # By every name: `/lib` and `/usr/lib` are often one folder, which is shown as two.
    names = {
        path / file.relative_to(source)
        for path, source in shown.items()
        for file in real
        if file.is_relative_to(source)
    }

    kernel.mount("", _ROOT, flags=kernel.MS_REC | kernel.MS_PRIVATE)
    base = _SCRATCH[0]
    _scratch(base)
    (base / _HOST.name).mkdir()
    kernel.pivot_root(base, base / _HOST.name)
    chdir(_ROOT)
    for folder in _SCRATCH:
        folder.mkdir(parents=True)
        _scratch(folder)
    for path in sorted(shown, key=lambda path: len(path.parts)):
        _show(path, shown[path])
    _furnish()
    _hide(names)
    kernel.unmount(_HOST)
    _HOST.rmdir()
    _close(open_, {*shown, *_SCRATCH})


def _scratch(folder: Path) -> None:
    kernel.mount("tmpfs", folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV)


def _show(path: Path, source: Path) -> None:
    """Bind what the host has at `source` to `path`; below what is already shown nothing has to be made."""
    host = _HOST / source.relative_to(_ROOT)
    if path.is_symlink():
        return  # a name inside a shown folder, whose end is shown too
    if host.is_dir():
        path.mkdir(parents=True, exist_ok=True)
    elif not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    kernel.mount(host, path, flags=kernel.MS_BIND | kernel.MS_REC)


def _hide(files: Collection[Path]) -> None:
    """Put over each file one that nobody may open, as we have no capability to overrule its mode."""
    closed = _ROOT / ".closed"
    closed.touch(mode=0)
    for file in files:
        if file.is_file():
            kernel.mount(closed, file, flags=kernel.MS_BIND)
    closed.unlink()


def _furnish() -> None:
    proc = _ROOT / "proc"
    proc.mkdir()
    kernel.mount("proc", proc, "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
    for file, text in FILES.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    for name, end in _LINKS.items():
        Path("/dev", name).symlink_to(f"/proc/self/fd{end}")


def _close(open_: Collection[Path], declared: Collection[Path]) -> None:
    """Make every mount read-only but those that are, or lie below, an open one; the nearest declared path decides."""
    table = fsdecode(Path("/proc/self/mountinfo").read_bytes())
    for line in table.splitlines():
        point = Path(re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), line.split(" ")[4]))
        nearest = next((path for path in (point, *point.parents) if path in declared), _ROOT)
        if nearest not in open_:
            # A remount that leaves a flag out takes it away, which a user namespace is refused.
            held = statvfs(point).f_flag
            flags = held & _KEPT | (kernel.MS_RELATIME if held & _ST_RELATIME else 0)
            remount = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID
            kernel.mount("", point, flags=remount | flags)
