"""Build a wheel in the daemon's image: for its glibc, its Python and its architecture, whatever this machine is.

The build requirements are resolved and fetched outside, with the user's index, credentials and certificates, of which
nothing goes in. Inside, uv is offline; the network that the container has is for what a source's own build fetches.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final, cast

from packaging.requirements import InvalidRequirement, Requirement

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.target import TARGETS, Architecture
from ..sandbox.container import Job, run_job
from ..sandbox.engine import DaemonImage, connect, find_image
from ..sandbox.process import Outcome
from ..transfer.client import Client
from ..transfer.fetch import Download, fetch
from ..transfer.store import WheelStore
from .options import BuildImage
from .resolution import WheelSource
from .resolve import load_lock, select
from .tools import Tools

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
    if image.architecture not in TARGETS:
        raise DifyoffError(
            Diagnosis(
                slug="image-wrong-architecture",
                message=f"{image.reference} is made for {image.architecture}; the daemon runs on {', '.join(TARGETS)}",
            )
        )
    return image


def machine_of(image: DaemonImage) -> str:
    """Return `platform_machine` of an image."""
    return TARGETS[cast("Architecture", image.architecture)].machine


def build_in_image(
    tree: Path,
    work: Path,
    requires: Sequence[str],
    image: DaemonImage,
    out: Path,
    environment: Mapping[str, str],
    *,
    store: WheelStore,
    client: Client,
    tools: Tools,
) -> tuple[list[str], Outcome]:
    """Build the wheel of `tree` in `image` and copy it to `out`; return the pins of what it was built with.

    `work` holds the tree and `constraints.txt`; it is all that the container gets. The outcome is that of the first
    uv that failed: the one that resolves outside or the one that builds inside. Raises `DifyoffError`:
    `image-unusable`, and what `transfer.fetch.fetch` and `sandbox.container.run_job` raise.
    """
    assert tools.build_in is not None
    requirements, outcome = _carry_requirements(requires, work, image, store, client, tools)
    if outcome is not None and not outcome.ok:
        return [], outcome
    # What a build asks for only while it runs is held to our pins, too.
    with (work / "constraints.txt").open("a", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in requirements)
    output = PurePosixPath("/tmp/wheel")
    job = Job(
        argv=(
            *(*_UV, "build", "--wheel", "--offline", "--no-config", "--no-index", "--python", "python3.12"),
            *("--find-links", str(_INSIDE / "wheels"), "--build-constraints", str(_INSIDE / "constraints.txt")),
            *("--out-dir", str(output), str(_INSIDE / tree.relative_to(work))),
        ),
        environment={**_QUIET, **environment},
        folder=work,
        prefix=_INSIDE,
        cwd=_INSIDE,
        output=output,
        limit=_LIMIT,
        platform=tools.build_in.platform,
    )
    outcome = run_job(image, job, into=out)
    if outcome.code in _NOT_A_PROGRAM:
        raise DifyoffError(
            Diagnosis(
                slug="image-unusable",
                message=f"{image.reference} has no uv that runs, so nothing can be built in it",
                context=tuple(outcome.stderr.strip().splitlines()[-4:]),
                hint="name the daemon's image, or one made from it, with `--build-image`",
            )
        )
    return requirements, outcome


def _carry_requirements(
    requires: Sequence[str], work: Path, image: DaemonImage, store: WheelStore, client: Client, tools: Tools
) -> tuple[list[str], Outcome | None]:
    """Lay the wheels of the declared build requirements in `work/wheels`; return their pins and how uv found them.

    Only wheels: what would have to be built first is refused.
    """
    (work / "wheels").mkdir()
    if not requires:
        return [], None
    # Before 70.1 setuptools asks for `wheel` only when it is run.
    implied = ["wheel"] if "setuptools" in map(_name, requires) else []
    folder = tools.folder("requirements")  # apart: a lock may hold the index's credentials
    (folder / "requires.txt").write_text("\n".join([*requires, *implied]) + "\n", encoding="utf-8")
    target = TARGETS[cast("Architecture", image.architecture)]
    outcome = tools.resolving(
        *("pip", "compile", "--quiet", "--format", "pylock.toml", "--only-binary", ":all:"),
        *("--python", str(tools.python), "--python-version", "3.12", "--python-platform", target.uv_platform),
        *("--constraints", str(work / "constraints.txt"), "requires.txt", "--output-file", "pylock.toml"),
        cwd=folder,
    )
    if not outcome.ok:
        return [], outcome
    pins = select(load_lock(folder / "pylock.toml"), [target], folder)
    sources = [pin.source for pin in pins if isinstance(pin.source, WheelSource)]
    downloads = [Download(url=each.url, filename=each.filename, hashes=each.hashes, size=each.size) for each in sources]
    for fetched in fetch(downloads, store, client):
        store.place(fetched.sha256, work / "wheels" / fetched.download.filename)
    return [f"{pin.name}=={pin.version}" for pin in pins], outcome


def _name(requirement: str) -> str:
    try:
        return Requirement(requirement).name.lower()
    except InvalidRequirement:  # uv will say so
        return ""
