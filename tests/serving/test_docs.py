import re
from dataclasses import replace
from urllib.parse import urlsplit

import anyio
import httpx
import pytest

from engram.records import Model, Signature
from engram.serving.application import application
from engram.serving.plane import DataPlane, Served


def get(app, path):
    async def ask():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get(path)

    return anyio.run(ask)


def test_the_page_shows_every_route_and_every_column(client, models):
    page = client.get("/docs").text
    for path in client.get("/openapi.json").json()["paths"]:
        assert path in page
    for column in models.EXAMPLE:
        assert f'"{column}"' in page


def test_the_page_loads_nothing_from_elsewhere(client):
    answer = client.get("/docs")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", answer.text)
    assert not re.search(r"url\(|@import", answer.text)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"https?:|\*|unsafe-eval|script-src[^;]*unsafe-inline", policy)


def test_the_script_may_run_once_only(client):
    first, second = (client.get("/docs") for _ in range(2))
    nonces = [
        re.search(r"'nonce-([\w-]+)'", answer.headers["content-security-policy"])[1] for answer in (first, second)
    ]
    assert nonces[0] != nonces[1]
    assert first.text.count(f'nonce="{nonces[0]}"') == first.text.count("<script")


def test_a_column_whose_name_is_markup_stays_a_name(models):
    evil = "</script><script>alert(1)</script>{{ 7 * 7 }}"
    rent = models.rent()
    named = replace(rent.signature.inputs[0], name=evil)
    model = replace(rent, signature=Signature((named,), rent.signature.outputs))
    served = Served(evil, "1", model, models.onnxruntime.open(rent))
    page = get(application(DataPlane([served])), "/docs").text
    assert page.count("<script") == 2
    assert "alert(1)</script>" not in page
    assert "49" not in re.search(r"<title>.*</title>", page)[0]


def test_the_description_has_the_models_own_columns(client, models):
    described = client.get("/openapi.json").json()
    body = described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    row = body["schema"]["anyOf"][0]
    assert list(row["properties"]) == list(models.EXAMPLE) == row["required"]
    assert row["properties"]["age"]["type"] == ["number", "null"]
    assert "17 to 90" in row["properties"]["age"]["description"]
    assert row["properties"]["workclass"]["examples"] == ["Private", "State-gov"]
    assert row["example"]["age"] == 39.0


def test_the_examples_of_the_description_are_answered(client):
    paths = client.get("/openapi.json").json()["paths"]
    examples = paths["/models/{name}/predict"]["post"]["requestBody"]["content"]["application/json"]["examples"]
    assert sorted(examples) == ["colors", "income", "plain", "rent"]
    for name, example in examples.items():
        assert client.post(f"/models/{name}/predict", json=example["value"]).status_code == 200
    infer = paths["/v2/models/{name}/infer"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/v2/models/income/infer", json=infer).status_code == 200


def test_a_gap_is_allowed_where_the_description_says_so(client, models):
    content = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    for name, column in content["application/json"]["schema"]["anyOf"][0]["properties"].items():
        assert "null" in column["type"]
        assert client.post("/predict", json={**models.EXAMPLE, name: None}).status_code == 200


def test_a_model_without_statistics_is_described_all_the_same(models):
    bare: Model = replace(models.income(), statistics={})
    app = application(DataPlane([Served("bare", "", bare, models.onnxruntime.open(bare))]))
    assert get(app, "/docs").status_code == 200
    assert get(app, "/openapi.json").json()["info"]["title"] == "Engram"


@pytest.mark.parametrize("path", ["/redoc", "/docs/oauth2-redirect"])
def test_pages_that_would_load_from_elsewhere_are_gone(client, path):
    assert client.get(path).status_code == 404
    assert urlsplit(str(client.base_url)).hostname == "127.0.0.1"
