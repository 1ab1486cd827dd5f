"""What of a loop of one's own has a state beside network and optimizer, known by its methods and not by its class."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Stateful"]


class Stateful(Protocol):
    """What has a state of its own: a scheduler of learning rates, a scaler of gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Go on from a state."""
        ...
