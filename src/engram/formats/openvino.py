"""OpenVINO's intermediate representation: a network for Intel's processors, graphics and accelerators. Written only.

The network becomes ONNX and OpenVINO's own front end makes the IR of it, in a process of its own, with nothing
optimized: so every weight stands in the binary under its own name and to the bit, which is looked at before the file is
handed over. A table of our own would be a second reading of some two hundred operators that theirs reads already.

The certificate is asked in OpenVINO on the processor in 32 bits. Whoever loads the file should set
``INFERENCE_PRECISION_HINT`` to ``f32`` too where answers matter to the last digits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import onnx as library
from numpy import ndarray

from engram.errors import ConversionError, FormatError, MissingLibrary
from engram.formats import _description, _document, _stored_onnx
from engram.formats._nursery import Framework
from engram.formats._openvino import held
from engram.formats._worker import asked, asked_pieces
from engram.graphs.weights import names
from engram.records import Limits, Model

__all__ = ["CARRIES", "READS", "SUFFIXES", "lost", "read", "recognizes", "run", "run_pieces", "runtime", "write"]

SUFFIXES = (".xml",)
CARRIES = ("graph", "weights", "names")
READS = False

_BINARY = ".bin"
_LIBRARY = "openvino"
_FRAMEWORK = Framework((_LIBRARY, "engram.formats._openvino.rehearsal"))


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a file begins as XML whose outermost element is a network."""
    text = head.lstrip()
    return text.startswith(b"<net ") or (text.startswith(b"<?xml") and b"<net " in text[:200])


def read(path: Path, limits: Limits) -> Model:  # noqa: ARG001 - the contract of the shelf
    """Refuse, because an IR is what a network ends as.

    Raises:
        FormatError: always.
    """
    raise FormatError(f"{path.name} is OpenVINO's IR, which is only written here; import the file it was made from")


def write(model: Model, path: Path) -> None:
    """The network as XML, and its weights in a binary beside it that is called alike.

    Raises:
        ConversionError: the model has no graph, an operator that OpenVINO does not have, or a weight that it changes.
        MissingLibrary: OpenVINO is not installed.
    """
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which OpenVINO cannot hold; write safetensors")
    _needed("writing")
    binary = path.with_suffix(_BINARY)
    weights = {name: model.weights[name] for name in sorted(names(model.graph))}
    notes = _document.text(_description.describe(model), "the description of the model").decode()
    with tempfile.TemporaryDirectory(prefix="engram-") as folder:
        network = Path(folder) / "network.onnx"
        _stored_onnx.save(_hollow(model.graph), weights, network)
        places = {"network": str(network), "path": str(path.resolve()), "weights": str(binary.resolve())}
        asked("engram.formats._openvino.job:convert", {**places, "notes": notes}, framework=_FRAMEWORK)
    held.check(path, binary, weights)


def lost(model: Model) -> tuple[str, ...]:
    """What an IR cannot hold of a model, one sentence each."""
    found = []
    if model.preprocessing:
        found.append(
            "the preprocessing is left out, because an IR is the network alone; give it what preprocessing makes"
        )
    if model.labels:
        found.append("the labels stand in the file as a note; OpenVINO answers with numbers")
    if any(operator in model.graph for operator in (b"BatchNormalization", b"Dropout")):
        found.append(
            "Dropout is left out and BatchNormalization stands as it answers, so that nobody can train the file further"
        )
    idle = sorted(model.weights.keys() - names(model.graph)) if model.graph else []
    if idle:
        found.append(f"{len(idle)} weights that the network does not use are left out, as {idle[0]!r}")
    return tuple(found)


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the file itself answers in OpenVINO on the processor in 32 bits, in a process of its own.

    Raises:
        FormatError: OpenVINO cannot open it.
        ShapeError: the inputs do not fit.
        MissingLibrary: OpenVINO is not installed.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once, in one process."""
    _needed("running")
    places = {"path": str(path.resolve()), "weights": str(path.with_suffix(_BINARY).resolve())}
    return asked_pieces("engram.formats._openvino.job:answer", places, pieces, framework=_FRAMEWORK)


def runtime() -> str:
    """Name and version of the runtime, and how it computes."""
    try:
        return f"{_LIBRARY} {version(_LIBRARY)} (CPU, f32)"
    except PackageNotFoundError:
        return f"{_LIBRARY} (not installed)"


def _needed(doing: str) -> None:
    if find_spec(_LIBRARY) is None:
        raise MissingLibrary(f"{doing} OpenVINO's IR needs openvino, which is not installed; pip install openvino")


def _hollow(graph: bytes) -> library.ModelProto:
    """The graph without what lies outside it."""
    found = library.ModelProto()
    found.ParseFromString(graph)
    inside = [
        library.TensorProto.FromString(tensor.SerializeToString())
        for tensor in found.graph.initializer
        if tensor.data_location != library.TensorProto.EXTERNAL
    ]
    del found.graph.initializer[:]
    found.graph.initializer.extend(inside)
    return found
