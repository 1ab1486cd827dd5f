"""What every kind of layer says of itself, and what it is given when it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engram.errors import FormatError
from engram.formats._keras.config import Layer
from engram.formats._sheet import Sheet

__all__ = ["Drawn", "Kind", "Part", "Task", "Variable", "nothing"]

Drawn = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """An array of a layer.

    Attributes:
        key: what the layer's own drawing calls it.
        place: where Keras 3 keeps it, below the layer (``cell/vars/0``).
        name: what it is called below the layer; the key if empty.
        trained: whether training moves it.
    """

    key: str
    place: str
    name: str = ""
    trained: bool = True

    @property
    def called(self) -> str:
        """Its name below the layer."""
        return self.name or self.key


@dataclass(frozen=True, slots=True)
class Part:
    """A layer at its place in the tree of a model.

    Attributes:
        layer: its description.
        path: names from the outermost network on (``block/dense``); its weights are called ``path/kernel``.
        place: where Keras 3 keeps it (``layers/sequential/layers/dense``).
        variables: its own arrays, in Keras' order.
        children: layers within it, by attribute or name, in Keras' order.
        frozen: whether it, or a network around it, is not to be trained.
    """

    layer: Layer
    path: str
    place: str
    variables: tuple[Variable, ...] = ()
    children: Mapping[str, Part] = field(default_factory=dict)
    frozen: bool = False

    @property
    def where(self) -> str:
        """What to call it in an error."""
        return f"layer {self.path!r} ({self.layer.kind})"


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of layers.

    Attributes:
        draw: adds the nodes of one call and returns its output or outputs.
        variables: the arrays that a layer with these settings has.
        children: the layers within it, by the attribute under which Keras keeps them.
        masks: ``keeps`` hands the first input's mask on, ``ends`` does not, ``own`` leaves it to ``draw``.
    """

    draw: Callable[[Task], Drawn]
    variables: Callable[[Mapping[str, Any]], tuple[Variable, ...]] = lambda _: ()
    children: Callable[[Layer], Mapping[str, Layer]] = lambda _: {}
    masks: str = "keeps"


@dataclass(slots=True)
class Task:
    """One call of a layer that is to be drawn.

    Attributes:
        sheet: where it is drawn.
        part: which layer.
        arguments: of the call, with the names of values in the place of tensors.
        named: keyword arguments, likewise.
        weights: key → value of the layer's own arrays.
        version: the major version of the Keras that wrote the file.
        draw: draws a layer within this one: its attribute, then arguments as above.
    """

    sheet: Sheet
    part: Part
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    weights: Mapping[str, str]
    version: int
    draw: Callable[..., Drawn]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The config of the layer."""
        return self.part.layer.settings

    @property
    def value(self) -> str:
        """The first input, where there is one tensor."""
        if self.arguments and isinstance(self.arguments[0], str):
            return self.arguments[0]
        listed = self.values
        if len(listed) == 1:
            return listed[0]
        raise self.refused("is called with several tensors, where it takes one")

    @property
    def values(self) -> list[str]:
        """All tensors of the first argument, or of all positional ones."""
        first = self.arguments[0] if self.arguments else self.named.get("inputs", self.named.get("x"))
        given = first if isinstance(first, list) else [one for one in (first, *self.arguments[1:]) if one is not None]
        if not given or not all(isinstance(one, str) for one in given):
            raise self.refused("is called in a way that is not known")
        return list(given)

    def refused(self, why: str) -> FormatError:
        """The error that names this layer."""
        return FormatError(f"{self.part.where} {why}")

    def text(self, key: str, default: str, choices: tuple[str, ...] = ()) -> str:
        """A setting that is a word."""
        found = self.settings.get(key, default)
        found = default if found is None else found
        if not isinstance(found, str) or (choices and found not in choices):
            raise self.refused(f"has {key} = {found!r}, which is not {' or '.join(choices) or 'a word'}")
        return found

    def truth(self, key: str, default: bool = False) -> bool:
        """A setting that is yes or no."""
        return bool(self.settings.get(key, default))

    def number(self, key: str, default: float) -> float:
        """A setting that is a number."""
        found = self.settings.get(key, default)
        if type(found) not in {int, float}:
            raise self.refused(f"has {key} = {found!r}, which is no number")
        return float(found)

    def whole(self, key: str, count: int, default: int | None = None) -> list[int]:
        """A setting of so many whole numbers; a single one stands for all of them."""
        found = self.settings.get(key, default)
        numbers = found if isinstance(found, list) else [found] * count
        if len(numbers) != count or not all(type(one) is int and 0 <= one < 2**31 for one in numbers):
            raise self.refused(f"has {key} = {found!r}, where {count} whole numbers are needed")
        return list(numbers)

    def axes(self, key: str, rank: int, default: int) -> list[int]:
        """A setting that is one axis or several, counted from the front."""
        found = self.settings.get(key, default)
        return self.counted(found, rank, key)

    def counted(self, found: Any, rank: int, key: str = "axis") -> list[int]:  # noqa: ANN401 - of a stranger's file
        """Axes counted from the front; sorted, each once."""
        listed = found if isinstance(found, list) else [found]
        if not listed or not all(type(axis) is int and -rank <= axis < rank for axis in listed):
            raise self.refused(f"has {key} = {found!r}, but {rank} axes")
        return sorted({axis % rank for axis in listed})

    def masked(self) -> str:
        """The mask that goes with this call: given by hand, or carried by the input; empty for none."""
        given = self.named.get("mask")
        if isinstance(given, str):
            return given
        return self.sheet.masks.get(self.values[0], "")


def nothing(_: Mapping[str, Any]) -> tuple[Variable, ...]:
    """No arrays at all."""
    return ()
