"""Functions of ``keras.ops`` inside functional models, where ONNX has them.

Each is drawn by a file of its noun; here they become kinds, which hand no mask on.
"""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._keras import operations_axes, operations_numbers, operations_shape
from engram.formats._keras.kind import Kind

__all__ = ["OPERATIONS"]

OPERATIONS: Mapping[str, Kind] = {
    name: Kind(draw, masks="ends")
    for name, draw in {**operations_axes.DRAWN, **operations_numbers.DRAWN, **operations_shape.DRAWN}.items()
}
