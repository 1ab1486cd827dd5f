"""An optimizer's state from a file of torch's, by the names of its parameters, and back.

In the file it is numbers: ``{"state": {0: {…}}, "param_groups": [{"params": [0], "lr": …}]}``. Here it is what
``engram.store`` keeps of a loop's own optimizer: its kind, its groups with the names of their parameters, its slots by
parameter, and the tensors by ``SLOT/PARAMETER``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats._pytorch import trees
from engram.formats._pytorch.matching import Matched, hint, named
from engram.formats._pytorch.tensors import Tensor
from engram.records import TrainingState

__all__ = ["Known", "Optimizer", "names_in", "read", "written"]

_TELLING: Final[Mapping[str, frozenset[str]]] = {
    "NAdam": frozenset({"betas", "momentum_decay"}),
    "Adafactor": frozenset({"beta2_decay", "d"}),
    "LBFGS": frozenset({"max_iter", "history_size"}),
    "Muon": frozenset({"ns_coefficients", "momentum"}),
    "SGD": frozenset({"momentum", "dampening", "nesterov"}),
    "RMSprop": frozenset({"alpha", "centered", "momentum"}),
    "Adagrad": frozenset({"lr_decay", "initial_accumulator_value"}),
    "Adadelta": frozenset({"rho", "eps"}),
    "ASGD": frozenset({"lambd", "alpha", "t0"}),
    "Rprop": frozenset({"etas", "step_sizes"}),
}
"""Options that only one class of torch has."""


@dataclass(frozen=True, slots=True)
class Known:
    """What Engram wrote of an optimizer beside what torch keeps of one.

    Attributes:
        kind: its class.
        names: of each group's parameters.
        bare: whether it is from a run of Engram's own, which keeps no names in groups and no numbers in slots.
    """

    kind: str
    names: list[list[str]]
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Optimizer:
    """What ``TrainingState`` says of an optimizer; tensors are still where they lie in the file.

    Attributes:
        facts: kind, groups and slots.
        slots: the tensors that they speak of.
        guess: why the names of its parameters are a guess; empty where they are none.
    """

    facts: Mapping[str, Any]
    slots: Mapping[str, Tensor | ndarray]
    guess: str = ""


def read(found: Any, weights: Mapping[str, Tensor | ndarray], known: Known | None) -> Optimizer:  # noqa: ANN401 - of a stranger's file
    """An optimizer's state by the names of its parameters.

    Args:
        found: what ``state_dict()`` of an optimizer gave.
        weights: of the network, in their order.
        known: what Engram wrote itself; it is believed where the numbers fit.

    Raises:
        FormatError: the bare reason why it is not taken.
    """
    groups, state = _parts(found)
    lengths = [len(group["params"]) for group in groups]
    if known is not None and [len(names) for names in known.names] == lengths and _among(known.names, weights):
        matched = Matched(known.names)
    else:
        whole = _kind(groups, state) == "LBFGS"  # which keeps vectors of all parameters under the first
        hints = {} if whole else {number: hint(slots) for number, slots in state.items()}
        matched, known = named(groups, hints, weights), None
    names = matched.names
    by_number = {
        number: name
        for group, mine in zip(groups, names, strict=True)
        for number, name in zip(group["params"], mine, strict=True)
    }
    tensors: dict[str, Tensor | ndarray] = {}
    slots = {
        by_number[number]: {
            slot: trees.pressed(value, f"{slot}/{by_number[number]}", tensors.__setitem__)
            for slot, value in entry.items()
        }
        for number, entry in state.items()
    }
    options = [
        trees.pressed(_options(group), f"optimizer.groups[{place}]", tensors.__setitem__)
        for place, group in enumerate(groups)
    ]
    if known is not None and known.bare:
        return Optimizer({"kind": known.kind, "groups": options}, tensors)
    told = [{"params": list(mine), **rest} for mine, rest in zip(names, options, strict=True)]
    kind = known.kind if known is not None else _kind(groups, state)
    return Optimizer({"kind": kind, "groups": told, "slots": slots}, tensors, matched.guess)


def names_in(state: TrainingState, weights: Mapping[str, ndarray]) -> Known | None:
    """Which parameters the groups of a kept optimizer have; None where that cannot be told."""
    groups = state.optimizer.get("groups")
    kind = str(state.optimizer.get("kind", ""))
    if not isinstance(groups, (list, tuple)) or not groups:
        return None
    if all(isinstance(group.get("params"), (list, tuple)) for group in groups):
        known = Known(kind, [list(group["params"]) for group in groups])
    else:
        # a run of Engram's own has two groups: what decays, which is all that is no vector, and the rest
        owned = {place.partition("/")[2] for place in state.slots}
        learned = [name for name in weights if name in owned]
        split = [[n for n in learned if weights[n].ndim > 1], [n for n in learned if weights[n].ndim <= 1]]
        known = Known(kind, [learned] if len(groups) == 1 else [names for names in split if names], bare=True)
    return known if len(known.names) == len(groups) and _among(known.names, weights) else None


def written(state: TrainingState, known: Known) -> dict[str, Any]:
    """What ``load_state_dict`` of a torch optimizer takes, with arrays where tensors are.

    Raises:
        ConversionError: the state mentions a tensor that it does not hold.
    """
    numbers = {name: number for number, name in enumerate(name for names in known.names for name in names)}

    def find(key: str) -> ndarray:
        if key not in state.slots:
            raise ConversionError(f"the training state speaks of {key!r} and does not hold it; it is damaged")
        return state.slots[key]

    slots: dict[str, dict[str, Any]] = {}
    if known.bare:
        for place, array in state.slots.items():
            slot, _, name = place.partition("/")
            slots.setdefault(name, {})[slot] = array
    else:
        slots = {name: trees.grown(entry, find) for name, entry in state.optimizer.get("slots", {}).items()}
    places, groups = iter(range(len(numbers))), []
    for group, names in zip(state.optimizer["groups"], known.names, strict=True):
        rest = {key: trees.grown(value, find) for key, value in group.items() if key != "params"}
        groups.append({**rest, "params": [next(places) for _ in names]})
    return {"state": {numbers[name]: slots[name] for name in numbers if name in slots}, "param_groups": groups}


def _parts(found: Any) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]]]:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, dict) or not isinstance(found.get("param_groups"), list):
        raise FormatError("it has no param_groups, as the state of an optimizer has")
    groups, state = found["param_groups"], found.get("state")
    sound = all(
        isinstance(group, dict)
        and isinstance(group.get("params"), list)
        and all(type(number) is int for number in group["params"])
        for group in groups
    )
    numbers = [number for group in groups for number in group["params"]] if sound else []
    if not sound or len(set(numbers)) != len(numbers) or not isinstance(state, dict):
        raise FormatError("its groups do not list each parameter once, by a number")
    for number, entry in state.items():
        if number not in set(numbers) or not isinstance(entry, dict) or not all(type(slot) is str for slot in entry):
            raise FormatError(f"it has state for {str(number)[:40]!r}, which is in no group")
    return groups, state


def _options(group: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}


def _among(names: Sequence[Sequence[str]], weights: Mapping[str, Any]) -> bool:
    flat = [name for group in names for name in group]
    return len(set(flat)) == len(flat) and all(name in weights for name in flat)


def _kind(groups: Sequence[Mapping[str, Any]], state: Mapping[int, Mapping[str, Any]]) -> str:
    """The class that has these options and slots; the file does not say it. Empty for one that torch does not have."""
    keys = set(groups[0]) if groups else set()
    slots = {slot for entry in state.values() for slot in entry}
    if {"betas", "amsgrad"} <= keys:
        if "decoupled_weight_decay" in keys:
            return "AdamW" if groups[0]["decoupled_weight_decay"] else "Adam"
        # before torch 2.6 the two look alike but for what decays unless told otherwise
        return "AdamW" if any(group.get("weight_decay") == 0.01 for group in groups) else "Adam"
    told = next((kind for kind, wanted in _TELLING.items() if wanted <= keys), "")
    if told or not {"betas", "eps"} <= keys:
        return told
    if "weight_decay" not in keys:
        return "SparseAdam"
    # before torch 2.6 these two have the same options
    return "RAdam" if "decoupled_weight_decay" in keys or "exp_avg_sq" in slots else "Adamax"
