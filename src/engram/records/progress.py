"""How far a long piece of work has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Progress", "Watch"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long piece of work has come.

    Attributes:
        stage: what is being done, in one or two words (``reading``, ``training``, ``judging``).
        done, total: in steps of the stage, or in what ``unit`` says; total 0 means that the end is not known.
        numbers: the latest figures (``epoch``, ``train.loss`` …).
        note: something a person should read (a kept checkpoint, a row left out).
        unit: ``B`` where bytes are counted.
    """

    stage: str
    done: int = 0
    total: int = 0
    numbers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    unit: str = ""


Watch = Callable[[Progress], None]
