"""Runs a backend's scenarios beside each other and keeps their reports: the same for every backend."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from time import monotonic

from ..difypkg.diagnosis import DifyoffError
from .backends import Backend
from .options import Listener, ScenarioStarted
from .package import Package
from .report import Check, ScenarioReport
from .scenario import Scenario


def run_scenarios(
    backend: Backend, package: Package, scenarios: Sequence[Scenario], listen: Listener
) -> tuple[ScenarioReport, ...]:
    """Run scenarios, a few at a time; return their reports in the same order.

    What keeps one from running is in its report: `not-verified`, with its diagnosis.
    """
    stop = threading.Event()

    def run(scenario: Scenario) -> ScenarioReport:
        listen(ScenarioStarted(scenario=scenario))
        began = monotonic()
        report = replace(_run(backend, package, scenario, stop), seconds=monotonic() - began)
        listen(report)
        return report

    workers = min(len(scenarios), os.cpu_count() or 1, backend.at_once)
    if workers <= 1:  # in this thread, so that Ctrl-C reaches it at once
        return tuple(map(run, scenarios))
    with ThreadPoolExecutor(workers) as pool:
        try:
            return tuple(pool.map(run, scenarios))
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _run(backend: Backend, package: Package, scenario: Scenario, stop: threading.Event) -> ScenarioReport:
    try:
        return backend.run(package, scenario, stop)
    except DifyoffError as error:
        message = error.diagnosis.message
        check = Check(name=backend.name, required=True, status="skipped", message=message, diagnosis=error.diagnosis)
        return scenario.report(check)
