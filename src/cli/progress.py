"""The events of a build, shown: a progress bar on a terminal, plain lines elsewhere."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from ..difypkg.daemons import Release
from ..difypkg.diagnosis import Diagnosis
from ..difypkg.sizes import human_size
from ..difypkg.target import Target
from ..repack.events import Event, PluginOpened
from ..transfer.fetch import Progress
from .console import is_terminal, say, show_finding, show_stage

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


_WORTH_SAYING: Final = 5_000_000  # bytes; less is fetched before anybody wonders


class BuildView(AbstractContextManager["BuildView"]):
    """Shows one build; `quiet` leaves findings only."""

    def __init__(self, *, release: Release, targets: tuple[Target, ...], quiet: bool) -> None:
        self._release = release
        self._targets = targets
        self._quiet = quiet
        self._bar: Bar | None = None
        self._task: TaskID | None = None
        self._fifth = 0
        self._shown: set[Diagnosis | str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_bar()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Progress):
            if not self._quiet:
                self._show_progress(event)
            return
        self._stop_bar()
        if isinstance(event, Diagnosis):
            self._show_finding(event)
        elif isinstance(event, PluginOpened):
            self._show_header(event)
            for finding in event.findings:
                self._show_finding(finding)
        elif not self._quiet:
            show_stage(event.name, event.text)

    def _show_finding(self, finding: Diagnosis) -> None:
        # The size is foretold and told again at the end, with other numbers.
        key = finding.slug if finding.slug == "size-limit" else finding
        if key not in self._shown:
            self._shown.add(key)
            show_finding(finding)

    def _show_header(self, event: PluginOpened) -> None:
        if not self._quiet:
            architectures = " and ".join(target.architecture for target in self._targets)
            major, minor = self._targets[0].python_minor
            say(
                f"{event.identity.author}/{event.identity.name} {event.identity.version} for daemon {self._release},"
                f" {architectures}, CPython {major}.{minor}"
            )

    def _show_progress(self, progress: Progress) -> None:
        if progress.total == 0 or progress.finished == progress.files:
            return
        if is_terminal():
            self._show_bar(progress)
        elif progress.total and progress.total > _WORTH_SAYING:
            # A line for each fifth: enough to see life in a log, too few to fill it.
            fifth = progress.received * 5 // progress.total
            if fifth > self._fifth:
                self._fifth = fifth
                show_stage("fetching", f"{human_size(progress.received)} of {human_size(progress.total)}")

    def _show_bar(self, progress: Progress) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
        from rich.progress import Progress as Bar

        if self._bar is None or self._task is None:
            columns = (
                TextColumn("  fetching  "),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task("fetching", total=progress.total)
        self._bar.update(self._task, completed=progress.received, total=progress.total)

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
