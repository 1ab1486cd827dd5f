"""What two versions differ in: the network, what it has learned, what it reaches, and what it was made with.

Layers are put side by side in the order they run, by their names, as lines of a text are by those who compare texts.
What differs is told in words and numbers as it is; whether that is good or bad is for the reader to say.
"""

from __future__ import annotations

import difflib
import html
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engram.records import Signature, TensorSpec, Version
from engram.store.relations.shifts import Shift, Side, extent, shifts
from engram.store.weights import contents

if TYPE_CHECKING:
    from engram.graphs.layers import Layer

__all__ = ["Diff", "Pair", "compare"]

_GRAPH = "graph.onnx"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Pair:
    """Something that differs: its name, and what it is in each version; None where one does not have it."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Diff:
    """What two versions differ in; everything empty where they do not.

    Attributes:
        before, after: the two versions.
        layers: those that came, went or changed, each in words, in the order they run.
        operators: kind → how many.
        signature: inputs and outputs.
        labels: class index → label.
        weights: those that moved, came or went, in the order of their names.
        unchanged: how many weights are the same in both.
        metrics: all that either was measured by, the same ones too.
        facts: data, parents, and whatever else is said of them.
        environment: library → version.
        files: of other kinds (preprocessing, source, statistics) whose content is not the same: path → digest.
        pipeline: unified diff of the pipeline file.
        lock: key → value of the lock file.
    """

    before: Version
    after: Version
    layers: tuple[Pair, ...] = ()
    operators: tuple[Pair, ...] = ()
    signature: tuple[Pair, ...] = ()
    labels: tuple[Pair, ...] = ()
    weights: tuple[Shift, ...] = ()
    unchanged: int = 0
    metrics: tuple[Pair, ...] = ()
    facts: tuple[Pair, ...] = ()
    environment: tuple[Pair, ...] = ()
    files: tuple[Pair, ...] = ()
    pipeline: str = ""
    lock: tuple[Pair, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values, NaN among them."""
        return asdict(self)

    def _repr_html_(self) -> str:
        names = (self.before.reference, self.after.reference)
        tables = [_table(title, names, pairs) for title, pairs in self._tables()]
        text = f"<pre>{html.escape(self.pipeline)}</pre>" if self.pipeline else ""
        return f"<p><b>{html.escape(' → '.join(names))}</b></p>{''.join(tables)}{text}"

    def _tables(self) -> Iterator[tuple[str, Sequence[Pair]]]:
        moved = [Pair(s.name, s.before, f"{s.after} (moved by {s.relative:.2%})") for s in self.weights]
        titles = ("metrics", "facts", "layers", "operators", "signature", "labels", "files", "lock", "environment")
        yield from ((title, getattr(self, title)) for title in titles)
        yield f"weights ({self.unchanged:,} are the same)", moved


def compare(before: Side, after: Side) -> Diff:
    """What two versions differ in.

    Raises:
        StoreError: something in one of them is gone or damaged.
    """
    moved, unchanged = shifts(before, after)
    layers, operators = _architecture(before, after)
    a, b = before.version, after.version
    return Diff(
        before=a,
        after=b,
        layers=layers,
        operators=operators,
        signature=_pairs(_signature(before), _signature(after)),
        labels=_pairs(_labels(before), _labels(after)),
        weights=moved,
        unchanged=unchanged,
        metrics=tuple(
            Pair(name, a.metrics.get(name), b.metrics.get(name)) for name in _both(list(a.metrics), list(b.metrics))
        ),
        facts=_pairs(_facts(a), _facts(b)),
        environment=_pairs(_environment(a), _environment(b)),
        files=_pairs(_others(before), _others(after)),
        pipeline=_unified(before, after, "pipeline.toml"),
        lock=_pairs(_settings(before.text("lock.toml")), _settings(after.text("lock.toml"))),
    )


