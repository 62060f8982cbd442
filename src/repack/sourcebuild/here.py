"""Build a wheel on this machine."""

from pathlib import Path

from ...difypkg.target import Target
from ..workshop import Workshop
from .built import Built, build_failed
from .inputs import CONSTRAINTS, ENVIRONMENT, BuildInputs


def build_here(name: str, tree: Path, work: Path, inputs: BuildInputs, target: Target, workshop: Workshop) -> Built:
    """Build the wheel of `tree` into `work/wheel`; `work` holds the constraints."""
    requirements = _pin_requirements(name, work, inputs, target, workshop)
    constraints = work / CONSTRAINTS
    constraints.write_text("\n".join(requirements) + "\n" + inputs.constraints, encoding="utf-8")
    outcome = workshop.resolving(
        *("build", "--wheel", "--out-dir", str(work / "wheel"), "--build-constraints", str(constraints)),
        *("--python", str(workshop.python(target)), str(tree)),
        cwd=work,
        extra=ENVIRONMENT,
    )
    return Built(requirements=requirements, outcome=outcome)


def _pin_requirements(
    name: str, work: Path, inputs: BuildInputs, target: Target, workshop: Workshop
) -> tuple[str, ...]:
    """Resolve the declared build requirements to pins, within our constraints."""
    if not inputs.requires:
        return ()
    declared = work / "requires.txt"
    declared.write_text("\n".join(inputs.requires) + "\n", encoding="utf-8")
    outcome = workshop.resolving(
        *("pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", inputs.python),
        *("--python", str(workshop.python(target)), "--constraints", CONSTRAINTS, declared.name),
        cwd=work,
    )
    if not outcome.ok:
        raise build_failed(name, outcome)
    return tuple(line for line in outcome.stdout.splitlines() if line.strip())
