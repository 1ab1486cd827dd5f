"""The server as an ASGI application: the doors of every protocol on the shelf, around one data plane.

This is where errors become status codes, once for all doors, and where an error nobody expected becomes a sentence
that shows nothing of the inside and a log entry that shows everything, joined by one number.
"""

from __future__ import annotations

import logging
import os
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engram.errors import EngramError, Interrupted, MissingLibrary, StoreError, VersionNotFound
from engram.serving import docs
from engram.serving.plane import DataPlane
from engram.serving.protocols import SHELF
from engram.serving.request import answer

__all__ = ["application"]

_LOG = logging.getLogger("engram.serving")
_LONGEST = 600  # characters of a sentence that quotes what a stranger sent
_UNSAFE_PATH = re.compile(r"[\x00-\x1f\x7f;\\]|(^|/)\.\.?(/|$)")
_OURS = (Interrupted, MissingLibrary, StoreError)


def application(plane: DataPlane) -> FastAPI:
    """The server of these models, every protocol included; `serve` runs it.

    Raises:
        UsageError: a protocol on the shelf does not keep its contract.
    """
    made = FastAPI(
        title="Engram",
        version=version("engram"),
        description="Answers requests with networks that have learned.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect is built from the Host header, which is a stranger's word
        lifespan=_lifespan,
    )
    made.add_api_route("/healthz", _healthz, methods=["GET"], tags=["health"], summary="Whether the server is up")
    made.include_router(docs.routes(plane))
    for name in SHELF.names():
        made.include_router(SHELF.take(name).routes(plane), tags=[name])
    made.add_exception_handler(EngramError, _refused)
    made.add_exception_handler(HTTPException, _refused_by_http)
    made.add_middleware(_Threshold)
    return made


async def _healthz() -> Response:
    """Whether the server answers at all."""
    return answer({"status": "ok"})


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    # more threads than cores only add memory: each may hold one parsed body
    anyio.to_thread.current_default_thread_limiter().total_tokens = 2 * max(2, os.cpu_count() or 1)
    yield


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, _OURS):
        return _failed(error)
    return _sentence(404 if isinstance(error, VersionNotFound) else 400, str(error))


async def _refused_by_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence, path = str(error.detail), request.url.path[:200]
    headers = error.headers or {}
    if error.status_code == 405:
        allowed = headers.get("Allow", "another method")
        sentence = f"{request.method[:20]} is not allowed on {path!r}; use {allowed}"
    elif error.status_code == 404:
        sentence = f"there is no route {path!r}; GET /docs lists them"
    return _sentence(error.status_code, sentence, headers)


def _sentence(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    short = sentence if len(sentence) <= _LONGEST else f"{sentence[: _LONGEST - 2]} …"
    response = answer({"error": short.encode("utf-8", "replace").decode()}, status)
    response.headers.update(headers or {})
    return response


def _failed(error: Exception) -> Response:
    number = uuid.uuid4().hex[:12]
    _LOG.error("request failed, incident %s", number, exc_info=error, extra={"incident": number})
    return _sentence(500, f"the server failed on this request; its log has the reason under incident {number}")


class _Threshold:
    """The outermost step: no path that could mean two things comes in, and no unexpected error goes out."""

    def __init__(self, inner: ASGIApp) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.inner(scope, receive, send)
            return
        if _UNSAFE_PATH.search(scope["path"]):
            await _sentence(400, "the path has '..', ';', '\\' or a control character; send a plain path")(
                scope, receive, send
            )
            return
        await _guarded(self.inner, scope, receive, send)


async def _guarded(inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    started = False

    async def watched(message: Message) -> None:
        nonlocal started
        started = True
        await send(message)

    try:
        await inner(scope, receive, watched)
    except Exception as error:  # whatever it is, a stranger sees one sentence
        response: Any = _failed(error)
        if started:
            raise
        await response(scope, receive, send)
