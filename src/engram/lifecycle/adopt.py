"""Weights that came alone become a model by the graph of another: of a version, a file, or a pipeline's architecture.

A file of weights says nothing of what is computed with them. Whoever knows says it by name, and every name and shape
must fit: a weight that is left over is as good a sign of the wrong graph as one that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from numpy import ndarray

from engram.errors import UsageError
from engram.formats._convert import read
from engram.plugins import nearest
from engram.records import Model, Watch
from engram.settings import Settings
from engram.store.store import Store

__all__ = ["adopted", "graph_of"]


def graph_of(place: str, *, store: Store, settings: Settings, watch: Watch) -> Model:
    """A model whose graph weights are to be put into.

    Args:
        place: a pipeline file (its data are read and its network is built, untrained), a model file, or a version.
        store: where versions are looked for.
        settings: of this process.
        watch: is told of the stages of a pipeline.

    Raises:
        UsageError: what is there holds weights alone.
        VersionNotFound: there is neither a file nor a version of this name.
    """
    if Path(place).suffix == ".toml":
        found = _built(place, settings, watch)
    else:
        found = read(place) if Path(place).exists() else store.load(place)
    if not found.graph:
        raise UsageError(f"{place} holds weights alone and has no graph to give; name a version that has one")
    return found


def adopted(weights: Model, other: Model, *, path: str, graph: str) -> Model:
    """The model that computes with these weights what another computes with its own.

    Args:
        weights: read from a file that holds nothing else.
        other: what the graph, signature, preprocessing and labels are taken from.
        path: of the file, to be named in an error.
        graph: the name of the other, likewise.

    Raises:
        UsageError: names, shapes or types of the weights are not those of the graph.
    """
    if weights.graph:
        raise UsageError(f"{path} has a graph of its own; leave --graph out")
    for name in other.weights:
        if name not in weights.weights:
            hint = nearest(name, weights.weights)
            raise UsageError(f"{path} has no weight {name!r}, which the graph of {graph} needs; {hint}")
    for name in weights.weights:
        if name not in other.weights:
            raise UsageError(f"{path} has a weight {name!r}, which the graph of {graph} does not know; {_most(other)}")
    for name, array in other.weights.items():
        _fits(name, weights.weights[name], array, graph)
    ordered: Mapping[str, ndarray] = {name: weights.weights[name] for name in other.weights}
    return replace(other, weights=ordered, source={**other.source, "weights": dict(weights.source)})


def _built(place: str, settings: Settings, watch: Watch) -> Model:
    from engram.lifecycle.finish import exported
    from engram.lifecycle.prepare import prepare
    from engram.pipelines.parse import located
    from engram.pipelines.parse import read as described

    pipeline = described(place)
    with located(pipeline.text, pipeline.file):
        prepared = prepare(pipeline, settings, watch)
    return exported(prepared, prepared.network)


def _fits(name: str, given: ndarray, wanted: ndarray, graph: str) -> None:
    if given.shape != wanted.shape or given.dtype != wanted.dtype:
        said = f"{given.dtype} {list(given.shape)}"
        raise UsageError(
            f"weight {name!r} is {said}, but the graph of {graph} needs {wanted.dtype} {list(wanted.shape)}"
        )


def _most(model: Model) -> str:
    return f"it has {len(model.weights):,} weights, such as {', '.join(list(model.weights)[:3])}"
