"""Running a model in onnxruntime, the default runtime.

Graphs are opened from a temporary path and not from bytes, because opening from bytes holds the interpreter's lock for
up to 0.7 s; and spinning is off, because threads that spin double the processor time of a server for nothing.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy import ndarray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from engram.errors import FormatError, ShapeError
from engram.graphs.compose import classes, compose
from engram.records import Model, Prediction, Signature, TensorSpec
from engram.runtime import _batches

__all__ = ["VERSION", "Preprocessor", "Session", "open", "preprocess", "run", "run_pieces"]

VERSION = f"onnxruntime {onnxruntime.__version__}"

_TABLE_ROWS = 1024
_IMAGE_ROWS = 128
_IMAGE_RANK = 4
_SEVERE = 3
_PATIENCE = 8.0
"""Seconds that a graph with a Loop may take to answer once; how often it turns is not seen before."""
_REFUSALS = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NotImplemented,
    state.RuntimeException,
)


def run(graph: bytes | Path, inputs: Mapping[str, ndarray], threads: int = 1) -> dict[str, ndarray]:
    """What a graph answers, every output by name.

    Args:
        graph: a serialized ModelProto with its weights inside, or a file of one with its weights beside it.
        inputs: all rows at once, by the graph's names; strings as object arrays.
        threads: within one operator.

    Raises:
        FormatError: onnxruntime cannot open the graph, or it loops for longer than a few seconds.
        ShapeError: the inputs do not fit it.
    """
    return run_pieces(graph, [inputs], threads)[0]


def run_pieces(
    graph: bytes | Path, pieces: Sequence[Mapping[str, ndarray]], threads: int = 1
) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches, one after the other."""
    session = _load(graph, threads)
    asked = _stopped if b"Loop" in (graph if isinstance(graph, bytes) else graph.read_bytes()) else _run
    return [asked(session, piece) for piece in pieces]


def preprocess(graph: bytes, inputs: Mapping[str, ndarray], batch: int = 4096, threads: int = 1) -> dict[str, ndarray]:
    """Raw columns as the tensors a network takes.

    Args:
        graph: a preprocessing graph.
        inputs: raw columns as in the model's signature, others are left alone; images may be an object array of
            several sizes.
        batch: rows at once.
        threads: within one operator.

    Raises:
        ShapeError: the columns do not fit the graph.
    """
    return Preprocessor(graph, threads).run(inputs, batch)


class Preprocessor:
    """A preprocessing graph ready to run, for those who have rows in many pieces."""

    def __init__(self, graph: bytes, threads: int = 1) -> None:
        self._session = _load(graph, threads)
        self._inputs = _specs(self._session.get_inputs())

    def run(self, inputs: Mapping[str, ndarray], batch: int = 4096) -> dict[str, ndarray]:
        """See ``preprocess``."""
        wanted = {spec.name: inputs[spec.name] for spec in self._inputs if spec.name in inputs}
        arrays = _batches.check(wanted, self._inputs)
        parts = [(rows, _run(self._session, _batches.take(arrays, rows))) for rows in _batches.pieces(arrays, batch)]
        return _batches.gather(parts) if parts else _batches.empty(_specs(self._session.get_outputs()))


def open(model: Model, threads: int = 1) -> Session:  # noqa: A001 - the verb of every stage that opens something
    """A model ready to answer.

    Raises:
        FormatError: onnxruntime cannot open the composed graph.
        ConversionError: preprocessing and network do not fit together.
    """
    return Session(compose(model, network_outputs=True), model.signature, classes(model), threads)


