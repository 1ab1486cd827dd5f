"""A process of its own for what may crash, hang or eat memory on a stranger's file.

Native libraries (TensorFlow, LiteRT, torch's archives) were not written for files of strangers. What they are asked is
asked in a process that nobody asked anything before, which the system ends when it takes too much; here that is a typed
error like any other.
Questions and answers travel as JSON and plain bytes through a hidden folder: a pickle of the answer would let a
stranger's file that took over the worker take over this process, too.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import mmap
import resource
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
from numpy import ndarray

from engram import errors
from engram.errors import EngramError, FormatError
from engram.formats import _nursery
from engram.formats._nursery import NONE, Framework

__all__ = ["Bounds", "asked", "asked_pieces", "numbered", "piece", "work"]

Arrays = Mapping[str, ndarray]
Job = Callable[[dict[str, Any], dict[str, ndarray]], tuple[Mapping[str, Any], Arrays]]

_QUESTION, _ANSWER = "question", "answer"
_OPEN_FILES = 256
_DIE_WITH_PARENT = 1
_LAST_WORDS = 2_000
_TEXTS = "string"
_PLAIN = (str, int, float, type(None))


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
    job: str,
    said: Mapping[str, Any],
    arrays: Arrays | None = None,
    *,
    bounds: Bounds = _USUAL,
    framework: Framework = NONE,
) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What a function answers in a process of its own.

    Args:
        job: ``package.module:function``; the function takes the two next arguments and returns the like of them.
        said: plain JSON values.
        arrays: by name; of objects, they hold texts.
        bounds: what it may take.
        framework: what is imported once for all questions that say the same here.

    Raises:
        EngramError: of the kind that the function raised.
        FormatError: it crashed, hung, or took too much.
    """
    return _asked(job, said, arrays or {}, _nursery.Wanted(job, asdict(bounds), (_module(job),), framework))


def asked_pieces(
    job: str,
    said: Mapping[str, Any],
    pieces: Sequence[Arrays],
    *,
    bounds: Bounds = _USUAL,
    framework: Framework = NONE,
) -> list[dict[str, ndarray]]:
    """What a function answers to several batches, one after the other in one process.

    Frameworks take seconds to start, and a network whose batch is fixed is asked in as many pieces as there are rows.

    Args:
        job: as for ``asked``; it is called once a piece and must not mind having been called before.
        said: plain JSON values, the same for all.
        pieces: arrays by name.
        bounds: what it may take for all of them together.
        framework: as for ``asked``.

    Raises:
        EngramError: of the kind that the function raised.
        FormatError: it crashed, hung, or took too much.
    """
    arrays = numbered(pieces)
    question = {"job": job, "said": dict(said), "pieces": len(pieces)}
    wanted = _nursery.Wanted(f"{__name__}:each", asdict(bounds), (_module(job),), framework)
    _, made = _asked(job, question, arrays, wanted)
    return [piece(made, number) for number in range(len(pieces))]


def _asked(
    job: str, said: Mapping[str, Any], arrays: Arrays, wanted: _nursery.Wanted
) -> tuple[dict[str, Any], dict[str, ndarray]]:
    with tempfile.TemporaryDirectory(prefix="engram-") as place:
        folder = Path(place)
        _pack(folder, _QUESTION, said, arrays)
        return _answer(folder, job, _nursery.answered(wanted, place), int(wanted.bounds["seconds"]))


def numbered(pieces: Sequence[Arrays]) -> dict[str, ndarray]:
    """Several batches as one, each array behind the number of its batch."""
    return {f"{number}/{name}": array for number, batch in enumerate(pieces) for name, array in batch.items()}


def piece(arrays: Arrays, number: int) -> dict[str, ndarray]:
    """One of the batches that ``numbered`` made one of."""
    start = f"{number}/"
    return {name[len(start) :]: array for name, array in arrays.items() if name.startswith(start)}


