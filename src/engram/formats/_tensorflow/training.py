"""The state of a Keras optimizer in a checkpoint, by the names of the parameters.

Three generations of optimizers stand in checkpoints. The oldest keep *slots*: the object graph says which variable
belongs to which, under which word. Those of Keras 2.11 and later keep a list of variables, and tell by their names
(``adam/dense/kernel/m`` or ``Adam/m/dense/kernel``); those of Keras 3 call them ``adam/dense_kernel_momentum``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy import ndarray

from engram.formats._tensorflow.bundle import Bundle
from engram.formats._tensorflow.parameters import Objects, objects
from engram.records import Limits, TrainingState

__all__ = ["state"]

_SLOTS = {
    "m": "exp_avg", "v": "exp_avg_sq", "vhat": "max_exp_avg_sq", "momentum": "momentum_buffer",
    "velocity": "exp_avg_sq", "rms": "square_avg", "accumulator": "sum", "velocity_hat": "max_exp_avg_sq",
}  # fmt: skip
"""Words of Keras for slots → those that Engram keeps them under."""
_VALUE = "VARIABLE_VALUE"
_SCALARS = (
    "iter",
    "iterations",
    "iteration",
    "learning_rate",
    "decay",
    "beta_1",
    "beta_2",
    "momentum",
    "rho",
    "epsilon",
)


def state(bundle: Bundle, limits: Limits) -> TrainingState | None:
    """What training would go on from; None where the checkpoint holds no optimizer.

    Raises:
        FormatError: the object graph is damaged.
    """
    known = objects(bundle, limits)
    if known.graph is None:
        return None
    nodes = known.graph.nodes
    keys = [_key(node, bundle) for node in nodes]
    slots: dict[str, ndarray] = {}
    numbers: dict[str, Any] = {}
    for node in nodes:
        for slot in node.slot_variables:
            _slot(bundle, known, keys, slot, slots)
        if node.slot_variables or _is_optimizer(node):
            numbers |= _numbers(bundle, keys, node)
    slots |= _named(bundle, known, keys)
    if not slots and not numbers:
        return None
    step = int(numbers.get("iterations", numbers.get("iter", numbers.get("iteration", 0))))
    return TrainingState(step=step, optimizer=_plain(numbers), slots=slots)


def _key(node: Any, bundle: Bundle) -> str:  # noqa: ANN401 - a generated class
    found = [a.checkpoint_key for a in node.attributes if a.name == _VALUE and a.checkpoint_key in bundle]
    return str(found[0]) if found else ""


def _is_optimizer(node: Any) -> bool:  # noqa: ANN401
    names = {child.local_name for child in node.children}
    return bool(names & {"iter", "iterations", "_iterations"}) and bool(
        names & {"learning_rate", "_learning_rate", "decay"}
    )


def _slot(bundle: Bundle, known: Objects, keys: list[str], slot: Any, slots: dict[str, ndarray]) -> None:  # noqa: ANN401
    """One slot of the oldest generation."""
    places = slot.original_variable_node_id, slot.slot_variable_node_id
    if not all(0 <= place < len(keys) and keys[place] for place in places):
        return
    owner = known.names[keys[places[0]]]
    slots[f"{_SLOTS.get(slot.slot_name, slot.slot_name)}/{owner}"] = bundle.array(keys[places[1]])


def _numbers(bundle: Bundle, keys: list[str], node: Any) -> dict[str, Any]:  # noqa: ANN401
    """The scalars that an optimizer keeps."""
    found = {}
    for child in node.children:
        name = child.local_name.lstrip("_")
        if name in _SCALARS and 0 <= child.node_id < len(keys) and keys[child.node_id]:
            entry = bundle.entries[keys[child.node_id]]
            if not entry.shape:
                found[name] = bundle.array(keys[child.node_id]).item()
    return found


def _named(bundle: Bundle, known: Objects, keys: list[str]) -> dict[str, ndarray]:
    """Slots of the later generations, by their names."""
    owners = {name: bundle.entries[key].shape for key, name in known.names.items() if not _inside(key)}
    found: dict[str, ndarray] = {}
    for key in keys:
        name = known.names.get(key, "")
        if not key or not _inside(key):
            continue
        for slot, owner in _readings(name, owners):
            if owners[owner] == bundle.entries[key].shape and bundle.entries[key].shape:
                found[f"{_SLOTS.get(slot, slot)}/{owner}"] = bundle.array(key)
                break
    return found


def _inside(key: str) -> bool:
    return key.startswith(("optimizer/", "_optimizer/", "keras_api/optimizer"))


def _readings(name: str, owners: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a name may mean: ``Adam/m/OWNER``, ``adam/OWNER/m`` or ``adam/OWNER_with_underscores_m``."""
    _, _, rest = name.partition("/")
    found = []
    first, _, owner = rest.partition("/")
    if owner in owners:
        found.append((first, owner))
    owner, _, last = rest.rpartition("/")
    if owner in owners:
        found.append((last, owner))
    for owner in owners:
        flat = owner.replace("/", "_") + "_"
        if rest.startswith(flat):
            found.append((rest.removeprefix(flat), owner))
    return found


def _plain(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in numbers.items() if isinstance(value, (int, float))}
