"""The rows of a model as JSON schema and by example, so that the documentation shows the model's own columns.

Examples come from what training saw (``Model.statistics``); where nothing was recorded a plain value of the right
type stands in.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from engram.records import TensorSpec
from engram.serving.plane import Served

__all__ = ["answer_schema", "example_row", "row_schema"]

# one grey pixel, as PNG
_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
_PLAIN: dict[str, Any] = {"number": 0.0, "boolean": True, "date": "2026-01-31", "image": _PIXEL}
_TYPES: dict[str, dict[str, Any]] = {
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "date": {"type": ["string", "number", "null"], "description": "ISO 8601, or seconds since 1970"},
    "category": {"type": ["string", "null"]},
    "text": {"type": ["string", "null"]},
    "image": {"type": "string", "contentEncoding": "base64", "description": "a PNG or JPEG file in base64"},
}


def row_schema(served: Served) -> dict[str, Any]:
    """One raw row as a JSON schema: every column, its type, what training saw of it; null is a gap."""
    return {
        "type": "object",
        "title": f"{served.name} row",
        "properties": {spec.name: _column(served, spec) for spec in served.inputs},
        "required": [spec.name for spec in served.inputs],
        "additionalProperties": False,
        "example": example_row(served),
    }


def answer_schema(served: Served) -> dict[str, Any]:
    """One answer of the model as a JSON schema."""
    if served.session.classes:
        chances = {label: {"type": "number"} for label in served.session.classes}
        fields: dict[str, Any] = {
            "label": {"type": "string", "enum": list(served.session.classes)},
            "probabilities": {"type": "object", "properties": chances},
        }
    else:
        fields = {spec.name: {"type": ["number", "array", "null"]} for spec in served.outputs}
    return {"type": "object", "properties": fields}


def example_row(served: Served) -> dict[str, Any]:
    """A row that the model answers, made of values that training saw."""
    return {spec.name: _example(served, spec) for spec in served.inputs}


def _column(served: Served, spec: TensorSpec) -> dict[str, Any]:
    seen = _seen(served, spec)
    schema = dict(_TYPES.get(spec.kind, {"type": "array", "description": f"{spec.dtype} {list(spec.shape[1:])}"}))
    known = [part for part in (schema.get("description", ""), spec.unit if spec.kind != "date" else "") if part]
    if spec.kind == "number" and seen.get("min") is not None and seen.get("max") is not None:
        known.append(f"in training {seen['min']:.6g} to {seen['max']:.6g}")
    if known:
        schema["description"] = "; ".join(known)
    if seen.get("examples"):
        schema["examples"] = [_written(value, spec) for value in list(seen["examples"])[:8]]
    return schema


def _example(served: Served, spec: TensorSpec) -> Any:  # noqa: ANN401 - any JSON value
    seen = _seen(served, spec)
    for value in (*(seen.get("examples") or ())[:1], seen.get("mean"), seen.get("min")):
        if value is not None and spec.kind not in {"image", "tensor"}:
            return _written(value, spec)
    if spec.kind in _PLAIN:
        return _PLAIN[spec.kind]
    return "" if spec.dtype == "string" else _zeros(spec.shape[1:])


def _written(value: Any, spec: TensorSpec) -> Any:  # noqa: ANN401 - any JSON value
    """A value of the statistics as a person would write it: dates as text, booleans as words."""
    if isinstance(value, (int, float)) and spec.kind == "date":
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)).strftime("%Y-%m-%dT%H:%M:%S")
    return bool(value) if isinstance(value, (int, float)) and spec.kind == "boolean" else value


def _seen(served: Served, spec: TensorSpec) -> dict[str, Any]:
    found = served.model.statistics.get(spec.name, {})
    return dict(found) if hasattr(found, "keys") else {}


def _zeros(shape: tuple[int | str, ...]) -> Any:  # noqa: ANN401 - a number or nested lists of them
    if not shape:
        return 0.0
    return [_zeros(shape[1:]) for _ in range(shape[0] if isinstance(shape[0], int) else 1)]
