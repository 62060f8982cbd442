"""What came of a build, and what its failure means."""

import re
from dataclasses import dataclass
from typing import Final

from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...difypkg.redaction import redact
from ...sandbox.process import Outcome

_NO_COMPILER: Final = re.compile(
    r"command '[^']*(cc|\+\+|clang)[^']*' failed: No such file|No such file or directory: '[^']*(cc|\+\+|clang)'"
    "|unable to execute|no C compiler"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How the uv that built ended, or the first that failed; `requirements` are the pins that it built with."""

    requirements: tuple[str, ...]
    outcome: Outcome


def build_failed(name: str, outcome: Outcome, image: str | None = None) -> DifyoffError:
    """Return the error for a failed build of `name`, in an image or here: `no-compiler` or `source-build-failed`."""
    text = redact(outcome.stderr)
    lines = tuple(line for line in text.strip().splitlines() if line.strip())
    where = f" in {image}" if image else ""
    if _NO_COMPILER.search(text):
        return DifyoffError(
            Diagnosis(
                slug="no-compiler",
                message=f"{name} has to be compiled, and there is no C compiler{where}",
                context=lines[-8:],
                hint="Build in the daemon's own image, or in one made from it with a compiler (`--build-image`)."
                if image
                else "Install a C compiler (on Debian `apt-get install build-essential`) and build again.",
            )
        )
    return DifyoffError(
        Diagnosis(
            slug="source-build-failed",
            message=f"{name} has no wheel for the target, and building one from its source{where} failed",
            context=(*lines[-12:], *(["it did not end within its time limit"] if outcome.stopped else [])),
            hint="The lines above are the build's own words. A wheel of it on your index would do, too.",
        )
    )
