"""What stands in an IR that was just made: every weight under its own name, to the bit.

The XML says of each constant what it is called and where in the binary it lies. A front end that folds, transposes or
renames a weight would be found out here and not by whoever trains on.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError

__all__ = ["check"]


def check(path: Path, binary: Path, weights: Mapping[str, ndarray]) -> None:
    """See that an IR holds these weights.

    Args:
        path: of the XML.
        binary: where its constants lie.
        weights: by name.

    Raises:
        ConversionError: one is not there or not the same.
    """
    places = _places(path)
    size = binary.stat().st_size
    with binary.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b"")
    for name, array in weights.items():
        found = [content[begin : begin + length] for begin, length in places.get(name, [])]
        if not any(_same(each, array) for each in found):
            fault = "has another value there" if found else "is not there under its name"
            raise ConversionError(f"OpenVINO rewrote the network: the weight {name!r} {fault}")


def _same(found: memoryview, array: ndarray) -> bool:
    """Whether bytes are those of an array."""
    bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return bool(np.array_equal(np.frombuffer(found, np.uint8), bits))


def _places(path: Path) -> dict[str, list[tuple[int, int]]]:
    """Begin and length of the constants by name; bodies of loops may use a name again."""
    found: dict[str, list[tuple[int, int]]] = {}
    for layer in ET.parse(path).iter("layer"):  # noqa: S314 - made a moment ago, from a model of ours
        data = layer.find("data")
        if layer.get("type") == "Const" and data is not None:
            place = int(data.get("offset", 0)), int(data.get("size", 0))
            found.setdefault(layer.get("name", ""), []).append(place)
    return found
