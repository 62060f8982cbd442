"""The rung `audit`: the package is read and judged, and nothing of it is run."""

import threading
from dataclasses import dataclass, replace

from ...difypkg.daemons import newest, plan_branch
from ..audit.api import audit
from ..options import VerifyOptions, Workplace
from ..package import Package
from ..report import ScenarioReport
from ..scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditBackend:
    """Judges a package once, for all of its targets and for every release that was asked for."""

    options: VerifyOptions
    name: str = "audit"
    at_once: int = 1

    def plan(self, package: Package) -> tuple[Scenario, ...]:
        """Return the one scenario, which stands for all releases and targets."""
        scenario = Scenario(
            release=max(self.options.releases, key=lambda each: each.version, default=newest()),
            settings=self.options.settings,
            target=package.targets[0],
            backend=self.name,
            launch=False,
        )
        return (scenario,)

    def run(self, package: Package, scenario: Scenario, stop: threading.Event) -> ScenarioReport:
        """Audit the package."""
        settings = self.options.settings
        seen = audit(
            package,
            limit=settings.max_package_size,
            releases=self.options.releases,
            trust=self.options.trust,
        )
        branches = {plan_branch(release, settings, package.digests) for release in self.options.releases} or None
        return replace(
            scenario.report(*seen.checks(branches)),
            daemon=None,
            architecture=" and ".join(target.architecture for target in package.targets),
            settings=(),
            findings=seen.findings(branches),
        )


def open_backend(options: VerifyOptions, _: Workplace) -> AuditBackend:
    """Return the backend."""
    return AuditBackend(options=options)
