"""What came of a build, and what its failure means."""

from dataclasses import dataclass, replace

from ...difypkg.diagnosis import Diagnosis, DifyoffError, Exit, page
from ...difypkg.uvtext import diagnose_resolution
from ...sandbox.process import Outcome
from ..uvfaults import last_lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """How the uv that built ended, or the first that failed; `requirements` are the pins that it built with."""

    requirements: tuple[str, ...]
    outcome: Outcome


def build_failed(name: str, outcome: Outcome, image: str | None = None) -> DifyoffError:
    """Return the error for a failed build of `name`, in an image or here.

    `no-compiler`, `isolation-unavailable`, what the network refused, or `source-build-failed`.
    """
    where = f" in {image}" if image else ""
    context = last_lines(outcome)
    found = diagnose_resolution(outcome.stderr)
    if found is not None and found.slug == "no-compiler":
        hint = "Build in the daemon's own image, or in one made from it with a compiler (`--build-image`)."
        message = f"{name} has to be compiled, and there is no C compiler{where}"
        return DifyoffError(replace(found, message=message, context=context, hint=hint if image else found.hint))
    if found is not None and found.slug == "isolation-unavailable":
        return DifyoffError(replace(found, message=f"{name}: {found.message}", context=()))
    if found is not None and page(found.slug).exit_code is Exit.NETWORK:
        message = f"the build requirements of {name} cannot be fetched: {found.message}"
        return DifyoffError(replace(found, message=message, context=context))
    return DifyoffError(
        Diagnosis(
            slug="source-build-failed",
            message=f"{name} has no wheel for the target, and building one from its source{where} failed",
            context=(*context, *(["it did not end within its time limit"] if outcome.stopped else [])),
            hint="The lines above are the build's own words. A wheel of it on your index would do, too.",
        )
    )
