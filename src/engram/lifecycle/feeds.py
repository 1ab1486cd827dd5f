"""From the parts of a dataset to what the training loop is fed with.

Rows are prepared once and kept in memory up to a bound; beyond it every batch is prepared as it is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from numpy import ndarray

from engram.data._target import encode
from engram.lifecycle.prepare import Prepared
from engram.records import Part, Progress, Watch
from engram.runtime.onnxruntime import Preprocessor
from engram.training.feed import Feed, MemoryFeed, StreamFeed

__all__ = ["LARGEST", "feeds", "truth"]

LARGEST = 4 * 2**30
_CHUNK = 2048


def feeds(prepared: Prepared, watch: Watch, largest: int = LARGEST) -> dict[str, Feed]:
    """The feeds of the training and the validation part.

    Args:
        prepared: the data and their preprocessing.
        watch: told about the rows prepared.
        largest: bytes of prepared rows that are kept in memory.
    """
    spec = prepared.signature.inputs[0]
    session = Preprocessor(prepared.preprocessing.graph, threads=prepared.pipeline.train.threads or 1)
    each = 4 * prod(axis for axis in spec.shape[1:] if isinstance(axis, int))
    left, made = largest, dict[str, Feed]()
    for name in ("validation", "train"):
        part = prepared.dataset.parts.get(name)
        if part is None or not len(part):
            continue
        prepare = _preparing(part, session, spec.name)
        targets, device = truth(prepared, part), prepared.pipeline.train.device
        if len(part) * each <= left:
            made[name] = MemoryFeed(_all(prepare, len(part), name, watch), targets, device)
            left -= len(part) * each
        else:
            made[name] = StreamFeed(prepare, targets, device)
    return made


def truth(prepared: Prepared, part: Part) -> ndarray:
    """What is to be answered for every row of a part: int64 class numbers, or float32, (rows,)."""
    return encode(prepared.task, part.column(prepared.task.target))


def _preparing(part: Part, session: Preprocessor, name: str) -> Callable[[ndarray], ndarray]:
    def prepare(rows: ndarray) -> ndarray:
        return session.run(part.take(rows))[name]

    return prepare


def _all(prepare: Callable[[ndarray], ndarray], rows: int, name: str, watch: Watch) -> ndarray:
    first = prepare(np.arange(min(rows, _CHUNK)))
    filled = np.empty((rows, *first.shape[1:]), dtype=np.float32)
    filled[: len(first)] = first
    for start in range(_CHUNK, rows, _CHUNK):
        watch(Progress("preparing", start, rows, note=name))
        stop = min(start + _CHUNK, rows)
        filled[start:stop] = prepare(np.arange(start, stop))
    return filled
