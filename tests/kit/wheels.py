"""Distributions made in memory: tiny wheels and sdists with the same bytes every time.

A wheel follows the binary distribution format (PEP 427): METADATA, WHEEL, a correct RECORD. An sdist (PEP 625) carries
its own PEP 517 backend beside its source (`requires = []`, `backend-path = ["."]`), so that building it asks no index.
"""

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from packaging.utils import canonicalize_name

X86_64 = "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64"
AARCH64 = "cp312-cp312-manylinux_2_17_aarch64.manylinux2014_aarch64"
WINDOWS = "cp312-cp312-win_amd64"
NEWER_PYTHON = "cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64"
MUSL = "cp312-cp312-musllinux_1_2_x86_64"
PYPY = "pp311-pypy311_pp73-manylinux_2_17_x86_64.manylinux2014_x86_64"
NATIVE = (X86_64, AARCH64, WINDOWS, NEWER_PYTHON, MUSL)

_ELF_MACHINES = {"x86_64": 62, "aarch64": 183}


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One file of an index. `metadata` is the core metadata that PEP 658 serves; an sdist has none."""

    name: str
    version: str
    filename: str
    data: bytes
    metadata: bytes | None = None
    requires_python: str | None = None
    upload_time: str = "2025-06-01T12:00:00.000000Z"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def project(self) -> str:
        """The normalised name (PEP 503)."""
        return canonicalize_name(self.name)


def wheel(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    extras: Mapping[str, Iterable[str]] | None = None,
    tag: str = "py3-none-any",
    requires_python: str | None = None,
    files: Mapping[str, str | bytes] | None = None,
    filename_name: str | None = None,
    upload_time: str = "2025-06-01T12:00:00.000000Z",
) -> Distribution:
    """Make a wheel whose one module says its name, version and tag.

    `extras` maps an extra to its requirements. `files` adds to the archive or replaces the module. `filename_name`
    spells the name part of the file name otherwise than normalised, as older tools did.
    """
    stem = f"{filename_name or _escaped(name)}-{version}"
    metadata = core_metadata(name, version, requires=requires, extras=extras, requires_python=requires_python)
    contents: dict[str, bytes] = {f"{_escaped(name)}/__init__.py": f'__version__ = "{version}"\n'.encode()}
    contents |= _shared_object(_escaped(name), tag)
    contents |= {path: _bytes(text) for path, text in (files or {}).items()}
    pure = "true" if tag.endswith("-none-any") else "false"
    tags = "".join(f"Tag: {single}\n" for single in _expanded(tag))
    contents |= {
        f"{stem}.dist-info/METADATA": metadata,
        f"{stem}.dist-info/WHEEL": f"Wheel-Version: 1.0\nGenerator: kit\nRoot-Is-Purelib: {pure}\n{tags}".encode(),
    }
    record = "".join(f"{path},{_record_hash(data)},{len(data)}\n" for path, data in sorted(contents.items()))
    contents[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    return Distribution(
        name=name,
        version=version,
        filename=f"{stem}-{tag}.whl",
        data=zipped(contents),
        metadata=metadata,
        requires_python=requires_python,
        upload_time=upload_time,
    )


def native_wheels(name: str, version: str, *, tags: Iterable[str] = NATIVE, **options: object) -> list[Distribution]:
    """Make one wheel for each tag, with a shared object that only looks like one."""
    return [wheel(name, version, tag=tag, **options) for tag in tags]  # type: ignore[arg-type]


def sdist(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    native: bool = False,
    backend: str | None = None,
    upload_time: str = "2025-06-01T12:00:00.000000Z",
) -> Distribution:
    """Make an sdist that builds without an index: a pure wheel or, `native`, a C extension for the building Python.

    `backend` replaces the source of the in-tree build backend, for one that fails.
    """
    stem = f"{_escaped(name)}-{version}"
    module = _escaped(name)
    metadata = core_metadata(name, version, requires=requires, requires_python=requires_python)
    contents = {
        "PKG-INFO": metadata,
        "pyproject.toml": b'[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": (backend or BACKEND).encode(),
        f"{module}/__init__.py": f'__version__ = "{version}"\n'.encode(),
    }
    if native:
        contents[f"{module}/_native.c"] = _C_SOURCE.encode()
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, data in sorted(contents.items()):
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return Distribution(
        name=name,
        version=version,
        filename=f"{stem}.tar.gz",
        data=gzip.compress(tar.getvalue(), mtime=0),
        requires_python=requires_python,
        upload_time=upload_time,
    )


def core_metadata(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    extras: Mapping[str, Iterable[str]] | None = None,
    requires_python: str | None = None,
) -> bytes:
    """Return core metadata 2.2; extras become `Provides-Extra` and marked `Requires-Dist` lines."""
    lines = ["Metadata-Version: 2.2", f"Name: {name}", f"Version: {version}"]
    if requires_python:
        lines.append(f"Requires-Python: {requires_python}")
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    for extra, requirements in (extras or {}).items():
        lines.append(f"Provides-Extra: {extra}")
        for requirement in requirements:
            base, _, marker = (part.strip() for part in requirement.partition(";"))
            condition = f"({marker}) and extra == '{extra}'" if marker else f"extra == '{extra}'"
            lines.append(f"Requires-Dist: {base} ; {condition}")
    return "\n".join([*lines, "", ""]).encode()


def zipped(contents: Mapping[str, bytes]) -> bytes:
    """Return a zip of the contents, sorted, with a fixed time and mode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in sorted(contents.items(), key=lambda item: (".dist-info/" in item[0], item[0])):
            info = zipfile.ZipInfo(path)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, data)
    return buffer.getvalue()


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def _escaped(name: str) -> str:
    return canonicalize_name(name).replace("-", "_")


