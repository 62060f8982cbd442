"""What can go wrong, in one form: a slug with a page, a message, evidence and the next step.

A `Diagnosis` is a value. As a *finding* it is collected and reported; carried by a `DifyoffError` it stops the work.
Every slug has a page in `difypkg/pages/SLUG.md`, which `difyoff explain SLUG` prints.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Final


class Exit(IntEnum):
    """Exit codes of the command line; of several outcomes the worst counts (see `worst`)."""

    DONE = 0
    NO = 1
    USAGE = 2
    NOT_A_PLUGIN = 4
    MACHINE = 5
    NETWORK = 6
    BUG = 70
    INTERRUPTED = 130

    @property
    def meaning(self) -> str:
        """What the code says, as README has it."""
        return _MEANINGS[self]


_MEANINGS: Final = {
    Exit.DONE: "done; of a verification: verified",
    Exit.NO: "the answer is no: refused by the verification, a pin that the index lacks, another file in the way",
    Exit.USAGE: "wrong use",
    Exit.NOT_A_PLUGIN: "the input cannot be used: it is missing, unreadable, or not a plugin",
    Exit.MACHINE: "this machine cannot do it: no uv, no Python, no disk, no isolation; not verified",
    Exit.NETWORK: "the network; trying again may help",
    Exit.BUG: "a fault of difyoff",
    Exit.INTERRUPTED: "interrupted",
}

REBUILD: Final = "Rebuild it from the original plugin with `difyoff build`."
"""The next step for a package that is not as `difyoff build` makes it."""

WORST_FIRST: Final = (
    Exit.INTERRUPTED,
    Exit.BUG,
    Exit.MACHINE,
    Exit.NETWORK,
    Exit.NOT_A_PLUGIN,
    Exit.USAGE,
    Exit.NO,
    Exit.DONE,
)


def worst(codes: Iterable[Exit]) -> Exit:
    """Return the gravest of several exit codes (`WORST_FIRST`); `DONE` for none."""
    return min(codes, key=WORST_FIRST.index, default=Exit.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """One thing that is wrong or worth knowing.

    `message` is one sentence: what happened. `context` holds evidence, a line each. `note` says whose problem it is.
    `hint` is the next step, usually a command or a setting.
    """

    slug: str
    message: str
    context: tuple[str, ...] = ()
    note: str | None = None
    hint: str | None = None


class DifyoffError(Exception):
    """The work cannot go on; `diagnosis` says why and what to do."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.message)
        self.diagnosis = diagnosis

    @property
    def exit_code(self) -> Exit:
        """The exit code of this slug's page."""
        return page(self.diagnosis.slug).exit_code


def not_in_store(missing: Sequence[str]) -> DifyoffError:
    """Return the error of a run that may not use the network, for what was not fetched before."""
    what = missing[0] if len(missing) == 1 else f"{len(missing)} files"
    return DifyoffError(
        Diagnosis(
            slug="not-in-store",
            message=f"{what} must be fetched, and --offline forbids it",
            context=tuple(missing) if len(missing) > 1 else (),
            hint="Run it once without --offline, with the same cache folder, where there is a network.",
        )
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The page of one slug: a title, the exit code when it stops the work, and Markdown text."""

    slug: str
    title: str
    exit_code: Exit
    text: str


@cache
def page(slug: str) -> Page:
    """Return the page of a slug.

    A page file starts with `# Title`, then `exit: N`, then a blank line and the text. Raises `KeyError` for an
    unknown slug.
    """
    file = files("difyoff.difypkg") / "pages" / f"{slug}.md"
    if not file.is_file():
        raise KeyError(slug)
    title, exit_line, text = file.read_text(encoding="utf-8").split("\n", 2)
    return Page(
        slug=slug,
        title=title.removeprefix("# "),
        exit_code=Exit(int(exit_line.removeprefix("exit: "))),
        text=text.strip(),
    )


def slugs() -> tuple[str, ...]:
    """Return every slug that has a page, sorted."""
    names = (entry.name for entry in (files("difyoff.difypkg") / "pages").iterdir())
    return tuple(sorted(name.removesuffix(".md") for name in names if name.endswith(".md")))
