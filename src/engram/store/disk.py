"""Making the names in a folder durable, which flushing a file does not do."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["flush"]


def flush(folder: Path) -> None:
    """Put on the disk which files a folder holds.

    Raises:
        OSError: the disk refused; what was renamed may be lost.
    """
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
