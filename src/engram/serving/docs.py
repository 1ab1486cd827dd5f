"""``/docs``: what the server can do, with the model's own columns and a form to try them.

A page of our own and not Swagger UI: the packages that carry that add 0.8 to 7 MB of script, FastAPI's default loads it
from a CDN, and neither makes a form of fifteen typed columns or takes a picture. The script may do only what a nonce
allows, so that a column's name can never become code.
"""

from __future__ import annotations

import secrets
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from markupsafe import Markup

from engram.records import TensorSpec
from engram.serving.plane import DataPlane, Served
from engram.serving.schema import example_row, row_schema

__all__ = ["routes"]

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(plane: DataPlane) -> APIRouter:
    """``GET /docs``, a page that shows the server and lets a reader try it."""
    router = APIRouter()

    @router.get("/docs", include_in_schema=False, tags=["docs"], summary="This page")
    async def page(request: Request) -> Response:
        """Show every route, the models' columns, and a form that asks for a prediction."""
        nonce = secrets.token_urlsafe(16)
        models = [_described(plane.metadata(name)) for name in plane.names()]
        shown = _template().render(
            models=models,
            data=Markup(_inert(models)),  # noqa: S704 - every character that could end the script is escaped
            routes=_listed(request.app),
            nonce=nonce,
        )
        headers = {"Content-Security-Policy": _POLICY.format(nonce=nonce), "X-Content-Type-Options": "nosniff"}
        return Response(shown, media_type="text/html", headers=headers)

    return router


@cache
def _template() -> jinja2.Template:
    text = (Path(__file__).parent / "docs.html").read_text(encoding="utf-8")
    return jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(text)


def _described(served: Served) -> dict[str, Any]:
    schema = row_schema(served)
    example = example_row(served)
    return {
        "name": served.name,
        "reference": served.reference,
        "parameters": f"{served.model.parameters:,}",
        "classes": list(served.session.classes),
        "inputs": [{**_column(spec), **_about(schema["properties"][spec.name])} for spec in served.inputs],
        "outputs": [_column(spec) for spec in served.outputs],
        "example": example,
    }


def _column(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "kind": spec.kind, "dtype": spec.dtype, "shape": list(spec.shape)}


def _about(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": schema.get("description", ""), "examples": schema.get("examples", [])}


def _inert(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON that may stand inside a script element whatever its strings say."""
    text = orjson.dumps(value).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _listed(application: FastAPI) -> list[dict[str, str]]:
    """Every route, read from the generated description, which is the same text that other tools read."""
    paths: dict[str, dict[str, Any]] = application.openapi()["paths"]
    return [
        {"method": method.upper(), "path": path, "summary": route["summary"], "group": (route.get("tags") or [""])[0]}
        for path, methods in paths.items()
        for method, route in methods.items()
    ]
