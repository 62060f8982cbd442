"""`difyoff keygen`: make the key pair that a site signs its packages with."""

from pathlib import Path

import click

from ...difypkg.diagnosis import Exit
from ...render.documents import KeygenDocument, KeygenResult
from ..console import put, say
from ..options import common
from ..reports import check_reports, emit


@click.command("keygen")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("difyoff"),
    show_default=True,
    metavar="NAME",
    help="The name of both files, with their folder: NAME.private.pem and NAME.public.pem.",
)
@common
def command(output: Path, as_json: bool, reports: tuple[Path, ...], quiet: bool) -> int:
    """Make an RSA key pair that the daemon can check signatures with.

    The private key is readable for its owner alone and has no password. Keep it on the machine that signs.
    """
    from ...signing.keys import make_key_pair, write_key_pair

    check_reports(reports, ())
    private, public = write_key_pair(make_key_pair(), output)
    if not as_json:
        put(private)
        put(public)
    if not quiet:
        say(f"Sign with `difyoff sign --key {private} PACKAGE`; give {public.name} to the site's daemon.")
    result = KeygenResult(private_key=str(private), public_key=str(public), exit_code=Exit.DONE)
    emit(KeygenDocument(results=(result,), exit_code=Exit.DONE), as_json=as_json, reports=reports)
    return Exit.DONE
