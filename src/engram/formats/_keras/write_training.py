"""The optimizer's state of a model that is written in Keras' words, and how it comes back.

Keras keeps arrays by their order and counts steps once; whatever else a training state says (epochs, history, the words
of another framework) goes into the note beside the network, and is believed only while Keras has not trained on since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError, EngramError
from engram.formats._keras import read as reading
from engram.formats._keras import training
from engram.formats._keras.lower import Lowered, lowered
from engram.formats._keras.write import Written, own
from engram.records import Model, TrainingState

__all__ = ["note_of", "state_back", "with_state"]

_KEY = "training"
_ARRAYS = frozenset({"slots", "average", "random", "best"})
_PLAIN = tuple(field.name for field in fields(TrainingState) if field.name not in _ARRAYS)


def with_state(
    written: Written, state: TrainingState, compiled: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[ndarray]]:
    """What the network is trained by, in Keras' words, and the optimizer's arrays in Keras' order.

    Args:
        written: the network.
        state: of the training.
        compiled: what was said of training before: losses, metrics.

    Raises:
        ConversionError: Keras has no such optimizer, or which array belongs to which parameter is not known.
    """
    if state.extra.get("guessed"):
        raise ConversionError(str(state.extra["guessed"]))
    moved = _moved(written, state)
    try:
        kind, config = training.config_of(moved)
        found = training.arrays_of(moved, kind, config, reading.trained(written.parts), written.weights)
    except EngramError as refused:
        raise ConversionError(str(refused)) from refused
    optimizer = {"module": "keras.optimizers", "class_name": kind, "config": config, "registered_name": None}
    told = dict(compiled or {"loss": None, "loss_weights": None, "metrics": None, "weighted_metrics": None})
    told.pop("optimizer_config", None)
    return {**told, "optimizer": optimizer}, found


def _moved(written: Written, state: TrainingState) -> TrainingState:
    """The state with every slot in the layout of Keras' array and under its name."""
    if written.low is None:
        return state
    slots = {
        f"{slot}/{name}": array
        for slot, given in _by_slot(state.slots).items()
        for name, array in written.low.moved(given).items()
    }
    return replace(state, slots=slots, average=written.low.moved(state.average))


def note_of(state: TrainingState) -> dict[str, Any]:
    """What Keras has no place for, for the note of a model."""
    return {_KEY: {"slots": list(state.slots), "state": {key: _json(getattr(state, key)) for key in _PLAIN}}}


def state_back(model: Model, state: TrainingState, note: Mapping[str, Any]) -> TrainingState:
    """A state with Keras' names and layouts as that of the model's weights.

    Args:
        model: what ``whole`` gave.
        state: as Keras has it.
        note: beside the network.
    """
    return _restored(_turned_back(model, state), note.get(_KEY))


def _restored(state: TrainingState, noted: Any) -> TrainingState:  # noqa: ANN401 - of a stranger's file
    """The state with what was noted of it, as long as it is of the same step."""
    said = noted.get("state") if isinstance(noted, Mapping) else None
    if not isinstance(said, Mapping) or said.get("step") != state.step:
        return state
    plain: dict[str, Any] = {}
    for key in _PLAIN:
        value, wanted = said.get(key), getattr(state, key)
        value = tuple(value) if isinstance(wanted, tuple) and isinstance(value, list) else value
        if type(value) is type(wanted):
            plain[key] = value
    named = noted.get("slots")
    listed = isinstance(named, list) and all(isinstance(place, str) and place in state.slots for place in named)
    slots = {place: state.slots[place] for place in named} if listed else state.slots
    return replace(state, **plain, slots=slots)


def _json(value: Any) -> Any:  # noqa: ANN401 - any plain value
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def _turned_back(model: Model, state: TrainingState) -> TrainingState:
    if own(model) is not None:
        return state
    low = lowered(model.graph, model.weights)
    slots = {
        f"{slot}/{name}": array
        for slot, given in _by_slot(state.slots).items()
        for name, array in (low.originals(given) if slot != "step" else _steps(low, state.step)).items()
    }
    return replace(state, slots=slots, average=low.originals(state.average) if state.average else {})


def _steps(low: Lowered, step: int) -> dict[str, ndarray]:
    return {name: np.array(step, np.float32) for name in low.names}


def _by_slot(slots: Mapping[str, ndarray]) -> dict[str, dict[str, ndarray]]:
    """Slots by their kind, then by the weight they belong to."""
    made: dict[str, dict[str, ndarray]] = {}
    for place, array in slots.items():
        slot, _, name = place.partition("/")
        made.setdefault(slot, {})[name] = np.asarray(array)
    return made
