"""Arrays and tensors of the same type, there and back; bfloat16, which numpy lacks, goes by way of ml_dtypes."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from engram.errors import ConversionError

__all__ = ["array", "tensor"]


def array(values: Tensor) -> ndarray:
    """A tensor's numbers as an array of its own, in its own type."""
    plain = values.detach().to("cpu", copy=True)
    if plain.dtype == torch.bfloat16:
        import ml_dtypes

        return plain.contiguous().view(torch.uint16).numpy().view(ml_dtypes.bfloat16)
    return plain.numpy()


def tensor(values: ndarray, name: str) -> Tensor:
    """A copy of an array as tensor, in its own type.

    Raises:
        ConversionError: torch has no such type; the message says whose it is.
    """
    plain = np.array(values, order="C")
    if plain.dtype.name == "bfloat16":
        return torch.from_numpy(plain.view(np.uint16)).view(torch.bfloat16)
    try:
        return torch.from_numpy(plain)
    except TypeError:
        raise ConversionError(f"{name!r} is of type {plain.dtype}, which torch does not have") from None
