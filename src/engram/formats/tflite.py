"""TFLite, the format of LiteRT: networks on phones, boards and in browsers.

A file is written as LiteRT wants it: channels last, BatchNormalization in the weights before it, activations in their
operators, recurrent layers step by step, and any number of rows at once. So that nothing is lost for Engram, the
metadata ``engram`` hold the network as it was trained, the preprocessing and where each weight is; they are believed
only while the rest of the file is what was written with them. The file of any other program is read operator by
operator, with inputs, outputs and weights in the layout they have there.

What TFLite has no operator for is not written around by one of ours: such a network is refused with the names of its
operators.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from numpy import ndarray

from engram.errors import ConversionError, FormatError, MissingLibrary
from engram.formats._tflite import composing, own
from engram.formats._tflite.parse import IDENTIFIER, parse
from engram.formats._tflite.parts import File
from engram.formats._tflite.read import entry_of, read_network
from engram.formats._tflite.serialize import serialize
from engram.formats._worker import asked_pieces
from engram.records import Limits, Model

__all__ = ["CARRIES", "SUFFIXES", "lost", "read", "recognizes", "run", "run_pieces", "runtime", "write"]

SUFFIXES = (".tflite",)
CARRIES = ("graph", "weights", "preprocessing", "names")

_LIBRARY = "ai-edge-litert"


def recognizes(head: bytes, path: Path) -> bool:  # noqa: ARG001 - the contract of the shelf
    """Whether a file has TFLite's four letters at byte 4."""
    return head[4:8] == IDENTIFIER


def read(path: Path, limits: Limits) -> Model:
    """The model in a file: whole when Engram wrote it, else its network in canonical form.

    Raises:
        FormatError: the file is damaged, hostile, over a limit, or uses an operator that is not TFLite's own.
    """
    file = _opened(path, limits)
    notes = own.notes(file, limits)
    if notes is None:
        return read_network(file, path.name, limits)
    return own.own(notes, file, limits)


def write(model: Model, path: Path) -> None:
    """The network as TFLite, with what brings the model back whole beside it.

    Raises:
        ConversionError: the model has no graph, an operator that TFLite has not, or more than 2 GiB of weights.
    """
    if not model.graph:
        raise ConversionError("the model is weights without a graph, which TFLite cannot hold; write safetensors")
    written, composed = composing.written(model)
    bare = File("written by Engram", (written.graph,), (written.entry,))
    settled = parse(memoryview(serialize(bare)), path.name, Limits())
    notes = own.described(model, written, settled, composed=composed)
    path.write_bytes(serialize(replace(bare, metadata=notes)))


def lost(model: Model) -> tuple[str, ...]:
    """What a TFLite file cannot hold of a model for programs other than Engram, one sentence each."""
    found = []
    if model.preprocessing and not composing.written(model)[1]:
        words = ", ".join(repr(spec.name) for spec in model.signature.inputs if spec.dtype == "string")
        why = f"LiteRT takes no texts ({words})" if words else "32 bits or TFLite's operators are not enough for it"
        found.append(f"the preprocessing is in the file for Engram alone, because {why}; LiteRT takes what it makes")
    if b"BatchNormalization" in model.graph:
        found.append(
            "BatchNormalization is folded into the weights before it and Dropout is left out, so that no other program "
            "can train the file further; Engram reads both back"
        )
    return tuple(found)


def run(path: Path, inputs: Mapping[str, ndarray]) -> dict[str, ndarray]:
    """What the file itself answers in LiteRT, in a process of its own; preprocessing runs before it in onnxruntime.

    Args:
        path: of the file.
        inputs: as of the model that ``read`` gives.

    Raises:
        FormatError: LiteRT cannot open it.
        ShapeError: the inputs do not fit.
        MissingLibrary: LiteRT is not installed.
    """
    return run_pieces(path, [inputs])[0]


def run_pieces(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """As ``run`` for several batches at once, in one process."""
    if find_spec("ai_edge_litert") is None:
        raise MissingLibrary(
            "running a .tflite file needs ai-edge-litert, which is not installed; pip install ai-edge-litert"
        )
    file = _opened(path, Limits())
    notes = own.notes(file, Limits())
    given = list(pieces)
    if notes is not None and not notes.get("composed"):
        model = own.own(notes, file, Limits())
        if model.preprocessing:
            from engram.formats import _onnxruntime

            given = _onnxruntime.prepare(model, pieces)
    entry = entry_of(file)
    said = {
        "path": str(path.resolve()),
        "inputs": dict(entry.inputs),
        "outputs": dict(entry.outputs),
        "kernels": "usual",
    }
    asked = [{name: piece[name] for name in entry.inputs} for piece in given]
    return asked_pieces("engram.formats._tflite.interpreter:answer", said, asked)


def runtime() -> str:
    """Name and version of the runtime, with the kernels it takes."""
    try:
        return f"{_LIBRARY} {version(_LIBRARY)} (XNNPACK)"
    except PackageNotFoundError:
        return f"{_LIBRARY} (not installed)"


def _opened(path: Path, limits: Limits) -> File:
    """The records of a file, which look into it where it lies."""
    with path.open("rb") as opened:
        if not path.stat().st_size:
            raise FormatError(f"{path.name} is empty; it was perhaps never written to the end")
        content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    return parse(memoryview(content), path.name, limits)
