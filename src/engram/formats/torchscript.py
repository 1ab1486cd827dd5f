"""TorchScript (``.pt`` of ``torch.jit.save``), read where its graph computes values and does nothing else.

The file is a zip with code in torch's own dialect of Python. Weights are read without torch and without the code. The
graph needs torch, which opens the file in the isolated worker: there it is walked through operator by operator and
handed over as a program of ``torch.export``, which is read as any other. Loops, branches on numbers, Python, classes
and operators of somebody's own are refused by name. What the inputs are the file does not say; it is told from the
layers that read them, and from what the module takes.

What is written is a trace of the module that trains the network, and opens with ``torch.jit.load``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _carried, _worker, pt2
from engram.formats._faults import typed
from engram.formats._pt2 import asking
from engram.formats._torchscript import container
from engram.records import Limits, Model

__all__ = ["ALSO", "CARRIES", "SUFFIXES", "read", "recognizes", "run_made", "runtime", "write"]

SUFFIXES = (".torchscript", ".ts")
ALSO = (".pt", ".pth")
CARRIES = ("graph", "weights", "preprocessing", "names")


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a zip with code and a module in it."""
    return container.recognizes(head, path)


@typed
def read(path: Path, limits: Limits) -> Model:
    """The network and its weights under their own names; whole, and without torch, where Engram wrote the file.

    Raises:
        FormatError: the file is damaged, hostile or over a limit, or its graph is not one of values alone.
        MissingLibrary: torch is not installed, and somebody else wrote the file.
    """
    found = container.opened(path, limits)
    if found.notes:
        return _carried.whole(found.notes, found.weights, f"the member {_carried.MEMBER!r}", limits)
    asking.installed("reading the graph of a TorchScript file")
    said = {"path": str(path.resolve()), "inputs": found.inputs}
    _, made = _worker.asked("engram.formats._torchscript.job:convert", said, framework=asking.TORCH)
    with tempfile.TemporaryDirectory(prefix="engram-") as place:
        program = Path(place, "model.pt2")
        program.write_bytes(made["program"].tobytes())
        model = pt2.read(program, limits)
    if not model.weights.keys() <= found.weights.keys():
        raise FormatError(f"{path.name} has other weights in torch than in the file; it is damaged")
    return replace(model, weights=dict(found.weights), source={"format": "torchscript"})


def run_made(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """What torch itself answers from a file that was written a moment ago, for several batches.

    Raises:
        FormatError: torch cannot open or run it.
        MissingLibrary: torch is not installed.
    """
    return asking.answers("engram.formats._pt2.answering:trace", path, read(path, Limits()), pieces)


def runtime() -> str:
    """Name and version of what ``run_made`` asks."""
    return asking.runtime()


def write(model: Model, path: Path) -> None:
    """The network as a traced module, through ``torch.jit.save``.

    Raises:
        ConversionError: the model has no graph, or a type or node that torch has not.
        MissingLibrary: torch is not installed.
    """
    asking.checked(model, f"writing {path.suffix}")
    question = asking.question(model, model.weights)
    said = {"path": str(path.resolve())}
    _worker.asked("engram.formats._torchscript.job:save", said, question, framework=asking.TORCH)
