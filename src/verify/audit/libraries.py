"""What the libraries in native wheels need of the machine, whatever the wheels' names say."""

from collections.abc import Iterable, Iterator

from ...difypkg.diagnosis import Diagnosis
from ...difypkg.target import Target
from ..contents.elf import MACHINES
from ..contents.wheels import BundledWheel
from ..finding import Finding


def find_foreign_libraries(wheels: Iterable[BundledWheel], targets: tuple[Target, ...]) -> Iterator[Finding]:
    """Yield what the libraries of native wheels need and their targets do not have (`wrong-platform`)."""
    wrong = []
    for wheel in wheels:
        for target in targets:
            if not (wheel.is_native and wheel.fits(target)):
                continue
            for path, library in wheel.libraries:
                if library.machine in MACHINES.values() and library.machine != target.machine:
                    wrong.append(f"{wheel.filename}: {path} is for {library.machine}, not {target.machine}")
                elif library.machine == target.machine and library.glibc and library.glibc > target.glibc:
                    wrong.append(f"{wheel.filename}: {path} needs glibc {_dotted(library.glibc)}")
    if wrong:
        glibc = _dotted(targets[0].glibc)
        yield Finding(
            diagnosis=Diagnosis(
                slug="wrong-platform",
                message=f"a library does not run on the daemon's machine, whatever its wheel's name says: {wrong[0]}",
                context=tuple(wrong[:12]) if len(wrong) > 1 else (),
                note="uv goes by the names and installs it; the plugin fails when it imports it.",
                hint=f"Build that wheel for glibc {glibc} or older on that machine, then `difyoff build` again.",
            )
        )


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
