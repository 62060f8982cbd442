"""`difyoff signoff`: a person's decision on a package, and what all decisions on it come to."""

import getpass
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from ...difypkg.diagnosis import Diagnosis, DifyoffError, Exit, worst
from ...render.documents import SignoffDocument, SignoffResult
from ...signing.signoff import RULINGS, Opinion, Ruling, Tally, check_decisions, decide
from ...signing.ssh import SshKey
from ..console import printable, put, say, show_error
from ..options import common
from ..reports import check_reports, emit


class _Signoff(click.Group):
    """`signoff PACKAGE` decides and `signoff check PACKAGE` checks: the first word tells which."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take anything but `check` and a call for help for the arguments of a decision."""
        if args and args[0] not in ("check", "-h", "--help"):
            args = ["decide", *args]
        return super().parse_args(ctx, args)


@click.group("signoff", cls=_Signoff)
def command() -> None:
    """Decide on a package with your SSH key, or check the decisions on it.

    \b
    difyoff signoff PACKAGE --report REPORT --decision approve|reject --key KEY [--as NAME]
    difyoff signoff check PACKAGE --allowed-signers FILE [--require N]
    """


@command.command("decide", short_help="Decide on a package (`decide` may be left out).")
@click.argument("package", type=click.Path(path_type=Path))
@click.option(
    "--report",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The report that you read; the decision is bound to it.",
)
@click.option("--decision", "ruling", required=True, type=click.Choice(RULINGS), help="Your decision.")
@click.option(
    "--key",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Your SSH key: a private key, or a public one that an agent or a token holds.",
)
@click.option("--as", "by", metavar="NAME", help="Your name in the allowed-signers file.  [default: your login name]")
@click.option("--comment", default="", help="Why; it becomes part of what is signed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of paths.")
def decide_(package: Path, report: Path, ruling: Ruling, key: Path, by: str | None, comment: str, as_json: bool) -> int:
    """Write your signed decision beside PACKAGE, bound to its bytes and to those of the report.

    A rejected package gets the name PACKAGE.rejected.
    """
    try:
        opinion = Opinion(
            ruling=ruling,
            by=by or _login_name(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            comment=comment,
        )
        file = decide(package, report, opinion, SshKey(path=key, environ=os.environ))
    except DifyoffError as error:
        show_error(error.diagnosis)
        result = SignoffResult(input=str(package), exit_code=error.exit_code, diagnosis=error.diagnosis)
    else:
        result = SignoffResult(input=str(package), exit_code=Exit.DONE, decision=str(file))
        if not as_json:
            put(file)
    return _end([result], as_json=as_json, reports=())


@command.command()
@click.argument("packages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PACKAGE...")
@click.option(
    "--allowed-signers",
    "allowed",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Who may decide: a file in the form of ssh-keygen(1), from your own side of the gap.",
)
@click.option(
    "--require",
    "required",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many people must approve.",
)
@common
def check(
    packages: tuple[Path, ...],
    allowed: Path,
    required: int,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Say whether each PACKAGE is approved: by enough people, and rejected by nobody."""
    check_reports(reports, (*packages, allowed))
    results = []
    for package in packages:
        results.append(_check(package, allowed, required, quiet=quiet))
        if results[-1].exit_code == Exit.DONE and not as_json:
            put(package)
    return _end(results, as_json=as_json, reports=reports)


def _check(package: Path, allowed: Path, required: int, *, quiet: bool) -> SignoffResult:
    try:
        tally = check_decisions(package, allowed=allowed, required=required)
    except DifyoffError as error:
        show_error(error.diagnosis)
        return SignoffResult(input=str(package), exit_code=error.exit_code, diagnosis=error.diagnosis)
    if not quiet:
        for ballot in tally.ballots:
            counts = "counts" if ballot.counts else f"does not count: {ballot.reason}"
            say(printable(f"  {ballot.by}: {ballot.decision}, {counts}"))
    if tally.approved:
        return SignoffResult(input=str(package), exit_code=Exit.DONE, ballots=tally.ballots)
    diagnosis = _not_approved(package, tally)
    show_error(diagnosis)
    return SignoffResult(input=str(package), exit_code=Exit.NO, ballots=tally.ballots, diagnosis=diagnosis)


def _not_approved(package: Path, tally: Tally) -> Diagnosis:
    rejected = [ballot.by for ballot in tally.ballots if ballot.counts and ballot.decision == "reject"]
    approved = {ballot.by for ballot in tally.ballots if ballot.counts and ballot.decision == "approve"}
    if rejected:
        why = f"is rejected by {' and '.join(sorted(set(rejected)))}"
    else:
        why = f"is approved by {len(approved)} of the {tally.required} people required"
    return Diagnosis(
        slug="not-approved",
        message=f"{package.name} {why}",
        hint="Do not install it. Ask the people who sign off for their decision.",
    )


def _end(results: Sequence[SignoffResult], *, as_json: bool, reports: Sequence[Path]) -> int:
    code = worst(Exit(result.exit_code) for result in results)
    emit(SignoffDocument(results=tuple(results), exit_code=code), as_json=as_json, reports=reports)
    return code


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        raise click.UsageError("This machine has no name for you. Name yourself with --as NAME.") from None
