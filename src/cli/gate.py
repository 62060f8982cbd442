"""Between a finished package and its name: only what passes its verification is published."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..difypkg.daemons import Release, Settings
from ..difypkg.files import write_atomically
from ..difypkg.target import TARGETS
from ..repack.options import Options
from ..repack.publication import Draft
from ..repack.workshop import Workshop
from ..verify.api import verify
from ..verify.options import VerifyOptions
from ..verify.report import Verdict, VerificationReport, to_json
from ..verify.trust import NO_TRUST, Trust
from .verification import ImageChoice, NotPublishedError, VerifyView

if TYPE_CHECKING:
    from .signer import Signer  # with it comes a library that few builds need

_ASIDE: Final[dict[Verdict, str]] = {"failed": ".rejected", "error": ".unverified", "not-verified": ".unverified"}


class VerifyingGate:
    """The verification of one build, a stage of its publication."""

    def __init__(
        self,
        options: Options,
        workshop: Workshop,
        backend: str,
        releases: tuple[Release, ...],
        *,
        image: ImageChoice,
        signer: "Signer | None",
        quiet: bool,
    ) -> None:
        self.report: VerificationReport | None = None
        self._quiet = quiet
        self._verify_options = VerifyOptions(
            cache=workshop.cache,
            index=workshop.index,
            version=workshop.version,
            backend=backend,
            releases=releases,
            candidates=tuple(TARGETS.values()),
            settings=Settings(max_package_size=options.max_size),
            image=image.reference,
            pull=image.pull,
            platform=image.platform,
            trust=Trust(public_keys=(signer.public_key,)) if signer else NO_TRUST,
        )

    def __call__(self, draft: Draft) -> Draft:
        """Let a packed package pass or, under a name that no `*.difypkg` finds, lay it aside with its report.

        Raises `NotPublishedError`.
        """
        self.report = self._verify(draft.temporary, draft.path)
        if self.report.verdict == "passed":
            return draft
        aside = draft.path.with_name(draft.path.name + _ASIDE[self.report.verdict])
        draft.temporary.replace(aside)
        write_atomically(aside.with_name(f"{aside.name}.json"), to_json(self.report) + "\n")
        raise NotPublishedError(self.report, aside)

    def check(self, package: Path) -> None:
        """Verify a package that was there already; it stays where it is. Raises `NotPublishedError`."""
        self.report = self._verify(package, package)
        if self.report.verdict != "passed":
            raise NotPublishedError(self.report, None)

    def _verify(self, package: Path, path: Path) -> VerificationReport:
        view = VerifyView(quiet=self._quiet)
        report = replace(verify(package, self._verify_options, listen=view), package=str(path))
        view.end(report)
        return report