def _record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _expanded(tag: str) -> list[str]:
    pythons, abis, platforms = (part.split(".") for part in tag.split("-"))
    return [f"{python}-{abi}-{platform}" for python in pythons for abi in abis for platform in platforms]


def _shared_object(module: str, tag: str) -> dict[str, bytes]:
    """Return a file with the ELF header of the tag's machine, for a Linux tag."""
    for machine, number in _ELF_MACHINES.items():
        if tag.endswith(machine):
            header = b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + number.to_bytes(2, "little")
            return {f"{module}/_native.abi3.so": header.ljust(64, b"\0")}
    return {}


_C_SOURCE = """\
#include <Python.h>

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&definition); }
"""

# Stands beside the source of every sdist, and compiles `*.c` when there is any. As with setuptools the archive's times
# are those of SOURCE_DATE_EPOCH or of now, and its modes follow the umask: the same bytes twice are the builder's work.
BACKEND = '''\
"""A PEP 517 backend with nothing to install."""

import base64
import hashlib
import os
import pathlib
import shlex
import subprocess
import sys
import sysconfig
import time
import zipfile

NATIVE = False  # True: the wheel is named as one of compiled code is, whatever is in it


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    metadata = pathlib.Path("PKG-INFO").read_text()
    headers = dict(line.split(": ", 1) for line in metadata.splitlines()[:3])
    module = next(path.parent for path in pathlib.Path().glob("*/__init__.py"))
    stem = f"{module.name}-{headers['Version']}"
    sources = list(module.glob("*.c"))
    for source in sources:
        compile_extension(source)
    tag = "py3-none-any"
    if sources or NATIVE:
        python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
        tag = f"{python}-{python}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    paths = sorted(path for path in module.iterdir() if path.suffix in (".py", ".so"))
    contents = {path.as_posix(): path.read_bytes() for path in paths}
    contents[f"{stem}.dist-info/METADATA"] = metadata.encode()
    pure = str(tag == "py3-none-any").lower()
    contents[f"{stem}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\\nRoot-Is-Purelib: {pure}\\nTag: {tag}\\n".encode()
    record = "".join(f"{path},{record_hash(data)},{len(data)}\\n" for path, data in contents.items())
    contents[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\\n".encode()
    name = f"{stem}-{tag}.whl"
    with zipfile.ZipFile(pathlib.Path(wheel_directory, name), "w") as archive:
        for path, data in contents.items():
            info = zipfile.ZipInfo(path, time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time())))[:6])
            info.external_attr = (0o666 & ~umask()) << 16
            archive.writestr(info, data)
    return name


def umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def compile_extension(source):
    target = source.with_suffix(sysconfig.get_config_var("EXT_SUFFIX"))
    compiler = shlex.split(os.environ.get("CC", "cc"))
    flags = ["-shared", "-fPIC", f"-I{sysconfig.get_path('include')}"]
    subprocess.run([*compiler, *flags, "-o", str(target), str(source)], check=True)


def record_hash(data):
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
'''
