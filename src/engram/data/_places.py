"""Where the files of a pipeline are: beside the pipeline file first, then in the folders that the caller names.

A place that starts with a word and a colon (``sklearn:digits``, ``https://…``) is no file and is handed on as it is;
a single letter before the colon is a drive of Windows. Two are files after all: objects of a bucket, which are fetched,
and ``sqlite:///FILE``.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from engram.errors import DataError
from engram.plugins import nearest

__all__ = ["resolve"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")
_BUCKETS = ("s3://", "gs://", "az://")
_SQLITE = "sqlite:///"
_WILD = re.compile(r"[*?\[]")


def resolve(places: Sequence[str], folders: Iterable[Path]) -> tuple[str, ...]:
    """The places as paths that exist; a pattern becomes all the files it matches, sorted.

    Args:
        places: as written: a path, a pattern such as ``red-*.csv``, or ``SCHEME:NAME``.
        folders: where a relative path may start, the first that has it wins.

    Raises:
        DataError: nothing is there; the message says where it was looked for.
    """
    starts = tuple(dict.fromkeys(Path(folder) for folder in folders)) or (Path(),)
    return tuple(found for place in places for found in _one(place, starts))


def _one(place: str, folders: tuple[Path, ...]) -> list[str]:
    if place.startswith(_BUCKETS):
        from engram.data import _buckets  # obstore takes 0.1 s that only buckets need

        return [str(path) for path in _buckets.fetched(place)]
    if place.startswith(_SQLITE):
        file, mark, rest = place.removeprefix(_SQLITE).partition("#")
        return [f"{_SQLITE}{Path(found).resolve()}{mark}{rest}" for found in _one(file, folders)]
    if _SCHEME.match(place):
        return [place]
    if not place:
        raise DataError('from = "" names no place; write the path of a file or folder')
    for folder in folders:
        path = folder / Path(place).expanduser()
        if _is_there(path):
            return [str(path)]
        if _WILD.search(place) and (found := sorted(glob.glob(str(path)))):  # noqa: PTH207 - absolute patterns too
            return found
    looked = ", ".join(str(folder.resolve()) for folder in folders)
    raise DataError(f"{place}: no such file or folder in {looked}; {_hint(place, folders)}")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _hint(place: str, folders: tuple[Path, ...]) -> str:
    parents = {(folder / place).parent for folder in folders}
    found = [path for parent in parents if parent.is_dir() for path in parent.iterdir()]
    names = [path.name for path in found if not path.name.startswith(".") and path.suffix != ".toml"]
    close = nearest(Path(place).name, names)
    advice = "" if len(folders) > 1 else "set ENGRAM_DATA to the folder that has it"  # which gives a second folder
    if close.startswith("did you mean"):
        return f"{close.rstrip('?')} (else {advice})?" if advice else close
    return f"check the path, or {advice}" if advice else "check the path"
