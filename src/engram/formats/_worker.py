"""A process of its own for what may crash, hang or eat memory on a stranger's file.

Native libraries (TensorFlow, LiteRT, torch's archives) were not written for files of strangers. What they are asked is
asked in a fresh process, which the system ends when it takes too much; here that is a typed error like any other.
Questions and answers travel as JSON and plain bytes through a hidden folder: a pickle of the answer would let a
stranger's file that took over the worker take over this process, too.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy import ndarray

from engram import errors
from engram.errors import EngramError, FormatError

__all__ = ["Bounds", "asked", "asked_pieces", "main"]

Arrays = Mapping[str, ndarray]
Job = Callable[[dict[str, Any], dict[str, ndarray]], tuple[Mapping[str, Any], Arrays]]

_QUESTION, _ANSWER = "question", "answer"
_OPEN_FILES = 256
_DIE_WITH_PARENT = 1
_NEW_NETWORK, _NEW_USER = 0x40000000, 0x10000000
_LAST_WORDS = 2_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a worker may take.

    Attributes:
        memory: bytes of its own, beside what it maps from files.
        seconds: of processor time; by the clock it may take three times as many.
        written: bytes of the largest file it may write.
    """

    memory: int = 4 << 30
    seconds: int = 120
    written: int = 8 << 30


_USUAL = Bounds()


def asked(
    job: str, said: Mapping[str, Any], arrays: Arrays | None = None, *, bounds: Bounds = _USUAL
) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What a function answers in a process of its own.

    Args:
        job: ``package.module:function``; the function takes the two next arguments and returns the like of them.
        said: plain JSON values.
        arrays: by name; of objects, they hold texts.
        bounds: what it may take.

    Raises:
        EngramError: of the kind that the function raised.
        FormatError: it crashed, hung, or took too much.
    """
    with tempfile.TemporaryDirectory(prefix="engram-") as place:
        folder = Path(place)
        _pack(folder, _QUESTION, said, arrays or {})
        words = json.dumps({"job": job, "bounds": asdict(bounds), "path": sys.path})
        program = "from engram.formats._worker import main; main()"
        with (folder / "words").open("wb") as heard:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own words
                [sys.executable, "-P", "-s", "-c", program, place, words],
                stdin=subprocess.DEVNULL,
                stdout=heard,
                stderr=heard,
                cwd=place,
                env=_environment(place),
                start_new_session=True,
            )
            code = _ended(process, 3 * bounds.seconds)
        return _answer(folder, job, code, bounds)


def asked_pieces(
    job: str, said: Mapping[str, Any], pieces: Sequence[Arrays], *, bounds: Bounds = _USUAL
) -> list[dict[str, ndarray]]:
    """What a function answers to several batches, one after the other in one process.

    Frameworks take seconds to start, and a network whose batch is fixed is asked in as many pieces as there are rows.

    Args:
        job: as for ``asked``; it is called once a piece and must not mind having been called before.
        said: plain JSON values, the same for all.
        pieces: arrays by name.
        bounds: what it may take for all of them together.

    Raises:
        EngramError: of the kind that the function raised.
        FormatError: it crashed, hung, or took too much.
    """
    arrays = {f"{number}/{name}": array for number, piece in enumerate(pieces) for name, array in piece.items()}
    question = {"job": job, "said": dict(said), "pieces": len(pieces)}
    _, made = asked(f"{__name__}:each", question, arrays, bounds=bounds)
    return [_piece(made, number) for number in range(len(pieces))]


def each(said: dict[str, Any], arrays: dict[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Do a job for one piece after the other; the job of a worker that is asked several."""
    job, made = _job(said["job"]), dict[str, ndarray]()
    for number in range(int(said["pieces"])):
        _, found = job(dict(said["said"]), _piece(arrays, number))
        made |= {f"{number}/{name}": array for name, array in found.items()}
    return {}, made


def main() -> None:
    """Be the worker: read the question, do the job, write the answer."""
    folder, words = Path(sys.argv[1]), json.loads(sys.argv[2])
    sys.path[:] = words["path"]
    _confine(Bounds(**words["bounds"]))
    try:
        said, arrays = _job(words["job"])(*_unpack(folder, _QUESTION))
        _pack(folder, _ANSWER, {"said": dict(said)}, arrays)
    except EngramError as refused:
        _pack(folder, _ANSWER, {"refused": type(refused).__name__, "why": str(refused)}, {})
    except MemoryError:
        _pack(folder, _ANSWER, {"refused": "FormatError", "why": "it takes more memory than is allowed"}, {})


