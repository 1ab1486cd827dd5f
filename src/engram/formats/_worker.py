"""A process of its own for what may crash, hang or eat memory on a stranger's file.

Native libraries (TensorFlow, LiteRT, torch's archives) were not written for files of strangers. What they are asked is
asked in a process that nobody asked anything before, which the system ends when it takes too much; here that is a typed
error like any other.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from numpy import ndarray

from engram import errors
from engram.errors import EngramError, FormatError
from engram.formats import _nursery
from engram.formats._job import ANSWER, QUESTION, Bounds, each, module
from engram.formats._nursery import NONE, Framework
from engram.formats._parcel import Arrays, numbered, pack, piece, unpack

__all__ = ["Bounds", "asked", "asked_pieces"]

_LAST_WORDS = 2_000
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
    return _asked(job, said, arrays or {}, _nursery.Wanted(job, asdict(bounds), (module(job),), framework))


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
    wanted = _nursery.Wanted(f"{each.__module__}:{each.__name__}", asdict(bounds), (module(job),), framework)
    _, made = _asked(job, question, arrays, wanted)
    return [piece(made, number) for number in range(len(pieces))]


def _asked(
    job: str, said: Mapping[str, Any], arrays: Arrays, wanted: _nursery.Wanted
) -> tuple[dict[str, Any], dict[str, ndarray]]:
    with tempfile.TemporaryDirectory(prefix="engram-") as place:
        folder = Path(place)
        pack(folder, QUESTION, said, arrays)
        return _answer(folder, job, _nursery.answered(wanted, place), int(wanted.bounds["seconds"]))


def _answer(folder: Path, job: str, code: int | None, seconds: int) -> tuple[dict[str, Any], dict[str, ndarray]]:
    if code is None or code == -signal.SIGXCPU:
        raise FormatError(f"{_who(job)} took more than {seconds} s and was stopped; nothing of it is used")
    if code or not (folder / f"{ANSWER}.json").is_file():
        raise FormatError(f"{_who(job)} {_end(code)}{_last_words(folder)}; nothing of it is used")
    found, arrays = unpack(folder, ANSWER)
    if "refused" in found:
        kind = getattr(errors, str(found["refused"]), FormatError)
        raise (kind if isinstance(kind, type) and issubclass(kind, EngramError) else FormatError)(str(found["why"]))
    return dict(found["said"]), arrays


def _who(job: str) -> str:
    """What a user knows a job as: the part of Engram that asks."""
    part = next((one for one in module(job).split(".")[2:] if one.startswith("_")), "").strip("_")
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
