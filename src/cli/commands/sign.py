"""`difyoff sign`: sign packages with a site's own key, and state their provenance."""

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...difypkg import daemons
from ...difypkg.archive import Archive
from ...difypkg.daemons import Release
from ...difypkg.diagnosis import Diagnosis, DifyoffError, Exit, worst
from ...difypkg.files import output_errors, temporary_name, write_atomically
from ...difypkg.manifest import MANIFEST, read_manifest
from ...difypkg.signature import CATEGORIES, Category
from ...difypkg.site import signature_settings
from ...render.documents import SettingDocument, SignDocument, SignResult
from ..console import put, say, show_error
from ..options import common, site_options
from ..reports import check_reports, emit
from ..site import Site

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SIGNED = ".signed.difypkg"  # as `dify signature sign` names it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What was asked for: `key` signs packages, `ssh_key` the provenance, which `key` signs where there is no other."""

    key: "RSAPrivateKey | None"
    ssh_key: Path | None
    provenance: bool
    category: Category | None
    output: Path | None
    force: bool
    release: Release


@click.command("sign")
@click.argument("packages", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PACKAGE...")
@click.option(
    "--key",
    metavar="FILE",
    help="The private key from `keygen`, as a file or, with env:NAME, in a variable. It signs the package.",
)
@click.option("--category", type=click.Choice(CATEGORIES), help="Whom the signature names.  [default: by the author]")
@click.option("--provenance", is_flag=True, help="State what went into the package, in PACKAGE.provenance.json.")
@click.option(
    "--ssh-key",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Sign the provenance with this SSH key: a private key, or a public one that an agent holds.",
)
@click.option(
    "-o",
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write.  [default: beside the package]",
)
@click.option("--force", is_flag=True, help="Replace existing files.")
@site_options("daemon", "dify")
@common
def command(
    packages: tuple[Path, ...],
    key: str | None,
    category: Category | None,
    provenance: bool,
    ssh_key: Path | None,
    output_dir: Path | None,
    force: bool,
    site: Site,
    as_json: bool,
    reports: tuple[Path, ...],
    quiet: bool,
) -> int:
    """Sign each PACKAGE in the daemon's own format, so that a site keeps its signature checks on.

    The signed copy is NAME.signed.difypkg. With --ssh-key alone only the provenance is written.
    """
    from ...signing.keys import read_private_key

    if key is None and ssh_key is None:
        raise click.UsageError("Name a key: --key signs the package, --ssh-key its provenance.")
    check_reports(reports, packages)
    request = _Request(
        key=None if key is None else read_private_key(key, os.environ),
        ssh_key=ssh_key,
        provenance=provenance or ssh_key is not None,
        category=category,
        output=output_dir,
        force=force,
        release=site.releases[0] if site.releases else daemons.newest(),
    )
    results = []
    for package in packages:
        results.append(_sign(package, request, quiet=quiet))
        for path in (results[-1].package, results[-1].provenance):
            if path is not None and not as_json:
                put(path)
    code = worst(Exit(result.exit_code) for result in results)
    emit(SignDocument(results=tuple(results), exit_code=code), as_json=as_json, reports=reports)
    return code


def _sign(package: Path, request: _Request, *, quiet: bool) -> SignResult:
    try:
        with Archive(package) as archive:
            author = read_manifest(archive.read(MANIFEST)).author if MANIFEST in archive else ""
        folder = request.output or package.parent
        signed = _sign_package(package, folder, author, request) if request.key is not None else None
        proof = _write_provenance(signed or package, folder, request) if request.provenance else None
        settings = signature_settings(request.release, author=author, signed=True) if signed else ()
    except DifyoffError as error:
        show_error(error.diagnosis)
        return SignResult(input=str(package), exit_code=error.exit_code, diagnosis=error.diagnosis)
    if settings and not quiet:
        say(f"On the site, before uploading (daemon {request.release}):")
        for setting in settings:
            say(f"  {setting.name}={setting.value}   {setting.reason}")
    return SignResult(
        input=str(package),
        exit_code=Exit.DONE,
        package=str(signed) if signed else None,
        sha256=_sha256(signed) if signed else None,
        provenance=str(proof) if proof else None,
        site=tuple(
            SettingDocument(name=each.name, value=each.value, where=each.where, reason=each.reason) for each in settings
        ),
    )


def _sign_package(package: Path, folder: Path, author: str, request: _Request) -> Path:
    from ...signing.packages import category_of, sign_package

    assert request.key is not None
    target = folder / (package.name.removesuffix(".difypkg").removesuffix(".signed") + _SIGNED)
    _refuse_existing(target, request)
    category = request.category or category_of(author)
    with temporary_name(target) as temporary, output_errors(target):
        sign_package(package, temporary, request.key, category=category, time=int(time.time()))
        temporary.replace(target)
    return target


def _write_provenance(package: Path, folder: Path, request: _Request) -> Path:
    from ...signing.provenance import SUFFIX, sign_provenance_with_rsa, sign_provenance_with_ssh, state_provenance
    from ...signing.ssh import SshKey

    target = folder / f"{package.name}{SUFFIX}"
    _refuse_existing(target, request)
    statement = state_provenance(package)
    if request.ssh_key is not None:
        content = sign_provenance_with_ssh(statement, SshKey(path=request.ssh_key, environ=os.environ))
    else:
        assert request.key is not None
        content = sign_provenance_with_rsa(statement, request.key)
    write_atomically(target, content.decode("ascii"))
    return target


def _refuse_existing(target: Path, request: _Request) -> None:
    if target.exists() and not request.force:
        raise DifyoffError(
            Diagnosis(
                slug="output-exists",
                message=f"{target} exists",
                hint="Use `--force` to replace it, or `-o DIR` to write elsewhere.",
            )
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
