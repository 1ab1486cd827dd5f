"""A network as an SVG picture: layers from top to bottom, in the color of what they do, and what flows between them.

The picture stands by itself (no script, no font from elsewhere) and is bright or dark as its reader's screen is. All
words go through a serializer, so that whatever a name in a stranger's file holds stays a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from xml.etree import ElementTree as ET

from engram.graphs.layers import Layer, Network
from engram.records import Signature
from engram.store.relations.layout import Spot, place

__all__ = ["drawn"]

_WIDTH, _TALL, _LOW, _BETWEEN, _MARGIN, _HEAD = 250.0, 54.0, 28.0, 26.0, 28.0, 64.0
_LETTER = 6.6
_MOST = 2_000
"""Layers in one picture; a larger one is nothing that a person looks at."""

_KINDS: Mapping[str, frozenset[str]] = {
    "sum": frozenset({"Add", "Sub", "Mul", "Div", "Concat", "Sum", "Mean", "Max", "Min"}),
    "norm": frozenset({"BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization"}),
    "pool": frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"}),
    "time": frozenset({"LSTM", "GRU", "RNN", "Loop", "Scan", "If"}),
}
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


@dataclass(frozen=True, slots=True)
class _Card:
    """One box: a layer, an input or an output."""

    kind: str
    name: str
    right: str
    below: str
    whole: str

    @property
    def height(self) -> float:
        return _TALL if self.below else _LOW


def drawn(title: str, network: Network, signature: Signature) -> str:
    """The picture of a network.

    Args:
        title: what stands above it.
        network: its layers.
        signature: of the network, for the names of its inputs and outputs.
    """
    cards = dict(_cards(network, signature))
    edges = _edges(network, signature)
    spots, passed = place(dict.fromkeys(cards, _WIDTH), edges, early=lambda _: True)
    tops = _tops(cards, spots)
    last = max(spot.column for spot in spots.values())
    wide = 2 * _MARGIN + max(spot.middle for spot in spots.values()) + _WIDTH / 2
    high = tops[last] + max(card.height for name, card in cards.items() if spots[name].column == last) + _MARGIN
    root = _page(max(wide, 2 * _MARGIN + len(_clean(title)) * 10), high, title)
    for edge in edges:
        ET.SubElement(root, "path", {
            "class": "edge", "d": _path(edge, spots, passed[edge], tops, cards), "marker-end": "url(#arrow)"
        })  # fmt: skip
    for name, card in cards.items():
        _draw(root, card, _MARGIN + spots[name].middle - _WIDTH / 2, tops[spots[name].column])
    return ET.tostring(root, encoding="unicode") + "\n"


def _cards(network: Network, signature: Signature) -> Iterator[tuple[str, _Card]]:
    for number, spec in enumerate(signature.inputs):
        yield _id(-1 - number), _Card("end", spec.name, _shape(spec.shape), "", f"input {spec.name}, {spec.dtype}")
    for number, layer in enumerate(network.layers[:_MOST]):
        yield _id(number), _layer(layer)
    for number, spec in enumerate(signature.outputs):
        yield f"out {number}", _Card("end", spec.name, _shape(spec.shape), "", f"output {spec.name}, {spec.dtype}")


def _layer(layer: Layer) -> _Card:
    kind = next((kind for kind, operators in _KINDS.items() if layer.operator in operators), "")
    kind = kind or ("weights" if layer.parameters else "plain")
    weights = ", ".join(f"{name} {_shape(shape)}" for name, shape in layer.parameters.items())
    whole = "\n".join(filter(None, (f"{layer.name}: {layer.operator}", weights, f"{layer.operations:,} operations")))
    if not layer.parameters:
        return _Card(kind, layer.operator, _shape(layer.shape), "", whole)
    below = f"{layer.operator}, {layer.size:,} parameters"
    return _Card(kind, layer.name, _shape(layer.shape), below, whole)


def _edges(network: Network, signature: Signature) -> list[tuple[str, str]]:
    shown = network.layers[:_MOST]
    edges = [(_id(source), _id(number)) for number, layer in enumerate(shown) for source in layer.reads]
    ends = zip(range(len(signature.outputs)), network.outputs, strict=False)
    edges += [(_id(source), f"out {number}") for number, source in ends if source < len(shown)]
    return [(source, target) for source, target in dict.fromkeys(edges) if source != target]


def _id(number: int) -> str:
    return f"in {-1 - number}" if number < 0 else f"layer {number}"


def _tops(cards: Mapping[str, _Card], spots: Mapping[str, Spot]) -> list[float]:
    """Where each row begins: every row is as high as its highest card."""
    heights = [0.0] * (max(spot.column for spot in spots.values()) + 1)
    for name, card in cards.items():
        heights[spots[name].column] = max(heights[spots[name].column], card.height)
    tops, at = [], _HEAD
    for height in heights:
        tops.append(at)
        at += height + _BETWEEN
    return tops


def _path(
    edge: tuple[str, str],
    spots: Mapping[str, Spot],
    passed: Sequence[Spot],
    tops: Sequence[float],
    cards: Mapping[str, _Card],
) -> str:
    """From the bottom of one card to the top of another, straight down wherever it passes a row."""
    source, target = edge
    x, y = _MARGIN + spots[source].middle, tops[spots[source].column] + cards[source].height
    path = f"M{x:g} {y:g}"
    for spot in passed:
        end = (_MARGIN + spot.middle, tops[spot.column])
        path += f"{_bend((x, y), end)}V{tops[spot.column + 1] - _BETWEEN:g}"
        x, y = end[0], tops[spot.column + 1] - _BETWEEN
    return path + _bend((x, y), (_MARGIN + spots[target].middle, tops[spots[target].column]))


def _bend(begin: tuple[float, float], end: tuple[float, float]) -> str:
    half = max(abs(end[1] - begin[1]) / 2, 10)
    return f"C{begin[0]:g} {begin[1] + half:g} {end[0]:g} {end[1] - half:g} {end[0]:g} {end[1]:g}"


def _page(wide: float, high: float, title: str) -> ET.Element:
    size = {"width": f"{wide:g}", "height": f"{high:g}", "viewBox": f"0 0 {wide:g} {high:g}"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
    ET.SubElement(root, "title").text = _clean(title)
    ET.SubElement(root, "style").text = _STYLE
    shape = {"markerWidth": "8", "markerHeight": "8", "viewBox": "0 0 10 10", "refX": "8.5", "refY": "5"}
    marks = ET.SubElement(root, "defs")
    mark = ET.SubElement(marks, "marker", {"id": "arrow", "orient": "auto", "markerUnits": "userSpaceOnUse", **shape})
    ET.SubElement(mark, "path", {"d": "M0 0.8 L9.2 5 L0 9.2 Z", "class": "arrow"})
    ET.SubElement(root, "rect", {"class": "page", "width": "100%", "height": "100%", "rx": "10"})
    _text(root, (_MARGIN, 38), _clean(title), "title")
    return root


def _draw(root: ET.Element, card: _Card, x: float, y: float) -> None:
    group = ET.SubElement(root, "g", {"class": card.kind, "transform": f"translate({x:g} {y:g})"})
    ET.SubElement(group, "title").text = "\n".join(map(_clean, card.whole.split("\n")))
    box = {"width": f"{_WIDTH:g}", "height": f"{card.height:g}", "rx": "7"}
    ET.SubElement(group, "rect", {"class": "frame", **box})
    ET.SubElement(group, "rect", {"class": "bar", "y": "7", "width": "4", "height": f"{card.height - 14:g}", "rx": "2"})
    room = int((_WIDTH - 40) / _LETTER)
    _text(group, (14, 19), _fitted(card.name, max(room - len(card.right), 8)), "name")
    _text(group, (_WIDTH - 12, 19), _fitted(card.right, room), "", anchor="end")
    if card.below:
        _text(group, (14, 40), _fitted(card.below, room + 4), "")


def _text(parent: ET.Element, at: tuple[float, float], words: str, kind: str, *, anchor: str = "start") -> None:
    said = {"x": f"{at[0]:g}", "y": f"{at[1]:g}", "text-anchor": anchor} | ({"class": kind} if kind else {})
    ET.SubElement(parent, "text", said).text = words


def _shape(axes: Sequence[int | str]) -> str:
    return "×".join(str(axis) for axis in axes)


def _clean(words: str) -> str:
    """Words on one line, without characters that XML forbids or that turn text around."""
    return "".join(letter for letter in " ".join(words.split()) if letter.isprintable())


def _fitted(words: str, room: int) -> str:
    clean = _clean(words)
    return clean if len(clean) <= room else f"{clean[: max(room - 6, 1)]}…{clean[-4:]}"
