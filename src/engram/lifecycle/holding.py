"""What a file holds beside a graph: its tensors one by one, and the training state in short.

A checkpoint of a stranger is first asked what is in it, long before anyone has the module that it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from engram.records import TrainingState

__all__ = ["Group", "Held", "Training", "held", "odd_slots", "training"]

_PLAIN = (bool, int, float, str)


@dataclass(frozen=True, slots=True)
class Held:
    """One tensor of a file.

    Attributes:
        name: its whole name.
        dtype: of its numbers.
        shape: lengths of its axes.
        size: in bytes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int

    @property
    def module(self) -> str:
        """The path of the module that it belongs to: its name without the last part; empty for one of the top."""
        return self.name.rpartition("." if "." in self.name else "/")[0]

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that an optimizer treats alike.

    Attributes:
        parameters: their names; empty where the file does not say.
        options: plain settings, by name.
    """

    parameters: tuple[str, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Training:
    """A training state in short.

    Attributes:
        optimizer: its class; empty where it is not known or there is none.
        epoch: epochs completed.
        step: optimizer steps completed.
        groups: of the optimizer.
        slots: what the optimizer keeps of each parameter (``exp_avg``) → of how many.
        size: bytes of all tensors of it.
        scheduler: plain settings of the learning rate's schedule.
        average: tensors of an average of the weights.
        rest: names of what else is kept.
    """

    optimizer: str
    epoch: int
    step: int
    groups: tuple[Group, ...] = ()
    slots: Mapping[str, int] = field(default_factory=dict)
    size: int = 0
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    average: int = 0
    rest: tuple[str, ...] = ()


def held(weights: Mapping[str, ndarray]) -> tuple[Held, ...]:
    """The tensors of a model, in its order."""
    return tuple(Held(name, array.dtype.name, array.shape, array.nbytes) for name, array in weights.items())


def training(state: TrainingState) -> Training:
    """A training state in short."""
    groups = state.optimizer.get("groups")
    slots: dict[str, int] = {}
    for place in state.slots:
        if "/" in place:
            slots[place.partition("/")[0]] = slots.get(place.partition("/")[0], 0) + 1
    arrays = [*state.slots.values(), *state.average.values(), *state.best.values()]
    given = state.extra.get("given")
    rest = [name for name in ("random", "best", "history") if getattr(state, name)]
    rest += ["scaler"] if state.extra.get("scaler") else []
    return Training(
        optimizer=str(state.optimizer.get("kind", "")),
        epoch=state.epoch,
        step=state.step,
        groups=tuple(_groups(groups if isinstance(groups, Sequence) else [state.optimizer])),
        slots=slots,
        size=sum(array.nbytes for array in arrays),
        scheduler=_plain(state.scheduler.get("state", state.scheduler)),
        average=len(state.average),
        rest=(*rest, *(given if isinstance(given, Mapping) else ())),
    )


def odd_slots(state: TrainingState) -> Iterator[str]:
    """A sentence for each tensor of a training state that holds what is no number."""
    for place, array in state.slots.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            yield f"the training state's {place!r} holds numbers that are NaN or infinite"


def _groups(found: Sequence[Any]) -> Iterator[Group]:
    for group in found:
        if isinstance(group, Mapping) and (group.keys() - {"kind"}):
            names = group.get("params")
            parameters = tuple(map(str, names)) if isinstance(names, (list, tuple)) else ()
            yield Group(parameters, _plain(group))


def _plain(found: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON values of a stranger's file
    """The settings among JSON values that are a number, a word or a few of them."""
    if not isinstance(found, Mapping):
        return {}
    made: dict[str, Any] = {}
    for key, value in found.items():
        inner = value.get("$tuple") if isinstance(value, Mapping) else value
        if type(inner) in _PLAIN:
            made[str(key)] = inner
        elif isinstance(inner, (list, tuple)) and len(inner) <= 4 and key != "params":
            made |= {str(key): list(inner)} if all(type(one) in _PLAIN for one in inner) else {}
    return made
