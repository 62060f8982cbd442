"""Between a finished package and its name: only what passes its verification is published."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from ..difypkg.files import write_atomically
from ..repack.publication import Draft
from ..verify.api import verify
from ..verify.options import VerifyOptions
from ..verify.report import Verdict, VerificationReport, to_json
from .secrecy import without_secrets
from .verification import NotPublishedError, VerifyView

_ASIDE: Final[dict[Verdict, str]] = {"failed": ".rejected", "error": ".unverified", "not-verified": ".unverified"}


class VerifyingGate:
    """The verification of one build, a stage of its publication."""

    def __init__(self, options: VerifyOptions, *, quiet: bool) -> None:
        self.report: VerificationReport | None = None
        self._quiet = quiet
        self._options = options

    def __call__(self, draft: Draft) -> Draft:
        """Let a packed package pass or, under a name that no `*.difypkg` finds, lay it aside with its report.

        Raises `NotPublishedError`.
        """
        self.report = self._verify(draft.temporary, draft.path)
        if self.report.verdict == "passed":
            return draft
        aside = draft.path.with_name(draft.path.name + _ASIDE[self.report.verdict])
        draft.temporary.replace(aside)
        write_atomically(aside.with_name(f"{aside.name}.json"), to_json(without_secrets(self.report)) + "\n")
        raise NotPublishedError(self.report, aside)

    def check(self, package: Path) -> None:
        """Verify a package that was there already; it stays where it is. Raises `NotPublishedError`."""
        self.report = self._verify(package, package)
        if self.report.verdict != "passed":
            raise NotPublishedError(self.report, None)

    def _verify(self, package: Path, path: Path) -> VerificationReport:
        view = VerifyView(quiet=self._quiet)
        try:
            report = replace(verify(package, self._options, listen=view), package=str(path))
        finally:
            view.close()
        view.end(report)
        return report
