"""Numbers that were learned, told as what was done to which weights, and made only when they are asked for.

A kernel that is turned lies in memory twice, and where each of its numbers came from takes as much again. For a whole
network that is several times its file; for one array at a time it is nothing. What was done is a function that is
given either the weights, or in their place whole numbers that say where each stands among all learned ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy import ndarray

__all__ = ["Array", "Ground", "Look"]

_STEPS = 64
"""Steps that may stand between an array and its weights before its numbers are fixed: each is a call in a call."""
_COST = 16
"""Numbers that may be copied for each number of an array before they are fixed."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a weight, and a number that was not learned, are taken for.

    Attributes:
        weight: the name of a weight → an array of its shape.
        plain: numbers that were not learned → an array of their shape.
    """

    weight: Callable[[str], ndarray]
    plain: Callable[[ndarray], ndarray]


Made = Callable[[Look], ndarray]


@dataclass(frozen=True, slots=True)
class Ground:
    """All learned numbers, one weight after the other.

    Attributes:
        weights: by name.
        starts: where each begins.
    """

    weights: Mapping[str, ndarray]
    starts: Mapping[str, int]

    @classmethod
    def of(cls, weights: Mapping[str, ndarray]) -> Ground:
        """Weights in their order."""
        ends = np.cumsum([0, *(array.size for array in weights.values())]).tolist()
        return cls(weights, dict(zip(weights, ends, strict=False)))

    def array(self, name: str) -> Array:
        """A weight as it is."""
        found = self.weights[name]
        return Array(self, found.shape, found.dtype, (name,), lambda look: look.weight(name))

    def constant(self, values: ndarray) -> Array:
        """Numbers that were not learned."""
        return Array(self, values.shape, values.dtype, (), lambda look: look.plain(values))

    def together(self, arrays: Sequence[Array], shape: tuple[int, ...], made: Made) -> Array:
        """What is made of several arrays, of the type of the first."""
        roots = dict.fromkeys(root for array in arrays for root in array.roots)
        cost = sum(array.cost for array in arrays) + math.prod(shape)
        steps = max(array.steps for array in arrays) + 1
        ordered = tuple(sorted(roots, key=self.starts.__getitem__))
        return Array(self, shape, arrays[0].dtype, ordered, made, cost, steps).settled()

    def places(self, name: str) -> ndarray:
        """Where the numbers of a weight stand among all learned ones."""
        found, start = self.weights[name], self.starts[name]
        return np.arange(start, start + found.size).reshape(found.shape)


@dataclass(frozen=True, slots=True)
class Array:
    """An array of learned numbers.

    Attributes:
        ground: all learned numbers.
        shape, dtype: of the array.
        roots: the weights that its numbers come from, in their order; none for what was not learned.
        made: how.
        cost: numbers that are copied on the way.
        steps: how many.
        pieces: where it is arrays one after the other, what of it each of them is.
    """

    ground: Ground
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    roots: tuple[str, ...]
    made: Made
    cost: int = 0
    steps: int = 0
    pieces: tuple[tuple[tuple[slice, ...], Array], ...] = ()

    @property
    def size(self) -> int:
        """How many numbers."""
        return math.prod(self.shape)

    @property
    def learned(self) -> bool:
        """Whether any of its numbers was learned."""
        return bool(self.roots)

    @property
    def values(self) -> ndarray:
        """The numbers."""
        return self.valued(self.ground.weights)

    @property
    def whole(self) -> bool:
        """Whether all of its numbers were learned."""
        if self.pieces:
            return all(one.whole for _, one in self.pieces)
        return self.learned if not self.cost else bool(self.size and self.places(self.ground).min() >= 0)

    def places(self, ground: Ground) -> ndarray:
        """Where each number stands among all learned ones, or some of them; -1 for one that was not learned."""
        return self.made(Look(ground.places, lambda found: np.full(found.shape, -1)))

    def valued(self, weights: Mapping[str, ndarray]) -> ndarray:
        """The numbers that the same steps make of other weights of the same shapes."""
        return self.made(Look(weights.__getitem__, lambda found: found))

    def order(self) -> list[int] | None:
        """The order of axes that turns the array back into its weight; None where it is less or more than a turn.

        The weight is taken for bytes that are never written, and so take no memory: it matters only how they are
        looked at.
        """
        if len(self.roots) != 1 or not self.size or self.cost or self.ground.weights[self.roots[0]].size != self.size:
            return None
        every = np.zeros(self.size, np.int8)
        shape = self.ground.weights[self.roots[0]].shape
        seen = self.made(Look(lambda _: every.reshape(shape), lambda found: np.zeros(found.shape, np.int8)))
        if seen.base is not every:
            return None
        order = sorted(range(seen.ndim), key=lambda axis: (-seen.strides[axis], seen.shape[axis] > 1))
        return order if seen.transpose(order).flags.c_contiguous else None

    def seen_in(self, held: Mapping[str, ndarray]) -> list[tuple[tuple[slice, ...], ndarray]] | None:
        """Where its numbers lie in other weights of the same shapes: what of it, and a view that can be written to.

        Args:
            held: by name; each a view itself.

        Returns:
            A pair for each piece that was learned; None where a piece is no view of one weight.
        """
        found = []
        for key, one in self.pieces or (((), self),):
            if not one.roots:
                continue
            if len(one.roots) > 1 or one.cost:
                return None
            seen = one.made(Look(held.__getitem__, lambda numbers: numbers))
            if seen.base is not held[one.roots[0]].base or not seen.flags.writeable:
                return None
            found.append((key, seen))
        return found

    def turned(self, *order: int) -> Array:
        """The array with its axes in another order."""
        return self._seen(tuple(self.shape[axis] for axis in order), lambda found: found.transpose(order))

    def reshaped(self, *shape: int) -> Array:
        """The array in another shape."""
        known = math.prod(length for length in shape if length != -1)
        lengths = tuple(self.size // max(known, 1) if length == -1 else length for length in shape)
        return self._seen(lengths, lambda found: found.reshape(lengths))

    def spread(self, *shape: int) -> Array:
        """The array repeated along axes of one."""
        return self._seen(shape, lambda found: np.broadcast_to(found, shape))

    def part(self, key: Any) -> Array:  # noqa: ANN401 - numbers and slices
        """A part of the array."""
        shape = np.broadcast_to(np.int8(0), self.shape)[key].shape
        return self._seen(shape, lambda found: found[key])

    def joined(self, others: Sequence[Array], axis: int) -> Array:
        """The arrays one after the other."""
        every = [self, *others]
        shape = list(self.shape)
        shape[axis] = sum(one.shape[axis] for one in every)
        made = self.ground.together(
            every, tuple(shape), lambda look: np.concatenate([one.made(look) for one in every], axis)
        )
        ends = np.cumsum([0, *(one.shape[axis] for one in every)]).tolist()
        before = [slice(None)] * (axis % len(shape))
        keys = [(*before, slice(start, end)) for start, end in pairwise(ends)]
        return replace(made, pieces=tuple(zip(keys, every, strict=True)))

    def plus(self, other: Array) -> Array:
        """The sum, whose numbers are those of no weight."""
        return Array(
            self.ground, self.shape, self.dtype, (), lambda look: look.plain(self.made(look) + other.made(look)),
            self.cost + other.cost + self.size, 1 + max(self.steps, other.steps),
        )  # fmt: skip

    def settled(self) -> Array:
        """The same; where each number comes from is fixed if to find it again each time would cost too much."""
        if (self.steps <= _STEPS and self.cost <= _COST * max(self.size, 1)) or not self.roots:
            return self
        values, places = self.values, self.places(self.ground)
        plain = places < 0
        begins = np.array([self.ground.starts[root] for root in self.roots])
        lengths = np.array([self.ground.weights[root].size for root in self.roots])
        which = np.searchsorted(begins, places, side="right") - 1
        inside = places - begins[which] + (np.cumsum(lengths) - lengths)[which]
        inside[plain] = 0

        def made(look: Look) -> ndarray:
            every = [look.weight(root).reshape(-1) for root in self.roots]
            found: ndarray = (np.concatenate(every) if len(every) > 1 else every[0])[inside]
            return np.where(plain, look.plain(values), found) if plain.any() else found

        return Array(self.ground, self.shape, self.dtype, self.roots, made, self.size)

    def _seen(self, shape: tuple[int, ...], how: Callable[[ndarray], ndarray]) -> Array:
        made = self.made
        return Array(
            self.ground, shape, self.dtype, self.roots, lambda look: how(made(look)), self.cost, self.steps + 1
        ).settled()
