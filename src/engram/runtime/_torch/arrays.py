"""Arrays and tensors of the same type, there and back; types that numpy lacks go by way of ml_dtypes, bit for bit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from engram.errors import ConversionError

__all__ = ["array", "tensor"]

_FOREIGN: Mapping[str, torch.dtype] = {
    "bfloat16": torch.bfloat16, "float8_e4m3fn": torch.float8_e4m3fn, "float8_e4m3fnuz": torch.float8_e4m3fnuz,
    "float8_e5m2": torch.float8_e5m2, "float8_e5m2fnuz": torch.float8_e5m2fnuz,
}  # fmt: skip
_NAMES = {kind: name for name, kind in _FOREIGN.items()}


def array(values: Tensor) -> ndarray:
    """A tensor's numbers as an array of its own, in its own type."""
    plain = values.detach().to("cpu", copy=True)
    if plain.dtype in _NAMES:
        import ml_dtypes

        bits = torch.uint8 if plain.element_size() == 1 else torch.uint16
        return plain.contiguous().view(bits).numpy().view(getattr(ml_dtypes, _NAMES[plain.dtype]))
    return plain.numpy()


def tensor(values: ndarray, name: str) -> Tensor:
    """A copy of an array as tensor, in its own type.

    Raises:
        ConversionError: torch has no such type; the message says whose it is.
    """
    plain = np.array(values, order="C")
    kind = _FOREIGN.get(plain.dtype.name)
    if kind is not None:
        return torch.from_numpy(plain.view(np.uint8 if plain.itemsize == 1 else np.uint16)).view(kind)
    try:
        return torch.from_numpy(plain)
    except TypeError:
        raise ConversionError(f"{name!r} is of type {plain.dtype}, which torch does not have") from None