class Session:
    """A model ready to answer; any number of threads may ask at once.

    Args:
        composed: the whole model as ``compose`` makes it, with the network's own outputs; bytes, or a file of them.
        signature: of the model.
        labels: its classes in order; empty where it does not classify.
        threads: within one operator.
    """

    def __init__(self, composed: bytes | Path, signature: Signature, labels: tuple[str, ...], threads: int = 1) -> None:
        self.signature = signature
        self.classes = labels
        self._session = _load(composed, threads)
        names = [output.name for output in self._session.get_outputs()]
        own = len(self.signature.outputs)
        self._answer = names[:-own] if len(names) > own else []
        self._own = dict(zip(names[-own:], self.signature.outputs, strict=True))
        first = self.signature.inputs[0].shape[:1]
        self._fixed = first[0] if first and isinstance(first[0], int) else 0
        pictures = any(spec.kind == "image" or len(spec.shape) > 2 for spec in self.signature.inputs)
        self._rows = _IMAGE_ROWS if pictures else _TABLE_ROWS

    def predict(self, inputs: Mapping[str, ndarray], batch: int = 0) -> Prediction:
        """What the model answers for these rows, in their order.

        Args:
            inputs: one array an input of the signature, rows first; images of several sizes as an object array.
            batch: rows at once; 0 takes 1,024 for tables and 128 for images.

        Raises:
            ShapeError: an input is missing, unknown, or of the wrong type or shape.
        """
        arrays = _batches.check(inputs, self.signature.inputs)
        size = self._fixed or batch or self._rows
        parts = [(rows, self._piece(arrays, rows)) for rows in _batches.pieces(arrays, size)]
        return self._prediction(_batches.gather(parts) if parts else self._nothing())

    def _piece(self, arrays: Mapping[str, ndarray], rows: ndarray) -> dict[str, ndarray]:
        if not self._fixed or len(rows) == self._fixed:
            return _run(self._session, _batches.take(arrays, rows))
        filled = np.concatenate([rows, np.repeat(rows[-1:], self._fixed - len(rows))])
        return {n: array[: len(rows)] for n, array in _run(self._session, _batches.take(arrays, filled)).items()}

    def _nothing(self) -> dict[str, ndarray]:
        return _batches.empty(_specs(self._session.get_outputs()))

    def _prediction(self, found: Mapping[str, ndarray]) -> Prediction:
        outputs = {spec.name: found[name] for name, spec in self._own.items()}
        if self.classes:
            label, chances = self._answer
            return Prediction(labels=found[label], probabilities=found[chances], classes=self.classes, outputs=outputs)
        values = found[self._answer[0]] if self._answer else None
        return Prediction(values=values, outputs=outputs)


def _load(graph: bytes | Path, threads: int) -> onnxruntime.InferenceSession:
    if isinstance(graph, Path):
        return _opened(graph, threads)
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph)
        return _opened(path, threads)


def _opened(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _SEVERE
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except _REFUSALS as refused:
        raise FormatError(f"onnxruntime cannot open the graph: {_first_line(refused)}") from refused


def _stopped(session: onnxruntime.InferenceSession, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """The same of a graph that may loop for ever: it is told to stop, and looks for that between two operators."""
    options = onnxruntime.RunOptions()
    stop = threading.Timer(_PATIENCE, setattr, (options, "terminate", True))
    stop.start()
    try:
        return _run(session, inputs, options)
    except ShapeError as refused:
        if not options.terminate:
            raise
        raise FormatError(f"the graph loops for more than {_PATIENCE:.0f} s over a few rows") from refused
    finally:
        stop.cancel()


def _run(
    session: onnxruntime.InferenceSession, inputs: Mapping[str, ndarray], options: onnxruntime.RunOptions | None = None
) -> dict[str, ndarray]:
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, dict(inputs), options), strict=True))
    except (*_REFUSALS, ValueError) as refused:
        raise ShapeError(f"onnxruntime refuses the inputs: {_first_line(refused)}") from refused


def _specs(declared: Sequence[onnxruntime.NodeArg]) -> tuple[TensorSpec, ...]:
    """What onnxruntime says of inputs or outputs, in our words (``tensor(float)`` is ``float32``)."""
    renamed = {"float": "float32", "double": "float64"}
    specs = []
    for value in declared:
        kind = value.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(f"{value.name}.{n}" if axis is None else axis for n, axis in enumerate(value.shape))
        picture = kind == "uint8" and len(shape) == _IMAGE_RANK
        specs.append(TensorSpec(value.name, renamed.get(kind, kind), shape, kind="image" if picture else "tensor"))
    return tuple(specs)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]
