"""Words become numbers.

Two decisions. A gap that was seen in training is a category of its own, spelled ``""``. Categories beyond the most
frequent ones fold into one column "other", and so do words never seen, because a word never seen is as rare as a word
can be; where nothing had to be folded there is no such column, and a word never seen is all zeros.

The hashed encoding uses ``MurmurHash3`` of onnxruntime's own operators (domain ``com.microsoft``), as ONNX itself has
no hash: other runtimes cannot run a graph that has it. The other two are plain ``ai.onnx.ml``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy import ndarray

from engram.graphs.build import DOMAIN_ML, Builder, element_type
from engram.preprocessing._hash import murmur3

__all__ = ["MAIN", "Fitted", "Options", "fit", "names", "nodes", "transform", "wrong"]

MAIN = "method"


@dataclass(frozen=True, slots=True)
class Options:
    """Options of ``encode``.

    Attributes:
        method: ``onehot`` (one column a category), ``ordinal`` (its place in the order, -1 for a word never seen) or
            ``hashed`` (one column a bucket, the bucket taken from a hash of the word).
        maximum: one-hot: categories with a column of their own, the most frequent first; the rest share "other".
        order: ordinal: the categories from lowest to highest; sorted as text when left out.
        buckets: hashed: columns.
    """

    method: Literal["onehot", "ordinal", "hashed"] = "onehot"
    maximum: int = 64
    order: tuple[str, ...] = ()
    buckets: int = 256


@dataclass(frozen=True, slots=True)
class Fitted:
    """The categories in the order of their columns, whether "other" follows them, and the number of buckets."""

    method: str
    categories: tuple[str, ...] = ()
    other: bool = False
    buckets: int = 0


def wrong(options: Options) -> str:
    """What contradicts itself in these options, as the end of a sentence; empty if nothing does."""
    if options.maximum < 1:
        return f"maximum = {options.maximum} must be at least 1"
    if options.buckets < 1:
        return f"buckets = {options.buckets} must be at least 1"
    if len(set(options.order)) != len(options.order):
        return f"order = {list(options.order)} names a category twice"
    return ""


def fit(values: ndarray, options: Options) -> Fitted:
    """The categories of a column of str, (rows,), ``""`` for a gap."""
    if options.method == "hashed":
        return Fitted("hashed", buckets=options.buckets)
    counts = Counter(values.tolist())
    if options.method == "ordinal":
        return Fitted("ordinal", options.order or tuple(sorted(counts)))
    # A gap always keeps its column; words that are equally frequent are taken in the order of the alphabet.
    kept = sorted(counts, key=lambda word: (word != "", -counts[word], word))[: options.maximum]
    return Fitted("onehot", tuple(sorted(kept)), other=len(counts) > len(kept))


def transform(values: ndarray, fitted: Fitted) -> ndarray:
    """(rows,) of str → float32 (rows, columns) of zeros and ones, or float64 (rows, 1) for ordinal."""
    if fitted.method == "hashed":
        buckets = {word: murmur3(word) % fitted.buckets for word in set(values.tolist())}
        return _ones(np.array([buckets[word] for word in values.tolist()], dtype=np.int64), fitted.buckets)
    places = {word: place for place, word in enumerate(fitted.categories)}
    found = np.array([places.get(word, -1) for word in values.tolist()], dtype=np.int64)
    if fitted.method == "ordinal":
        return found.astype(np.float64)[:, None]
    if fitted.other:
        return _ones(np.where(found < 0, len(places), found), len(places) + 1)
    return _ones(found, len(places))


def nodes(fitted: Fitted, builder: Builder, value: str) -> str:
    """The same as nodes: string (batch,) → float32 (batch, columns), or float64 (batch, 1) for ordinal."""
    if fitted.method == "hashed":
        return _hashed(fitted, builder, value)
    if fitted.method == "ordinal":
        return _ordinal(fitted, builder, value)
    known = builder.node("OneHotEncoder", value, domain=DOMAIN_ML, cats_strings=list(fitted.categories), zeros=1)
    if not fitted.other:
        return known
    total = builder.node("ReduceSum", known, builder.constant(np.array([1])), keepdims=1)
    return builder.node("Concat", known, builder.node("Sub", builder.constant(np.float32(1)), total), axis=1)


def names(fitted: Fitted, names: Sequence[str]) -> list[str]:
    """``workclass=Private`` for each category, ``workclass=`` for the gap, ``workclass (other)``, ``workclass #3``."""
    (name,) = names
    if fitted.method == "hashed":
        return [f"{name} #{bucket}" for bucket in range(fitted.buckets)]
    if fitted.method == "ordinal":
        return [name]
    return [*(f"{name}={word}" for word in fitted.categories), *([f"{name} (other)"] if fitted.other else [])]


def _ones(places: ndarray, width: int) -> ndarray:
    """One row a place, with a 1 there; all zeros where the place is -1."""
    ones: ndarray = (places[:, None] == np.arange(width)).astype(np.float32)
    return ones


def _ordinal(fitted: Fitted, builder: Builder, value: str) -> str:
    place = builder.node(
        "LabelEncoder",
        value,
        domain=DOMAIN_ML,
        keys_strings=list(fitted.categories),
        values_int64s=list(range(len(fitted.categories))),
        default_int64=-1,
    )
    number = builder.node("Cast", place, to=element_type("float64"))
    return builder.node("Unsqueeze", number, builder.constant(np.array([1])))


def _hashed(fitted: Fitted, builder: Builder, value: str) -> str:
    unsigned = builder.node("MurmurHash3", value, domain="com.microsoft", positive=1, seed=0)
    hashed = builder.node("Cast", unsigned, to=element_type("int64"))
    bucket = builder.node("Mod", hashed, builder.constant(np.array(fitted.buckets)))
    return builder.node("OneHotEncoder", bucket, domain=DOMAIN_ML, cats_int64s=list(range(fitted.buckets)), zeros=1)
