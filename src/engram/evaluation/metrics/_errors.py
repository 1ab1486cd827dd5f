"""The difference between predicted and true numbers, in float64 so that float32 predictions lose nothing more."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

__all__ = ["errors"]


def errors(truth: ndarray, prediction: ndarray) -> ndarray:
    """Predicted minus true, float64 (rows,)."""
    return prediction.astype(np.float64) - truth.astype(np.float64)
