"""Provenance: what went into a package and what made it, as an in-toto statement in a DSSE envelope.

The statement is in-toto's v1 with the predicate of SLSA Provenance v1; the envelope is DSSE 1.0. Everything in it comes
from the package's own record, so the same package gives the same statement. It is signed by a person's SSH key
(`ssh-keygen -Y`, the signature of `PAE(payload)` in the armoured form) or by an RSA key (RSASSA-PKCS1-v1_5 with
SHA-256, which common DSSE tools check). No online service takes part.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..difypkg.archive import Archive
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.record import RECORD, Record, WheelRecord, load_record
from .keys import confirms, sign_bytes
from .ssh import SshKey, sign_as_person, signers_of

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:difyoff:build:v1"
NAMESPACE: Final = "difyoff-provenance"
SUFFIX: Final = ".provenance.json"
"""The envelope's name is that of the package with this behind it."""

_SSH: Final = "ssh"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenanceCheck:
    """What an envelope proves of a package: who signed it, nobody where it proves nothing, and then why."""

    signers: tuple[str, ...]
    reason: str = ""


def state_provenance(package: Path) -> bytes:
    """Return the in-toto statement on a package, from its record.

    Raises `DifyoffError`: `record-missing` for a package that difyoff did not make, what `Archive` and `load_record`
    raise.
    """
    with Archive(package) as archive:
        if RECORD not in archive:
            raise DifyoffError(
                Diagnosis(
                    slug="record-missing",
                    message=f"{package.name} has no {RECORD}: what went into it is not known",
                    hint="Build the package with `difyoff build`.",
                )
            )
        content = archive.read(RECORD)
    record = load_record(content)
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": package.name, "digest": {"sha256": _sha256(package)}}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "plugin": record.source.identity,
                    "targets": [
                        {"architecture": each.architecture, "python": each.python, "glibc": each.glibc}
                        for each in record.targets
                    ],
                },
                "internalParameters": {"resolution": record.resolution},
                "resolvedDependencies": list(_dependencies(record)),
            },
            "runDetails": {
                "builder": {"id": "urn:difyoff", "version": {"difyoff": record.difyoff, "uv": record.uv}},
                "byproducts": [{"name": RECORD, "digest": {"sha256": hashlib.sha256(content).hexdigest()}}],
            },
        },
    }
    return (json.dumps(statement, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _dependencies(record: Record) -> Iterator[dict[str, Any]]:
    """Yield the plugin and the wheels as SLSA's resource descriptors."""
    source: dict[str, Any] = {"name": record.source.identity}
    if record.source.sha256 is not None:
        source["digest"] = {"sha256": record.source.sha256}
    yield source
    yield from map(_descriptor, record.wheels)


def _descriptor(wheel: WheelRecord) -> dict[str, Any]:
    descriptor: dict[str, Any] = {"name": wheel.filename, "digest": {"sha256": wheel.sha256}}
    if "://" in wheel.origin:
        descriptor["uri"] = wheel.origin
    if wheel.built is not None:
        descriptor["annotations"] = {"built-from": wheel.built.source, "built-with": list(wheel.built.requirements)}
    return descriptor


def pre_authentication(payload: bytes) -> bytes:
    """Return DSSE's PAE: what a signature in an envelope covers."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def envelope(payload: bytes, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the DSSE envelope of a statement with (key id, signature) pairs."""
    content = {
        "payload": base64.b64encode(payload).decode("ascii"),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {"keyid": keyid, "sig": base64.b64encode(signature).decode("ascii")} for keyid, signature in signatures
        ],
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("ascii")


def sign_provenance_with_ssh(payload: bytes, key: SshKey) -> bytes:
    """Return the envelope of a statement signed by a person's SSH key. Raises `DifyoffError` (`ssh-key-unusable`)."""
    signature = sign_as_person(pre_authentication(payload), key, namespace=NAMESPACE)
    return envelope(payload, [(_SSH, signature)])


def sign_provenance_with_rsa(payload: bytes, key: RSAPrivateKey) -> bytes:
    """Return the envelope of a statement signed by an RSA key."""
    return envelope(payload, [(key_id(key.public_key()), sign_bytes(key, pre_authentication(payload)))])


def key_id(key: RSAPublicKey) -> str:
    """Return the name of a key in an envelope: the SHA-256 of its DER form (SubjectPublicKeyInfo), in hex."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def check_provenance(
    package: Path, content: bytes, *, keys: Sequence[RSAPublicKey] = (), allowed: Path | None = None
) -> ProvenanceCheck:
    """Say who signed an envelope on a package: RSA keys by their id, people by their name in an allowed-signers file.

    The statement must name the package's SHA-256 and be the very one that its record gives.
    """
    try:
        data = json.loads(content)
        payload = base64.b64decode(data["payload"], validate=True)
        marks = [(str(each["keyid"]), base64.b64decode(each["sig"], validate=True)) for each in data["signatures"]]
        if data["payloadType"] != PAYLOAD_TYPE:
            return ProvenanceCheck(signers=(), reason=f"its payload is {data['payloadType']!r}")
        subjects = {each["digest"]["sha256"] for each in json.loads(payload)["subject"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ProvenanceCheck(signers=(), reason="it is not a DSSE envelope with an in-toto statement")
    if subjects != {_sha256(package)}:
        return ProvenanceCheck(signers=(), reason="it is about another package, or the package was changed since")
    covered = pre_authentication(payload)
    signers: list[str] = []
    for keyid, mark in marks:
        if keyid == _SSH and allowed is not None:
            signers += signers_of(covered, mark, allowed=allowed, namespace=NAMESPACE)
        signers += [key_id(key) for key in keys if confirms(key, mark, covered)]
    if not signers:
        return ProvenanceCheck(signers=(), reason="none of its signatures is by a given key or an allowed signer")
    if json.loads(payload)["predicate"] != json.loads(state_provenance(package))["predicate"]:
        return ProvenanceCheck(signers=(), reason=f"it says something else than the package's {RECORD}")
    return ProvenanceCheck(signers=tuple(dict.fromkeys(signers)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
