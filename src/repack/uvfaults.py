"""What a uv that failed on this connected side says is wrong."""

from dataclasses import replace
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.redaction import redact
from ..difypkg.uvtext import diagnose_resolution
from ..sandbox.process import Outcome

_LINES: Final = 12


def check(outcome: Outcome, what: str) -> None:
    """Raise the error of a uv that failed, see `fault`."""
    if not outcome.ok:
        raise fault(outcome, what)


def fault(outcome: Outcome, what: str) -> DifyoffError:
    """Return the error for a uv that failed to resolve; `what` says which of the plugin's files it was about."""
    context = last_lines(outcome)
    found = diagnose_resolution(outcome.stderr)
    if found is None:
        hint = "The lines above are uv's own words."
        return DifyoffError(Diagnosis(slug="resolution-failed", message=what, context=context, hint=hint))
    return DifyoffError(replace(found, message=f"{what}: {found.message}", context=context))


def last_lines(outcome: Outcome) -> tuple[str, ...]:
    """Return the end of what uv said, without passwords."""
    return tuple(line for line in redact(outcome.stderr).strip().splitlines()[-_LINES:] if line.strip())
