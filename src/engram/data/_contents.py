"""What a folder holds, by the endings of its files, so that one kind of source and no other says that it reads it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from engram.runtime._images import SUFFIXES

__all__ = ["files", "held"]

_LOOKED_AT = 5000
_TEXTS = ".txt"
_PARQUET = (".parquet", ".pq")


def held(folder: str | Path) -> str:
    """``delta``, ``parquet``, ``text`` or ``images``: what most of the first files are; empty if it is no folder."""
    path = Path(folder)
    if not path.is_dir():
        return ""
    if (path / "_delta_log").is_dir():
        return "delta"
    counted = Counter(_kind(file) for _, file in zip(range(_LOOKED_AT), _walked(path), strict=False))
    most = max(("images", "parquet", "text"), key=lambda kind: counted[kind])
    return most if counted[most] else "images"  # whose words say what a folder should hold


def files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """All files below a folder with one of these endings, sorted; hidden ones and those that begin with _ are not."""
    return sorted(file for file in _walked(folder) if file.suffix.lower() in suffixes)


def _walked(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith((".", "__MACOSX")))
        yield from (Path(place, name) for name in sorted(names) if not name.startswith((".", "_")))


def _kind(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix in SUFFIXES:
        return "images"
    if suffix in _PARQUET:
        return "parquet"
    return "text" if suffix == _TEXTS else ""
