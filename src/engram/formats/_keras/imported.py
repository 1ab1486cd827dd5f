"""Keras itself, imported once for all questions, and without the five seconds that its pictures and wrappers take.

Which library it computes with is read from ``KERAS_BACKEND`` at that moment and never again.
"""

from __future__ import annotations

import sys

for _unused in ("matplotlib", "sklearn"):
    sys.modules[_unused] = None  # type: ignore[assignment]

import keras as library  # noqa: E402 - only now

__all__ = ["library"]
