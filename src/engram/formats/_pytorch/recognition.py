"""Whether a file is a checkpoint of torch's, and not one of the other zips that torch writes.

TorchScript and ``torch.export`` share the suffix ``.pt`` and the pickle's name; what they have besides tells them
apart. A zip whose directory cannot be read is known by its first member, so that it is refused for what is wrong.
"""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Final

from engram.formats._archive import MAGIC
from engram.formats._pytorch.container import LEGACY, PICKLE

__all__ = ["members", "recognizes"]

_LENGTH: Final = struct.Struct("<H")
_NAME_LENGTH: Final = 26
_NAME: Final = 30


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file begins as the old form does, or is a zip with a pickle and neither code nor a program in it."""
    if head.startswith(LEGACY):
        return True
    below = {name.partition("/")[2] for name in members(head, path)}
    others = {"constants.pkl", "archive_format", "models/model.json"} & below
    return PICKLE in below and not others and not any(name.startswith("code/") for name in below)


def members(head: bytes, path: Path) -> list[str]:
    """The names in a zip; the first alone where its directory cannot be read, and none where it is no zip."""
    if not head.startswith(MAGIC) or len(head) < _NAME:
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, struct.error):
        return [_first(head)]


def _first(head: bytes) -> str:
    length = _LENGTH.unpack_from(head, _NAME_LENGTH)[0]
    return head[_NAME : _NAME + length].decode("utf-8", "replace")
