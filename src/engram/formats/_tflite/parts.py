"""The parts of a TFLite file as plain records: inert, with numbers in the place of offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy import ndarray

__all__ = ["Entry", "File", "Operator", "Quantization", "Subgraph", "Tensor"]


@dataclass(frozen=True, slots=True)
class Quantization:
    """What an integer of a tensor means: ``scale × (integer - zero point)``.

    Attributes:
        scale: one a tensor, or one an entry along the axis.
        zero_point: as many, or one for all.
        axis: along which there are several.
    """

    scale: ndarray
    zero_point: ndarray
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A place for numbers.

    Attributes:
        name: as in the file; need not be unique.
        type: one of ``schema.TYPES``.
        shape: lengths, with 1 where an axis is free.
        free: the same with -1 where an axis is free.
        data: the numbers where they are known, little-endian and row by row; None where they are computed.
        quantization: None for plain numbers.
        is_variable: whether its numbers outlive a call.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    free: tuple[int, ...]
    data: memoryview | None = None
    quantization: Quantization | None = None
    is_variable: bool = False


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of a computation.

    Attributes:
        kind: one of ``schema.OPERATORS``.
        inputs: numbers of tensors, -1 for one left out.
        outputs: numbers of tensors.
        options: by the schema's names, defaults filled in.
        version: of the operator.
        custom: name of an operator that is not TFLite's own.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    custom: str = ""


@dataclass(frozen=True, slots=True)
class Subgraph:
    """A computation: the first is the model's own, the others are called by operators."""

    name: str
    tensors: Sequence[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: Sequence[Operator]


@dataclass(frozen=True, slots=True)
class Entry:
    """A way to ask the model by names: name → tensor of its subgraph."""

    key: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    subgraph: int = 0


@dataclass(frozen=True, slots=True)
class File:
    """Everything a TFLite file says.

    Attributes:
        description: free text.
        subgraphs: at least one.
        entries: ways to ask it by names (signatures).
        metadata: further content by name.
    """

    description: str
    subgraphs: Sequence[Subgraph]
    entries: Sequence[Entry] = ()
    metadata: Mapping[str, memoryview] = field(default_factory=dict)
