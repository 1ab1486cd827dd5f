"""What the pictures of ``inspect`` share: the page, its colors, and words that a stranger's file may have chosen.

A picture stands by itself (no script, no font from elsewhere) and is bright or dark as its reader's screen is. All
words go through a serializer, so that whatever a name in a stranger's file holds stays a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import Template
from xml.etree import ElementTree as ET

__all__ = ["HEAD", "LETTER", "MARGIN", "clean", "fitted", "page", "shape", "text"]

MARGIN, HEAD = 28.0, 64.0
LETTER = 6.6
"""The width of a letter of the usual size."""

_COLORS = """
text { fill: $soft; } .page { fill: $page; } .title, .name { fill: $ink; }
.frame { fill: $card; stroke: $edge; } .end .frame { stroke: $ink; } .edge { stroke: $line; } .arrow { fill: $line; }
.weights .bar { fill: $weights; } .plain .bar { fill: $line; } .sum .bar { fill: $sum; } .norm .bar { fill: $norm; }
.pool .bar { fill: $pool; } .time .bar { fill: $time; } .end .bar { fill: $ink; }
"""
_BRIGHT = {
    "page": "#ffffff", "card": "#ffffff", "ink": "#1f2933", "soft": "#5f6c7b", "line": "#9aa5b1", "edge": "#cbd2d9",
    "weights": "#0b6bb5", "sum": "#2f7d4f", "norm": "#b8860b", "pool": "#a23b72", "time": "#7a5195",
}  # fmt: skip
_DARK = {
    "page": "#14181d", "card": "#1d232a", "ink": "#e6eaee", "soft": "#9aa7b5", "line": "#66727f", "edge": "#3a444f",
    "weights": "#5cb0f0", "sum": "#6cc48e", "norm": "#e3b341", "pool": "#e58bbb", "time": "#c49be0",
}  # fmt: skip
_STYLE = f"""
text {{ font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  font-size: 12px; }}
.title {{ font-size: 17px; font-weight: 600; }} .name {{ font-weight: 600; }} .frame {{ stroke-width: 1.2; }}
.edge {{ fill: none; stroke-width: 1.5; }}
{Template(_COLORS).substitute(_BRIGHT)}
@media (prefers-color-scheme: dark) {{ {Template(_COLORS).substitute(_DARK)} }}
"""
"""Colors are spelled out and not variables of CSS, which programs other than browsers do not know."""


def page(wide: float, high: float, title: str) -> ET.Element:
    """An empty picture of this size with its title."""
    size = {"width": f"{wide:g}", "height": f"{high:g}", "viewBox": f"0 0 {wide:g} {high:g}"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
    ET.SubElement(root, "title").text = clean(title)
    ET.SubElement(root, "style").text = _STYLE
    form = {"markerWidth": "8", "markerHeight": "8", "viewBox": "0 0 10 10", "refX": "8.5", "refY": "5"}
    marks = ET.SubElement(root, "defs")
    mark = ET.SubElement(marks, "marker", {"id": "arrow", "orient": "auto", "markerUnits": "userSpaceOnUse", **form})
    ET.SubElement(mark, "path", {"d": "M0 0.8 L9.2 5 L0 9.2 Z", "class": "arrow"})
    ET.SubElement(root, "rect", {"class": "page", "width": "100%", "height": "100%", "rx": "10"})
    text(root, (MARGIN, 38), clean(title), "title")
    return root


def text(parent: ET.Element, at: tuple[float, float], words: str, kind: str, *, anchor: str = "start") -> None:
    """Words at a place, in the color of their kind."""
    said = {"x": f"{at[0]:g}", "y": f"{at[1]:g}", "text-anchor": anchor} | ({"class": kind} if kind else {})
    ET.SubElement(parent, "text", said).text = words


def shape(axes: Sequence[int | str]) -> str:
    """Lengths of axes as people write them."""
    return "×".join(str(axis) for axis in axes)


def clean(words: str) -> str:
    """Words on one line, without characters that XML forbids or that turn text around."""
    return "".join(letter for letter in " ".join(words.split()) if letter.isprintable())


def fitted(words: str, room: int) -> str:
    """Words that fit into so many letters, with their end."""
    whole = clean(words)
    return whole if len(whole) <= room else f"{whole[: max(room - 6, 1)]}…{whole[-4:]}"
