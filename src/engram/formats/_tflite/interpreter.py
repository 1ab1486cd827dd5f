"""LiteRT's interpreter, in the worker: a crash there is an error here.

The kernels are the usual ones (XNNPACK where it has an operator, the optimized ones elsewhere) with one thread, because
that is what a device runs; the reference kernels are asked for by tests alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy import ndarray

from engram.errors import FormatError, ShapeError

__all__ = ["answer"]

_KERNELS = {"usual": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}


def answer(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What a file answers.

    Args:
        said: ``path``; ``inputs`` and ``outputs``, name → tensor of the main subgraph; ``kernels``.
        arrays: inputs by name.

    Raises:
        FormatError: LiteRT cannot open or run the file.
        ShapeError: the inputs do not fit.
    """
    try:
        asked = Interpreter(
            model_path=said["path"], num_threads=1, experimental_op_resolver_type=_KERNELS[said["kernels"]]
        )
        shapes = {entry["index"]: tuple(entry["shape"]) for entry in asked.get_input_details()}
        for name, tensor in said["inputs"].items():
            if arrays[name].shape != shapes[tensor]:
                asked.resize_tensor_input(tensor, list(arrays[name].shape))
        asked.allocate_tensors()
    except (ValueError, RuntimeError) as refused:
        raise FormatError(f"LiteRT cannot open it: {_reason(refused)}") from refused
    try:
        for name, tensor in said["inputs"].items():
            asked.set_tensor(tensor, arrays[name])
        asked.invoke()
        return {}, {name: asked.get_tensor(tensor) for name, tensor in said["outputs"].items()}
    except (ValueError, RuntimeError) as refused:
        raise ShapeError(f"LiteRT does not answer: {_reason(refused)}") from refused


def _reason(refused: Exception) -> str:
    lines = [line.strip() for line in str(refused).splitlines() if line.strip()]
    return " ".join(lines)[:300] if lines else type(refused).__name__
