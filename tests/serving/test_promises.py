"""What every protocol on the shelf promises, present and future; a new one is tested here without an edit."""

import inspect
import logging
import subprocess
import sys

import anyio
import httpx
import pytest
from fastapi import APIRouter, FastAPI

from engram.serving.application import application
from engram.serving.plane import DataPlane, Served
from engram.serving.protocols import SHELF

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def described(plane, name):
    """The routes of one protocol, as FastAPI describes them."""
    alone = FastAPI()
    alone.include_router(SHELF.take(name).routes(plane))
    return {
        (path, method.upper()): route
        for path, each in alone.openapi()["paths"].items()
        for method, route in each.items()
    }


def filled(path, model="income", version="3"):
    return path.replace("{name}", model).replace("{version}", version)


@pytest.fixture(scope="module")
def plane(models):
    return models.plane()


def ask(app, method, path, **named):
    async def send():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.request(method, path, **named)

    return anyio.run(send)


@pytest.mark.parametrize("name", SHELF.names())
class TestProtocol:
    def test_it_is_one_router(self, name, plane):
        module = SHELF.take(name)
        assert list(inspect.signature(module.routes).parameters) == ["plane"]
        assert isinstance(module.routes(plane), APIRouter)
        assert inspect.getdoc(module)

    def test_every_route_says_what_it_does(self, name, plane):
        routes = described(plane, name)
        assert routes
        for place, route in routes.items():
            assert route["summary"], place
            assert len(route["description"]) > 20, place

    def test_every_other_method_is_refused(self, name, plane, client):
        routes = described(plane, name)
        for path in {path for path, _ in routes}:
            for method in METHODS:
                if (path, method) not in routes:
                    answer = client.request(method, filled(path))
                    assert answer.status_code == 405, (method, path)
                    assert list(answer.json()) == ["error"]
                    assert answer.headers["allow"] in METHODS

    def test_a_model_that_is_not_served_is_a_404_with_a_sentence(self, name, plane, client):
        for path, method in described(plane, name):
            wrong = [filled(path, "incmoe")] * ("{name}" in path) + [filled(path, version="9")] * ("{version}" in path)
            for place in wrong:
                answer = client.request(method, place, json={})
                assert answer.status_code == 404, place
                assert "income" in answer.json()["error"]

    def test_what_is_not_json_is_refused_with_a_sentence(self, name, plane, client):
        for path, method in described(plane, name):
            for body in (b"", b"{", b'{"a": NaN}', b'{"a":1,"a":2}', b"[" * 100_000, b"\xff"):
                if method == "POST":
                    headers = {"Content-Type": "application/json"}
                    answer = client.request(method, filled(path), content=body, headers=headers)
                    assert answer.status_code == 400, (path, body)
                    assert list(answer.json()) == ["error"]

    def test_another_content_type_is_refused(self, name, plane, client):
        for path, method in described(plane, name):
            if method == "POST":
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                answer = client.request(method, filled(path), content=b"{}", headers=headers)
                assert answer.status_code == 415, path

    def test_a_body_beyond_the_limit_is_refused(self, name, plane, client):
        for path, method in described(plane, name):
            if method == "POST":
                headers = {"Content-Type": "application/json"}
                answer = client.request(method, filled(path), content=b" " * (16 * 2**20 + 1), headers=headers)
                assert answer.status_code == 413, path
                assert list(answer.json()) == ["error"]


class Broken:
    """A session whose failure nobody expected."""

    classes = ()

    def predict(self, _):
        raise ZeroDivisionError("the secret of the house")


def test_an_error_nobody_expected_is_logged_whole_and_told_as_one_sentence(models, caplog):
    app = application(DataPlane([Served("rent", "7", models.rent(), Broken())]))
    with caplog.at_level(logging.ERROR, "engram.serving"):
        answer = ask(app, "POST", "/predict", json={"area": 50})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "ZeroDivisionError" not in answer.text
    (record,) = caplog.records
    assert record.incident in answer.json()["error"]
    assert "the secret of the house" in record.exc_text


def test_a_route_that_does_not_exist_is_a_404_with_a_sentence(client):
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert answer.json() == {"error": "there is no route '/nothing/here'; GET /docs lists them"}


def test_importing_the_shelf_loads_no_web_framework():
    heavy = "[m for m in ('fastapi', 'onnxruntime', 'uvicorn') if m in sys.modules]"
    program = f"import sys, engram.serving.protocols; print({heavy})"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
