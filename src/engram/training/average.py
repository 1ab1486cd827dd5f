"""The exponential moving average of the weights, which often answers better than the last weights themselves.

Source: Polyak and Juditsky 1992; with the warm-up of the decay that TensorFlow made usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    """A second set of weights that follows the first slowly.

    Attributes:
        shadow: name → tensor, for every floating entry of the network's ``state_dict``.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._followed = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
        self.shadow = {name: value.clone() for name, value in self._followed.items()}

    def follow(self, step: int) -> None:
        """Move towards the network's weights; ``step`` counts the optimizer's steps from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.shadow.values()), list(self._followed.values()), 1 - decay)

    def restore(self, shadow: Mapping[str, Tensor]) -> None:
        """Go on from these averages."""
        for name, value in shadow.items():
            self.shadow[name].copy_(value)

    @contextmanager
    def worn(self) -> Iterator[None]:
        """The network answers with the averages inside, and with its own weights again after."""
        own = {name: value.clone() for name, value in self._followed.items()}
        self._wear(self.shadow)
        try:
            yield
        finally:
            self._wear(own)

    def _wear(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self._followed.items():
                value.copy_(weights[name])
