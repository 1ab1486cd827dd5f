"""MurmurHash3 of words, 32 bits: the hash that scikit-learn, onnxruntime and most feature stores share.

Here only to state in Python what the graph does; words repeat, so each is hashed once.

Source: Appleby 2011, MurmurHash3_x86_32.
"""

from __future__ import annotations

import struct

__all__ = ["murmur3"]

_WORD = 0xFFFFFFFF


def murmur3(text: str, seed: int = 0) -> int:
    """The unsigned 32-bit hash of a text in UTF-8."""
    data = text.encode()
    whole = len(data) // 4 * 4
    state = seed
    for (block,) in struct.iter_unpack("<I", data[:whole]):
        state = (_rotated(state ^ _scrambled(block), 13) * 5 + 0xE6546B64) & _WORD
    if rest := data[whole:]:
        state ^= _scrambled(int.from_bytes(rest, "little"))
    return _finished(state ^ len(data))


def _scrambled(block: int) -> int:
    return _rotated(block * 0xCC9E2D51 & _WORD, 15) * 0x1B873593 & _WORD


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & _WORD


def _finished(value: int) -> int:
    value = (value ^ value >> 16) * 0x85EBCA6B & _WORD
    value = (value ^ value >> 13) * 0xC2B2AE35 & _WORD
    return value ^ value >> 16
