"""What Keras keeps of an optimizer, as a training state whose slots are named after parameters, and back.

Keras 3 lists an optimizer's arrays without names, in the order in which it made them: iterations, learning rate,
averages, then its slots, parameter by parameter. Slots get torch's names and numbers wherever torch's optimizer then
does what Keras' does; where it cannot, the state says in a sentence how they differ. The epsilon of Adam is handed over
as it is, though Keras adds it before the bias is corrected and torch afterwards: to follow Keras where gradients are
tiny, a loop in torch divides it by sqrt(1 - beta2 ** step) each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats._keras import differences
from engram.records import TrainingState

__all__ = ["OPTIMIZERS", "arrays_of", "config_of", "slot_order", "state_of"]

_SLOTS: Mapping[str, Sequence[Sequence[str]]] = {
    "Adadelta": [("accumulated_grad", "accumulated_delta_var")],
    "Adagrad": [("accumulator",)],
    "Adam": [("momentum", "velocity"), ("velocity_hat",)],
    "AdamW": [("momentum", "velocity"), ("velocity_hat",)],
    "Adamax": [("momentum", "norm")],
    "Ftrl": [("accumulator", "linear")],
    "Lamb": [("momentum", "velocity")],
    "Lion": [("momentum",)],
    "Nadam": [("momentum", "velocity")],
    "RMSprop": [("velocity",), ("momentum",), ("average_gradient",)],
    "SGD": [("momentum",)],
}
"""Optimizer → groups of slots; the slots of a group are made together for each parameter."""
_ONLY_IF: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], bool]] = {
    ("Adam", "velocity_hat"): lambda said: bool(said.get("amsgrad")),
    ("AdamW", "velocity_hat"): lambda said: bool(said.get("amsgrad")),
    ("RMSprop", "momentum"): lambda said: bool(said.get("momentum")),
    ("RMSprop", "average_gradient"): lambda said: bool(said.get("centered")),
    ("SGD", "momentum"): lambda said: bool(said.get("momentum")),
}
_TORCH: Mapping[tuple[str, str], str] = {
    **{
        (kind, slot): name
        for kind in ("Adam", "AdamW", "Nadam", "Lamb")
        for slot, name in (("momentum", "exp_avg"), ("velocity", "exp_avg_sq"), ("velocity_hat", "max_exp_avg_sq"))
    },
    ("Adadelta", "accumulated_grad"): "square_avg",
    ("Adadelta", "accumulated_delta_var"): "acc_delta",
    ("Adamax", "momentum"): "exp_avg",
    ("Adamax", "norm"): "exp_inf",
    ("RMSprop", "velocity"): "square_avg",
    ("RMSprop", "momentum"): "momentum_buffer",
    ("RMSprop", "average_gradient"): "grad_avg",
    ("Adagrad", "accumulator"): "sum",
    ("Lion", "momentum"): "exp_avg",
}
OPTIMIZERS = frozenset(_SLOTS)
_WITH_STEP = frozenset({"Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Nadam", "RMSprop"})
"""Optimizers for which torch counts the steps of each parameter."""


def slot_order(kind: str, config: Mapping[str, Any], parameters: Sequence[str]) -> list[str]:
    """``SLOT/PARAMETER`` for each array after the first scalars, in Keras' order and under our names.

    Raises:
        FormatError: the optimizer is not one of Keras'.
    """
    if kind not in _SLOTS:
        raise FormatError(
            f"the optimizer {kind} is not one whose state is known; there are {', '.join(sorted(_SLOTS))}"
        )
    made = [f"average/{name}" for name in parameters] if config.get("use_ema") else []
    if config.get("gradient_accumulation_steps"):
        made += [f"gradient_accumulator/{name}" for name in parameters]
    for group in _SLOTS[kind]:
        slots = [slot for slot in group if (kind, slot) not in _ONLY_IF or _ONLY_IF[kind, slot](config)]
        made += [f"{_called(kind, slot, config)}/{name}" for name in parameters for slot in slots]
    return made


def _called(kind: str, slot: str, config: Mapping[str, Any]) -> str:
    """Our name of a slot."""
    if (kind, slot) == ("SGD", "momentum") and _is_steady(config):
        return "momentum_buffer"
    return _TORCH.get((kind, slot), slot)


def _is_steady(config: Mapping[str, Any]) -> bool:
    """Whether the learning rate is a number that can be divided by."""
    rate = config.get("learning_rate")
    return type(rate) in {int, float} and bool(rate)


def state_of(
    optimizer: Mapping[str, Any] | str,
    found: Sequence[ndarray],
    parameters: Sequence[str],
    weights: Mapping[str, ndarray],
) -> TrainingState:
    """The training state in an optimizer's config and arrays.

    Args:
        optimizer: with ``class_name`` and ``config``, or its name.
        found: its arrays, in Keras' order.
        parameters: names of what is trained, in the order of the model.
        weights: by name, for the shapes.

    Raises:
        FormatError: the arrays are not those that such an optimizer keeps.
    """
    kind, config = _said(optimizer)
    order = slot_order(kind, config, parameters)
    scalars = _scalars(config, found, rated=len(found) != 1 + len(order))
    slots = dict(zip(order, found[len(scalars) :], strict=False))
    if len(found) < len(scalars) + len(order):
        raise FormatError(
            f"the optimizer {kind} keeps {len(found)} arrays, where {len(scalars) + len(order)} are needed"
        )
    for place, array in slots.items():
        name = place.partition("/")[2]
        if array.shape != weights[name].shape:
            raise FormatError(f"the optimizer's {place!r} has the shape {list(array.shape)}, but its weight another")
    slots = {
        place: _turned(place, array, kind, config, _group(kind, config, scalars)["lr"])
        for place, array in slots.items()
    }
    average = {name: slots.pop(f"average/{name}") for name in parameters if f"average/{name}" in slots}
    step = int(scalars["iteration"])
    if kind in _WITH_STEP:
        slots |= {f"step/{name}": np.array(step, np.float32) for name in parameters}
    more = {f"more.{place}": a.tolist() for place, a in enumerate(found[len(scalars) + len(order) :]) if a.size == 1}
    if kind == "Nadam":
        product = _product(step, float(config.get("beta_1", 0.9)))
        slots |= {f"mu_product/{name}": np.array(product, np.float32) for name in parameters}
    differs = differences.between(kind, config)
    facts: dict[str, Any] = {
        "kind": "AdamW" if kind == "Adam" and config.get("weight_decay") else kind,
        "groups": [_group(kind, config, scalars)],
        **({"differs": differs} if differs else {}),
        "keras": {"class_name": kind, "config": dict(config), **more},
    }
    return TrainingState(step=step, optimizer=facts, slots=slots, average=average)


def _said(optimizer: Mapping[str, Any] | str) -> tuple[str, Mapping[str, Any]]:
    if isinstance(optimizer, str):  # Keras 2 wrote down what it was compiled with, which may be a name alone
        named = _KINDS.get(optimizer.lower(), optimizer)
        return named, {"name": optimizer, **_BY_NAME, **_USUAL.get(named, {})}
    kind, config = optimizer.get("class_name"), optimizer.get("config")
    if not isinstance(kind, str) or not isinstance(config, Mapping):
        raise FormatError("the optimizer has no class_name and config, as Keras writes them")
    return kind.rpartition(">")[2], config


_BY_NAME = {"learning_rate": 0.001, "epsilon": 1e-7, "beta_1": 0.9, "beta_2": 0.999}
_USUAL: Mapping[str, Mapping[str, Any]] = {
    "Adadelta": {"rho": 0.95},
    "AdamW": {"weight_decay": 0.004},
    "RMSprop": {"rho": 0.9, "momentum": 0.0, "centered": False},
    "SGD": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
}
"""What Keras 2 takes for an optimizer that is given by its name."""


def _scalars(config: Mapping[str, Any], found: Sequence[ndarray], *, rated: bool) -> dict[str, float]:
    """Iterations, and the learning rate where it is kept: it is no schedule, and Keras is 3."""
    plain = isinstance(config.get("learning_rate"), Mapping) or not rated
    names = ["iteration"] if plain else ["iteration", "learning_rate"]
    if len(found) < len(names) or any(array.size != 1 for array in found[: len(names)]):
        raise FormatError("the optimizer's arrays do not begin with its iterations and learning rate")
    return {name: array.item() for name, array in zip(names, found, strict=False)}


def _turned(place: str, array: ndarray, kind: str, config: Mapping[str, Any], rate: float | None) -> ndarray:
    """A slot of Keras' in torch's numbers; ``_back`` is the way back."""
    slot = place.partition("/")[0]
    if (kind, slot) == ("SGD", "momentum_buffer") and rate:
        return np.asarray(array / -rate, array.dtype)  # Keras' has the learning rate in it and the other sign
    if (kind, slot) in _WITH_EPSILON:
        return np.asarray(array + float(config.get("epsilon", 1e-7)), array.dtype)
    return array


def _back(place: str, array: ndarray, kind: str, config: Mapping[str, Any]) -> ndarray:
    """A slot in torch's numbers as Keras has it."""
    slot = place.partition("/")[0]
    if (kind, slot) == ("SGD", "momentum_buffer"):
        return np.asarray(array * -float(config["learning_rate"]), array.dtype)
    if (kind, slot) in _WITH_EPSILON:
        return np.asarray(np.maximum(array - float(config.get("epsilon", 1e-7)), 0), array.dtype)
    return array


