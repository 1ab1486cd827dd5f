"""A lineage as an SVG picture: cards in columns by generation, and what went into what as lines from left to right.

The picture stands by itself: no script, no font and nothing else from anywhere, and it is bright or dark as its
reader's screen is. All words go through a serializer, so that whatever a name holds stays a word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET

from engram.store.relations.layout import Spot, place
from engram.store.relations.lineage import Lineage, Node

__all__ = ["drawn"]

_WIDTH, _BETWEEN, _MARGIN, _HEAD = 236.0, 76.0, 28.0, 58.0
_HEIGHTS = {"version": 80.0, "run": 70.0, "checkpoint": 70.0, "data": 70.0}
_BADGES = 28.0
_INSET = 16.0
_KINDS = {"version": "VERSION", "run": "RUN", "checkpoint": "CHECKPOINT", "data": "DATA"}
_LETTER, _FIXED = 0.62, 0.61  # width of a letter on average, over the size of its type; of a typewriter
_STYLE = """
svg { --page: #ffffff; --card: #ffffff; --ink: #1f2933; --soft: #5f6c7b; --line: #9aa5b1; --edge: #cbd2d9;
  --version: #0b6bb5; --run: #7a5195; --checkpoint: #b8860b; --data: #2f7d4f; --tint: #eaf3fb; --badge: #0b6bb5;
  --letters: #ffffff; }
@media (prefers-color-scheme: dark) {
  svg { --page: #14181d; --card: #1d232a; --ink: #e6eaee; --soft: #9aa7b5; --line: #66727f; --edge: #3a444f;
    --version: #5cb0f0; --run: #c49be0; --checkpoint: #e3b341; --data: #6cc48e; --tint: #1a2f42; --badge: #5cb0f0;
    --letters: #10161c; } }
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif;
  font-size: 12.5px; fill: var(--soft); }
.page { fill: var(--page); }
.title { font-size: 17px; font-weight: 600; fill: var(--ink); }
.card rect { fill: var(--card); stroke: var(--edge); stroke-width: 1.2; }
.card .bar { stroke: none; }
.name { font-size: 14.5px; font-weight: 600; fill: var(--ink); }
.kind { font-size: 10px; font-weight: 600; letter-spacing: 0.8px; }
.fixed { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11.5px; }
.number { fill: var(--ink); }
.version .bar { fill: var(--version); } .version .kind { fill: var(--version); }
.run .bar { fill: var(--run); } .run .kind { fill: var(--run); }
.checkpoint .bar { fill: var(--checkpoint); } .checkpoint .kind { fill: var(--checkpoint); }
.data .bar { fill: var(--data); } .data .kind { fill: var(--data); }
.focus .frame { fill: var(--tint); stroke: var(--version); stroke-width: 2.2; }
.unknown .frame { stroke-dasharray: 5 4; }
.card .badge { fill: var(--badge); stroke: none; }
.badges text { fill: var(--letters); font-size: 11px; font-weight: 600; }
.edge { fill: none; stroke: var(--line); stroke-width: 1.5; }
.parent { stroke: var(--version); stroke-width: 2; }
.arrow { fill: var(--line); } .arrow-parent { fill: var(--version); }
"""


def drawn(lineage: Lineage) -> str:
    """The picture of a lineage."""
    nodes = {node.id: node for node in lineage.nodes}
    heights = {node.id: _HEIGHTS[node.kind] + (_BADGES if node.aliases else 0) for node in lineage.nodes}
    edges, above = [(edge.source, edge.target) for edge in lineage.edges], lineage.above
    spots, passed = place(heights, edges, early=lambda name: nodes[name].kind == "version" and name in above)
    wide = 2 * _MARGIN + max(spot.column for spot in spots.values()) * (_WIDTH + _BETWEEN) + _WIDTH
    high = _HEAD + max(spots[name].middle + heights[name] / 2 for name in heights) + _MARGIN
    root = _page(wide, high, f"Lineage of {_clean(nodes[lineage.focus].title)}")
    ports = _Ports(passed, spots, heights)
    for edge in edges:
        _line(root, ports.curve(edge), parent=all(nodes[end].kind == "version" for end in edge))
    for node in lineage.nodes:
        _card(root, node, spots[node.id], heights[node.id], focus=node.id == lineage.focus)
    return ET.tostring(root, encoding="unicode") + "\n"


def _page(wide: float, high: float, title: str) -> ET.Element:
    size = {"width": f"{wide:g}", "height": f"{high:g}", "viewBox": f"0 0 {wide:g} {high:g}"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", **size})
    ET.SubElement(root, "title").text = title
    ET.SubElement(root, "style").text = _STYLE
    marks = ET.SubElement(root, "defs")
    for name in ("arrow", "arrow-parent"):
        size = {"markerWidth": "9", "markerHeight": "9", "viewBox": "0 0 10 10", "refX": "8.5", "refY": "5"}
        mark = ET.SubElement(marks, "marker", {"id": name, "orient": "auto", "markerUnits": "userSpaceOnUse", **size})
        ET.SubElement(mark, "path", {"d": "M0 0.8 L9.2 5 L0 9.2 Z", "class": name})
    ET.SubElement(root, "rect", {"class": "page", "width": "100%", "height": "100%", "rx": "10"})
    _text(root, (_MARGIN, 37), title, "title")
    return root


class _Ports:
    """Where lines leave and reach cards: side by side, in the order in which they come from or go to."""

    def __init__(
        self, passed: Mapping[tuple[str, str], Sequence[Spot]], spots: Mapping[str, Spot], heights: Mapping[str, float]
    ) -> None:
        self._spots, self._passed = spots, passed
        nexts = {edge: (via or [spots[edge[1]]])[0].middle for edge, via in passed.items()}
        befores = {edge: (via or [spots[edge[0]]])[-1].middle for edge, via in passed.items()}
        self._leaving = self._spread([(nexts[edge], edge[0], edge) for edge in passed], heights)
        self._reaching = self._spread([(befores[edge], edge[1], edge) for edge in passed], heights)

    def _spread(
        self, ends: list[tuple[float, str, tuple[str, str]]], heights: Mapping[str, float]
    ) -> dict[tuple[str, str], float]:
        """For each edge its height at one end: what it comes from or goes to, the card, the edge."""
        found, at = dict[tuple[str, str], float](), dict[str, list[tuple[str, str]]]()
        for _, name, edge in sorted(ends):
            at.setdefault(name, []).append(edge)
        for name, edges in at.items():
            apart = min(12.0, (heights[name] - 28) / len(edges))
            for index, edge in enumerate(edges):
                found[edge] = self._spots[name].middle + (index - (len(edges) - 1) / 2) * apart
        return found

    def curve(self, edge: tuple[str, str]) -> str:
        """The path of a line, level wherever it passes a column."""
        at = (_left(self._spots[edge[0]].column) + _WIDTH, self._leaving[edge] + _HEAD)
        path = f"M{at[0]:g} {at[1]:.1f}"
        for spot in self._passed[edge]:
            begin, end = (_left(spot.column), spot.middle + _HEAD), _left(spot.column) + _WIDTH
            path += f"{_bend(at, begin)}H{end:g}"
            at = (end, begin[1])
        return path + _bend(at, (_left(self._spots[edge[1]].column), self._reaching[edge] + _HEAD))


def _bend(begin: tuple[float, float], end: tuple[float, float]) -> str:
    half = max(abs(end[0] - begin[0]) / 2, 30)
    return f"C{begin[0] + half:g} {begin[1]:.1f} {end[0] - half:g} {end[1]:.1f} {end[0]:g} {end[1]:.1f}"


def _left(column: int) -> float:
    return _MARGIN + column * (_WIDTH + _BETWEEN)


def _line(root: ET.Element, path: str, *, parent: bool) -> None:
    kind, arrow = ("edge parent", "arrow-parent") if parent else ("edge", "arrow")
    ET.SubElement(root, "path", {"class": kind, "d": path, "marker-end": f"url(#{arrow})"})


def _card(root: ET.Element, node: Node, spot: Spot, height: float, *, focus: bool) -> None:
    x, y = _left(spot.column), spot.middle - height / 2 + _HEAD
    states = f"{' focus' if focus else ''}{'' if node.known else ' unknown'}"
    card = ET.SubElement(root, "g", {"class": f"card {node.kind}{states}", "transform": f"translate({x:g} {y:.1f})"})
    ET.SubElement(card, "title").text = _clean(_whole(node))
    _box(card, (0, 0, _WIDTH, height), "frame", 8)
    _box(card, (0, 10, 4, height - 20), "bar", 2)
    _text(card, (_INSET, 21), _KINDS[node.kind], "kind")
    if node.when:
        _text(card, (_WIDTH - _INSET, 21), f"{node.when:%Y-%m-%d}", anchor="end")
    _words(card, node)
    if node.aliases:
        _badges(card, node.aliases, height - _BADGES - 4)


def _words(card: ET.Element, node: Node) -> None:
    """Title and details of a card."""
    room, title = _WIDTH - 2 * _INSET, _title(node)
    if node.kind == "run":
        _text(card, (_INSET, 41), _fitted(title, 11.5 * _FIXED, room), "fixed number")
    else:
        _text(card, (_INSET, 42), _fitted(title, 14.5 * _LETTER, room), "name")
    if node.kind == "version" and node.known:
        measured = "not measured" if node.value is None else f"{node.metric} {node.value:.4g}"
        _text(card, (_INSET, 64), _fitted(measured, 12.5 * _LETTER, room - 70), "number")
        _text(card, (_WIDTH - _INSET, 64), node.id[7:15], "fixed", anchor="end")
    else:
        _text(card, (_INSET, 59), _fitted(_detail(node), 12.5 * _LETTER, room))


def _title(node: Node) -> str:
    """The first line of a card; of a digest its beginning tells enough."""
    kind, _, digits = node.title.partition(":")
    return digits[:12] if kind == "sha256" else node.title


def _detail(node: Node) -> str:
    """The second line of a card."""
    if node.kind == "data":
        return "training data"
    if node.kind == "checkpoint":
        return f"of {node.id.removeprefix('checkpoint:').rpartition('@')[0]}"
    return node.status if node.known else "not in this store"


def _whole(node: Node) -> str:
    """All that is known of a card, which a browser shows when one points at it."""
    when = f"{node.when:%Y-%m-%d %H:%M} UTC" if node.when else ""
    measured = "" if node.value is None else f"{node.metric} {node.value:.6g}"
    names = node.id.partition(":")[2] if node.kind != "version" else node.id
    return ", ".join(filter(None, (node.title, names, when, measured, node.status, *node.aliases)))


def _badges(card: ET.Element, aliases: Sequence[str], top: float) -> None:
    """As many aliases as there is room for, and how many there are more."""
    group = ET.SubElement(card, "g", {"class": "badges"})
    x = _INSET
    for index, alias in enumerate(sorted(aliases, key=len)):
        rest = len(aliases) - index
        last = f"+{rest}"
        text = _fitted(alias, 11 * _LETTER, _WIDTH - 2 * _INSET - 18 - (34 if rest > 1 else 0))
        wide = _length(text) * 11 * _LETTER + 18
        if x + wide > _WIDTH - _INSET - (34 if rest > 1 else 0):
            text, wide = last, _length(last) * 11 * _LETTER + 16
        _box(group, (x, top, wide, 20), "badge", 10)
        _text(group, (x + wide / 2, top + 14), text, anchor="middle")
        if text == last:
            return
        x += wide + 6


def _box(parent: ET.Element, box: tuple[float, float, float, float], kind: str, radius: float) -> None:
    names = ("x", "y", "width", "height")
    shape = {name: f"{value:g}" for name, value in zip(names, box, strict=True)}
    ET.SubElement(parent, "rect", {"class": kind, "rx": f"{radius:g}", **shape})


def _text(parent: ET.Element, at: tuple[float, float], words: str, kind: str = "", *, anchor: str = "start") -> None:
    said = {"x": f"{at[0]:g}", "y": f"{at[1]:g}"} | ({"class": kind} if kind else {})
    said |= {"text-anchor": anchor} if anchor != "start" else {}
    ET.SubElement(parent, "text", said).text = words


def _clean(words: str) -> str:
    """Words on one line, without characters that XML forbids or that turn text around."""
    return "".join(letter for letter in " ".join(words.split()) if letter.isprintable())


def _fitted(words: str, letter: float, room: float) -> str:
    """Words that fit into a width, their middle left out where they do not."""
    clean = _clean(words)
    if _length(clean) * letter <= room:
        return clean
    tail = 4
    head = clean[:-tail]
    while head and (_length(head) + 1 + _length(clean[-tail:])) * letter > room:
        head = head[:-1]
    return f"{head}…{clean[-tail:]}"


def _length(words: str) -> float:
    """How many letters wide words are; those of East Asia count twice."""
    return sum(1.8 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in words)
