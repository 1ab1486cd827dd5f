"""A file of weights as an SVG picture: how large each module in it is, in the order of the file.

There is no graph to draw where weights come alone; what a person can see of them is where the numbers are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from engram.lifecycle.holding import Held
from engram.lifecycle.picture import HEAD, LETTER, MARGIN, fitted, page, text

__all__ = ["sizes_drawn"]

_NAMES, _BARS, _COUNTS, _ROW, _BAR = 260.0, 420.0, 120.0, 24.0, 12.0
_MOST = 400
"""Modules in one picture."""


def sizes_drawn(title: str, tensors: Sequence[Held]) -> str:
    """The picture of a file of weights.

    Args:
        title: what stands above it.
        tensors: in the order of the file.
    """
    modules = _modules(tensors)
    shown, largest = list(modules.items())[:_MOST], max([1, *modules.values()])
    wide = 2 * MARGIN + max(_NAMES + _BARS + _COUNTS, len(title) * 10)
    root = page(wide, HEAD + _ROW * len(shown) + MARGIN, title)
    for row, (module, count) in enumerate(shown):
        at = HEAD + _ROW * row
        group = ET.SubElement(root, "g", {"class": "weights"})
        text(group, (MARGIN, at + _BAR), fitted(module, int(_NAMES / LETTER) - 3), "name")
        place = {"x": f"{MARGIN + _NAMES:g}", "y": f"{at + 1:g}", "height": f"{_BAR:g}", "rx": "2"}
        length = max(_BARS * count / largest, 1.0)
        ET.SubElement(group, "rect", {"class": "bar", "width": f"{length:g}", **place})
        text(group, (MARGIN + _NAMES + length + 8, at + _BAR), f"{count:,}", "")
    return ET.tostring(root, encoding="unicode") + "\n"


def _modules(tensors: Sequence[Held]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for tensor in tensors:
        found[tensor.module or tensor.name] = found.get(tensor.module or tensor.name, 0) + tensor.count
    return found
