"""Text files that are there whole or not at all, with the mode that the user's umask gives.

What is written inside the block becomes visible only when the block ends well; whatever raises in it, the old file
stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from engram.errors import EngramError, UsageError

__all__ = ["whole", "write"]


@contextmanager
def whole(path: Path, advice: str) -> Iterator[TextIO]:
    """A text file to write to, in the place of `path` once the block has ended well.

    Args:
        path: the file, written over if it is there.
        advice: what to do if it cannot be written, the end of a sentence.

    Raises:
        UsageError: the folder cannot be written, or the disk is full.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    except OSError as wrong:
        if isinstance(wrong, EngramError):
            raise
        raise UsageError(f"{path} cannot be written: {(wrong.strerror or str(wrong)).lower()}; {advice}") from None
    finally:
        with suppress(OSError):  # it was never there, or was renamed
            part.unlink()


def write(path: Path, text: str, advice: str) -> None:
    """Write a text file, whole or not at all; see ``whole``."""
    with whole(path, advice) as file:
        file.write(text)
