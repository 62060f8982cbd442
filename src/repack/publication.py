"""From a finished shape to a file under its name, in stages: pack, whatever a site asks for between, publish.

A stage takes a draft and returns it, further on; it raises to keep the package from its name. A new one (a signature, a
verification) is one more function in the tuple that `repack.api.build` is given.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import output_errors, temporary_name
from .pack import Packed, same_content

State: TypeAlias = Literal["written", "up to date"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A package that has no name yet.

    `temporary` is the file that it is written to, `path` the one that it will be. `write` writes it; `packed` says what
    was written, None before. `force` lets it replace another file. `state` says how it was published, None before.
    """

    temporary: Path
    path: Path
    write: Callable[[Path], Packed]
    force: bool
    packed: Packed | None = None
    state: State | None = None


PublicationStage: TypeAlias = Callable[[Draft], Draft]


def pack(draft: Draft) -> Draft:
    """Write the package under its temporary name. Raises `disk-full`, `output-not-writable`."""
    return replace(draft, packed=draft.write(draft.temporary))


def publish(draft: Draft) -> Draft:
    """Give a packed file its name, unless the same bytes were there already.

    Raises `output-exists` where a different file is and may not be replaced.
    """
    assert draft.packed is not None
    written = _give_name(draft.temporary, draft.path, force=draft.force)
    return replace(draft, packed=replace(draft.packed, path=draft.path), state="written" if written else "up to date")


STAGES: tuple[PublicationStage, ...] = (pack, publish)
"""A package is written and published, with nothing between."""


def run_stages(
    path: Path, write: Callable[[Path], Packed], stages: Sequence[PublicationStage], *, force: bool
) -> tuple[Packed, State]:
    """Take a package through the stages, the last of which publishes it; no half of it is left."""
    with temporary_name(path) as temporary:
        draft = Draft(temporary=temporary, path=path, write=write, force=force)
        for stage in stages:
            draft = stage(draft)
    assert draft.packed is not None
    assert draft.state is not None
    return draft.packed, draft.state


def _give_name(temporary: Path, path: Path, *, force: bool) -> bool:
    """Give a finished file its name; return False where the same bytes were there already."""
    with output_errors(path):
        if not force:
            try:
                os.link(temporary, path)  # atomic, and never over a file that another process just wrote
            except FileExistsError:
                if same_content(temporary, path):
                    return False
                raise DifyoffError(
                    Diagnosis(
                        slug="output-exists",
                        message=f"{path} exists and is another package",
                        hint="Use --force to replace it, or -o for another folder.",
                    )
                ) from None
            except OSError:
                if path.exists():
                    raise
            else:
                return True
        elif path.is_file() and same_content(temporary, path):
            return False
        temporary.replace(path)
    return True
