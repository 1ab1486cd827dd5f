"""``convert``: from a file of one format to one of another; no store is needed, nor what opens one."""

from __future__ import annotations

from pathlib import Path

from engram.formats._convert import Target
from engram.formats._convert import convert as convert_file
from engram.records import Certificate, Progress, Watch

__all__ = ["convert"]


def _ignore(_progress: Progress) -> None:
    """Nobody is watching."""


def convert(
    path: str | Path,
    out: str | Path,
    *,
    to: str | Target = "",
    tolerance: float,
    training: bool = True,
    watch: Watch = _ignore,
) -> Certificate:
    """Turn a model file into another format, with proof that the new one answers as the old one does.

    Raises:
        FormatError: the file is damaged, hostile or of no known format.
        ConversionError: what was read or what would be written answers differently; nothing is written.
    """
    watch(Progress("converting", note=f"{path} to {out}"))
    return convert_file(path, out, to=to, tolerance=tolerance, training=training)
