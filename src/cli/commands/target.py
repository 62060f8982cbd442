"""`difyoff target`: what packages are made for, and what an image is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...difypkg.diagnosis import Exit
from ...difypkg.target import TARGETS
from ..console import put
from ..targets import TargetFile, read_target, to_json, write_target

if TYPE_CHECKING:
    from ...sandbox.engine import Pull


@click.group("target")
def command() -> None:
    """Show what packages are made for, and read it off an image."""


@command.command("list")
def list_() -> int:
    """List the targets that difyoff knows by name."""
    for name, target in TARGETS.items():
        put(f"{name}  CPython {target.python}, glibc {target.glibc[0]}.{target.glibc[1]}, {target.machine}")
    return Exit.DONE


@command.command()
@click.argument("target", metavar="NAME|FILE")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document, tags included.")
def show(target: str, as_json: bool) -> int:
    """Show the markers and wheel tags of a target, known by name or saved in a file."""
    preset = TARGETS.get(target)
    if preset is not None:
        file = TargetFile(architecture=preset.architecture, python=preset.python, glibc=preset.glibc)
    else:
        file = read_target(Path(target))
    if as_json:
        markers, tags = dict(file.target.environment), [str(tag) for tag in file.target.tags]
        put(json.dumps({**json.loads(to_json(file)), "markers": markers, "tags": tags}, indent=2))
    else:
        for line in _describe(file):
            put(line)
    return Exit.DONE


@command.command()
@click.argument("image")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file.  [default: stdout]")
@click.option(
    "--pull",
    type=click.Choice(["never", "missing", "always"]),
    default="missing",
    show_default=True,
    help="When to fetch the image.",
)
@click.option("--platform", help="The platform in Docker's words, linux/arm64.  [default: the engine's]")
def probe(image: str, output: Path | None, pull: "Pull", platform: str | None) -> int:
    """Read off an image what packages for it must be, and save it for `build --target`.

    IMAGE is any that the engine has or can fetch: a tag, a digest or an id.
    """
    from ...verify.backends.docker.backend import probe_image

    found, facts = probe_image(image, pull=pull, platform=platform)
    target = facts.target()
    file = TargetFile(
        architecture=target.architecture,
        python=target.python,
        glibc=target.glibc,
        uv=facts.uv,
        image=found.reference,
        digest=found.digest,
        libraries=None if target.libraries is None else tuple(sorted(target.libraries)),
        programs=None if target.programs is None else tuple(sorted(target.programs)),
    )
    if output is None:
        put(to_json(file))
    else:
        write_target(output, file)
        put(output)
    return Exit.DONE


def _describe(file: TargetFile) -> Iterator[str]:
    target = file.target
    if file.image:
        yield f"image     {file.image} {file.digest}"
    yield f"platform  {target.uv_platform}"
    yield f"python    {target.python}"
    if file.uv:
        yield f"uv        {file.uv}"
    if target.libraries is not None and target.programs is not None:
        yield f"contents  {len(target.libraries)} system libraries, {len(target.programs)} programs"
    for name, value in target.environment.items():
        yield f"marker    {name} == {value!r}"
    yield f"tags      {len(target.tags)}, first {target.tags[0]}, last {target.tags[-1]}; all with --json"
