"""Where a package is put to the proof: one module for each backend, and one line for it in `BACKENDS`."""

from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:  # the command line reads the table before it knows whether anything is to be verified
    import threading

    from ..options import VerifyOptions, Workplace
    from ..package import Package
    from ..report import ScenarioReport
    from ..scenario import Scenario

BACKENDS: Final = {
    "audit": "nothing: the package is read, and nothing of it is run",
    "local": "uv and CPython 3.12 on this machine, and Linux to cut the network off",
    "docker": "a Docker engine and the daemon's image",
}
"""Each backend and what it needs; the module of that name in this package has `open_backend`."""

AUDIT: Final = "audit"
"""The first of every verification."""

DEFAULT: Final = "local"


class Backend(Protocol):
    """One way to judge a package. A run may start a sandbox here, or upload and poll a service elsewhere."""

    @property
    def name(self) -> str:
        """Its name in `BACKENDS`."""

    @property
    def at_once(self) -> int:
        """How many scenarios it runs beside each other, at most."""

    def plan(self, package: "Package") -> "tuple[Scenario, ...]":
        """Return the scenarios that it runs for a package."""

    def run(self, package: "Package", scenario: "Scenario", stop: "threading.Event") -> "ScenarioReport":
        """Run a scenario and report, from any thread; once `stop` is set, give up (`KeyboardInterrupt`).

        Raises `DifyoffError` for what keeps it from running: the scenario is reported as not verified then.
        """


def open_backend(name: str, options: "VerifyOptions", workplace: "Workplace") -> Backend:
    """Return a backend, ready to run. Raises `DifyoffError` for what keeps all of it from running."""
    backend: Backend = import_module(f"{__name__}.{name}").open_backend(options, workplace)
    return backend
