"""The nouns of Engram as files of a manifest, and back.

Weights, their average and the best ones are cut alike, so that a checkpoint whose best weights are those of an earlier
one, and the version that is made of them, share every blob. Pages and documents are files of their own, which other
tools can open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

from numpy import ndarray

from engram.errors import StoreError, UnknownName
from engram.plugins import nearest
from engram.records import (
    Certificate,
    Curve,
    Gap,
    Importance,
    Model,
    Report,
    Score,
    Signature,
    TrainingState,
    Weak,
)
from engram.store import documents
from engram.store.files import Files
from engram.store.objects import Content
from engram.store.weights import tensors
from engram.store.weights.encodings import Entry

__all__ = [
    "certificate",
    "entries",
    "holds",
    "model",
    "outline",
    "pack_certificate",
    "pack_model",
    "pack_report",
    "pack_state",
    "pack_weights",
    "report",
    "state",
    "weights",
]

T = TypeVar("T")
_FOUND: Mapping[str, Callable[..., Any]] = {
    "weak": Weak,
    "gaps": Gap,
    "importance": Importance,
    "robustness": lambda disturbance, **curve: Curve(
        disturbance, **{name: tuple(each) for name, each in curve.items()}
    ),
}
INDEX = "model.safetensors.index.json"
_GROUPS = ("slots", "average", "random", "best")
_PLAIN = ("epoch", "step", "position", "optimizer", "scheduler", "stopping", "progress", "history", "extra")


def pack_weights(arrays: Mapping[str, ndarray]) -> dict[str, Content]:
    """Weights as shards with the usual index, which tells the shard of each name."""
    files = _shards("model", arrays, "weight")
    where = {name: path for path, shard in files.items() for name in shard.names}
    total = sum(array.nbytes for shard in files.values() for array in shard.arrays)
    index = documents.encode({"metadata": {"total_size": total}, "weight_map": where}, "index of the weights")
    return {**files, INDEX: index}


def pack_model(model: Model) -> dict[str, Content]:
    """A model as files.

    Raises:
        UsageError: a weight is of a type that cannot be kept, or ``source`` or ``statistics`` are not plain JSON.
    """
    parts = {"signature": model.signature.as_json(), "labels": model.labels}
    parts |= {"statistics": model.statistics, "source": model.source}
    files: dict[str, Content] = {"graph.onnx": model.graph} if model.graph else {}
    if model.preprocessing:
        files["preprocessing.onnx"] = model.preprocessing
    files |= {f"{name}.json": documents.encode(value, name) for name, value in parts.items()}
    return {**files, **pack_weights(model.weights)}


def pack_state(state: TrainingState) -> dict[str, Content]:
    """A training state as files.

    Raises:
        UsageError: a value in it is not plain JSON (a learning rate that is a numpy scalar); its place is named.
    """
    plain = {name: getattr(state, name) for name in _PLAIN}
    files: dict[str, Content] = {"training/state.json": documents.encode(plain, "training state")}
    for group in _GROUPS:
        files |= _shards(f"training/{group}", getattr(state, group), group)
    return files


def pack_report(report: Report) -> dict[str, Content]:
    """A report as files: its figures, and its page where it has one."""
    figures = {name: value for name, value in asdict(report).items() if name != "page"}
    files: dict[str, Content] = {"report.json": documents.encode(documents.relaxed(figures), "report")}
    return {**files, "report.html": report.page.encode()} if report.page else files


def pack_certificate(certificate: Certificate) -> dict[str, Content]:
    """A certificate as a file."""
    return {"certificate.json": documents.encode(documents.relaxed(asdict(certificate)), "certificate")}


def holds(model: Model, parts: Mapping[str, Mapping[str, Content]]) -> tuple[str, ...]:
    """The words for what a version has: the parts of its model, then the others that are not empty."""
    own = {"graph": model.graph, "weights": model.weights, "preprocessing": model.preprocessing}
    return tuple(part for part, content in {**own, **parts}.items() if content and part != "model")


def weights(files: Files, names: tuple[str, ...] = ()) -> dict[str, ndarray]:
    """The weights with these names, or all; only the blobs that hold them are opened.

    Raises:
        UnknownName: there is no weight of a name; the message gives the nearest.
        StoreError: a blob is not there or damaged, or the index names a tensor that its shard does not have.
    """
    where = files.document(INDEX)["weight_map"]
    asked: dict[str, set[str]] = {}
    for name in names:
        if name not in where:
            raise UnknownName(f"{files.name} has no weight {name!r}; {nearest(name, where)}")
        asked.setdefault(where[name], set()).add(name)
    held = Counter(where.values()) if asked else {}
    parts = {path: some if len(some) < held[path] else None for path, some in asked.items()}
    return _of(files, names or where, files.arrays(parts or dict.fromkeys(where.values())))


def entries(files: Files) -> dict[str, Entry]:
    """Type and shape of every weight, without its numbers.

    Raises:
        StoreError: a blob is not there or damaged, or the index names a tensor that its shard does not have.
    """
    where = files.document(INDEX)["weight_map"]
    return _of(files, where, files.entries(set(where.values())))


def _of(files: Files, names: Iterable[str], found: Mapping[str, T]) -> dict[str, T]:
    try:
        return {name: found[name] for name in names}
    except KeyError as missing:
        raise StoreError(f"the weights of {files.name} lack {missing}; run engram verify") from missing


def model(files: Files) -> Model:
    """The model that ``pack_model`` took apart, its weights as read-only views of the store's own bytes."""
    return Model(
        graph=files.content("graph.onnx") if "graph.onnx" in files else b"",
        weights=weights(files),
        signature=Signature.from_json(files.document("signature.json")),
        preprocessing=files.content("preprocessing.onnx") if "preprocessing.onnx" in files else b"",
        labels=tuple(files.document("labels.json")),
        source=files.document("source.json"),
        statistics=files.document("statistics.json"),
    )


