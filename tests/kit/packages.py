"""The standard set of tiny packages: the traits of what official plugins depend on, under the names that have them."""

from functools import cache

from kit.sdk import dify_plugin
from kit.wheels import (
    AARCH64,
    MUSL,
    NATIVE,
    NEWER_PYTHON,
    PYPY,
    WINDOWS,
    X86_64,
    Distribution,
    native_wheels,
    sdist,
    wheel,
)

_SDK_REQUIRES = ("click>=8", "gevent>=26.1", "httpx", "pydantic-core>=2", "typing-extensions>=4")
_GEVENT_REQUIRES = (
    'cffi>=2; platform_python_implementation == "CPython" and sys_platform == "win32"',
    'greenlet>=3; platform_python_implementation == "CPython"',
)


@cache
def standard_set() -> tuple[Distribution, ...]:
    """Return every distribution of the standard index."""
    return (
        # The SDK, with pre-releases that older plugins pin.
        *(dify_plugin(version, requires=_SDK_REQUIRES) for version in ("0.9.0", "0.10.2")),
        *(dify_plugin(version, requires=("click",)) for version in ("0.0.1b65", "0.6.0b10")),
        # Windows-only dependencies: a pure one, and one of whose wheels a lock keeps those of Windows alone.
        wheel("click", "8.3.0", requires=['colorama; sys_platform == "win32"']),
        wheel("tqdm", "4.67.1", requires=['colorama; platform_system == "Windows"']),
        wheel("colorama", "0.4.6", tag="py2.py3-none-any"),
        *native_wheels(
            "gevent",
            "26.9.0",
            requires=_GEVENT_REQUIRES,
        ),
        sdist("gevent", "26.9.0", requires=_GEVENT_REQUIRES),
        *native_wheels("cffi", "2.0.0"),
        *native_wheels("greenlet", "3.5.6"),
        *native_wheels("pydantic-core", "2.50.4", requires=["typing-extensions"]),
        wheel("typing-extensions", "4.15.0"),
        # An extra that another implementation answers with another package.
        wheel(
            "httpx",
            "0.28.1",
            requires=["idna"],
            extras={
                "brotli": [
                    "brotli; platform_python_implementation == 'CPython'",
                    "brotlicffi; platform_python_implementation != 'CPython'",
                ]
            },
        ),
        wheel("idna", "3.20"),
        *native_wheels("brotli", "1.2.0"),
        *native_wheels("brotlicffi", "1.2.0", tags=(PYPY, "cp37-abi3-manylinux_2_17_x86_64"), requires=["cffi>=1.17"]),
        # Never to be in a package: what only a dev group asks for.
        wheel("black", "25.11.0", requires=["pathspec"]),
        wheel("pathspec", "0.12.1"),
        # Wheels of every spelling.
        wheel("PyJWT", "2.8.0", filename_name="PyJWT", extras={"crypto": ["cryptography>=3.4"]}),
        wheel("jaraco.classes", "3.4.0", filename_name="jaraco.classes"),
        *native_wheels(
            "cryptography",
            "49.0.0",
            tags=("cp311-abi3-manylinux_2_34_x86_64", "cp311-abi3-manylinux_2_34_aarch64", "cp311-abi3-win_amd64"),
        ),
        # Several versions: by Python, by machine, and one that is newer for one machine only.
        *native_wheels("numpy", "1.26.4", tags=NATIVE),
        *native_wheels("numpy", "2.3.5", tags=NATIVE),
        *native_wheels("fastmath", "1.0.0", tags=(X86_64, AARCH64)),
        *native_wheels("fastmath", "2.0.0", tags=(X86_64, AARCH64)),
        *native_wheels("intelonly", "1.0.0", tags=(X86_64, WINDOWS)),
        *native_wheels("nextpython", "1.0.0", tags=(NEWER_PYTHON, MUSL)),
        wheel("sixfold", "1.0.0"),
        wheel("sixfold", "1.16.0"),
        wheel("sixfold", "1.17.0b2"),
        # Sources only.
        sdist("wikipedia", "1.4.0", requires=["idna"]),
        sdist("crcmod", "1.7", native=True),
        sdist("wontbuild", "1.0.0", backend='def build_wheel(*args):\n    raise SystemExit("this backend gives up")\n'),
    )
