"""A job for atheris: no input makes the readers of archives fail but by `ArchiveFault`, or read what CPython does not.

    tox -e fuzz                      # two minutes
    tox -e fuzz -- -max_total_time=3600 corpus

The first run fills `corpus` with the hostile archives and wheels of the tests.
"""

import importlib
import io
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from kit.hostile import ARCHIVES
from kit.hostile_wheels import NAME, WHEELS
from kit.mutate import seeds

atheris: Any = importlib.import_module("atheris")  # in the group "fuzz" alone

with atheris.instrument_imports(include=["difyoff.difypkg.archives"]):
    from difyoff.difypkg.archives.faults import ArchiveFault
    from difyoff.difypkg.archives.profiles import DIFYPKG, SDIST, WHEEL
    from difyoff.difypkg.archives.tarreader import read_tar
    from difyoff.difypkg.archives.wheel import check_wheel
    from difyoff.difypkg.archives.zipreader import ZipReader

_LARGEST_SEED = 1 << 16


def read(data: bytes) -> None:
    """Read an input as every kind of archive."""
    for profile in (DIFYPKG, WHEEL, SDIST):
        try:
            archive = ZipReader(io.BytesIO(data), profile)
            files = {entry.path: archive.read(entry) for entry in archive.entries}
        except ArchiveFault:
            continue
        with zipfile.ZipFile(io.BytesIO(data)) as theirs:
            assert {info.filename: theirs.read(info) for info in theirs.infolist() if not info.is_dir()} == files
    check_wheel(io.BytesIO(data), NAME)
    try:
        for _, content in read_tar(io.BytesIO(data), SDIST, len(data)):
            for _ in content():
                pass
    except ArchiveFault:
        pass


def main() -> None:
    """Fill the corpus and start."""
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    corpus = Path(folders[0] if folders else tempfile.mkdtemp())
    corpus.mkdir(exist_ok=True)
    made = (*seeds(), *(case.make() for case in ARCHIVES), *(case.make() for case in WHEELS))
    for number, data in enumerate(made):
        if len(data) <= _LARGEST_SEED:
            (corpus / f"seed-{number:03}").write_bytes(data)
    atheris.Setup([*sys.argv, *([] if folders else [str(corpus)])], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
