"""The checksum of zips, as fast as the processor has it.

zlib takes half as long again for it as reading the bytes takes; isa-l takes a quarter of that. Where there is no build
of it, the standard library does the same more slowly.
"""

from __future__ import annotations

try:
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
