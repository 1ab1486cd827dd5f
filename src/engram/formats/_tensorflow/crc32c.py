"""CRC-32C as TensorFlow stores it: the checksum of its checkpoints and of the tables in them.

Source: the masking is that of LevelDB (crc32c.h).
"""

from __future__ import annotations

import google_crc32c

__all__ = ["checksum", "masked"]

_PIECE = 1 << 18
_FULL = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


def masked(data: bytes | memoryview) -> int:
    """The checksum as it is stored: rotated and shifted, so that a checksum of checksums stays good."""
    found = checksum(data)
    return (((found >> 15) | (found << 17)) + _MASK_DELTA) & _FULL


def checksum(data: bytes | memoryview) -> int:
    """CRC-32C of some bytes, a piece at a time, because the library takes nothing but ``bytes``."""
    view, found = memoryview(data).cast("B"), 0
    for start in range(0, len(view), _PIECE):
        found = google_crc32c.extend(found, bytes(view[start : start + _PIECE]))
    return found