def each(said: dict[str, Any], arrays: dict[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Do a job for one piece after the other; the job of a worker that is asked several."""
    job, made = _job(said["job"]), dict[str, ndarray]()
    for number in range(int(said["pieces"])):
        _, found = job(dict(said["said"]), piece(arrays, number))
        made |= {f"{number}/{name}": array for name, array in found.items()}
    return {}, made


def work(place: str, job: str, bounds: Mapping[str, int]) -> None:
    """Be the worker: read the question, do the job, write the answer.

    Args:
        place: the folder of both.
        job: as for ``asked``.
        bounds: by name.
    """
    folder = Path(place)
    _confine(Bounds(**bounds))
    try:
        said, arrays = _job(job)(*_unpack(folder, _QUESTION, _mapped))
        _pack(folder, _ANSWER, {"said": dict(said)}, arrays)
    except EngramError as refused:
        _pack(folder, _ANSWER, {"refused": type(refused).__name__, "why": str(refused)}, {})
    except MemoryError:
        _pack(folder, _ANSWER, {"refused": "FormatError", "why": "it takes more memory than is allowed"}, {})


def _job(name: str) -> Job:
    found: Job = getattr(importlib.import_module(_module(name)), name.partition(":")[2])
    return found


def _module(job: str) -> str:
    return job.partition(":")[0]


def _answer(folder: Path, job: str, code: int | None, seconds: int) -> tuple[dict[str, Any], dict[str, ndarray]]:
    if code is None or code == -signal.SIGXCPU:
        raise FormatError(f"{_who(job)} took more than {seconds} s and was stopped; nothing of it is used")
    if code or not (folder / f"{_ANSWER}.json").is_file():
        raise FormatError(f"{_who(job)} {_end(code)}{_last_words(folder)}; nothing of it is used")
    found, arrays = _unpack(folder, _ANSWER)
    if "refused" in found:
        kind = getattr(errors, str(found["refused"]), FormatError)
        raise (kind if isinstance(kind, type) and issubclass(kind, EngramError) else FormatError)(str(found["why"]))
    return dict(found["said"]), arrays


def _who(job: str) -> str:
    """What a user knows a job as: the part of Engram that asks."""
    part = next((one for one in _module(job).split(".")[2:] if one.startswith("_")), "").strip("_")
    return f"the process that asks {part}" if part else f"the process of {job}"


def _end(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed, probably for its memory"
    return f"crashed ({signal.Signals(-code).name})" if code < 0 else "failed"


def _last_words(folder: Path) -> str:
    with (folder / "words").open("rb") as file:
        file.seek(max((folder / "words").stat().st_size - _LAST_WORDS, 0))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return f" ({lines[-1][:300]})" if lines else ""


def _confine(bounds: Bounds) -> None:
    """Take no more than the bounds, and end with the nursery; there is no network in it."""
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
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)


def _pack(folder: Path, name: str, said: Mapping[str, Any], arrays: Arrays) -> None:
    """Values as JSON, arrays as bytes one after the other; the JSON comes last and says that all is there."""
    index: list[dict[str, Any]] = []
    with (folder / f"{name}.bin").open("wb") as file:
        for key, given in arrays.items():
            array = np.asarray(given)
            entry = {"name": key, "type": _type(array), "shape": list(array.shape)}
            if array.dtype.kind in "OUS" and any(isinstance(one, ndarray) for one in array.flat):
                entry["arrays"] = [_placed(file, np.asarray(one)) for one in array.flat]
            elif array.dtype.kind in "OUS":
                entry["texts"] = [one if isinstance(one, _PLAIN) else str(one) for one in array.ravel().tolist()]
            else:
                _placed(file, array)
            index.append(entry)
    part = folder / f"{name}.part"
    part.write_text(json.dumps({"said": dict(said), "arrays": index}), encoding="utf-8")
    part.replace(folder / f"{name}.json")


def _placed(file: BinaryIO, array: ndarray) -> dict[str, Any]:
    """Write the numbers of an array, and say what it is."""
    file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return {"type": _type(array), "shape": list(array.shape)}


def _mapped(path: Path) -> bytes | mmap.mmap:
    """A file that nobody changes, without a copy of it."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _unpack(
    folder: Path, name: str, content: Callable[[Path], bytes | mmap.mmap] = Path.read_bytes
) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """What ``_pack`` wrote; a worker that was taken over may have written anything, so every length is checked.

    It may also still be there and cut the file short, so an answer is copied and not mapped.
    """
    try:
        found = json.loads((folder / f"{name}.json").read_bytes())
        whole = memoryview(content(folder / f"{name}.bin"))
        arrays, place = dict[str, ndarray](), 0
        for entry in found["arrays"]:
            parts = []
            for part in entry.get("arrays", [entry]):
                made, place = _taken(whole, place, part)
                parts.append(made)
            arrays[entry["name"]] = _ragged(parts, entry["shape"]) if "arrays" in entry else parts[0]
        return dict(found["said"]), arrays
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as wrong:
        raise FormatError(f"a worker's {name} cannot be read: {wrong}; nothing of it is used") from wrong


def _taken(whole: memoryview, place: int, entry: Mapping[str, Any]) -> tuple[ndarray, int]:
    """An array that begins at a place, and where the next one does."""
    shape = tuple(int(length) for length in entry["shape"])
    if entry["type"] == _TEXTS:
        return np.array(entry["texts"], dtype=object).reshape(shape), place
    kind, count = _dtype(entry["type"]), max(math.prod(shape), 0)
    end = place + count * kind.itemsize
    return np.frombuffer(whole[place:end], kind).reshape(shape), end


def _ragged(parts: Sequence[ndarray], shape: Sequence[int]) -> ndarray:
    made = np.empty(len(parts), dtype=object)
    for number, part in enumerate(parts):
        made[number] = part
    return made.reshape(shape)


def _type(array: ndarray) -> str:
    return _TEXTS if array.dtype.kind in "OUS" else array.dtype.name


def _dtype(name: str) -> np.dtype[Any]:
    found = getattr(ml_dtypes, name, None)
    kind = np.dtype(found if isinstance(found, type) else name)
    if kind.hasobject:
        raise ValueError(f"{name} is no type of numbers")
    return kind
