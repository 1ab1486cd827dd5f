"""OpenVINO itself, in the worker: its front end makes the file, and its CPU plug-in answers.

Nothing is optimized on the way: OpenVINO does that for the device it meets, when a file is loaded, and what it would do
before (folding BatchNormalization, halving weights) cannot be undone by whoever gets the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import openvino as library
from numpy import ndarray

from engram.errors import ConversionError, FormatError, ShapeError

__all__ = ["answer", "convert"]

_KEY = "engram"
_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
"""Left alone, OpenVINO computes in 16 bits where a processor can, and answers move by 0.004."""


def convert(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Write a network as IR.

    Args:
        said: ``network``, the ONNX file; ``path``, of the XML, and ``weights``, of the binary; ``notes``, any text.
        arrays: none.

    Raises:
        ConversionError: OpenVINO has no such operator, or cannot write.
    """
    try:
        network = library.Core().read_model(said["network"])
        network.set_rt_info(said["notes"], [_KEY])
        library.serialize(network, said["path"], said["weights"])
    except (RuntimeError, ValueError, TypeError) as refused:
        raise ConversionError(f"OpenVINO cannot hold the network: {_reason(refused)}") from refused
    return {}, dict(arrays)


def answer(said: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What a file answers on the processor, in 32 bits.

    Args:
        said: ``path``, of the XML, and ``weights``, of the binary.
        arrays: inputs by name.

    Raises:
        FormatError: OpenVINO cannot open the file.
        ShapeError: the inputs do not fit.
    """
    core = library.Core()
    try:
        network = core.read_model(said["path"], said["weights"])
        compiled = core.compile_model(network, "CPU", _EXACT)
    except (RuntimeError, ValueError, TypeError) as refused:
        raise FormatError(f"OpenVINO cannot open it: {_reason(refused)}") from refused
    try:
        found = compiled(dict(arrays))
        answers = [found[output] for output in compiled.outputs]
    except (RuntimeError, ValueError, TypeError, KeyError) as refused:
        raise ShapeError(f"OpenVINO does not answer: {_reason(refused)}") from refused
    return {}, dict(zip(_outputs(network, compiled), answers, strict=True))


def _outputs(network: Any, compiled: Any) -> list[str]:  # noqa: ANN401 - OpenVINO's own
    """The names of the outputs: those that stand in the note, because a tensor may have several names."""
    with suppress(RuntimeError, ValueError, TypeError, LookupError, AttributeError):
        outputs = json.loads(network.get_rt_info([_KEY]).astype(str))["signature"]["outputs"]
        names = [str(output["name"]) for output in outputs]
        if len(names) == len(compiled.outputs) == len(set(names)):
            return names
    return [min(output.get_names(), default=f"output{place}") for place, output in enumerate(compiled.outputs)]


def _reason(refused: Exception) -> str:
    """The lines that say what is wrong, without those that say where in OpenVINO's sources."""
    lines = [line.strip() for line in str(refused).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "FrontEnd API"))]
    return " ".join(told or lines)[:300] or type(refused).__name__
