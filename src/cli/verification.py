"""Verification as the command line has it: what is asked for, how it is shown, and its part of the JSON."""

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..difypkg.diagnosis import Diagnosis
from ..verify.backends import BACKENDS, DEFAULT
from .console import say, show_error, show_finding, show_stage
from .site import SETTINGS

if TYPE_CHECKING:
    from ..verify.options import Event
    from ..verify.report import ScenarioReport, VerificationReport

_LABELS: Final = {"passed": "verified", "failed": "refused", "error": "error", "not-verified": "unverified"}
_BRANCHES: Final = {
    "requirements": "requirements.txt",
    "sync": "uv.lock",
    "sync-offline": "uv.lock, --offline",
    "sync-frozen": "frozen lock",
}

verify_option = click.option(
    "--verify",
    "verify_backend",
    type=click.Choice(list(BACKENDS)),
    help="Install and start the package as the daemon does, and publish it only if that works. A backend is given with"
    " `=`, as in --verify=docker; alone it means the site's, or local.  [default: not verified]",
)


class VerifyCommand(click.Command):
    """A command whose `--verify` takes a value only with `=`: alone, it never eats the next word, as click's would."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the site's backend behind every bare `--verify` before `--`."""
        end = args.index("--") if "--" in args else len(args)
        backend = SETTINGS["backend"]
        bare = os.environ.get(backend.variable) or DEFAULT
        for word, following in pairwise(args[: end + 1]):
            if word == "--verify" and following in BACKENDS and not Path(following).exists():
                raise click.UsageError(f"Write --verify={following}: without `=`, {following!r} is a plugin.", ctx)
        given = [f"--verify={bare}" if word == "--verify" else word for word in args[:end]]
        return super().parse_args(ctx, given + args[end:])


class NotPublishedError(Exception):
    """A package did not pass; `aside` is where it lies, with its report beside it."""

    def __init__(self, report: "VerificationReport", aside: Path | None) -> None:
        what = "the package is refused" if report.verdict == "failed" else "the package could not be verified"
        super().__init__(f"{what}; it lies in {aside or report.package}")
        self.report = report
        self.aside = aside


class VerifyView:
    """Shows a verification as it goes; what it tells comes from several threads, a line at a time."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet

    def __call__(self, event: "Event") -> None:
        """Show an event."""
        from ..verify.options import FetchStarted
        from ..verify.report import ScenarioReport

        if self._quiet:
            return
        if isinstance(event, FetchStarted):
            show_stage("fetching", f"{event.what}, once")
        elif isinstance(event, ScenarioReport):
            show_stage(_LABELS[event.verdict], scenario_line(event))

    def end(self, report: "VerificationReport") -> None:
        """Show what the report says besides: each diagnosis once, findings, and what was not checked."""
        for diagnosis in _merged(report):
            show_error(diagnosis)
        shown = {check.diagnosis for scenario in report.scenarios for check in scenario.checks}
        findings = (*report.findings, *(finding for scenario in report.scenarios for finding in scenario.findings))
        for finding in dict.fromkeys(findings):
            if finding not in shown:
                show_finding(finding)
        if report.not_checked and not self._quiet:
            say(f"not checked: {'; '.join(report.not_checked)}")


def _merged(report: "VerificationReport") -> Iterator[Diagnosis]:
    """Yield each diagnosis of a slug once: the first, with what uv or the plugin says of it."""
    seen: dict[str, list[Diagnosis]] = {}
    for scenario in report.scenarios:
        for check in scenario.checks:
            if check.diagnosis:
                seen.setdefault(check.diagnosis.slug, []).append(check.diagnosis)
    for first, *others in seen.values():
        said = next((each.context for each in others if each.context != first.context), ())
        yield replace(first, context=(*first.context, *said))


def scenario_line(report: "ScenarioReport") -> str:
    """Return a scenario and what came of it, on one line."""
    words: list[str] = [report.backend]
    if report.daemon:
        words.append(f"daemon {report.daemon}")
    if report.architecture != "amd64" and report.daemon:
        words.append(report.architecture)
    if report.branch:
        words.append(_BRANCHES[report.branch])
    words += [f"{setting} set" for setting in report.settings]
    if report.isolation:
        words.append("no network (proved)" if report.isolation.proved else "network not proved to be cut off")
    said = {check.name: check.message for check in report.checks if check.status == "passed"}
    results = [said[name] for name in ("rules", "uv", "distributions") if name in said]
    if "start" in said:
        results.append(f"started, {said['start']}")
    if report.backend == "audit" and report.verdict == "passed":
        results = [f"{len(said)} checks"]
    if report.verdict != "passed" or not results:
        return ", ".join(words)
    return f"{', '.join(words)}: {', '.join(results)}"
