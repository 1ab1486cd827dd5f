"""The two sides of a comparison: a model as it is here, a file in its own runtime, a program that somebody hands over.

A file is asked in the runtime of its own format where there is one and it is installed. Where there is not, what was
read from it is served instead, which proves less; so each answer says which of the two it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from numpy import ndarray

from engram.errors import MissingLibrary
from engram.formats import _answers, _onnxruntime, _proof, _recognition
from engram.formats._answers import Answers, Piece
from engram.graphs.signature import signature as declared
from engram.records import Model, Signature, TensorSpec

__all__ = ["CANONICAL", "Answered", "Program", "Side", "bare", "layout", "of_file", "of_model", "of_program"]

CANONICAL = "engram"
"""What the canonical form is called where a format is named."""

Program = Callable[[Mapping[str, ndarray]], Mapping[str, ndarray]]


@dataclass(frozen=True, slots=True)
class Answered:
    """What one side answered.

    Attributes:
        answers: one each piece.
        runtime: that answered, with its version.
        served: why it was not the side's own; empty where it was.
    """

    answers: list[Answers]
    runtime: str
    served: str = ""


@dataclass(frozen=True, slots=True)
class Side:
    """One of two that are asked the same.

    Attributes:
        digest: of it.
        name: what to call it in an error.
        format: it is in, as on the shelf; ``engram`` for a model, empty for a program.
        layout: of its network's inputs.
        ask: raw pieces → what it answers.
    """

    digest: str
    name: str
    format: str
    layout: str
    ask: Callable[[Sequence[Piece]], Answered]


def of_model(model: Model) -> Side:
    """A model as it is here."""

    def ask(asked: Sequence[Piece]) -> Answered:
        return Answered(_answers.stages(model, asked), _onnxruntime.VERSION)

    return Side(_proof.digest(model), "the model", CANONICAL, layout(model), ask)


def of_program(model: Model, program: Program) -> Side:
    """The program that a model comes from, which takes the model's raw inputs."""

    def ask(asked: Sequence[Piece]) -> Answered:
        return Answered([dict(program(piece)) for piece in asked], "the program the model comes from")

    return Side(_proof.digest(model), "original", "", layout(model), ask)


def of_file(path: Path, name: str, found: ModuleType, again: Model, original: Model, *, made: bool = False) -> Side:
    """A file or folder.

    Args:
        path: of it.
        name: of its format.
        found: the format.
        again: what was read from it.
        original: whose raw inputs and names of outputs are used in asking; the file may have lost its preprocessing
            or call its tensors otherwise.
        made: whether it was written a moment ago. Some runtimes run what a file says, and are asked only then.
    """
    adapt = _Adapted(original, again)

    def ask(asked: Sequence[Piece]) -> Answered:
        pieces = adapt.inputs(asked)
        answers, runtime, served = _asked(path, name, found, again, pieces, made=made)
        return Answered([adapt.outputs(answer) for answer in answers], runtime, served)

    return Side(_proof.path_digest(path), path.name, name, layout(again), ask)


def bare(model: Model) -> Model:
    """The network alone, which takes what preprocessing makes."""
    return replace(model, preprocessing=b"", signature=Signature(declared(model.graph).inputs, model.signature.outputs))


def layout(model: Model) -> str:
    """The inputs of the network with their axes (``image[batch, 1, 8, 8]``); empty where there is no graph."""
    inputs = declared(model.graph).inputs if model.graph else ()
    return ", ".join(f"{spec.name}[{', '.join(map(str, spec.shape))}]" for spec in inputs)


def _asked(
    path: Path, name: str, found: ModuleType, again: Model, pieces: Sequence[Piece], *, made: bool
) -> tuple[list[Answers], str, str]:
    try:
        if made and hasattr(found, "run_made"):
            return [dict(each) for each in found.run_made(path, pieces)], str(found.runtime()), ""
        if hasattr(found, "run_pieces"):
            return [dict(each) for each in found.run_pieces(path, pieces)], str(found.runtime()), ""
        if hasattr(found, "run"):
            return [dict(found.run(path, piece)) for piece in pieces], str(found.runtime()), ""
        why = f"{name} has no runtime of its own"
        if hasattr(found, "run_made"):
            why = f"{found.runtime()} runs what a file says, and is asked only of files that were made a moment ago"
    except MissingLibrary as missing:
        if not _recognition.reads(found):
            raise
        why = str(missing)
    return _answers.session(again, pieces), _onnxruntime.VERSION, why


class _Adapted:
    """How to ask a file as if it were its original: by preprocessing that it has lost, and by its own names."""

    def __init__(self, original: Model, again: Model) -> None:
        self._original = original
        self._prepares = bool(original.preprocessing) and not again.preprocessing
        given = declared(original.graph).inputs if self._prepares else original.signature.inputs
        self._into = _renamed(given, again.signature.inputs)
        self._out_of = _renamed(again.signature.outputs, original.signature.outputs)

    def inputs(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Raw inputs as the file takes them."""
        found = _onnxruntime.prepare(self._original, pieces) if self._prepares else pieces
        return [{self._into.get(name, name): array for name, array in piece.items()} for piece in found]

    def outputs(self, answers: Answers) -> Answers:
        """What the file answered, by the names of the original."""
        return {self._out_of.get(name, name): array for name, array in answers.items()}


def _renamed(ours: Sequence[TensorSpec], theirs: Sequence[TensorSpec]) -> dict[str, str]:
    """Names by place, where a format does not keep them and only then."""
    if len(ours) != len(theirs) or {spec.name for spec in ours} == {spec.name for spec in theirs}:
        return {}
    return {one.name: other.name for one, other in zip(ours, theirs, strict=True)}
