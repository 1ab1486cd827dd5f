"""Files in class folders: the folder that a file lies in is its label.

Top folders named ``train``, ``test`` and ``validation`` are an official split. One common folder around everything
(as a zip of a folder has it) is looked through.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from engram.errors import DataError

__all__ = ["Entry", "entries", "some"]

_PARTS = {
    "train": "all",
    "training": "all",
    "test": "test",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
}
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its name in the source, the part it belongs to, and its label."""

    name: str
    part: str
    label: str


def entries(place: str, names: list[str], suffixes: Collection[str], noun: str) -> tuple[list[Entry], list[str]]:
    """The files of a kind among these names, and a note on those that lie in no class folder.

    Args:
        place: what messages call the source.
        names: of all its files, divided by slashes.
        suffixes: of the kind.
        noun: what one of them is called (``image``).

    Raises:
        DataError: none lies in a class folder.
    """
    paths = [tuple(name.split("/")) for name in names]
    files = [p for p in paths if _is_one(p, suffixes)]
    skip = 0
    while files and len({p[skip] for p in files}) == 1 and min(map(len, files)) >= skip + 3:
        if files[0][skip].lower() in _PARTS:
            break
        skip += 1
    official = any(p[skip].lower() in {"train", "training"} for p in files)
    found, homeless = [], []
    for path in files:
        inner = path[skip:]
        part = _PARTS.get(inner[0].lower(), "") if official else "all"
        if part and len(inner) >= 2 + official:
            found.append(Entry("/".join(path), part, inner[int(official)]))
        else:
            homeless.append("/".join(path))
    if not any(entry.part == "all" for entry in found):
        usual = ".png" if ".png" in suffixes else min(suffixes)
        raise DataError(
            f"{place} has no {noun} in a class folder ({len(names):,} files, {len(homeless):,} {noun}s outside); put"
            f" each {noun} into a folder named after its label, such as cat/1{usual}"
        )
    notes = [f"{place}: {len(homeless):,} {noun}s lie in no class folder and were left out ({some(homeless)})"]
    return found, notes if homeless else []


def some(names: Sequence[str]) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _is_one(path: tuple[str, ...], suffixes: Collection[str]) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in path)
    return not hidden and Path(path[-1]).suffix.lower() in suffixes
