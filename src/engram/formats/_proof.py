"""Comparing what two models answer, and writing down how far they lie apart."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy import ndarray

from engram.errors import ConversionError
from engram.formats import _description, _folders
from engram.records import Certificate, Difference, Limits, Model

__all__ = ["certify", "digest", "path_digest", "refusal"]

_WORST = sys.float_info.max


def certify(original: Mapping[str, ndarray], converted: Mapping[str, ndarray], about: Certificate) -> Certificate:
    """A certificate with its measurements filled in.

    A difference is allowed up to ``tolerance + tolerance * |answer|``. Where one side is not a number or the other is,
    the difference is the largest float there is; two NaN, or two equal infinities, do not differ.

    Args:
        original: what the first model answered, by output.
        converted: what the second answered; every output of it must be among those of the first.
        about: who was compared and how; ``differences``, ``agreement`` and ``holds`` in it are replaced.

    Raises:
        ConversionError: there is nothing to compare, or an output is missing, of another shape or of another kind.
    """
    if not converted:
        raise ConversionError("the converted model has no outputs")
    differences, holds = [], True
    for name, array in converted.items():
        known = name if name in original else name.removeprefix("network/").removeprefix("answer/")
        if known not in original:
            raise ConversionError(f"the converted model has an output {name!r} that the original does not have")
        one, other = np.asarray(original[known]), np.asarray(array)
        _comparable(name, one, other)
        if one.dtype.kind not in "OUS":
            difference, within = _difference(name, one, other, about.tolerance)
            differences.append(difference)
            holds = holds and within
    agreement = _agreement(original, converted)
    settled = holds and (bool(differences) or agreement == 1.0)
    return replace(about, differences=tuple(differences), agreement=agreement, holds=settled)


def refusal(certificate: Certificate, name: str, where: str = "") -> ConversionError:
    """The error that refuses a conversion.

    Args:
        certificate: does not hold.
        name: of the file that would have been written.
        where: the two part, in words; empty if unknown.
    """
    worst = max(certificate.differences, key=lambda difference: difference.absolute, default=None)
    apart = f"output {worst.output!r} differs by {worst.absolute:.3g}" if worst else "labels differ"
    return ConversionError(
        f"{name} answers differently: {apart} (allowed {certificate.tolerance:g}){f', {where}' if where else ''}, "
        f"labels agree on {certificate.agreement:.1%} of {certificate.rows} rows; nothing was written"
    )


def digest(model: Model) -> str:
    """``sha256:…`` over everything in a model that decides what it answers, in an order of names.

    Redo it over: both graphs, the description as sorted JSON, then for each weight by name its name, type, shape and
    bytes in C order; each piece preceded by its length as 8 bytes, little-endian.
    """
    found = hashlib.sha256()
    described = json.dumps(_description.describe(model), sort_keys=True).encode()
    for piece in (model.graph, model.preprocessing, described):
        _feed(found, piece)
    for name in sorted(model.weights):
        array = model.weights[name]
        for piece in (name.encode(), array.dtype.name.encode(), json.dumps(array.shape).encode(), array.tobytes()):
            _feed(found, piece)
    return f"sha256:{found.hexdigest()}"


def path_digest(path: Path) -> str:
    """``sha256:…`` of a file, as ``sha256sum`` prints it, or of a folder, as ``_folders.digest`` tells how to redo."""
    if path.is_dir():
        return _folders.digest(path, Limits())
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _feed(found: hashlib._Hash, piece: bytes) -> None:
    found.update(len(piece).to_bytes(8, "little"))
    found.update(piece)


def _comparable(name: str, one: ndarray, other: ndarray) -> None:
    if one.shape != other.shape:
        raise ConversionError(f"output {name!r} has the shape {list(one.shape)} but {list(other.shape)} once converted")
    if (one.dtype.kind in "OUS") != (other.dtype.kind in "OUS"):
        raise ConversionError(f"output {name!r} is {one.dtype} but {other.dtype} once converted")


def _difference(name: str, one: ndarray, other: ndarray, tolerance: float) -> tuple[Difference, bool]:
    """The worst differences of two arrays, and whether all are within the tolerance."""
    first, second = _real(one), _real(other)
    if first.size == 0:
        return Difference(name, 0.0, 0.0), True
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        apart = np.abs(first - second)
        apart[(first == second) | (np.isnan(first) & np.isnan(second))] = 0.0
        apart[~np.isfinite(apart)] = _WORST
        size = np.where(np.isfinite(first), np.abs(first), 0.0)
        relative = np.where(apart == 0, 0.0, np.minimum(apart / size, _WORST))
        within = apart <= tolerance + tolerance * size
    relative[~np.isfinite(relative)] = _WORST
    return Difference(name, float(apart.max()), float(relative.max())), bool(within.all())


def _real(array: ndarray) -> ndarray:
    """The numbers as float64, complex ones as two each."""
    if array.dtype.kind == "c":
        return np.atleast_1d(array).astype(np.complex128).view(np.float64)
    return np.atleast_1d(array).astype(np.float64)


def _agreement(original: Mapping[str, ndarray], converted: Mapping[str, ndarray]) -> float:
    if "label" not in original or "label" not in converted or not len(original["label"]):
        return 1.0
    same = np.asarray(original["label"]).astype(str) == np.asarray(converted["label"]).astype(str)
    return float(same.mean())
