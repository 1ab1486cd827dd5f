"""A functional network of Keras in the making: its layers, who feeds whom, and their arrays.

Layers are called after the weights they hold, so that whoever opens the file in Keras finds ``features_0`` where torch
said ``features.0``. Shapes stand in every tensor's description because Keras writes them; it does not read them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from engram.formats._keras.learned import Array

__all__ = ["HOMES", "Tensor", "Words"]

_NN = """
Celu Elu Gelu Glu HardShrink HardSigmoid HardSilu HardTanh LeakyRelu LogSigmoid LogSoftmax OneHot Relu Relu6 Selu
Sigmoid Silu SoftShrink Softmax Softplus Softsign SparsePlus Sparsemax Squareplus TanhShrink
"""
HOMES: Mapping[str, str] = {
    **dict.fromkeys(_NN.split(), "nn"),
    **dict.fromkeys(("Erf", "Logsumexp", "Rsqrt"), "math"),
    **dict.fromkeys(("Cast", "StopGradient"), "core"),
}
"""Function → the module of ``keras.ops`` that has it, where that is not ``numpy``."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the network.

    Attributes:
        layer, place: which output of which layer; every layer is called once.
        shape: lengths, None for free ones.
        dtype: numpy's name.
    """

    layer: str
    place: int
    shape: tuple[int | None, ...]
    dtype: str

    def as_json(self) -> dict[str, Any]:
        """The tensor as Keras names it in an argument."""
        history = [self.layer, 0, self.place]
        config = {"shape": list(self.shape), "dtype": self.dtype, "keras_history": history}
        return {"class_name": "__keras_tensor__", "config": config}


class Words:
    """Layers, in the order in which they are said.

    Attributes:
        layers: descriptions.
        arrays: ``LAYER/KEY`` → the array.
    """

    def __init__(self) -> None:
        self.layers: list[dict[str, Any]] = []
        self.arrays: dict[str, Array] = {}
        self._taken: dict[str, int] = {}

    def input(self, name: str, shape: Sequence[int | None], dtype: str) -> Tensor:
        """Add an input; its name is kept as it is."""
        self._taken[name.lower()] = 0
        config = {"batch_shape": list(shape), "dtype": dtype, "sparse": False, "ragged": False, "name": name}
        self._add("keras.layers", "InputLayer", name, config, None, [])
        return Tensor(name, 0, tuple(shape), dtype)

    def layer(
        self,
        kind: str,
        settings: Mapping[str, Any],
        given: Sequence[Any],
        *,
        name: str = "",
        arrays: Mapping[str, Array] | None = None,
        named: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a layer and return its name.

        Args:
            kind: Keras' class.
            settings: its config without name and type.
            given: arguments of its call; tensors and lists of them.
            name: what to call it, as far as Keras allows.
            arrays: its weights, by what they are called below it (``lstm_cell/kernel``).
            named: keyword arguments of its call.
        """
        called = self._unique(name or kind)
        config = {"name": called, "trainable": True, "dtype": "float32", **settings}
        self._add("keras.layers", kind, called, config, None, [{"args": _json(given), "kwargs": _json(named or {})}])
        self.arrays |= {f"{called}/{key}": array for key, array in (arrays or {}).items()}
        return called

    def operation(
        self,
        kind: str,
        given: Sequence[Any],
        settings: Mapping[str, Any] | None = None,
        *,
        named: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a function of ``keras.ops`` and return its name; arguments as of ``layer``."""
        called = self._unique(kind)
        home = f"keras.src.ops.{HOMES.get(kind, 'numpy')}"
        call = {"args": _json(given), "kwargs": _json(named or {})}
        self._add(home, kind, called, {"name": called, **(settings or {})}, kind, [call])
        return called

    def finished(self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[str, Any]:
        """The description of the whole network, its layers in Keras' order.

        Keras finds the arrays of a layer by its place among the layers, and puts those by their distance from the
        outputs, whatever the order in a description. What no output hangs on is no layer to it.
        """
        ends = [[[one.layer, 0, one.place] for one in side] for side in (inputs, outputs)]
        config = {
            "name": name,
            "trainable": True,
            "layers": _ordered(self.layers, [one.layer for one in inputs], [one.layer for one in outputs]),
            "input_layers": ends[0],
            "output_layers": ends[1],
        }
        return {"class_name": "Functional", "config": config}

    def rename(self, old: str, new: str) -> None:
        """Give a layer another name, wherever it is spoken of."""
        for layer in self.layers:
            if layer["name"] == old:
                layer["name"] = layer["config"]["name"] = new
            _renamed(layer["inbound_nodes"], old, new)
        self.arrays = {
            (new + key[len(old) :] if key.startswith(f"{old}/") else key): a for key, a in self.arrays.items()
        }

    def _add(
        self, module: str, kind: str, name: str, config: dict[str, Any], registered: str | None, calls: list[Any]
    ) -> None:
        said = {"module": module, "class_name": kind, "config": config, "registered_name": registered}
        self.layers.append({**said, "name": name, "inbound_nodes": calls})

    def _unique(self, name: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name).strip("_").lower() or "layer"
        count = self._taken.get(plain, -1) + 1
        self._taken[plain] = count
        return self._unique(f"{plain}_{count}") if count else plain


def _ordered(layers: Sequence[dict[str, Any]], inputs: Sequence[str], outputs: Sequence[str]) -> list[dict[str, Any]]:
    """Layers that are called once each, in the order that Keras gives them.

    Source: keras/src/ops/function.py, ``map_graph``.
    """
    before = {layer["name"]: list(_told(layer["inbound_nodes"])) for layer in layers}
    seen: dict[str, int] = {}
    done: list[str] = []
    waiting = [(name, False) for name in reversed(outputs)]
    while waiting:
        name, finished = waiting.pop()
        if finished:
            done.append(name)
        elif name not in seen:
            seen[name] = len(seen)
            waiting.append((name, True))
            waiting.extend((one, False) for one in reversed(before[name]))
    depths = {name: (0, -1) for name in inputs if name not in seen}
    depth: dict[str, int] = {}
    for name in reversed(done):
        depth.setdefault(name, 0)
        depths[name] = (-depth[name], seen[name])
        for one in before[name]:
            depth[one] = max(depth[name] + 1, depth.get(one, 0))
    return sorted((layer for layer in layers if layer["name"] in depths), key=lambda layer: depths[layer["name"]])


def _told(found: Any) -> Iterator[str]:  # noqa: ANN401 - nested arguments
    """The layers that a call takes tensors of, in the order in which Keras looks at them."""
    if isinstance(found, Mapping):
        history = found.get("keras_history")
        if isinstance(history, list):
            yield history[0]
        for key in sorted(found):
            yield from _told(found[key])
    elif isinstance(found, list):
        for value in found:
            yield from _told(value)


def _json(found: Any) -> Any:  # noqa: ANN401 - nested arguments
    if isinstance(found, Tensor):
        return found.as_json()
    if isinstance(found, ndarray):
        if found.ndim == 0:
            return found.item()
        return {"class_name": "__tensor__", "config": {"value": found.tolist(), "dtype": found.dtype.name}}
    if isinstance(found, slice):
        return {"class_name": "__slice__", "config": {"start": found.start, "stop": found.stop, "step": found.step}}
    if isinstance(found, Mapping):
        return {key: _json(value) for key, value in found.items()}
    return [_json(one) for one in found] if isinstance(found, (list, tuple)) else found


def _renamed(found: Any, old: str, new: str) -> None:  # noqa: ANN401 - nested arguments
    if isinstance(found, dict):
        history = found.get("keras_history")
        if isinstance(history, list) and history[0] == old:
            history[0] = new
        for value in found.values():
            _renamed(value, old, new)
    elif isinstance(found, list):
        for value in found:
            _renamed(value, old, new)
