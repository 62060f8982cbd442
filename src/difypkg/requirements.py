"""The offline shape of `requirements.txt`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .names import WHEELS
from .target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedWheels:
    """One release of a distribution and its bundled wheels.

    `hashes` are the SHA-256 (hex) of its wheels, `targets` those that install it.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    targets: frozenset[Target]


def offline_requirements(pins: Collection[PinnedWheels], targets: Sequence[Target]) -> str:
    """Return a `requirements.txt` that pip's and uv's every release reads without an index.

    One line for each name and version with all its hashes: older uv fails on two lines for one. A line that not every
    target installs carries a `platform_machine` marker.
    """
    lines = ["--no-index", f"--find-links=./{WHEELS}/"]
    for pin in sorted(pins, key=lambda pin: (pin.name, pin.version)):
        machines = [target.machine for target in targets if target in pin.targets]
        marker = ""
        if len(machines) < len(targets):
            marker = " ; " + " or ".join(f"platform_machine == '{machine}'" for machine in machines)
        hashes = "".join(f" --hash=sha256:{digest}" for digest in sorted(pin.hashes))
        lines.append(f"{pin.name}=={pin.version}{marker}{hashes}")
    return "\n".join(lines) + "\n"
