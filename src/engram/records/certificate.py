"""Proof that two models answer alike, small enough to travel beside the file it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Certificate", "Difference"]

_PAIRS = ("runtimes", "layouts", "served")


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one output of two models lies apart, at its worst over all probe rows."""

    output: str
    absolute: float
    relative: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """Proof that two models answer alike.

    Everything behind ``holds`` was added later and is at its default in older certificates.

    Attributes:
        original, converted: digests of both, ``sha256:…``.
        target: the format of the converted one, as on its shelf; ``engram`` for the canonical form.
        differences: one an output of the network; where only weights could be compared, one a weight.
        agreement: the share of probe rows with the same label, 1.0 for regression.
        tolerance: largest absolute difference allowed, as it was asked for, beside the same bound relative to the
            answer.
        seed: of the probe rows.
        rows: probe rows.
        runtimes: of the original and of the converted model (``torch 2.13.0``, ``onnxruntime 1.31.1``).
        precision: of the computation (``float32``).
        versions: library → version.
        holds: whether every difference is inside the tolerance.
        source: the format of the original, as ``target``; empty where it was asked in the program that made it.
        provider: what onnxruntime computed on; other runtimes are asked on the processor.
        layouts: the network's inputs on both sides (``image[batch, 1, 8, 8]``).
        served: for each side, why not its own runtime answered but what was read from it; empty where its own did.
        lost: what the target cannot hold of the original, one sentence each.
        real: how many of the rows training saw.
        beside: the further files of a model that is more than one file, name → digest.
        asked: what, with seed and rows, gives the probe rows again (plain JSON values), and their digest.
        answers: what the original answered, as far as it is small enough to be held (plain JSON values).
    """

    original: str
    converted: str
    target: str
    differences: tuple[Difference, ...]
    agreement: float
    tolerance: float
    seed: int
    rows: int
    runtimes: tuple[str, str]
    precision: str = "float32"
    versions: Mapping[str, str] = field(default_factory=dict)
    holds: bool = True
    source: str = ""
    provider: str = ""
    layouts: tuple[str, str] = ("", "")
    served: tuple[str, str] = ("", "")
    lost: tuple[str, ...] = ()
    real: int = 0
    beside: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def from_json(found: Mapping[str, Any]) -> Certificate:
        """The certificate that ``dataclasses.asdict`` made plain, of this Engram or an older one.

        Raises:
            TypeError: a key is missing or unknown.
        """
        made = {**found, "differences": tuple(Difference(**each) for each in found["differences"])}
        made |= {key: tuple(found[key]) for key in (*_PAIRS, "lost") if key in found}
        return Certificate(**made)
