"""A backend as one that uploads and polls a service would be: it sees the package's file, and no sandbox."""

import hashlib
import threading

from difyoff.difypkg.diagnosis import Diagnosis, DifyoffError
from difyoff.verify.options import VerifyOptions, Workplace
from difyoff.verify.package import Package
from difyoff.verify.report import Check, ScenarioReport
from difyoff.verify.scenario import Scenario, plan_scenarios

SERVICE: dict[str, list[str]] = {}
"""What the service says of an upload, by the file's SHA-256, one word for each time that it is asked."""


class DummyBackend:
    name = "dummy"
    at_once = 1

    def __init__(self, options: VerifyOptions) -> None:
        self._options = options

    def plan(self, package: Package) -> tuple[Scenario, ...]:
        return plan_scenarios(
            package.digests,
            backend=self.name,
            targets=package.targets,
            chosen=self._options.releases,
            settings=self._options.settings,
        )

    def run(self, package: Package, scenario: Scenario, stop: threading.Event) -> ScenarioReport:
        answers = iter(SERVICE.get(hashlib.sha256(package.path.read_bytes()).hexdigest(), ()))
        for polls, answer in enumerate(answers, 1):
            if stop.is_set():
                raise KeyboardInterrupt
            if answer == "running":
                return scenario.report(Check(name="task", required=True, status="passed", message=f"{polls} polls"))
        raise DifyoffError(Diagnosis(slug="docker-unavailable", message="the service does not answer"))


def open_backend(options: VerifyOptions, _: Workplace) -> DummyBackend:
    return DummyBackend(options)