def state(files: Files) -> TrainingState:
    """The training state that ``pack_state`` took apart."""
    groups: dict[str, Any] = {group: files.group(f"training/{group}-") for group in _GROUPS}
    return replace(outline(files), **groups)


def outline(files: Files) -> TrainingState:
    """The training state without its arrays, for which no other file is opened."""
    plain: dict[str, Any] = files.document("training/state.json")
    plain["history"] = tuple(plain["history"])
    return _made(TrainingState, plain, f"the training state of {files.name}")


def report(files: Files) -> Report:
    """The report that ``pack_report`` took apart."""
    found: dict[str, Any] = files.document("report.json")
    found["scores"] = tuple(Score(**score) for score in found["scores"])
    found["confusion"] = tuple(tuple(row) for row in found["confusion"])
    for name, kind in _FOUND.items():  # a report that was kept before these were looked for has none of them
        found[name] = tuple(_made(kind, each, f"the report of {files.name}") for each in found.get(name, ()))
    for name in ("labels", "diagnosis", "findings", "history"):
        found[name] = tuple(found[name])
    page = files.content("report.html").decode() if "report.html" in files else ""
    return _made(Report, {**found, "page": page}, f"the report of {files.name}")


def certificate(files: Files) -> Certificate:
    """The certificate that ``pack_certificate`` took apart."""
    found: dict[str, Any] = files.document("certificate.json")
    return _made(lambda **values: Certificate.from_json(values), found, f"the certificate of {files.name}")


def _made(kind: Callable[..., T], found: Mapping[str, Any], where: str) -> T:
    try:
        return kind(**found)
    except TypeError as wrong:
        raise StoreError(f"{where} was kept by another Engram: {wrong}; pip install --upgrade engram") from wrong


def _shards(stem: str, arrays: Mapping[str, ndarray], where: str) -> dict[str, tensors.Shard]:
    shards = tensors.plan(arrays, where)
    return {f"{stem}-{n:05}-of-{len(shards):05}.safetensors": shard for n, shard in enumerate(shards, start=1)}
