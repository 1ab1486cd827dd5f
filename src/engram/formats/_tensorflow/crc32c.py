"""CRC-32C, the checksum of TensorFlow's checkpoints, in numpy.

No library that Engram has computes it, and a loop over bytes takes twenty seconds for a hundred megabytes. A CRC is
linear: the columns of a table of words are folded row by row, all at once, and then the columns with each other.

Source: RFC 3720, appendix B.4; the masking is that of LevelDB (crc32c.h).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy import ndarray

__all__ = ["checksum", "masked"]

_POLYNOMIAL = 0x82F63B78
_COLUMNS = (16_384, 512)
"""Words in a row: many make each step of numpy worth its call, few leave less to the loop over bytes."""
_FULL = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8


def masked(data: bytes | memoryview) -> int:
    """The checksum as it is stored: rotated and shifted, so that a checksum of checksums stays good."""
    found = checksum(data)
    return (((found >> 15) | (found << 17)) + _MASK_DELTA) & _FULL


def checksum(data: bytes | memoryview) -> int:
    """CRC-32C of some bytes."""
    view = memoryview(data).cast("B")
    state, at = _FULL, 0
    for columns in _COLUMNS:
        rows = (len(view) - at) // (4 * columns)
        if rows > 1:
            end = at + rows * 4 * columns
            state = _folded(np.frombuffer(view[at:end], "<u4").reshape(rows, columns), state)
            at = end
    table = _byte_list()
    for byte in bytes(view[at:]):
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state ^ _FULL


def _folded(words: ndarray, state: int) -> int:
    """The state after all words, read row by row."""
    columns = words[0].copy()
    columns[0] ^= state
    for row in words[1:]:
        columns = _moved(columns, 4 * len(columns)) ^ row
    while len(columns) > 1:
        half = len(columns) // 2
        columns = _moved(columns[:half], 4 * half) ^ columns[half:]
    last, table = int(columns[0]), _byte_list()
    for _ in range(4):
        last = table[last & 0xFF] ^ (last >> 8)
    return last


def _moved(states: ndarray, count: int) -> ndarray:
    """What states become after so many zero bytes."""
    low, high = _shift_tables(count)
    halves = states.view("<u2")
    made: ndarray = low.take(halves[0::2])
    made ^= high.take(halves[1::2])
    return made


@cache
def _byte_list() -> list[int]:
    return [int(value) for value in _byte_table()]


@cache
def _byte_table() -> ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, (values >> 1) ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values.astype(np.uint32)


@cache
def _shift_tables(count: int) -> tuple[ndarray, ndarray]:
    """What a state becomes after so many zero bytes, by its lower and its upper half."""
    images = np.uint32(1) << np.arange(32, dtype=np.uint32)
    table = _byte_table()
    for _ in range(count):
        images = table[images & 0xFF] ^ (images >> 8)
    halves = []
    for part in (images[:16], images[16:]):
        made = np.zeros(1, np.uint32)
        for image in part:
            made = np.concatenate([made, made ^ image])
        halves.append(made)
    return halves[0], halves[1]
