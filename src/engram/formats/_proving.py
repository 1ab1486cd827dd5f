"""Asking two sides the same, writing down how far they lie apart, and refusing what lies too far."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engram.errors import UsageError
from engram.formats import _answers, _bisection, _folders, _held, _proof
from engram.formats._answers import Answers, Piece
from engram.formats._probes import affordable, drawn, question
from engram.formats._sides import CANONICAL, Answered, Side
from engram.records import Certificate, Model

__all__ = ["Request", "prove", "prove_weights", "versions"]

_ROWS = 64
_LIBRARIES = ("engram", "numpy", "onnx", "onnxruntime", "safetensors")
_PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Request:
    """How a conversion is to be proven.

    Attributes:
        tolerance: largest difference allowed, absolute and relative to the answer together.
        seed: of the probe rows.
        lost: what the target cannot hold, one sentence each.
        beside: further files of the converted model.
    """

    tolerance: float = 1e-5
    seed: int = 0
    lost: tuple[str, ...] = ()
    beside: Sequence[Path] = ()


def prove(model: Model, one: Side, other: Side, request: Request, again: Model | None = None) -> Certificate:
    """The certificate of two sides that answer alike.

    Args:
        model: decides what is asked, and what its first output means.
        one: the original.
        other: the converted one.
        request: how.
        again: the network as it came back, to tell where the two part; None where it was not read.

    Raises:
        ConversionError: they answer differently, or cannot be compared.
        UsageError: they answer in names of which none is the same.
    """
    fixed = _answers.batch(model) or (_answers.batch(again) if again is not None else 0)
    count = affordable(model.signature, _ROWS)
    asked = question(model, max(-(-count // fixed), 1) * fixed if fixed else count, request.seed)
    rows = drawn(asked)
    pieces = _answers.pieces(model, rows, fixed)
    found = one.ask(pieces), other.ask(pieces)
    original, converted = (_whole(model, each) for each in found)
    about = replace(
        _about(one, other, request, found),
        rows=asked.rows,
        real=asked.real,
        precision=_precision(model),
        asked=_held.question_as_json(asked, rows, _lacking(model, again, rows)),
        answers=_held.answers_as_json(original, asked.rows),
    )
    certificate = _proof.certify(original, _shared(original, converted, one), about)
    if not certificate.holds:
        raise _proof.refusal(certificate, other.name, _where(model, again, pieces, certificate))
    return certificate


def prove_weights(model: Model, again: Model, one: Side, other: Side, request: Request) -> Certificate:
    """The certificate of two sides of which one has no graph: every weight is compared, and nothing can be asked.

    Raises:
        ConversionError: a weight differs or is not there.
    """
    why = "there is no graph to ask, so the weights were compared"
    nothing = Answered([], "", why)
    certificate = _proof.certify(model.weights, again.weights, _about(one, other, request, (nothing, nothing)))
    if not certificate.holds:
        raise _proof.refusal(certificate, other.name)
    return certificate


def versions() -> dict[str, str]:
    """The libraries that take part, with their versions."""
    found = {}
    for name in (*_LIBRARIES, *(["torch"] if "torch" in sys.modules else [])):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _about(one: Side, other: Side, request: Request, found: tuple[Answered, Answered]) -> Certificate:
    """The certificate of two sides, but for what they were asked and answered."""
    first, second = found
    return Certificate(
        original=one.digest,
        converted=other.digest,
        target=other.format,
        differences=(),
        agreement=1.0,
        tolerance=request.tolerance,
        seed=request.seed,
        rows=0,
        runtimes=(first.runtime, second.runtime),
        versions=versions(),
        source=one.format,
        provider=_PROVIDER if "onnxruntime" in f"{first.runtime} {second.runtime}" else "",
        layouts=(one.layout, other.layout),
        served=(first.served, second.served),
        lost=request.lost,
        beside={name: f"sha256:{found}" for name, found in _folders.sums({p.name: p for p in request.beside}).items()},
    )


def _lacking(model: Model, again: Model | None, rows: Piece) -> Piece | None:
    """What the file cannot make of raw rows itself."""
    if not model.preprocessing or again is None or again.preprocessing:
        return None
    return _answers.tensors(model, rows)


def _whole(model: Model, found: Answered) -> Answers:
    return _answers.joined(_answers.told(model, each) for each in found.answers)


def _shared(original: Answers, converted: Answers, one: Side) -> Answers:
    """What both sides answered: a composed graph tells label and probabilities, another program only its outputs.

    A model itself tells everything; whatever the other says beyond is then an error and is left for ``certify``.
    """
    if one.format == CANONICAL:
        return converted
    found = {name: array for name, array in converted.items() if name in original}
    if not found:
        given, wanted = ", ".join(original), ", ".join(converted)
        raise UsageError(f"{one.name} answered with {given}, but one of {wanted} is needed to compare")
    return found


def _precision(model: Model) -> str:
    """In what the outputs are computed."""
    kinds = {spec.dtype for spec in model.signature.outputs if "float" in spec.dtype}
    return ", ".join(sorted(kinds)) or "float32"


def _where(model: Model, again: Model | None, asked: Sequence[Piece], certificate: Certificate) -> str:
    """Where the two part, or who does not compute what was read."""
    if again is None or not again.graph or again is model:
        return ""
    place = str(_bisection.first_difference(model, again, asked, certificate.tolerance))
    if place:
        return f"first at {place}"
    runtime = certificate.runtimes[1] if not certificate.served[1] else ""
    return f"though every node that was read back agrees: it is {runtime} that computes otherwise" if runtime else ""
