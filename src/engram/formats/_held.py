"""What a certificate holds of a comparison, so that it can be made again where one side is gone: questions and answers.

Questions are what decides the rows and not the rows, which would be long; their digest tells whether another release of
numpy draws others. Of the answers as many rows are held as fit into 64 kB.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy import ndarray

from engram.errors import FormatError
from engram.formats import _description
from engram.formats._probes import Question
from engram.records import Certificate

__all__ = ["answers", "answers_as_json", "digest", "prepared", "question", "question_as_json"]

_LARGEST = 2**16
_MOST_ROWS = 2**20


def question_as_json(
    asked: Question, rows: Mapping[str, ndarray], prepared: Mapping[str, ndarray] | None = None
) -> dict[str, Any]:
    """What decides the rows, but for their number and the seed, and the digest of the rows, as plain JSON values.

    Args:
        asked: what decides them.
        rows: as they were drawn.
        prepared: what preprocessing made of them, where the file has lost that and cannot be asked without.
    """
    found = {
        "signature": asked.signature.as_json(),
        "statistics": dict(asked.statistics),
        "vocabulary": dict(asked.vocabulary),
        "digest": digest(rows),
    }
    return {**found, "prepared": answers_as_json(prepared, asked.rows)} if prepared else found


def question(certificate: Certificate) -> Question:
    """What was asked for a certificate.

    Raises:
        FormatError: it does not say, or not in the words of ``question_as_json``.
    """
    found, where = certificate.asked, "what the certificate says was asked"
    described = _description.from_json({**found, "version": 1}, where)
    sizes = found.get("vocabulary")
    sound = isinstance(sizes, dict) and all(type(size) is int and 0 < size < 2**31 for size in sizes.values())
    if not sound or not 0 < certificate.rows <= _MOST_ROWS or certificate.seed < 0:
        raise FormatError(f"{where} is not whole")
    return Question(described.signature, certificate.rows, certificate.seed, described.statistics, dict(sizes or {}))


def digest(rows: Mapping[str, ndarray]) -> str:
    """``sha256:…`` over names, types, shapes and values of rows, in order of names."""
    found = hashlib.sha256()
    for name in sorted(rows):
        array = rows[name]
        plain = "\0".join(map(str, array.ravel().tolist())).encode() if array.dtype == object else array.tobytes()
        for piece in (name.encode(), str(array.dtype).encode(), str(array.shape).encode(), plain):
            found.update(len(piece).to_bytes(8, "little"))
            found.update(piece)
    return f"sha256:{found.hexdigest()}"


def answers_as_json(found: Mapping[str, ndarray], rows: int) -> dict[str, Any]:
    """The first rows of each answer, as many as may be held; nothing where answers are not one a row."""
    plain = {name: array for name, array in found.items() if array.dtype.kind in "fiub"}
    width = sum(array.nbytes // max(len(array), 1) for array in plain.values())
    count = min(rows, _LARGEST // max(width, 1))
    if not count or any(len(array) != rows for array in plain.values()):
        return {}
    return {name: _packed(array[:count]) for name, array in plain.items()}


def answers(certificate: Certificate) -> dict[str, ndarray]:
    """The answers that a certificate holds.

    Raises:
        FormatError: they are not in the form of ``answers_as_json``.
    """
    return {name: _unpacked(name, found) for name, found in certificate.answers.items()}


def prepared(certificate: Certificate) -> dict[str, ndarray]:
    """What preprocessing made of the first rows; empty where the file has its own.

    Raises:
        FormatError: it is not in the form of ``answers_as_json``.
    """
    found = certificate.asked.get("prepared", {})
    if not isinstance(found, dict):
        raise FormatError("the prepared rows in the certificate must be an object")
    return {str(name): _unpacked(name, array) for name, array in found.items()}


def _packed(array: ndarray) -> dict[str, Any]:
    plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    data = base64.b64encode(plain.tobytes()).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def _unpacked(name: str, found: Any) -> ndarray:  # noqa: ANN401 - of a stranger's file
    try:
        kind, shape = np.dtype(found["dtype"]), tuple(int(length) for length in found["shape"])
        data = base64.b64decode(found["data"], validate=True)
    except (KeyError, TypeError, ValueError) as wrong:
        raise FormatError(f"the answer {name!r} in the certificate is damaged: {wrong}") from wrong
    sound = kind.kind in "fiub" and min(shape, default=0) >= 0
    if not sound or math.prod(shape) * kind.itemsize != len(data):
        raise FormatError(f"the answer {name!r} in the certificate is damaged: its data are not of its type and shape")
    return np.frombuffer(data, kind.newbyteorder("<")).reshape(shape)
