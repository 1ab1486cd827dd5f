"""Taking everything that training knows apart into a ``Checkpoint``, and putting it together again.

Arrays are views of what goes on learning, as torch's own ``state_dict`` is: whoever is handed a checkpoint copies it
once, into memory of its own. Only what lies on a device is copied here, into memory that the device reaches by itself.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from engram.errors import UsageError

__all__ = [
    "Staging",
    "array",
    "copies",
    "load_weights",
    "random_state",
    "restore_random",
    "seed_all",
    "tensor",
]

_BITS = {1: torch.uint8, 2: torch.uint16}  # whose numbers numpy has, for types that it lacks


class Staging:
    """Memory of this machine for tensors that lie on devices, taken once and used for every checkpoint."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def arrays(self, tensors: Mapping[str, Tensor], group: str = "") -> dict[str, ndarray]:
        """The tensors as arrays: views of those in memory, read-only copies of those on a device.

        Args:
            tensors: name → tensor; one that stands under two names becomes one array under both.
            group: which of a checkpoint's groups they are, because names return in each.

        Raises:
            UsageError: a tensor is of a kind that has no array (sparse, sharded, without memory); it is named.
        """
        made: dict[int, ndarray] = {}
        for name, value in tensors.items():
            if id(value) not in made:
                made[id(value)] = array(self._near(f"{group}/{name}", value), name)
                if value.device.type != "cpu":
                    made[id(value)].flags.writeable = False
        for device in {value.device for value in tensors.values() if value.device.type == "cuda"}:
            torch.cuda.synchronize(device)
        return {name: made[id(value)] for name, value in tensors.items()}

    def _near(self, key: str, value: Tensor) -> Tensor:
        if value.device.type == "cpu" or value.layout != torch.strided or value.is_meta:
            return value
        held, direct = self._held.get(key), value.device.type == "cuda"
        if held is None or held.shape != value.shape or held.dtype != value.dtype:
            held = torch.empty(value.shape, dtype=value.dtype, pin_memory=direct)
        self._held[key] = held.copy_(value.detach(), non_blocking=direct)
        return held


def array(value: Tensor, name: str) -> ndarray:
    """A tensor in this machine's memory as an array that shares it, in its own type.

    Raises:
        UsageError: it is of a kind that has no array.
    """
    plain = value.detach()
    try:
        if plain.dtype.is_floating_point and plain.dtype.itemsize in _BITS and plain.dtype != torch.float16:
            import ml_dtypes

            kind = np.dtype(getattr(ml_dtypes, str(plain.dtype).removeprefix("torch.")))
            bits: ndarray = plain.view(_BITS[plain.dtype.itemsize]).numpy()
            return bits.view(kind)
        return plain.resolve_conj().resolve_neg().numpy()
    except (TypeError, RuntimeError, AttributeError) as wrong:
        reason = (str(wrong).splitlines() or [type(wrong).__name__])[0].rstrip(".")
        raise UsageError(f"{name!r} cannot be kept as an array of numbers: {reason}; convert it first") from wrong


def tensor(values: ndarray) -> Tensor:
    """A copy of an array as a tensor, in its own type."""
    plain = np.array(values, order="C")
    if plain.dtype.isbuiltin == 1:
        return torch.from_numpy(plain)
    return torch.from_numpy(plain.view(f"u{plain.itemsize}")).view(getattr(torch, plain.dtype.name))


def copies(tensors: Mapping[str, Tensor]) -> dict[str, ndarray]:
    """The tensors as arrays of their own, read-only."""
    made = {name: np.array(array(value.detach().cpu(), name), order="C") for name, value in tensors.items()}
    for values in made.values():
        values.flags.writeable = False
    return made


def load_weights(network: nn.Module, weights: Mapping[str, ndarray]) -> None:
    """Put these weights into the network.

    Raises:
        UsageError: a name or a shape differs.
    """
    own = network.state_dict()
    if set(own) != set(weights):
        differing = sorted(set(own) ^ set(weights))
        raise UsageError(
            f"the weights do not fit the network: {differing[0]!r} is only on one side; resume with the lock file"
        )
    with torch.no_grad():
        for name, value in own.items():
            if tuple(value.shape) != weights[name].shape:
                shapes = f"{list(weights[name].shape)} for {list(value.shape)}"
                raise UsageError(
                    f"the weights do not fit the network: {name!r} has {shapes}; resume with the lock file"
                )
            value.copy_(tensor(weights[name]))


def seed_all(seed: int) -> None:
    """Seed every generator that a network may draw from: torch's, Python's own and numpy's."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the one that a network written elsewhere draws from


def random_state() -> dict[str, ndarray]:
    """The state of the generators of torch, of each device it uses, of Python and of numpy.

    Raises:
        UsageError: numpy's own generator was replaced by one of another kind.
    """
    states = {"torch": torch.get_rng_state().numpy().copy(), **_python_state(), **_numpy_state()}
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # asking would otherwise take memory of a device that nobody uses
        each = [state.numpy().copy() for state in torch.cuda.get_rng_state_all()]
        states |= {f"cuda.{number}" if number else "cuda": state for number, state in enumerate(each)}
    return states


def restore_random(states: Mapping[str, ndarray]) -> None:
    """Set the generators to these states; one that an older checkpoint lacks stays as it is."""
    torch.set_rng_state(torch.from_numpy(np.array(states["torch"])))
    if "python" in states:
        random.setstate((3, tuple(states["python"].tolist()), _kept_normal(states.get("python.normal"))))
    if "numpy" in states:
        *key, position = states["numpy"].tolist()
        normal = _kept_normal(states.get("numpy.normal"))
        drawn = ("MT19937", np.array(key, dtype=np.uint32), position, int(normal is not None), normal or 0.0)
        np.random.set_state(drawn)  # noqa: NPY002 - see ``seed_all``
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            name = f"cuda.{number}" if number else "cuda"
            if name in states:
                torch.cuda.set_rng_state(torch.from_numpy(np.array(states[name])), number)


def _python_state() -> dict[str, ndarray]:
    _, numbers, normal = random.getstate()
    return {"python": np.array(numbers, dtype=np.uint32), "python.normal": _as_bytes(normal)}


def _numpy_state() -> dict[str, ndarray]:
    found = np.random.get_state(legacy=False)  # noqa: NPY002 - see ``seed_all``
    if found["bit_generator"] != "MT19937":
        raise UsageError(
            f"numpy's own generator is a {found['bit_generator']}, which cannot be kept; leave it at MT19937 and give "
            "what draws from another a generator of its own"
        )
    numbers = np.append(found["state"]["key"], np.uint32(found["state"]["pos"])).astype(np.uint32)
    return {"numpy": numbers, "numpy.normal": _as_bytes(found["gauss"] if found["has_gauss"] else None)}


def _as_bytes(normal: float | None) -> ndarray:
    """The second of two normal numbers that were drawn at once, where it waits to be asked for."""
    return np.array([] if normal is None else [normal], dtype="<f8").view(np.uint8)


def _kept_normal(kept: ndarray | None) -> float | None:
    return float(np.array(kept).view("<f8")[0]) if kept is not None and kept.size else None
