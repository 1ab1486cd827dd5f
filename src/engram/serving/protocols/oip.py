"""The Open Inference Protocol, version 2, over REST in JSON.

Where the specification contradicts itself: readiness carries both ``ready`` and ``live``; every model route exists
with and without a version; a shape that its data do not fill is refused although the specification's own example does
that; unknown keys are ignored, because clients send ``model_name``; ``id`` comes back only where one was sent.
Beyond it: ``null`` in data is a gap, where the datatype is a floating one, and a column of numbers may come in any
number type, or as (rows, 1). FP16 and BF16 have no JSON form.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from numpy import ndarray

from engram.errors import ShapeError
from engram.records import TensorSpec
from engram.serving import strict_json
from engram.serving.arrays import array, shaped
from engram.serving.plane import DataPlane, Served
from engram.serving.request import answer, in_thread, media_type, read_body
from engram.serving.schema import example_row

__all__ = ["DATATYPES", "routes"]

DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "string",
}
_NAMES = {dtype: datatype for datatype, dtype in DATATYPES.items()} | {"float16": "FP16", "bfloat16": "BF16"}
_NO_JSON = {"FP16", "BF16"}
_LARGEST_AXIS = 2**40
_MOST_AXES = 32


def routes(plane: DataPlane) -> APIRouter:
    """The routes of the protocol, each model route with and without a version."""
    router = APIRouter()
    router.include_router(_health(plane))
    router.include_router(_models(plane))
    return router


def _health(plane: DataPlane) -> APIRouter:
    router = APIRouter()

    @router.get("/v2", summary="Server metadata")
    async def server() -> Response:
        """Name, version and extensions of the server."""
        return answer({"name": "engram", "version": installed("engram"), "extensions": []})

    @router.get("/v2/health/live", summary="Server live")
    async def live() -> Response:
        """Whether the server answers at all."""
        return answer({"live": True})

    @router.get("/v2/health/ready", summary="Server ready")
    async def ready() -> Response:
        """Whether every model is ready to answer."""
        return answer({"ready": bool(plane.names()), "live": True})

    return router


def _models(plane: DataPlane) -> APIRouter:
    router = APIRouter(prefix="/v2/models/{name}")
    described = _described(plane.metadata())

    @router.get("", summary="Model metadata")
    @router.get("/versions/{version}", summary="Model metadata of a version")
    async def metadata(name: str, version: str = "") -> Response:
        """Inputs and outputs of a model, -1 for a free axis."""
        return answer(_metadata(plane, plane.metadata(name, version)))

    @router.get("/ready", summary="Model ready")
    @router.get("/versions/{version}/ready", summary="Version ready")
    async def model_ready(name: str, version: str = "") -> Response:
        """Whether a model is ready to answer."""
        return answer({"name": plane.metadata(name, version).name, "ready": True})

    @router.post("/infer", summary="Infer", openapi_extra=described)
    @router.post("/versions/{version}/infer", summary="Infer with a version", openapi_extra=described)
    async def infer(name: str, request: Request, version: str = "") -> Response:
        """Answer tensors with tensors."""
        plane.metadata(name, version)
        media_type(request, ("application/json",))
        body = await read_body(request, plane.limits)
        result: Response = await in_thread(_answered, plane, name, version, body)
        return result

    return router


def _answered(plane: DataPlane, name: str, version: str, body: bytes) -> Response:
    request = strict_json.parse(body, plane.limits)
    if not isinstance(request, dict):
        raise ShapeError('the body must be an object with "inputs"')
    _check_parameters(request, "the request")
    identity = request.get("id")
    if identity is not None and not isinstance(identity, str):
        raise ShapeError('"id" must be a string')
    inputs = _inputs(request.get("inputs"))
    found, specs = plane.infer(name, version, inputs, _wanted(request.get("outputs")))
    return answer(
        {
            "model_name": found.served.name,
            **({"model_version": found.served.version} if found.served.version else {}),
            **({"id": identity} if identity is not None else {}),
            "outputs": [_output(spec, found.tensor(spec.name)) for spec in specs],
        }
    )


def _inputs(given: Any) -> dict[str, ndarray]:  # noqa: ANN401 - any JSON value
    arrays: dict[str, ndarray] = {}
    for tensor in _listed(given, "inputs"):
        name = tensor["name"]
        if name in arrays:
            raise ShapeError(f"input {name[:80]!r} is given twice; send it once")
        arrays[name] = _input(tensor, name)
    if not arrays:
        raise ShapeError('"inputs" is empty; send one tensor an input of the model')
    return arrays


def _input(tensor: dict[str, Any], name: str) -> ndarray:
    datatype, shape, data = tensor.get("datatype"), tensor.get("shape"), tensor.get("data")
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        if datatype in ("FP16", "BF16"):
            raise ShapeError(f"input {name[:80]!r}: {datatype} has no JSON form; send FP32")
        known = ", ".join(DATATYPES)
        raise ShapeError(f"input {name[:80]!r} has datatype {str(datatype)[:40]!r}; it must be one of {known}")
    if not isinstance(shape, list) or not 0 < len(shape) <= _MOST_AXES or not all(map(_is_axis, shape)):
        raise ShapeError(f"input {name[:80]!r} needs a shape, a list of 1 to {_MOST_AXES} lengths, rows first")
    if not isinstance(data, list):
        binary = "; binary data are not taken here, send JSON" if "binary_data_size" in _parameters(tensor) else ""
        raise ShapeError(f"input {name[:80]!r} needs data, a list of values{binary}")
    return array(shaped(data, tuple(shape), name[:80]), tuple(shape), DATATYPES[datatype], name[:80])


def _wanted(given: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    names = [tensor["name"] for tensor in _listed(given, "outputs")] if given is not None else []
    if len(set(names)) < len(names):
        raise ShapeError("an output is asked for twice; ask once")
    return names


def _listed(given: Any, key: str) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON value
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise ShapeError(f'"{key}" must be a list of objects')
    for item in given:
        if not isinstance(item.get("name"), str):
            raise ShapeError(f'each of "{key}" needs a "name", a string')
        _check_parameters(item, f"{key[:-1]} {item['name'][:80]!r}")
    return given


def _check_parameters(holder: dict[str, Any], where: str) -> None:
    given = holder.get("parameters", {})
    if not isinstance(given, dict):
        raise ShapeError(f'"parameters" of {where} must be an object')
    for key, value in given.items():
        if not isinstance(value, (str, int, float)):
            raise ShapeError(f"parameter {key[:80]!r} of {where} must be a string, a number, true or false")


def _parameters(holder: dict[str, Any]) -> dict[str, Any]:
    return dict(holder.get("parameters", {}))


def _is_axis(axis: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(axis, int) and not isinstance(axis, bool) and 0 <= axis <= _LARGEST_AXIS


def _output(spec: TensorSpec, values: ndarray) -> dict[str, Any]:
    if _NAMES[spec.dtype] in _NO_JSON:
        raise ShapeError(f"output {spec.name!r} is {_NAMES[spec.dtype]}, which has no JSON form; ask for another")
    flat = [str(value) for value in values.ravel()] if spec.dtype == "string" else np.ascontiguousarray(values).ravel()
    return {"name": spec.name, "shape": list(values.shape), "datatype": _NAMES[spec.dtype], "data": flat}


def _metadata(plane: DataPlane, served: Served) -> dict[str, Any]:
    return {
        "name": served.name,
        "versions": plane.versions(served.name),
        "platform": "onnx_onnxv1",
        "inputs": [_tensor(spec) for spec in served.inputs],
        "outputs": [_tensor(spec) for spec in served.outputs],
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    shape = [axis if isinstance(axis, int) else -1 for axis in spec.shape]
    return {"name": spec.name, "datatype": _NAMES[spec.dtype], "shape": shape}


def _described(served: Served) -> dict[str, Any]:
    """What the generated OpenAPI says of a request: the general shape, and the first model as the example."""
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string"},
            "shape": {"type": "array", "items": {"type": "integer"}},
            "datatype": {"type": "string", "enum": list(DATATYPES)},
            "data": {"type": "array"},
        },
    }
    properties = {"id": {"type": "string"}, "inputs": {"type": "array", "items": tensor}}
    schema = {"type": "object", "required": ["inputs"], "properties": properties}
    row = example_row(served)
    example = {"id": "1", "inputs": [{**_tensor(s), **_one(s, row[s.name])} for s in served.inputs]}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}}


def _one(spec: TensorSpec, value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON value
    """The shape and data of one row; a picture or a date stands as a zero, for its JSON form is another here."""
    shape = [axis if isinstance(axis, int) and place else 1 for place, axis in enumerate(spec.shape)]
    text = spec.dtype == "string"
    if len(shape) == 1 and isinstance(value, str) == text:
        return {"shape": shape, "data": [value if text else float(value)]}
    return {"shape": shape, "data": [""] if text else [0] * int(np.prod(shape))}
