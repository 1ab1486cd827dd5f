"""Engram's own door: raw rows in, labels and probabilities out, as a person would write them by hand.

One row or many, the answer is always a list of predictions, so that a client needs one way to read it. A row is known
from a list of rows by its shape: ``{"rows": […]}`` with nothing beside it, or a bare list, is many.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from engram.errors import ShapeError
from engram.records import TensorSpec
from engram.serving import pictures, strict_json
from engram.serving.arrays import array, measured
from engram.serving.limits import RequestLimits
from engram.serving.plane import DataPlane, Served
from engram.serving.request import answer, in_thread, media_type, read_body
from engram.serving.schema import answer_schema, example_row, row_schema

__all__ = ["routes"]

_JSON = "application/json"
_PICTURES = ("image/png", "image/jpeg")


def routes(plane: DataPlane) -> APIRouter:
    """``POST /predict`` for the first model and ``POST /models/{name}/predict`` for each."""
    router = APIRouter()

    @router.post("/predict", summary="Predict with the first model", openapi_extra=_described(plane, plane.metadata()))
    async def predict(request: Request) -> Response:
        """Answer one raw row (`{"age": 39, …}`), many (`{"rows": […]}` or a list), or an uploaded picture.

        The answer always holds a list, one prediction a row. `null` or `""` is a gap.
        """
        return await _predict(plane, "", request)

    @router.post(
        "/models/{name}/predict", summary="Predict with a model", openapi_extra=_described(plane, *_each(plane))
    )
    async def predict_with(name: str, request: Request) -> Response:
        """Answer as `POST /predict` does, with the model of this name."""
        return await _predict(plane, name, request)

    return router


async def _predict(plane: DataPlane, name: str, request: Request) -> Response:
    served = plane.metadata(name)
    kind = media_type(request, (_JSON, *_PICTURES))
    if kind != _JSON and (len(served.inputs) != 1 or served.inputs[0].kind != "image"):
        raise HTTPException(415, f"model {served.name!r} takes named columns, not a picture alone; send {_JSON}")
    body = await read_body(request, plane.limits)
    result: Response = await in_thread(_answered, plane, served, body, kind)
    return result


def _answered(plane: DataPlane, served: Served, body: bytes, kind: str) -> Response:
    rows = _rows(strict_json.parse(body, plane.limits)) if kind == _JSON else [{served.inputs[0].name: body}]
    found = plane.predict(served.name, _prepared(rows, served.inputs, plane.limits), served.version)
    predictions = found.prediction.rows()
    return answer({"model": served.name, "version": served.reference, "predictions": predictions})


def _rows(value: Any) -> list[Any]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict) and list(value) == ["rows"] and isinstance(value["rows"], list):
        return list(value["rows"])
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list):
        return value
    raise ShapeError('the body must be a row (an object of columns), a list of rows, or {"rows": [ … ]}')


def _prepared(rows: list[Any], inputs: tuple[TensorSpec, ...], limits: RequestLimits) -> list[dict[str, Any]]:
    """The rows with pictures as bytes and nested lists as arrays, which is what JSON cannot say."""
    if len(rows) > limits.rows:
        raise ShapeError(f"the request has {len(rows):,} rows, and {limits.rows:,} are allowed; send them in parts")
    if len(inputs) == 1 and not any(isinstance(row, dict) for row in rows):
        rows = [{inputs[0].name: row} for row in rows]
    special = [spec for spec in inputs if spec.kind == "image" or (spec.kind == "tensor" and spec.dtype != "string")]
    made, left = [], limits.pixels
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ShapeError(f'row {number} is not an object of columns; send {{"COLUMN": value, …}}')
        cells = {s.name: _cell(row[s.name], s, f"row {number}, column {s.name!r}") for s in special if s.name in row}
        left -= sum(pictures.pixels(cell, f"row {number}") for cell in cells.values() if isinstance(cell, bytes))
        if left < 0:
            raise ShapeError(
                f"the pictures up to row {number} have more than {limits.pixels:,} pixels; send them in parts"
            )
        made.append({**row, **cells})
    return made


def _cell(value: Any, spec: TensorSpec, where: str) -> Any:  # noqa: ANN401 - any JSON value
    if spec.kind == "image" and isinstance(value, (str, bytes)):
        return pictures.from_text(value, where) if isinstance(value, str) else value
    flat, shape = measured(value, spec.name) if isinstance(value, list) else ([value], ())
    return array(flat, shape, spec.dtype, spec.name)


def _each(plane: DataPlane) -> list[Served]:
    return [plane.metadata(name) for name in plane.names()]


def _described(plane: DataPlane, *served: Served) -> dict[str, Any]:
    """What the generated OpenAPI says of the body and of the answer: the models' own columns."""
    rows = [row_schema(each) for each in served]
    one = rows[0] if len(rows) == 1 else {"anyOf": rows}
    many = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array", "items": one}}}
    content: dict[str, Any] = {
        _JSON: {
            "schema": {"anyOf": [one, many, {"type": "array", "items": one}]},
            "examples": {each.name: {"value": example_row(each)} for each in served},
        }
    }
    if any(len(each.inputs) == 1 and each.inputs[0].kind == "image" for each in served):
        content |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in _PICTURES}
    fields = {
        "model": {"type": "string", "enum": plane.names()},
        "version": {"type": "string"},
        "predictions": {"type": "array", "items": {"anyOf": [answer_schema(each) for each in served]}},
    }
    schema = {"type": "object", "properties": fields}
    return {
        "requestBody": {"required": True, "content": content},
        "responses": {"200": {"description": "One prediction a row", "content": {_JSON: {"schema": schema}}}},
    }
