"""Proof that two models answer alike, small enough to travel beside the file it is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Certificate", "Difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one output of two models lies apart, at its worst over all probe rows."""

    output: str
    absolute: float
    relative: float


@dataclass(frozen=True, slots=True)
class Certificate:
    """Proof that two models answer alike.

    Attributes:
        original, converted: digests of both, ``sha256:…``.
        target: the format written, as on its shelf.
        differences: one an output of the network.
        agreement: the share of probe rows with the same label, 1.0 for regression.
        tolerance: largest absolute difference allowed, beside the same bound relative to the answer.
        seed: of the probe rows.
        rows: probe rows.
        runtimes: of the original and of the converted model (``torch 2.13.0``, ``onnxruntime 1.31.1``).
        precision: of the computation (``float32``).
        versions: library → version.
        holds: whether every difference is inside the tolerance.
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
