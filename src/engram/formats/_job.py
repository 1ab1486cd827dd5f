"""Being a worker: confined, with one question to answer in the whole of its life."""

from __future__ import annotations

import ctypes
import importlib
import resource
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy import ndarray

from engram.errors import EngramError
from engram.formats._parcel import Arrays, mapped, pack, piece, unpack

__all__ = ["ANSWER", "QUESTION", "Bounds", "each", "module", "work"]

Job = Callable[[dict[str, Any], dict[str, ndarray]], tuple[Mapping[str, Any], Arrays]]

QUESTION, ANSWER = "question", "answer"
_OPEN_FILES = 256
_DIE_WITH_PARENT = 1


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
        said, arrays = _job(job)(*unpack(folder, QUESTION, mapped))
        pack(folder, ANSWER, {"said": dict(said)}, arrays)
    except EngramError as refused:
        pack(folder, ANSWER, {"refused": type(refused).__name__, "why": str(refused)}, {})
    except MemoryError:
        pack(folder, ANSWER, {"refused": "FormatError", "why": "it takes more memory than is allowed"}, {})


def each(said: dict[str, Any], arrays: dict[str, ndarray]) -> tuple[dict[str, Any], dict[str, ndarray]]:
    """Do a job for one piece after the other; the job of a worker that is asked several."""
    job, made = _job(said["job"]), dict[str, ndarray]()
    for number in range(int(said["pieces"])):
        _, found = job(dict(said["said"]), piece(arrays, number))
        made |= {f"{number}/{name}": array for name, array in found.items()}
    return {}, made


def module(job: str) -> str:
    """Where the function of a job stands."""
    return job.partition(":")[0]


def _job(name: str) -> Job:
    found: Job = getattr(importlib.import_module(module(name)), name.partition(":")[2])
    return found


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
