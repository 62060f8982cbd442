"""Verification as the command line has it: what is asked for, how it is shown, and its part of the JSON."""

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..difypkg.diagnosis import Diagnosis
from ..verify.backends import BACKENDS, DEFAULT
from .console import is_terminal, say, show_error, show_finding, show_stage
from .site import SETTINGS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ..verify.options import Event
    from ..verify.report import ScenarioReport, VerificationReport

LABELS: Final = {"passed": "verified", "failed": "refused", "error": "error", "not-verified": "unverified"}
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
    """Shows a verification as it goes; what it tells comes from several threads, a line at a time.

    On a terminal, there is a line for each scenario at work, with the seconds that it has taken.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._lock = threading.Lock()
        self._bar: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: "Event") -> None:
        """Show an event."""
        from ..verify.options import FetchStarted, ScenarioStarted
        from ..verify.report import ScenarioReport

        if self._quiet:
            return
        with self._lock:
            if isinstance(event, ScenarioStarted):
                self._show_at_work(event.scenario.title)
            elif isinstance(event, FetchStarted):
                self._show("fetching", f"{event.what}, once")
            elif isinstance(event, ScenarioReport):
                self._end_task(event.title)
                self._show(LABELS[event.verdict], scenario_line(event))

    def _show_at_work(self, title: str) -> None:
        if not is_terminal():
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("  at work   "),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                SpinnerColumn(),
            )
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self._tasks[title] = self._bar.add_task(title, total=None)
        self._bar.start()

    def _end_task(self, title: str) -> None:
        if self._bar is not None and title in self._tasks:
            self._bar.remove_task(self._tasks.pop(title))

    def _show(self, label: str, text: str) -> None:
        if self._bar is not None:
            self._bar.stop()
        show_stage(label, text)
        if self._bar is not None and self._tasks:
            self._bar.start()

    def close(self) -> None:
        """Remove what stands on the terminal for the time being."""
        if self._bar is not None:
            self._bar.stop()

    def end(self, report: "VerificationReport") -> None:
        """Show what the report says besides: each diagnosis once, findings, and what was not checked."""
        self.close()
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
    words = [report.title]
    if report.branch:
        words.append(_BRANCHES[report.branch])
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
