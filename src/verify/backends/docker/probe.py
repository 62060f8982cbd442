"""What the daemon's image is made of, asked of the image itself by a script that its own Python runs.

`SCRIPT` needs the standard library of any Python 3 and prints one JSON object, `read` makes `ImageFacts` of it.
"""

import json
from dataclasses import dataclass
from typing import Final

from ....difypkg.diagnosis import Diagnosis, DifyoffError
from ....difypkg.target import ARCHITECTURES, TARGETS, Architecture, Target

PYTHON: Final = "python3.12"

SCRIPT: Final = r"""
import json, os, sys
uv = os.environ.get("UV_PATH") or "uv"
libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
print(json.dumps({
    "machine": os.uname().machine,
    "python": "%d.%d.%d" % sys.version_info[:3],
    "libc": libc,
    "uv": uv,
    "uv_version": os.popen("'%s' --version" % uv).read(),
    "path": os.environ.get("PATH", os.defpath),
    "home": os.path.expanduser("~"),
    "user": [os.getuid(), os.getgid()],
    "commandline": os.access("/app/commandline", os.X_OK),
    "libraries": [line.split()[0] for line in os.popen("/sbin/ldconfig -p") if "=>" in line],
    "programs": [name for folder in os.environ.get("PATH", os.defpath).split(":") if os.path.isdir(folder)
        for name in os.listdir(folder)],
}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """The insides of an image: `machine` as `uname -m` has it, full versions, glibc's two numbers or None.

    `uv_path`, `path` (the search path) and `home` are those of its user, who has the ids `user`; `has_commandline`
    says that the daemon's own `/app/commandline` is there. `libraries` are the names that its dynamic linker finds,
    `programs` those on the search path.
    """

    machine: str
    python: str
    glibc: tuple[int, int] | None
    uv: str
    uv_path: str
    path: str
    home: str
    user: tuple[int, int]
    has_commandline: bool
    libraries: frozenset[str]
    programs: frozenset[str]

    @property
    def architecture(self) -> Architecture | None:
        """The architecture, None for one that the daemon's image is not published for."""
        return next((name for name in ARCHITECTURES if TARGETS[name].machine == self.machine), None)

    def target(self) -> Target:
        """Return what packages are made for that run in this image.

        Raises `DifyoffError` (`image-unusable`) where it is no machine that the daemon runs on.
        """
        if self.architecture is None or self.glibc is None:
            raise DifyoffError(unusable(f"it is made for {self.machine} with {_libc_in_words(self.glibc)}"))
        return Target(
            architecture=self.architecture,
            python=self.python,
            glibc=self.glibc,
            libraries=self.libraries or None,
            programs=self.programs,
        )


def read(output: str) -> ImageFacts:
    """Read what `SCRIPT` printed. Raises `DifyoffError` (`image-unusable`) where that is something else."""
    try:
        seen = json.loads(output)
        uv = seen["uv_version"].split()
        name, _, version = (seen["libc"] or "").partition(" ")
        major, minor = map(int, version.split(".")[:2]) if name == "glibc" else (0, 0)
        facts = ImageFacts(
            machine=seen["machine"],
            python=seen["python"],
            glibc=(major, minor) if name == "glibc" else None,
            uv=uv[1] if uv[:1] == ["uv"] else "",
            uv_path=seen["uv"],
            path=seen["path"],
            home=seen["home"],
            user=(seen["user"][0], seen["user"][1]),
            has_commandline=seen["commandline"],
            libraries=frozenset(seen["libraries"]),
            programs=frozenset(seen["programs"]),
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DifyoffError(unusable(f"its {PYTHON} cannot be asked", output[-500:])) from error
    if not facts.uv:
        raise DifyoffError(unusable(f"it has no uv at {facts.uv_path}"))
    return facts


def unusable(why: str, *context: str) -> Diagnosis:
    """Return the diagnosis of an image in which no plugin can be installed."""
    return Diagnosis(
        slug="image-unusable",
        message=f"this is not an image of the plugin daemon: {why}",
        context=tuple(line for text in context for line in text.strip().splitlines()[-4:]),
        hint="Name the daemon's image, such as `--image langgenius/dify-plugin-daemon:0.6.10-local`.",
    )


def _libc_in_words(glibc: tuple[int, int] | None) -> str:
    return f"glibc {glibc[0]}.{glibc[1]}" if glibc else "another C library than glibc"
