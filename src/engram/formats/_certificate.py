"""A certificate as JSON, which stands beside the converted file as ``PATH.certificate.json``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from engram.errors import FormatError
from engram.formats import _document
from engram.records import Certificate, Difference

__all__ = ["as_json", "from_json"]

_TEXTS = ("original", "converted", "target", "precision")
_NUMBERS = ("agreement", "tolerance", "seed", "rows")
_LARGEST = 64


def as_json(certificate: Certificate) -> str:
    """The certificate as JSON, one key a line; ``from_json(as_json(c)) == c``."""
    return json.dumps(asdict(certificate), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: bytes | str) -> Certificate:
    """The certificate that ``as_json`` wrote.

    Raises:
        FormatError: it is none.
    """
    data = text.encode() if isinstance(text, str) else text
    found = _document.parse(data, "the certificate", depth=_LARGEST)
    if not isinstance(found, dict) or found.keys() != Certificate.__dataclass_fields__.keys():
        raise FormatError("the certificate must be an object with exactly the keys of a certificate")
    texts = all(isinstance(found[key], str) for key in _TEXTS)
    numbers = all(type(found[key]) in {int, float} for key in _NUMBERS)
    if not texts or not numbers or not isinstance(found["versions"], dict) or type(found["holds"]) is not bool:
        raise FormatError("the certificate has a value of the wrong type")
    runtimes = found["runtimes"]
    if not isinstance(runtimes, list) or len(runtimes) != 2:
        raise FormatError("the certificate must name two runtimes")
    differences = tuple(_difference(one) for one in found["differences"])
    return Certificate(**{**found, "differences": differences, "runtimes": (str(runtimes[0]), str(runtimes[1]))})


def _difference(found: Any) -> Difference:  # noqa: ANN401 - of a stranger's file
    if not isinstance(found, dict) or found.keys() != {"output", "absolute", "relative"}:
        raise FormatError("a difference of the certificate must have output, absolute and relative")
    return Difference(str(found["output"]), float(found["absolute"]), float(found["relative"]))