_WITH_EPSILON = frozenset({("Adagrad", "sum"), ("Adamax", "exp_inf")})
"""Slots that Keras adds its epsilon to each time they are used; added once, they give the same with torch's rule."""


def _product(step: int, beta: float) -> float:
    """By how much Nadam's momentum is corrected after so many steps. Source: Dozat 2016."""
    return float(np.prod(beta * (1 - 0.5 * 0.96 ** np.arange(1, step + 1))))


def _group(kind: str, config: Mapping[str, Any], scalars: Mapping[str, float]) -> dict[str, Any]:
    """The hyperparameters under torch's names, as a loop of torch's would have them."""
    rate = scalars.get("learning_rate", config.get("learning_rate"))
    if rate is None or isinstance(rate, Mapping):
        rate = (config.get("learning_rate") or {}).get("config", {}).get("initial_learning_rate")
    made: dict[str, Any] = {"lr": rate, "weight_decay": config.get("weight_decay") or 0.0}
    if "beta_1" in config and "beta_2" in config:
        made["betas"] = [config["beta_1"], config["beta_2"]]
    names = {
        "epsilon": "eps", "rho": "rho" if kind == "Adadelta" else "alpha", "momentum": "momentum",
        "nesterov": "nesterov", "amsgrad": "amsgrad", "centered": "centered",
    }  # fmt: skip
    made |= {ours: config[theirs] for theirs, ours in names.items() if theirs in config}
    if kind == "Adagrad":  # whose epsilon stands in the slot
        made |= {"eps": 0.0, "lr_decay": 0.0}
    return made | ({"momentum_decay": 1.0} if kind == "Nadam" else {})


