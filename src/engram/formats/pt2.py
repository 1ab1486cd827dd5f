"""PyTorch's exported programs (``.pt2``), as ``torch.export.save`` writes them, read without torch.

Such a file is a zip with the network as a list of calls of torch's operators in JSON, and its numbers beside it. Each
operator is translated by a table of our own; one that is not in the table is refused by name. torch's own loader
unpickles the example inputs that lie in the file, without any guard where the guarded way fails; here they are never
looked at, and the lengths that it gives to ``sympify`` are read by a grammar of a few lines.

A program that was exported while training is read as the network that it is: BatchNormalization and Dropout answer as
when serving, and train again where the graph is trained.

What is written comes from ``torch.export`` itself, asked in the isolated worker, and opens with ``torch.export.load``:
parameters under their own names, inputs under theirs. Dropout, which does nothing in a program that answers, and
whatever else torch has no place for go with the file as a text that only Engram reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy import ndarray

from engram.formats import _carried
from engram.formats._faults import typed
from engram.formats._pt2 import asking, container, program, reading, writing
from engram.records import Limits, Model

__all__ = ["CARRIES", "SUFFIXES", "read", "recognizes", "run_made", "runtime", "write"]

SUFFIXES = (".pt2",)
CARRIES = ("graph", "weights", "preprocessing", "names")


def recognizes(head: bytes, path: Path) -> bool:
    """Whether a file is a zip with a program of ``torch.export`` in it."""
    return container.recognizes(head, path)


@typed
def read(path: Path, limits: Limits) -> Model:
    """The network and its weights under their own names; whole where Engram wrote the file.

    Raises:
        FormatError: the file is damaged, hostile or over a limit, or calls an operator that is not read.
    """
    found = container.opened(path, limits)
    if found.notes:
        return _carried.whole(found.notes, found.weights, f"the member {_carried.MEMBER!r}", limits)
    known = program.parsed(found.program, limits)
    graph, signature = reading.graph(known, found.weights, found.constants, limits)
    source = {"format": "pt2", "torch": known.version}
    return Model(graph, dict(found.weights), signature, source=source)


def run_made(path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """What torch itself answers from a file that was written a moment ago, for several batches.

    Raises:
        FormatError: torch cannot open or run it.
        MissingLibrary: torch is not installed.
    """
    return asking.answers("engram.formats._pt2.answering:program", path, read(path, Limits()), pieces)


def runtime() -> str:
    """Name and version of what ``run_made`` asks."""
    return asking.runtime()


def write(model: Model, path: Path) -> None:
    """The network as a program of ``torch.export``.

    Raises:
        ConversionError: the model has no graph, a type or node that torch has not, or a length that torch must fix.
        MissingLibrary: torch is not installed.
    """
    writing.write(model, path)
