"""A network as an SVG picture: layers from top to bottom, in the color of what they do, and what flows between them.

Each row of the picture is as high as its highest layer; an edge that passes a row goes straight down through it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from engram.graphs.layers import Layer, Network
from engram.lifecycle.picture import HEAD, LETTER, MARGIN, clean, fitted, page, shape, text
from engram.records import Signature
from engram.store.relations.layout import Spot, place

__all__ = ["drawn"]

_WIDTH, _TALL, _LOW, _BETWEEN = 250.0, 54.0, 28.0, 26.0
_WIDE, _BOLD = 7.3, 8.4
"""The width of a letter of a shape and of a name in the widest of the fonts."""
_MOST = 2_000
"""Layers in one picture; a larger one is nothing that a person looks at."""

_KINDS: Mapping[str, frozenset[str]] = {
    "sum": frozenset({"Add", "Sub", "Mul", "Div", "Concat", "Sum", "Mean", "Max", "Min"}),
    "norm": frozenset({"BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization"}),
    "pool": frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax"}),
    "time": frozenset({"LSTM", "GRU", "RNN", "Loop", "Scan", "If"}),
}


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
    wide = 2 * MARGIN + max(spot.middle for spot in spots.values()) + _WIDTH / 2
    high = tops[last] + max(card.height for name, card in cards.items() if spots[name].column == last) + MARGIN
    root = page(max(wide, 2 * MARGIN + len(clean(title)) * 10), high, title)
    for edge in edges:
        ET.SubElement(root, "path", {
            "class": "edge", "d": _path(edge, spots, passed[edge], tops, cards), "marker-end": "url(#arrow)"
        })  # fmt: skip
    for name, card in cards.items():
        _draw(root, card, MARGIN + spots[name].middle - _WIDTH / 2, tops[spots[name].column])
    return ET.tostring(root, encoding="unicode") + "\n"


def _cards(network: Network, signature: Signature) -> Iterator[tuple[str, _Card]]:
    for number, spec in enumerate(signature.inputs):
        yield _id(-1 - number), _Card("end", spec.name, shape(spec.shape), "", f"input {spec.name}, {spec.dtype}")
    for number, layer in enumerate(network.layers[:_MOST]):
        yield _id(number), _layer(layer)
    for number, spec in enumerate(signature.outputs):
        yield f"out {number}", _Card("end", spec.name, shape(spec.shape), "", f"output {spec.name}, {spec.dtype}")


def _layer(layer: Layer) -> _Card:
    kind = next((kind for kind, operators in _KINDS.items() if layer.operator in operators), "")
    kind = kind or ("weights" if layer.parameters else "plain")
    weights = ", ".join(f"{name} {shape(axes)}" for name, axes in layer.parameters.items())
    whole = "\n".join(filter(None, (f"{layer.name}: {layer.operator}", weights, f"{layer.operations:,} operations")))
    if not layer.parameters:
        return _Card(kind, layer.operator, shape(layer.shape), "", whole)
    below = f"{layer.operator}, {layer.size:,} parameters"
    return _Card(kind, layer.name, shape(layer.shape), below, whole)


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
    tops, at = [], HEAD
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
    x, y = MARGIN + spots[source].middle, tops[spots[source].column] + cards[source].height
    path = f"M{x:g} {y:g}"
    for spot in passed:
        end = (MARGIN + spot.middle, tops[spot.column])
        path += f"{_bend((x, y), end)}V{tops[spot.column + 1] - _BETWEEN:g}"
        x, y = end[0], tops[spot.column + 1] - _BETWEEN
    return path + _bend((x, y), (MARGIN + spots[target].middle, tops[spots[target].column]))


def _bend(begin: tuple[float, float], end: tuple[float, float]) -> str:
    half = max(abs(end[1] - begin[1]) / 2, 10)
    return f"C{begin[0]:g} {begin[1] + half:g} {end[0]:g} {end[1] - half:g} {end[0]:g} {end[1]:g}"


def _draw(root: ET.Element, card: _Card, x: float, y: float) -> None:
    group = ET.SubElement(root, "g", {"class": card.kind, "transform": f"translate({x:g} {y:g})"})
    ET.SubElement(group, "title").text = "\n".join(map(clean, card.whole.split("\n")))
    box = {"width": f"{_WIDTH:g}", "height": f"{card.height:g}", "rx": "7"}
    ET.SubElement(group, "rect", {"class": "frame", **box})
    ET.SubElement(group, "rect", {"class": "bar", "y": "7", "width": "4", "height": f"{card.height - 14:g}", "rx": "2"})
    room = int((_WIDTH - 40) / LETTER)
    right = fitted(card.right, room - 9)
    text(group, (14, 19), fitted(card.name, int((_WIDTH - 40 - len(right) * _WIDE) / _BOLD)), "name")
    text(group, (_WIDTH - 12, 19), right, "", anchor="end")
    if card.below:
        text(group, (14, 40), fitted(card.below, room + 4), "")
