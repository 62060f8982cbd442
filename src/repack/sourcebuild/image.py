"""Build a wheel in the daemon's image: for its glibc, its Python and its architecture, whatever this machine is.

The build requirements are resolved and fetched outside, with the user's index, credentials and certificates, of which
nothing goes in. Inside, uv is offline; the network that the container has is for what a source's own build fetches.
"""

from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from ...difypkg.diagnosis import Diagnosis, DifyoffError
from ...difypkg.pep508 import parse_requirement
from ...difypkg.target import ARCHITECTURES, Target
from ...sandbox.container import Job, run_job
from ...sandbox.engine import DaemonImage, connect, find_image
from ...sandbox.process import Outcome
from ...transfer.fetch import Download, fetch
from ..pins import load_lock, select
from ..resolution import Pin, WheelSource
from ..workshop import BuildImage, Workshop
from .built import Built
from .inputs import CONSTRAINTS, ENVIRONMENT, BuildInputs

_INSIDE: Final = PurePosixPath("/build")
_LIMIT: Final = 3600  # seconds; emulation is slow
_UV: Final = ("sh", "-c", 'exec "${UV_PATH:-uv}" "$@"', "uv")
_QUIET: Final = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}
_NOT_A_PROGRAM: Final = (126, 127)  # of sh: uv cannot be run, or is not there


@cache
def image_for(choice: BuildImage) -> DaemonImage:
    """Return the image to build in, asked for once. Raises `DifyoffError`: what `sandbox.engine.find_image` raises."""
    with connect() as client:
        image = find_image(client, choice.reference, pull=choice.pull, platform=choice.platform)
    if image.architecture not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise DifyoffError(
            Diagnosis(
                slug="image-wrong-architecture",
                message=f"{image.reference} is made for {image.architecture}; the daemon runs on {known}",
            )
        )
    return image


def target_in(image: DaemonImage, targets: frozenset[Target]) -> Target:
    """Return what is built for in an image: the target of its architecture, or one made from another."""
    architecture = next(name for name in ARCHITECTURES if name == image.architecture)
    same = (target for target in targets if target.architecture == architecture)
    other = min(targets, key=lambda target: target.architecture)
    return next(same, Target(architecture=architecture, python=other.python, glibc=other.glibc))


def build_in_image(
    tree: Path, work: Path, inputs: BuildInputs, target: Target, image: DaemonImage, workshop: Workshop
) -> Built:
    """Build the wheel of `tree` in `image` into `work/wheel`.

    `work` holds the tree and the constraints; it is all that the container gets. The outcome is that of the first uv
    that failed: the one that resolves outside or the one that builds inside. Raises `DifyoffError`: `image-unusable`,
    and what `transfer.fetch.fetch` and `sandbox.container.run_job` raise.
    """
    assert workshop.build_in is not None
    pins, outcome = _carry_requirements(inputs, work, target, workshop)
    if outcome is not None and not outcome.ok:
        return Built(requirements=(), outcome=outcome)
    requirements = tuple(f"{pin.name}=={pin.version}" for pin in pins)
    # What a build asks for only while it runs is held to our pins, too.
    with (work / CONSTRAINTS).open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in requirements)
    output = PurePosixPath("/tmp/wheel")
    job = Job(
        argv=(
            *(*_UV, "build", "--wheel", "--offline", "--no-config", "--no-index", "--python", f"python{inputs.python}"),
            *("--find-links", str(_INSIDE / "wheels"), "--build-constraints", str(_INSIDE / CONSTRAINTS)),
            *("--out-dir", str(output), str(_INSIDE / tree.relative_to(work))),
        ),
        environment={**_QUIET, **ENVIRONMENT},
        folder=work,
        prefix=_INSIDE,
        cwd=_INSIDE,
        output=output,
        limit=_LIMIT,
        platform=workshop.build_in.platform,
    )
    outcome = run_job(image, job, into=work / "wheel")
    if outcome.code in _NOT_A_PROGRAM:
        raise DifyoffError(
            Diagnosis(
                slug="image-unusable",
                message=f"{image.reference} has no uv that runs, so nothing can be built in it",
                context=tuple(outcome.stderr.strip().splitlines()[-4:]),
                hint="Name the daemon's image, or one made from it, with `--build-image`.",
            )
        )
    return Built(requirements=requirements, outcome=outcome)


def _carry_requirements(
    inputs: BuildInputs, work: Path, target: Target, workshop: Workshop
) -> tuple[tuple[Pin, ...], Outcome | None]:
    """Lay the wheels of the declared build requirements in `work/wheels`; return their pins and how uv found them.

    Only wheels: what would have to be built first is refused.
    """
    (work / "wheels").mkdir()
    if not inputs.requires:
        return (), None
    # Before 70.1 setuptools asks for `wheel` only when it is run.
    names = {each.name.lower() for line in inputs.requires if (each := parse_requirement(line)) is not None}
    implied = ["wheel"] if "setuptools" in names else []
    folder = workshop.folder("requirements")  # apart: a lock may hold the index's credentials
    (folder / "requires.txt").write_text("\n".join([*inputs.requires, *implied]) + "\n", encoding="utf-8")
    outcome = workshop.resolving(
        *("pip", "compile", "--quiet", "--format", "pylock.toml", "--only-binary", ":all:"),
        *("--python", str(workshop.python(target)), "--python-version", inputs.python),
        *("--python-platform", target.uv_platform, "--constraints", str(work / CONSTRAINTS), "requires.txt"),
        *("--output-file", "pylock.toml"),
        cwd=folder,
    )
    if not outcome.ok:
        return (), outcome
    pins = select(load_lock(folder / "pylock.toml"), [target], folder)
    sources = [pin.source for pin in pins if isinstance(pin.source, WheelSource)]
    downloads = [Download(url=each.url, filename=each.filename, hashes=each.hashes, size=each.size) for each in sources]
    for fetched in fetch(downloads, workshop.store, workshop.client):
        workshop.store.place(fetched.sha256, work / "wheels" / fetched.download.filename)
    return pins, outcome
