"""A certificate as JSON, which stands beside the converted file as ``PATH.certificate.json``.

One that an older Engram wrote lacks the later keys and is read all the same; a key that is unknown is refused, because
it may be what makes the certificate say something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from engram.errors import FormatError
from engram.formats import _document
from engram.records import Certificate

__all__ = ["as_json", "beside", "from_json"]

_TEXTS = ("original", "converted", "target", "precision", "source", "provider")
_NUMBERS = ("agreement", "tolerance")
_COUNTS = ("seed", "rows", "real")
_OBJECTS = ("versions", "beside", "asked", "answers")
_PAIRS = ("runtimes", "layouts", "served")
_NEEDED = frozenset(f.name for f in fields(Certificate) if f.default is MISSING and f.default_factory is MISSING)
_LARGEST = 64


def beside(path: Path) -> Path:
    """Where the certificate of a file or folder lies."""
    return path.with_name(f"{path.name}.certificate.json")


def as_json(certificate: Certificate) -> str:
    """The certificate as JSON, one key a line; ``from_json(as_json(c)) == c``."""
    return json.dumps(asdict(certificate), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: bytes | str) -> Certificate:
    """The certificate that ``as_json`` wrote, here or in an older Engram.

    Raises:
        FormatError: it is none.
    """
    data = text.encode() if isinstance(text, str) else text
    found = _document.parse(data, "the certificate", depth=_LARGEST)
    known = Certificate.__dataclass_fields__.keys()
    if not isinstance(found, dict) or not found.keys() >= _NEEDED:
        raise FormatError("the certificate must be an object with the keys of a certificate")
    for key in found.keys() - known:
        raise FormatError(f"the certificate has the key {key!r}, which this Engram does not know; update it")
    _typed(found)
    return Certificate.from_json(found)


def _typed(found: Mapping[str, Any]) -> None:
    """Refuse values that are of another type than the record's."""
    right = all(isinstance(found[key], str) for key in _TEXTS if key in found)
    right = right and all(type(found[key]) in {int, float} for key in _NUMBERS if key in found)
    right = right and all(type(found[key]) is int for key in _COUNTS if key in found)
    right = right and all(isinstance(found[key], dict) for key in _OBJECTS if key in found)
    right = right and type(found.get("holds", True)) is bool and _texts(found.get("lost", []))
    if not right or not all(_texts_of(found, key) for key in ("versions", "beside")):
        raise FormatError("the certificate has a value of the wrong type")
    for key in _PAIRS:
        if key in found and not (_texts(found[key]) and len(found[key]) == 2):
            raise FormatError(f"the certificate must name two {key}")
    if not isinstance(found["differences"], list) or not all(_difference(one) for one in found["differences"]):
        raise FormatError("a difference of the certificate must have output, absolute and relative")


def _texts(found: Any) -> bool:  # noqa: ANN401 - of a stranger's file
    return isinstance(found, list) and all(isinstance(text, str) for text in found)


def _texts_of(found: Mapping[str, Any], key: str) -> bool:
    return all(isinstance(value, str) for value in found.get(key, {}).values())


def _difference(found: Any) -> bool:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, dict) or found.keys() != {"output", "absolute", "relative"}:
        return False
    return isinstance(found["output"], str) and all(
        type(found[key]) in {int, float} for key in ("absolute", "relative")
    )
