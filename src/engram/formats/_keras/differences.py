"""Where an optimizer of Keras steps otherwise than torch's of the same name, in a sentence for who wants to go on.

Going on by another rule would look like going on: the loss falls, and the network is another. So the sentence travels
with the training state, and whoever puts the state into an optimizer of torch's gives it as the reason of refusing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["between"]

_RULES: Mapping[str, str] = {
    "Ftrl": "torch has no Ftrl",
    "Lamb": "torch has no Lamb",
    "Lion": "torch has no Lion",
    "RMSprop": "Keras' RMSprop divides by sqrt(v + epsilon) and torch's by sqrt(v) + eps",
}
_CLIPS = ("clipnorm", "clipvalue", "global_clipnorm")
_DECOUPLED = frozenset({"Adam", "AdamW"})
"""Optimizers whose weight decay torch's AdamW has."""


def between(kind: str, config: Mapping[str, Any]) -> str:
    """What torch's optimizer does otherwise; empty where it does the same.

    Args:
        kind: Keras' class.
        config: its settings.
    """
    if kind in _RULES:
        return _RULES[kind]
    for clip in _CLIPS:
        if config.get(clip):
            return f"Keras' {kind} clips gradients within a step ({clip} = {config[clip]}), torch's does not"
    if config.get("weight_decay") and kind not in _DECOUPLED:
        return f"Keras' {kind} shrinks weights apart from the gradient (weight_decay), torch's adds them to it"
    if kind == "SGD" and config.get("momentum") and isinstance(config.get("learning_rate"), Mapping):
        return "the momentum of Keras' SGD holds past learning rates, which follow a schedule here; torch's holds none"
    if config.get("gradient_accumulation_steps"):
        return f"Keras' {kind} gathers gradients over several batches before it steps, torch's does not"
    return ""
