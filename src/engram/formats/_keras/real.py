"""The real Keras, asked in a process of its own.

torch computes where it is installed, because it starts in half the time; TensorFlow where it is not, and for networks
that average over padded edges, which Keras does by TensorFlow's rules and on torch otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError, MissingLibrary
from engram.formats import _onnxruntime, _parcel, _worker
from engram.formats._nursery import Framework
from engram.records import Model

__all__ = ["answers", "job", "version"]


def answers(model: Model, path: Path, pieces: Sequence[Mapping[str, ndarray]]) -> list[dict[str, ndarray]]:
    """What Keras answers from a file to several batches, every output by the names of the model.

    Args:
        model: as read from the file.
        path: of the file.
        pieces: inputs of the model; raw columns where it has preprocessing, which Keras does not run.

    Raises:
        MissingLibrary: Keras or what it computes with is not installed.
        FormatError: Keras refuses the file.
    """
    version()
    given = _parcel.numbered(_onnxruntime.prepare(model, pieces))
    said = {"path": str(path.resolve()), "pieces": len(pieces)}
    framework = Framework((f"KERAS_BACKEND={_backend(model)}", "engram.formats._keras.imported"))
    _, made = _worker.asked(f"{__name__}:job", said, given, framework=framework)
    names = [spec.name for spec in model.signature.outputs]
    found = [
        {name: made.get(f"{number}/{name}", made.get(f"{number}/{place}")) for place, name in enumerate(names)}
        for number in range(len(pieces))
    ]
    whole = [{name: array for name, array in piece.items() if array is not None} for piece in found]
    if any(len(piece) != len(names) for piece in whole):
        raise FormatError(f"Keras answers from {path.name} with other outputs than were read: {', '.join(names)}")
    return whole


def version() -> str:
    """Name and version of Keras.

    Raises:
        MissingLibrary: it is not installed, or nothing that it computes with is.
    """
    try:
        found = installed("keras")
    except PackageNotFoundError as absent:
        raise MissingLibrary("asking Keras itself needs keras, which is not installed; pip install keras") from absent
    if not any(map(find_spec, ("tensorflow", "torch"))):
        raise MissingLibrary("Keras needs tensorflow or torch to answer; pip install tensorflow-cpu")
    return f"keras {found}"


def _backend(model: Model) -> str:
    said = str(model.source.get("config", ""))
    differs = "AveragePooling" in said and "'same'" in said
    if find_spec("torch") is None or (differs and find_spec("tensorflow") is not None):
        return "tensorflow"
    return "torch"


def job(said: dict[str, Any], arrays: dict[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Load a file in safe mode and answer; what a worker runs."""
    from engram.formats._keras.imported import library as keras

    try:
        model = keras.models.load_model(said["path"], compile=False, safe_mode=True)
        made: dict[str, ndarray] = {}
        for number in range(int(said["pieces"])):
            start = f"{number}/"
            piece = {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}
            made |= {f"{start}{name}": array for name, array in _answered(keras, model, piece).items()}
    except Exception as refused:
        reason = str(refused).strip().splitlines() or [type(refused).__name__]
        raise FormatError(f"Keras refuses {Path(said['path']).name}: {reason[0][:300]}") from refused
    return {}, made


def _answered(keras: Any, model: Any, arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:  # noqa: ANN401 - no types
    struct = getattr(model, "_inputs_struct", None)
    asked: Any = [arrays[tensor.name] for tensor in model.inputs]
    if isinstance(struct, dict):
        asked = {key: arrays[tensor.name] for key, tensor in struct.items()}
    elif len(asked) == 1 and not isinstance(struct, (list, tuple)):
        asked = asked[0]
    found = model(asked, training=False)
    named = found if isinstance(found, dict) else dict(enumerate(keras.tree.flatten(found)))
    return {str(key): np.asarray(keras.ops.convert_to_numpy(one)) for key, one in named.items()}