def _both(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """The names of either, in the order of the first."""
    return list(dict.fromkeys([*one, *other]))


def _pairs(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Pair, ...]:
    """What is not the same in two mappings."""
    found = (Pair(name, one.get(name), other.get(name)) for name in _both(list(one), list(other)))
    return tuple(pair for pair in found if pair.before != pair.after)


def _facts(version: Version) -> dict[str, Any]:
    facts = {"data": version.data, "parents": list(version.parents), "holds": list(version.holds)}
    facts |= {name: value for name, value in version.facts.items() if name != "environment"}
    return {name: value for name, value in facts.items() if value not in ("", [])}


def _environment(version: Version) -> dict[str, Any]:
    found = version.facts.get("environment", {})
    return dict(found) if isinstance(found, Mapping) else {}


def _others(side: Side) -> dict[str, str]:
    """The files that nothing else here speaks of, by their digests."""
    said = (_GRAPH, "signature.json", "labels.json", "pipeline.toml", "lock.toml", "version.json", contents.INDEX)
    skipped = ("model-", "training/", "report", "certificate")
    files = side.manifest.files
    return {path: files[path].digest for path in files if path not in said and not path.startswith(skipped)}


def _signature(side: Side) -> dict[str, str]:
    found = Signature.from_json(side.files.document("signature.json"))
    ends = (("input", found.inputs), ("output", found.outputs))
    return {f"{end} {spec.name}": _spec(spec) for end, specs in ends for spec in specs}


def _spec(spec: TensorSpec) -> str:
    unit = f" in {spec.unit}" if spec.unit else ""
    return f"{spec.kind} {spec.dtype} {extent(spec.shape)}{unit}"


def _labels(side: Side) -> dict[str, str]:
    return {str(index): label for index, label in enumerate(side.files.document("labels.json"))}


def _architecture(before: Side, after: Side) -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """The layers and the operators in which two networks differ; nothing is parsed where the graph is the same."""
    if _digest(before) == _digest(after):
        return (), ()
    one, other = _layers(before), _layers(after)
    counts = [dict(sorted(Counter(layer.operator for layer in side).items())) for side in (one, other)]
    return tuple(_aligned(one, other)), _pairs(*counts)


def _digest(side: Side) -> str:
    return side.manifest.files[_GRAPH].digest if _GRAPH in side.files else ""


def _layers(side: Side) -> list[Layer]:
    """The layers of a network in the order they run, known without its weights."""
    from engram.graphs.layers import layers  # onnx takes its time to import, which only a new architecture should cost

    if _GRAPH not in side.files:
        return []
    entries = side.files.entries(set(side.shards().values()))
    shapes = {name: np.broadcast_to(np.float32(), entry.true) for name, entry in entries.items()}
    return list(layers(side.files.content(_GRAPH), shapes))


def _aligned(one: list[Layer], other: list[Layer]) -> Iterator[Pair]:
    """The layers that came, went or changed, in an order in which both networks run."""
    names, others = ([layer.name for layer in side] for side in (one, other))
    matcher = difflib.SequenceMatcher(None, names, others, autojunk=False)
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            both = zip(one[i:j], other[k:m], strict=True)
            yield from (Pair(was.name, _words(was), _words(now)) for was, now in both if was != now)
        else:
            yield from (Pair(was.name, _words(was), None) for was in one[i:j])
            yield from (Pair(now.name, None, _words(now)) for now in other[k:m])


def _words(layer: Layer) -> str:
    weights = [f"{name.rpartition('.')[2]} {extent(axes)}" for name, axes in layer.parameters.items()]
    shape = f" → {extent(layer.shape)}" if layer.shape else ""
    return ", ".join([f"{layer.operator}{shape}", *weights])


def _unified(before: Side, after: Side, path: str) -> str:
    was, now = (side.text(path).splitlines() for side in (before, after))
    names = [f"{side.version.reference} {path}" for side in (before, after)]
    return "\n".join(difflib.unified_diff(was, now, names[0], names[1], lineterm="", n=2))


def _settings(text: str) -> dict[str, Any]:
    """The keys of a TOML file with their values; its lines where it is none."""
    try:
        return dict(_flat(tomllib.loads(text), ""))
    except tomllib.TOMLDecodeError:
        return {f"line {number}": line for number, line in enumerate(text.splitlines(), start=1)}


def _flat(tree: Mapping[str, Any], stem: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{stem}{key}.")
        else:
            yield f"{stem}{key}", value


def _table(title: str, names: tuple[str, str], pairs: Sequence[Pair]) -> str:
    if not pairs:
        return ""
    shown = pairs[:_SHOWN]
    rows = "".join(f"<tr>{''.join(f'<td>{_cell(c)}</td>' for c in (p.name, p.before, p.after))}</tr>" for p in shown)
    more = f"<tr><td>and {len(pairs) - _SHOWN:,} more</td></tr>" if len(pairs) > _SHOWN else ""
    head = "".join(f"<th style='text-align:left'>{html.escape(text)}</th>" for text in (title, *names))
    return f"<table><tr>{head}</tr>{rows}{more}</table>"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return html.escape(f"{value:.4g}" if isinstance(value, float) else str(value))
