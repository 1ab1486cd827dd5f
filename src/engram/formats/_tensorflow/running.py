"""Asking TensorFlow itself what a SavedModel answers, in a process that may be killed.

TensorFlow's Python takes nine seconds to import and its C library half a second, and the C library is what answers in
either case. So it is called directly; the calls are those of ``tensorflow/c/c_api.h``, which are kept stable.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError, MissingLibrary
from engram.formats._tensorflow.tensors import STRING, dtype_of, number_of

__all__ = ["answer", "inputs_of", "installed", "runtime"]

_Handle = ctypes.c_void_p
_TEXT = 24
_NAMES = ("libtensorflow_framework", "libtensorflow_cc")
_DISTRIBUTIONS = ("tensorflow-cpu", "tensorflow", "tensorflow-intel")


class _Output(ctypes.Structure):
    """TF_Output."""

    _fields_ = (("operation", _Handle), ("index", ctypes.c_int))


def installed() -> Path:
    """The folder of TensorFlow.

    Raises:
        MissingLibrary: it is not installed.
    """
    found = importlib.util.find_spec("tensorflow")
    if found is None or not found.submodule_search_locations:
        raise MissingLibrary("a SavedModel runs in TensorFlow; install it: pip install 'engram[tensorflow]'")
    return Path(next(iter(found.submodule_search_locations)))


def runtime() -> str:
    """Name and version of TensorFlow.

    Raises:
        MissingLibrary: it is not installed.
    """
    installed()
    for name in _DISTRIBUTIONS:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return "tensorflow"


def answer(said: dict[str, Any], arrays: dict[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """The job of the worker.

    Args:
        said: ``folder`` of the SavedModel; ``inputs`` and ``outputs``, names → ``node:output`` in its graph; ``tags``.
        arrays: the inputs, by name.

    Raises:
        FormatError: TensorFlow refuses the model or the inputs.
    """
    library = _library(Path(said["library"]))
    status = _Handle(library.TF_NewStatus())
    graph, session = _session(library, status, said["folder"], said["tags"])
    given = [_tensor(library, arrays[name]) for name in said["inputs"]]
    outputs = list(said["outputs"].values())
    made = (_Handle * len(outputs))()
    library.TF_SessionRun(
        session, None,
        _ends(library, graph, list(said["inputs"].values())), (_Handle * len(given))(*given), len(given),
        _ends(library, graph, outputs), made, len(outputs),
        None, 0, None, status,
    )  # fmt: skip
    _checked(library, status)
    return {}, {name: _array(library, tensor) for name, tensor in zip(said["outputs"], made, strict=True)}


def _library(folder: Path) -> Any:  # noqa: ANN401 - ctypes gives functions by name
    loaded = None
    for name in _NAMES:
        files = sorted(folder.glob(f"{name}.*"))
        if not files:
            raise FormatError(f"TensorFlow in {folder} has no {name}; install tensorflow-cpu 2.18 or newer")
        loaded = ctypes.CDLL(str(files[0]), ctypes.RTLD_GLOBAL)
    assert loaded is not None
    for name in (
        "TF_NewStatus", "TF_NewGraph", "TF_NewSessionOptions", "TF_LoadSessionFromSavedModel", "TF_AllocateTensor",
        "TF_TensorData", "TF_GraphOperationByName", "TF_StringGetDataPointer",
    ):  # fmt: skip
        getattr(loaded, name).restype = _Handle
    loaded.TF_Message.restype = ctypes.c_char_p
    for name in ("TF_TensorByteSize", "TF_StringGetSize"):
        getattr(loaded, name).restype = ctypes.c_size_t
    loaded.TF_Dim.restype = ctypes.c_int64
    return loaded


def _session(library: Any, status: _Handle, folder: str, tags: list[str]) -> tuple[_Handle, _Handle]:  # noqa: ANN401
    graph = _Handle(library.TF_NewGraph())
    words = (ctypes.c_char_p * len(tags))(*(tag.encode() for tag in tags))
    options = _Handle(library.TF_NewSessionOptions())
    session = library.TF_LoadSessionFromSavedModel(
        options, None, ctypes.c_char_p(str(folder).encode()), words, len(tags), graph, None, status
    )
    _checked(library, status)
    return graph, _Handle(session)


def _ends(library: Any, graph: _Handle, places: list[str]) -> ctypes.Array[_Output]:  # noqa: ANN401
    made = (_Output * len(places))()
    for place, text in enumerate(places):
        name, _, number = text.partition(":")
        operation = library.TF_GraphOperationByName(graph, ctypes.c_char_p(name.encode()))
        if not operation:
            raise FormatError(f"TensorFlow finds no node {name!r} in the graph it loaded")
        made[place] = _Output(operation, int(number or 0))
    return made


def _tensor(library: Any, array: ndarray) -> _Handle:  # noqa: ANN401
    number = number_of(array.dtype)
    if number is None:
        raise FormatError(f"TensorFlow takes no input of type {array.dtype}")
    lengths = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
    size = array.size * (_TEXT if number == STRING else array.dtype.itemsize)
    made = _Handle(library.TF_AllocateTensor(number, lengths, array.ndim, ctypes.c_size_t(size)))
    data = library.TF_TensorData(made)
    if number == STRING:
        for place, text in enumerate(array.reshape(-1).tolist()):
            where, content = _Handle(data + _TEXT * place), str(text).encode()
            library.TF_StringInit(where)
            library.TF_StringCopy(where, content, ctypes.c_size_t(len(content)))
    elif size:
        ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, size)
    return made


def _array(library: Any, tensor: int) -> ndarray:  # noqa: ANN401
    handle = _Handle(tensor)
    shape = tuple(int(library.TF_Dim(handle, axis)) for axis in range(library.TF_NumDims(handle)))
    number, data = library.TF_TensorType(handle), library.TF_TensorData(handle)
    count = math.prod(shape)
    if number == STRING:
        made = np.empty(count, dtype=object)
        for place in range(count):
            where = _Handle(data + _TEXT * place)
            content = ctypes.string_at(library.TF_StringGetDataPointer(where), library.TF_StringGetSize(where))
            made[place] = content.decode("utf-8", "replace")
        return made.reshape(shape)
    kind = dtype_of(number)
    if kind is None:
        raise FormatError(f"TensorFlow answers with type {number}, which no array here has")
    return (
        np.frombuffer(ctypes.string_at(data, count * kind.itemsize), kind).reshape(shape)
        if count
        else np.zeros(shape, kind)
    )


def _checked(library: Any, status: _Handle) -> None:  # noqa: ANN401
    if library.TF_GetCode(status):
        message = library.TF_Message(status).decode("utf-8", "replace").strip().splitlines()
        raise FormatError(f"TensorFlow refuses the model: {message[0][:300] if message else 'without a reason'}")


def inputs_of(arrays: Mapping[str, ndarray], names: list[str]) -> dict[str, ndarray]:
    """The inputs that a model takes, of those that are given.

    Raises:
        FormatError: one is missing.
    """
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FormatError(f"the model needs the input {missing[0]!r}, which is not given")
    return {name: np.asarray(arrays[name]) for name in names}
