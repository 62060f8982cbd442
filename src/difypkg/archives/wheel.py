"""A wheel, judged by its own words before anything installs it.

uv and pip install a local wheel whose files are not those of its RECORD, unlisted ones included (uv 0.13.8, pip 26.3).
What is required here is the binary distribution format (PEP 427, PEP 376 and the specification "Binary distribution
format" of packaging.python.org), read strictly: RECORD names every file with a hash that holds, METADATA and WHEEL are
those of the file's name, and nothing is installed outside of its place.
"""

import base64
import binascii
import configparser
import csv
import hashlib
import io
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from email.parser import HeaderParser
from functools import cache
from importlib.resources import files
from typing import IO, Final, Literal

from packaging.tags import Tag
from packaging.utils import (
    InvalidWheelFilename,
    NormalizedName,
    canonicalize_name,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from .faults import ArchiveFault
from .profiles import MIB, WHEEL
from .zipreader import Entry, ZipReader

Kind = Literal[
    "archive",  # the zip archive itself is refused
    "filename",
    "dist-info",  # none, several, or another distribution's
    "metadata",
    "tags",  # WHEEL says others than the file's name, or is not one
    "record",  # RECORD is not readable
    "record-hash",  # a file is not the one that RECORD names
    "record-hash-kind",  # no hash, or one that proves nothing
    "record-missing",  # a file that RECORD does not name
    "record-absent",  # a name in RECORD without a file
    "scripts",  # what is installed would replace or leave the environment's own
]

RULES: Final = 1
"""The number of these rules; it grows when they change, so that what was judged by others is judged again."""

_LARGEST: Final = {"RECORD": 16 * MIB, "METADATA": 4 * MIB, "WHEEL": MIB // 16, "entry_points.txt": MIB}
"""In bytes. The largest of 374 wheels: RECORD 2.9 MB (21,785 files), METADATA 0.4 MB."""
_KINDS: Final[Mapping[str, Kind]] = {"RECORD": "record", "WHEEL": "tags", "METADATA": "metadata"}
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
"""The specification: sha256 or better, not md5 and sha1."""
_UNHASHED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")
_SCHEMES: Final = frozenset({"purelib", "platlib", "headers", "scripts", "data"})
_SCRIPT: Final = re.compile(r"[\w.-]+", re.ASCII)
_OWN: Final = re.compile(r"python[\d.]*w?(?:\.exe)?|pyvenv\.cfg|activate.*", re.IGNORECASE)
"""What a virtual environment has of its own."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFault:
    """One way in which a wheel is not what it says; `detail` is a clause about the wheel."""

    kind: Kind
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelReport:
    """What was found in a wheel: `faults` refuse it, `waived` would and are known upstream, `notes` are worth knowing.

    All of them are clauses about the wheel. `code` names the `.pth` files that run code at every start of Python, and
    the files that are installed as programs.
    """

    filename: str
    faults: tuple[WheelFault, ...] = ()
    waived: tuple[WheelFault, ...] = ()
    code: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def unusual(self) -> tuple[str, ...]:
        """What does not refuse it and should be known, a line each: waived faults, code that runs, notes."""
        lines = [f"accepted all the same: {fault.detail}" for fault in self.waived]
        lines += [f"{path} runs at every start of Python" for path in self.code if path.endswith(".pth")]
        lines += [f"{path} is installed as a program" for path in self.code if not path.endswith(".pth")]
        return tuple(f"{self.filename}: {line}" for line in (*lines, *self.notes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A wheel whose faults are accepted: its file name, the kinds of its faults, and why."""

    filename: str
    kinds: frozenset[Kind]
    why: str


@cache
def waivers() -> Mapping[str, Waiver]:
    """Return the known wheels that contradict themselves as their authors published them, by SHA-256 in hex."""
    text = (files("difyoff.difypkg.archives") / "waivers.toml").read_text(encoding="utf-8")
    return {
        sha256: Waiver(filename=each["filename"], kinds=frozenset(each["kinds"]), why=each["why"])
        for sha256, each in tomllib.loads(text).items()
    }


def check_wheel(file: IO[bytes], filename: str, sha256: str | None = None) -> WheelReport:
    """Read a whole wheel, within the limits of its profile, and judge it. `file` can be read anywhere.

    `sha256` is the file's, in hex: faults that are waived for it are reported as such.
    """
    try:
        return report_wheel(ZipReader(file, WHEEL), filename, sha256)
    except ArchiveFault as fault:
        detail = "; ".join((fault.what, *fault.evidence))
        return WheelReport(filename=filename, faults=(WheelFault(kind="archive", detail=detail),))


def report_wheel(reader: ZipReader, filename: str, sha256: str | None = None) -> WheelReport:
    """Judge a wheel that is open, as `check_wheel` does. Raises `ArchiveFault` where a content cannot be read."""
    report = _judge_wheel(reader, filename)
    waiver = waivers().get(sha256 or "")
    if waiver is None or not report.faults:
        return report
    return replace(
        report,
        faults=tuple(fault for fault in report.faults if fault.kind not in waiver.kinds),
        waived=tuple(fault for fault in report.faults if fault.kind in waiver.kinds),
    )


def _judge_wheel(reader: ZipReader, filename: str) -> WheelReport:
    try:
        name, version, _, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename as error:
        return WheelReport(filename=filename, faults=(WheelFault(kind="filename", detail=str(error)),))
    judge = _Judge(reader=reader, name=name, version=version, tags=tags)
    judge.run()
    return WheelReport(filename=filename, faults=tuple(judge.faults), code=tuple(judge.code), notes=tuple(judge.notes))


def dist_info(reader: ZipReader, name: NormalizedName, version: Version) -> str | None:
    """Return the folder of a wheel's own description, None where there is not exactly one of this distribution."""
    folders = {entry.path.partition("/")[0] for entry in reader.entries if "/" in entry.path}
    found = [folder for folder in folders if folder.endswith(".dist-info")]
    return found[0] if len(found) == 1 and _is_of(found[0].removesuffix(".dist-info"), name, version) else None


def read_description(reader: ZipReader, name: NormalizedName, version: Version) -> bytes | None:
    """Return a wheel's METADATA; None where there is not exactly one, of this distribution, of a sensible size."""
    folder = dist_info(reader, name, version)
    found = [entry for entry in reader.entries if entry.path == f"{folder}/METADATA"]
    return reader.read(found[0]) if found and found[0].size <= _LARGEST["METADATA"] else None


def _is_of(stem: str, name: NormalizedName, version: Version) -> bool:
    theirs, _, number = stem.rpartition("-")
    try:
        return canonicalize_name(theirs) == name and Version(number) == version
    except InvalidVersion:
        return False


@dataclass(slots=True, kw_only=True)
class _Judge:
    """Reads one wheel and collects what is wrong with it."""

    reader: ZipReader
    name: NormalizedName
    version: Version
    tags: frozenset[Tag]
    faults: list[WheelFault] = field(default_factory=list)
    code: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def run(self) -> None:
        folder = dist_info(self.reader, self.name, self.version)
        if folder is None:
            self._fault("dist-info", f"it has not exactly one .dist-info folder, of {self.name} {self.version}")
            return
        entries = {entry.path: entry for entry in self.reader.entries}
        texts = {name: self._text(entries, f"{folder}/{name}") for name in ("METADATA", "WHEEL", "RECORD")}
        self._check_places(entries, folder)
        if (text := texts["METADATA"]) is not None:
            self._check_metadata(text)
        if (text := texts["WHEEL"]) is not None:
            self._check_tags(text)
        if f"{folder}/entry_points.txt" in entries:
            self._check_entry_points(self._text(entries, f"{folder}/entry_points.txt"))
        if (text := texts["RECORD"]) is not None:
            self._check_record(entries, folder, text)

    def _fault(self, kind: Kind, detail: str) -> None:
        self.faults.append(WheelFault(kind=kind, detail=detail))

    def _text(self, entries: Mapping[str, Entry], path: str) -> str | None:
        """Return a file of the description; a fault where it is not one."""
        name = path.rpartition("/")[2]
        kind = _KINDS.get(name, "scripts")
        entry = entries.get(path)
        if entry is None:
            self._fault(kind, f"it has no {path}")
            return None
        if entry.size > _LARGEST[name]:
            self._fault(kind, f"its {name} has {entry.size:,} bytes; {_LARGEST[name]:,} are allowed")
            return None
        content = self.reader.read(entry)
        if b"\0" in content:
            self._fault(kind, f"its {name} has a NUL byte")
            return None
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            self._fault(kind, f"its {name} is not UTF-8: {error}")
            return None

    # --- Metadata ---

    def _check_metadata(self, text: str) -> None:
        headers = _headers(text)
        names, versions = headers.get_all("Name") or [], headers.get_all("Version") or []
        if len(names) != 1 or len(versions) != 1:
            self._fault("metadata", f"its METADATA has {len(names)} names and {len(versions)} versions")
            return
        try:
            same = canonicalize_name(names[0]) == self.name and Version(versions[0]) == self.version
        except InvalidVersion:
            same = False
        if not same:
            self._fault("metadata", f"its METADATA is that of {names[0]} {versions[0]}")

    def _check_tags(self, text: str) -> None:
        headers = _headers(text)
        if not (headers.get("Wheel-Version") or "").strip().startswith("1."):
            self._fault("tags", f"its WHEEL says Wheel-Version {headers.get('Wheel-Version')}, not 1")
        lines = [str(line).strip() for line in headers.get_all("Tag") or []]
        told = {tag for line in lines for tag in _parsed_tags(line)}
        wider = {tag for tag in self.tags if Tag(tag.interpreter, tag.abi, "any") in told}
        covering = {Tag(tag.interpreter, tag.abi, "any") for tag in wider}
        if not self.tags <= told | wider or not told <= self.tags | covering:
            more = ", ".join(sorted(map(str, told - self.tags))[:_SHOWN]) or "none"
            less = ", ".join(sorted(map(str, self.tags - told))[:_SHOWN]) or "none"
            self._fault(
                "tags", f"its WHEEL and its file name have other tags: WHEEL alone {more}, the name alone {less}"
            )
        elif told != self.tags:
            self.notes.append(f"its file name is for {_platforms(self.tags)}, its WHEEL for any platform")

    # --- Where things are installed ---

    def _check_places(self, entries: Mapping[str, Entry], folder: str) -> None:
        data = f"{folder.removesuffix('.dist-info')}.data"
        for path, entry in entries.items():
            first, _, rest = path.partition("/")
            if first.endswith(".data") and _is_of(first.removesuffix(".data"), self.name, self.version):
                if first != data:
                    self._fault("dist-info", f"{path} lies in {first}, not in {data}")
                scheme, _, place = rest.partition("/")
                self._check_scheme(path, scheme, place)
                rest = place if scheme in ("purelib", "platlib") else "/"
            else:
                rest = path
            if rest.endswith(".pth") and "/" not in rest:
                self._note_pth(path, entry)

    def _check_scheme(self, path: str, scheme: str, place: str) -> None:
        if scheme not in _SCHEMES:
            self._fault("scripts", f"{path} is for an unknown place, {scheme!r}")
        elif scheme == "scripts":
            self.code.append(path)
            if "/" in place or _OWN.fullmatch(place):
                self._fault("scripts", f"{path} would replace a file of the environment")
        elif scheme == "data" and (_OWN.fullmatch(place) or _OWN.fullmatch(place.removeprefix("bin/"))):
            self._fault("scripts", f"{path} would replace a file of the environment")

    def _note_pth(self, path: str, entry: Entry) -> None:
        if entry.size > MIB:
            self._fault("scripts", f"{path} has {entry.size:,} bytes")
        elif any(line.startswith((b"import ", b"import\t")) for line in self.reader.read(entry).splitlines()):
            self.code.append(path)

    def _check_entry_points(self, text: str | None) -> None:
        if text is None:
            return
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(text)
        except configparser.Error as error:
            self._fault("scripts", f"its entry_points.txt cannot be read: {str(error).splitlines()[0]}")
            return
        for section in {"console_scripts", "gui_scripts"}.intersection(parser.sections()):
            for script in parser[section]:
                if not _SCRIPT.fullmatch(script) or script in {".", ".."} or _OWN.fullmatch(script):
                    self._fault("scripts", f"its entry point {script!r} would leave or replace the scripts' folder")

    # --- RECORD ---

    def _check_record(self, entries: Mapping[str, Entry], folder: str, text: str) -> None:
        rows = self._rows(text)
        if rows is None:
            return
        unhashed = {f"{folder}/{name}" for name in _UNHASHED}
        absent = [path for path in rows if path not in entries]
        missing = [path for path in entries if path not in rows and path not in unhashed]
        self._collect("record-absent", "its RECORD names files that are not there", absent)
        self._collect("record-missing", "it has files that its RECORD does not name", missing)
        weak: list[str] = []
        untrue: list[str] = []
        for path, entry in entries.items():
            told = rows.get(path)
            digest = told[0] if told else ""
            if path in unhashed and not digest:
                continue
            algorithm, _, value = digest.partition("=")
            if told is not None and algorithm not in _HASHES:
                weak.append(f"{path} ({algorithm or 'none'})")
                algorithm, value = "sha256", ""
            if not self._holds(entry, algorithm if told else "", value, told[1] if told else ""):
                untrue.append(path)
        self._collect("record-hash-kind", "its RECORD has no hash, or one that proves nothing, of files", weak)
        self._collect("record-hash", "its files are not those that its RECORD names", untrue)

    def _collect(self, kind: Kind, what: str, paths: list[str]) -> None:
        if paths:
            more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
            self._fault(kind, f"{what}: {', '.join(paths[:_SHOWN])}{more}")

    def _rows(self, text: str) -> dict[str, tuple[str, str]] | None:
        """Return hash and size by path."""
        rows: dict[str, tuple[str, str]] = {}
        try:
            for row in csv.reader(io.StringIO(text, newline=""), strict=True):
                if not row:
                    continue
                if len(row) != 3:
                    self._fault("record", f"its RECORD has a line of {len(row)} fields: {','.join(row)[:100]}")
                    return None
                if rows.setdefault(row[0], (row[1], row[2])) != (row[1], row[2]):
                    self._fault("record", f"its RECORD names {row[0]} twice, with two hashes")
        except csv.Error as error:
            self._fault("record", f"its RECORD cannot be read: {error}")
            return None
        return rows

    def _holds(self, entry: Entry, algorithm: str, value: str, size: str) -> bool:
        """Read a file whole; say whether it has the hash (none: unknown) and the size that RECORD tells."""
        digest = hashlib.new(algorithm) if algorithm else None
        for chunk in self.reader.chunks(entry):
            if digest is not None:
                digest.update(chunk)
        if size and size != str(entry.size):
            return False
        return digest is None or not value or _decoded(value) == digest.digest()


def _headers(text: str) -> Message:
    return HeaderParser().parsestr(re.split(r"\r?\n\r?\n", text, maxsplit=1)[0])  # a description may be long


def _decoded(value: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return b""


def _platforms(tags: frozenset[Tag]) -> str:
    return ", ".join(sorted({tag.platform for tag in tags}))


def _parsed_tags(line: str) -> Iterator[Tag]:
    parts = line.split("-")
    if len(parts) == 3:
        for python in parts[0].split("."):
            for abi in parts[1].split("."):
                for platform in parts[2].split("."):
                    yield Tag(python, abi, platform)
