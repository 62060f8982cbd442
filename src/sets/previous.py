"""The way back from an upgrade: the package that was replaced, its report, and what the set said.

OUTPUT/previous/AUTHOR-NAME/       the files of the version before, and `upgrade.json`
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..difypkg.files import output_errors, write_atomically

_FOLDER: Final = "previous"
_NOTE: Final = "upgrade.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade:
    """One upgrade that was made: what the set said and says, and the files of both versions, by name."""

    plugin_id: str
    old: str
    new: str
    old_files: tuple[str, ...]
    new_files: tuple[str, ...]


def keep_previous(output: Path, upgrade: Upgrade) -> None:
    """Move the files of the version before out of the way; those of an upgrade before that are dropped."""
    folder = _folder(output, upgrade.plugin_id)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for name in upgrade.old_files:
            (output / name).replace(folder / name)
    write_atomically(folder / _NOTE, json.dumps(asdict(upgrade), indent=1) + "\n")


def read_upgrades(output: Path) -> tuple[Upgrade, ...]:
    """Return the upgrades that there is a way back from."""
    upgrades = []
    for note in sorted(output.glob(f"{_FOLDER}/*/{_NOTE}")):
        try:
            data = json.loads(note.read_text(encoding="utf-8"))
            files = {key: tuple(data[key]) for key in ("old_files", "new_files")}
            upgrades.append(Upgrade(**{**data, **files}))
        except (ValueError, TypeError, KeyError) as error:
            raise DifyoffError(
                Diagnosis(slug="set-invalid", message=f"{note} cannot be read: {error}", hint="Remove its folder.")
            ) from error
    return tuple(upgrades)


def go_back(output: Path, upgrade: Upgrade) -> Upgrade:
    """Put the files of the version before back, and those of the newer one where they were; return that way back."""
    folder = _folder(output, upgrade.plugin_id)
    with output_errors(folder):
        old = {name: folder / name for name in upgrade.old_files}
        held = {name: folder / f"{name}.newer" for name in upgrade.new_files if (output / name).exists()}
        for name, path in held.items():
            (output / name).replace(path)
        for name, path in old.items():
            path.replace(output / name)
        for name, path in held.items():
            path.replace(folder / name)
    back = Upgrade(
        plugin_id=upgrade.plugin_id,
        old=upgrade.new,
        new=upgrade.old,
        old_files=tuple(held),
        new_files=upgrade.old_files,
    )
    write_atomically(folder / _NOTE, json.dumps(asdict(back), indent=1) + "\n")
    return back


def _folder(output: Path, plugin_id: str) -> Path:
    return output / _FOLDER / plugin_id.replace("/", "-")
