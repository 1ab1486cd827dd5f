"""One side of the comparison of formats, in a process of its own: reads or writes one file whenever it is told to.

Called as ``_format_side.py SIDE FORMAT FILE``, where a side is ``engram`` or ``own``; then a line a round, ``read
PATH`` or ``write PATH``. The answer is a line of JSON: seconds by the clock, seconds of all threads, and by how many
bytes memory grew at its highest, with that of isolated workers beside what the nursery they are forked from has. Every
page of what was read is touched, because some sides only map it.
"""

import importlib
import json
import os
import pickle  # noqa: TID251 - the peer
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import numpy as np

PAGE = 4_096
Sides = tuple[Callable[[Path], object], Callable[[object, Path], object]]


def _engram(name: str) -> Sides:
    from engram.formats import SHELF
    from engram.records import Limits

    module = SHELF.take(name)
    reader = SHELF.take("onnx") if name == "openvino" else module
    return (lambda path: reader.read(path, Limits())), module.write


def _onnx() -> Sides:
    import onnx

    return onnx.load, onnx.save


def _safetensors() -> Sides:
    from safetensors.numpy import load_file, save_file

    return load_file, save_file


def _pytorch() -> Sides:
    import torch

    return torch.load, torch.save  # noqa: TID251 - the peer


def _pt2() -> Sides:
    import torch

    def load(path: Path) -> object:
        return torch.export.load(path)  # noqa: TID251 - the peer

    def save(program: Any, path: Path) -> None:  # noqa: ANN401 - what torch loaded
        (rows,), lengths = program.example_inputs[0], {0: torch.export.Dim.AUTO}
        made = torch.export.export(program.module(), (rows,), dynamic_shapes=(lengths,), strict=False)
        torch.export.save(made, path)

    return load, save


def _openvino() -> Sides:
    import onnx
    import openvino

    def save(network: onnx.ModelProto, path: Path) -> None:
        read = openvino.Core().read_model(network.SerializeToString())
        openvino.save_model(read, path, compress_to_fp16=False)

    return onnx.load, save


def _npz() -> Sides:
    return (lambda path: dict(np.load(path))), (lambda arrays, path: np.savez(path, **arrays))  # noqa: TID251 - the peer


def _pickle() -> Sides:
    def load(path: Path) -> object:
        with path.open("rb") as file:
            return pickle.load(file)

    def dump(arrays: object, path: Path) -> None:
        with path.open("wb") as file:
            pickle.dump(arrays, file)

    return load, dump


def _joblib() -> Sides:
    import joblib

    return joblib.load, joblib.dump  # noqa: TID251 - the peer


def _keras() -> Sides:
    import keras

    return (lambda path: keras.saving.load_model(path, compile=False)), (lambda model, path: model.save(path))


def _savedmodel() -> Sides:
    import tensorflow as tf

    def save(model: Any, path: Path) -> None:  # noqa: ANN401 - TensorFlow has no types
        tf.saved_model.save(model, str(path), signatures=dict(model.signatures))

    return (lambda path: tf.saved_model.load(str(path))), save


def _tflite() -> Sides:
    from ai_edge_litert.interpreter import Interpreter

    def load(path: Path) -> object:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        return interpreter

    return load, lambda _model, _path: None


OWN: dict[str, Callable[[], Sides]] = {
    "onnx": _onnx, "safetensors": _safetensors, "pytorch": _pytorch, "npz": _npz, "pickle": _pickle, "joblib": _joblib,
    "keras": _keras, "hdf5": _keras, "savedmodel": _savedmodel, "tflite": _tflite, "pt2": _pt2, "openvino": _openvino,
}  # fmt: skip


def _held(interpreter: Any) -> Callable[[dict[str, Any]], np.ndarray | None]:  # noqa: ANN401 - LiteRT has no types
    def numbers(details: dict[str, Any]) -> np.ndarray | None:
        try:
            made: np.ndarray = interpreter.get_tensor(details["index"])
        except ValueError:  # it holds no numbers before the network has run
            return None
        return made

    return numbers


def arrays(found: Any) -> Iterable[np.ndarray]:  # noqa: ANN401 - whatever a library makes
    """The weights in whatever a side makes of a file."""
    kind = type(found).__module__.partition(".")[0]
    ways: dict[str, Callable[[], Iterable[np.ndarray]]] = {
        "engram": lambda: iter(found.weights.values()),
        "onnx": lambda: map(importlib.import_module("onnx.numpy_helper").to_array, found.graph.initializer),
        "keras": lambda: [np.asarray(each.value) for each in found.weights],
        "tensorflow": lambda: [each.numpy() for each in found.signatures["serving_default"].variables],
        "ai_edge_litert": lambda: [each for each in map(_held(found), found.get_tensor_details()) if each is not None],
        "torch": lambda: [each.detach().numpy() for each in found.state_dict.values()],
        "pathlib": list,
        "builtins": lambda: map(np.asarray, found.values()),
        "collections": lambda: map(np.asarray, found.values()),
    }
    return ways[kind]()


def touched(found: object) -> int:
    """A byte of every page, added up."""
    whole = (np.ascontiguousarray(each).view(np.uint8).reshape(-1) for each in arrays(found))
    return sum(int(each[::PAGE].sum(dtype=np.int64)) for each in whole)


def memory(line: str, process: int | str = "self") -> int:
    """Bytes of a process, as its status says."""
    found = next(row for row in Path(f"/proc/{process}/status").read_text().splitlines() if row.startswith(line))
    return int(found.split()[1]) * 1024


def children(process: int) -> list[int]:
    """The processes that a process started and that are there."""
    found = Path(f"/proc/{process}/task").glob("*/children")
    return [int(number) for each in found for number in each.read_text().split()]


class Workers:
    """The most that a worker took while this was looking, in bytes."""

    def __init__(self) -> None:
        self.most = 0
        self._ended = Event()
        self._thread = Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.wait(0.01):
            with suppress(OSError, StopIteration):  # one has just ended
                for nursery in children(os.getpid()):
                    for worker in children(nursery):
                        self.most = max(self.most, memory("VmHWM", worker) - memory("VmRSS", nursery))


def main() -> None:
    """Answer as often as asked."""
    side, name, first = sys.argv[1:4]
    load, save = _engram(name) if side == "engram" else OWN[name]()
    held = load(Path(first))
    touched(held)
    print("ready", flush=True)
    for asked in sys.stdin:
        word, path = asked.rstrip("\n").split(" ", 1)
        Path("/proc/self/clear_refs").write_text("5")  # the highest is from now on
        before, cpu, wall = memory("VmRSS"), time.process_time(), time.perf_counter()
        with Workers() as workers:
            if word == "read":
                touched(load(Path(path)))
            else:
                save(held, Path(path))
            taken = time.perf_counter() - wall, time.process_time() - cpu
        print(json.dumps([*taken, memory("VmHWM") - before + workers.most]), flush=True)


if __name__ == "__main__":
    main()
