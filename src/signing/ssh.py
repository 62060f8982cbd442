"""Signatures of people: OpenSSH's own `ssh-keygen -Y`, as for git commits; agents and hardware keys work.

The form is that of OpenSSH's PROTOCOL.sshsig, and the signers that count are those of a file in the form of
ssh-keygen(1), "ALLOWED SIGNERS". OpenSSH 8.2 or newer signs and checks; 8.1 lacks `find-principals`.
"""

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..sandbox.process import Command, Outcome, run

_KEYGEN: Final = "ssh-keygen"
_TIMEOUT: Final = 120.0  # seconds: a hardware key waits for a touch
# What a key in an agent or on a token needs; nothing else of the user's environment.
_FORWARDED: Final = (
    *("HOME", "PATH", "SSH_AUTH_SOCK", "SSH_SK_PROVIDER", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"),
    *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR"),
)
PRINCIPAL: Final = re.compile(r"[A-Za-z0-9._@+-]{1,100}")
"""How a signer is named here: part of what an allowed-signers file can name, and fit for a file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SshKey:
    """A private key's file, or a public one whose private half an agent or a token holds.

    `environ` is where the agent is looked for.
    """

    path: Path
    environ: Mapping[str, str]


def sign_as_person(content: bytes, key: SshKey, *, namespace: str) -> bytes:
    """Return the armoured signature of `content` by an SSH key. Raises `DifyoffError` (`ssh-key-unusable`)."""
    with tempfile.TemporaryDirectory(prefix="difyoff-sign-") as folder:
        file = Path(folder, "content")
        file.write_bytes(content)
        outcome = _run(("-Y", "sign", "-f", str(key.path), "-n", namespace, str(file)), key.environ)
        signature = file.with_name("content.sig")
        if not outcome.ok or not signature.is_file():
            raise DifyoffError(
                Diagnosis(
                    slug="ssh-key-unusable",
                    message=f"{key.path} cannot sign: {_last_line(outcome)}",
                    note="A key with a passphrase signs only through an agent.",
                    hint="Name the private key, or load it with `ssh-add` and name its `.pub` file.",
                )
            )
        return signature.read_bytes()


def signers_of(content: bytes, signature: bytes, *, allowed: Path, namespace: str) -> tuple[str, ...]:
    """Return the allowed signers whose key made a signature of `content`, none where it is nobody's.

    `allowed` is an allowed-signers file. Raises `DifyoffError` (`command-not-started`) without OpenSSH.
    """
    with tempfile.TemporaryDirectory(prefix="difyoff-check-") as folder:
        file, mark = Path(folder, "content"), Path(folder, "content.sig")
        file.write_bytes(content)
        mark.write_bytes(signature)
        found = _run(("-Y", "find-principals", "-s", str(mark), "-f", str(allowed)), os.environ)
        if not found.ok:
            return ()
        names = dict.fromkeys(filter(PRINCIPAL.fullmatch, found.stdout.split()))
        return tuple(name for name in names if _confirms(name, file, mark, allowed, namespace))


def _confirms(name: str, file: Path, mark: Path, allowed: Path, namespace: str) -> bool:
    # `verify` reads what was signed from its standard input alone.
    redirected = ("sh", "-c", f'exec {_KEYGEN} "$@" < "$0"', str(file))
    arguments = ("-Y", "verify", "-f", str(allowed), "-I", name, "-n", namespace, "-s", str(mark))
    return _command((*redirected, *arguments), os.environ).ok


def _run(arguments: tuple[str, ...], environ: Mapping[str, str]) -> Outcome:
    return _command((_KEYGEN, *arguments), environ)


def _command(argv: tuple[str, ...], environ: Mapping[str, str]) -> Outcome:
    environment = {"PATH": os.defpath, **{name: environ[name] for name in _FORWARDED if name in environ}}
    return run(Command(argv=argv, environment={**environment, "LC_ALL": "C"}, timeout=_TIMEOUT))


def _last_line(outcome: Outcome) -> str:
    lines = [line for line in outcome.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "ssh-keygen gives no reason"
