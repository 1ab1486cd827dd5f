"""The tree of a model's layers: what each array is called, and where Keras keeps it.

The rule of names: the names of the layers from the outermost network on, joined by ``/``, then Keras' own name for the
array (``encoder/dense_1/kernel``, ``bidirectional/forward_lstm/lstm_cell/bias``). Keras' own paths leave the outer
networks out, and two inner networks could then hold arrays of one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from engram.formats._keras.config import Network
from engram.formats._keras.kind import Part
from engram.formats._keras.table import kind_of

__all__ = ["arrays", "snake", "tree"]

_ALIASES = {"GroupQueryAttention": "GroupedQueryAttention", "Model": "Functional"}


def tree(network: Network, path: str = "", place: str = "", *, frozen: bool = False) -> dict[str, Part]:
    """The layers of a network as parts, by name.

    Raises:
        FormatError: a layer is of a kind that is not known.
    """
    made: dict[str, Part] = {}
    used: dict[str, int] = {}
    for layer in network.layers:
        inside = f"{path}/{layer.name}" if path else layer.name
        still = frozen or layer.settings.get("trainable") is False
        kept = ""
        if not layer.operation:
            kept = f"{place}layers/{_unique(snake(_class(layer.kind)), used)}"
        if layer.network is not None:
            inner = tree(layer.network, inside, f"{kept}/", frozen=still)
            made[layer.name] = Part(layer, inside, kept, children=inner, frozen=still)
        elif layer.kind == "InputLayer":
            made[layer.name] = Part(layer, inside, kept)
        else:
            kind = kind_of(layer, f"layer {inside!r}")
            below = {
                at: Part(
                    one,
                    f"{inside}/{one.name}",
                    f"{kept}/{at}",
                    kind_of(one, f"layer {inside!r}").variables(one.settings),
                    frozen=still,
                )
                for at, one in kind.children(layer).items()
            }
            made[layer.name] = Part(layer, inside, kept, kind.variables(layer.settings), below, still)
    return made


def arrays(part: Part) -> Iterator[tuple[str, str, bool]]:
    """Name, place and whether it is trained, of every array of a part, in Keras' order."""
    for variable in part.variables:
        yield f"{part.path}/{variable.called}", f"{part.place}/{variable.place}", variable.trained and not part.frozen
    for child in part.children.values():
        yield from arrays(child)


def snake(name: str) -> str:
    """A class as Keras names it in files."""
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def _class(kind: str) -> str:
    """The class that a loaded layer really has, where the config uses an alias of it."""
    return _ALIASES.get(kind, kind)


def _unique(name: str, used: dict[str, int]) -> str:
    used[name] = used.get(name, -1) + 1
    return f"{name}_{used[name]}" if used[name] else name