_KINDS = {"adadelta": "Adadelta", "adagrad": "Adagrad", "adam": "Adam", "adamax": "Adamax", "adamw": "AdamW",
          "nadam": "Nadam", "rmsprop": "RMSprop", "sgd": "SGD"}  # fmt: skip


def config_of(state: TrainingState) -> tuple[str, dict[str, Any]]:
    """The optimizer of a training state as Keras describes it: its class and config.

    Raises:
        FormatError: Keras has no such optimizer.
    """
    own = state.optimizer.get("keras")
    if isinstance(own, Mapping) and own.get("class_name") in OPTIMIZERS:
        return str(own["class_name"]), _at_rate(dict(own["config"]), state)
    kind = _KINDS.get(str(state.optimizer.get("kind", "")).lower())
    if kind is None:
        raise FormatError(f"Keras has no optimizer {state.optimizer.get('kind')!r}; write the model without its state")
    group = (state.optimizer.get("groups") or [state.optimizer])[0]
    made: dict[str, Any] = {"name": kind.lower(), "learning_rate": float(group.get("lr", 1e-3))}
    if "betas" in group and kind in {"Adam", "AdamW", "Adamax", "Nadam"}:
        made |= {"beta_1": float(group["betas"][0]), "beta_2": float(group["betas"][1])}
    if "eps" in group and kind != "SGD":
        made["epsilon"] = float(group["eps"])
    if group.get("weight_decay") and kind == "AdamW":
        made["weight_decay"] = float(group["weight_decay"])
    if kind == "Nadam" and group.get("momentum_decay", 4e-3) != 1:
        raise FormatError(
            "the momentum of Keras' Nadam rises with 0.96 ** step, that of torch's with a momentum_decay other than 1 "
            "does not; write the model without its state"
        )
    for theirs, ours, kinds in (
        ("rho", "alpha", {"RMSprop"}), ("rho", "rho", {"Adadelta"}), ("momentum", "momentum", {"SGD", "RMSprop"}),
        ("nesterov", "nesterov", {"SGD"}), ("amsgrad", "amsgrad", {"Adam", "AdamW"}),
        ("centered", "centered", {"RMSprop"}),
    ):  # fmt: skip
        if ours in group and kind in kinds:
            made[theirs] = group[ours]
    return kind, made


def _at_rate(config: dict[str, Any], state: TrainingState) -> dict[str, Any]:
    """A config with the learning rate that the training has come to."""
    rate = (state.optimizer.get("groups") or [{}])[0].get("lr")
    known = config.get("learning_rate")
    if type(rate) in {int, float} and type(known) in {int, float} and np.float32(rate) != np.float32(known):
        return {**config, "learning_rate": float(rate)}
    return config


def arrays_of(
    state: TrainingState,
    kind: str,
    config: Mapping[str, Any],
    parameters: Sequence[str],
    weights: Mapping[str, ndarray],
) -> list[ndarray]:
    """The arrays of an optimizer in Keras' order; a slot that the state does not have is zeros, as Keras begins.

    Args:
        state: whose slots are written.
        kind, config: from ``config_of``.
        parameters: names of what is trained, in the order of the model.
        weights: by name, for shapes and types.
    """
    made = [np.array(state.step, np.int64)]
    rate = config.get("learning_rate", 1e-3)
    if not isinstance(rate, Mapping):
        made.append(np.array(rate, np.float32))
    slots = {**state.slots, **{f"average/{name}": array for name, array in state.average.items()}}
    for place in slot_order(kind, config, parameters):
        name = place.partition("/")[2]
        found = slots.get(place)
        array = np.zeros_like(weights[name]) if found is None else _back(place, np.asarray(found), kind, config)
        made.append(array)
    if kind == "Nadam":
        made.append(np.array(_product(state.step, float(config.get("beta_1", 0.9))), np.float32))
    return made