def _job(name: str) -> Job:
    module, _, function = name.partition(":")
    found: Job = getattr(importlib.import_module(module), function)
    return found


def _piece(arrays: Arrays, number: int) -> dict[str, ndarray]:
    start = f"{number}/"
    return {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}


def _ended(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The exit code; None where it had to be stopped."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _answer(folder: Path, job: str, code: int | None, bounds: Bounds) -> tuple[dict[str, Any], dict[str, ndarray]]:
    if code is None or code == -signal.SIGXCPU:
        raise FormatError(f"{job} took more than {bounds.seconds} s and was stopped; nothing of it is used")
    if code or not (folder / f"{_ANSWER}.json").is_file():
        raise FormatError(f"{job} {_end(code)}{_last_words(folder)}; nothing of it is used")
    found, arrays = _unpack(folder, _ANSWER)
    if "refused" in found:
        kind = getattr(errors, str(found["refused"]), FormatError)
        raise (kind if isinstance(kind, type) and issubclass(kind, EngramError) else FormatError)(str(found["why"]))
    return dict(found["said"]), arrays


def _end(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, probably for its memory"
    return f"crashed ({signal.Signals(-code).name})" if code < 0 else "failed"


def _last_words(folder: Path) -> str:
    with (folder / "words").open("rb") as file:
        file.seek(max((folder / "words").stat().st_size - _LAST_WORDS, 0))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f" ({lines[-1][:300]})" if lines else ""


def _environment(place: str) -> dict[str, str]:
    """Nothing of the user's: no proxies, no tokens, no settings of frameworks; one thread, no device, few words."""
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": ":".join(entry for entry in sys.path if entry),
        "PYTHONHASHSEED": "0",
        "HOME": place,
        "TMPDIR": place,
        "LC_ALL": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
    }


def _confine(bounds: Bounds) -> None:
    """Take no more than the bounds, reach no network, and end with whoever asked."""
    for kind, soft, hard in (
        (resource.RLIMIT_DATA, bounds.memory, bounds.memory),
        (resource.RLIMIT_CPU, bounds.seconds, bounds.seconds + 1),  # at the hard one the signal is that of any killing
        (resource.RLIMIT_FSIZE, bounds.written, bounds.written),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        with suppress(ValueError, OSError):  # the system's own limit is lower already
            resource.setrlimit(kind, (soft, hard))
    with suppress(OSError, AttributeError):  # where there is no such system call, the rest holds
        system = ctypes.CDLL(None)
        system.prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        if system.unshare(_NEW_NETWORK):
            system.unshare(_NEW_NETWORK | _NEW_USER)


def _pack(folder: Path, name: str, said: Mapping[str, Any], arrays: Arrays) -> None:
    """Values as JSON, arrays as bytes one after the other; the JSON comes last and says that all is there."""
    index: list[dict[str, Any]] = []
    with (folder / f"{name}.bin").open("wb") as file:
        for key, given in arrays.items():
            array = np.asarray(given)
            entry = {"name": key, "type": _type(array), "shape": list(array.shape)}
            if array.dtype.kind in "OUS":
                entry["texts"] = [str(one) for one in array.ravel().tolist()]
            else:
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            index.append(entry)
    part = folder / f"{name}.part"
    part.write_text(json.dumps({"said": dict(said), "arrays": index}), encoding="utf-8")
    part.replace(folder / f"{name}.json")


def _unpack(folder: Path, name: str) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What ``_pack`` wrote; a worker that was taken over may have written anything, so every length is checked."""
    try:
        found = json.loads((folder / f"{name}.json").read_bytes())
        content = (folder / f"{name}.bin").read_bytes()
        arrays, place = {}, 0
        for entry in found["arrays"]:
            shape = tuple(int(length) for length in entry["shape"])
            if entry["type"] == "string":
                arrays[entry["name"]] = np.array(entry["texts"], dtype=object).reshape(shape)
                continue
            kind, count = _dtype(entry["type"]), max(math.prod(shape), 0)
            arrays[entry["name"]] = np.frombuffer(content[place : place + count * kind.itemsize], kind).reshape(shape)
            place += count * kind.itemsize
        return dict(found["said"]), arrays
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as wrong:
        raise FormatError(f"a worker's {name} cannot be read: {wrong}; nothing of it is used") from wrong


def _type(array: ndarray) -> str:
    return "string" if array.dtype.kind in "OUS" else array.dtype.name


def _dtype(name: str) -> np.dtype[Any]:
    found = getattr(ml_dtypes, name, None)
    kind = np.dtype(found if isinstance(found, type) else name)
    if kind.hasobject:
        raise ValueError(f"{name} is no type of numbers")
    return kind
