import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def row(models):
    return models.EXAMPLE


def chance(logit):
    return 1 / (1 + np.exp(-logit))


def picture(color, size=(3, 2), kind="PNG", mode="RGB"):
    made = io.BytesIO()
    Image.new("RGB", size, color).convert(mode).save(made, kind)
    return made.getvalue()


def bomb(width=60_000, height=60_000):
    """A valid PNG of 3.6 billion pixels in a few hundred bytes, its data cut off."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    )


def refused(response, status, *words):
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    for word in words:
        assert word in response.json()["error"]


def test_a_raw_row_is_answered_with_label_and_probabilities(client, row):
    answer = client.post("/predict", json=row)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert content["model"] == "income"
    assert content["version"] == "income:3"
    (prediction,) = content["predictions"]
    assert prediction["label"] == ">50K"
    wanted = chance(0.1 * 39 + 2 + 0.5 + 1 - 4)
    assert prediction["probabilities"] == pytest.approx({"<=50K": 1 - wanted, ">50K": wanted}, rel=1e-5)


def test_a_list_of_rows_and_an_object_with_rows_are_the_same(client, row):
    rows = [row, {**row, "age": None, "workclass": "State-gov", "member": "no", "since": 0}]
    listed = client.post("/predict", json=rows).json()
    assert client.post("/models/income/predict", json={"rows": rows}).json() == listed
    assert listed["predictions"][1]["probabilities"][">50K"] == pytest.approx(chance(3 - 1 - 4), rel=1e-5)


def test_a_row_without_a_content_type_is_taken_as_json(client, row):
    request = client.build_request("POST", "/predict", content=json.dumps(row))
    request.headers.pop("content-type", None)
    assert client.send(request).status_code == 200


def test_a_regression_answers_with_its_value(client):
    answer = client.post("/models/rent/predict", json=[{"area": 50}, {"area": 2.5}]).json()
    assert answer["predictions"] == [{"value": 700.0}, {"value": 130.0}]
    assert answer["version"] == "rent:7"


@pytest.mark.parametrize("body", [{"x": [1, 2, 3]}, {"rows": [[1, 2, 3]]}, [[1, 2, 3]], [{"x": [1, 2, 3]}]])
def test_a_network_without_columns_takes_lists(client, body):
    assert client.post("/models/plain/predict", json=body).json()["predictions"] == [{"y": [6.0, 1.0]}]


@pytest.mark.parametrize(("kind", "media"), [("PNG", "image/png"), ("JPEG", "image/jpeg")])
def test_a_picture_is_taken_as_base64_and_as_a_file(client, kind, media):
    content = picture((0, 0, 250), kind=kind)
    sent = base64.b64encode(content).decode()
    as_text = client.post("/models/colors/predict", json={"image": sent})
    as_link = client.post("/models/colors/predict", json={"image": f"data:{media};base64,{sent}"})
    as_file = client.post("/models/colors/predict", content=content, headers={"Content-Type": media})
    assert as_text.status_code == as_link.status_code == as_file.status_code == 200
    assert as_text.json() == as_link.json() == as_file.json()
    assert as_text.json()["predictions"][0]["label"] == "blue"


def test_pictures_of_several_sizes_are_answered_in_their_order(client):
    colors = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
    names = ["blue", "red", "red", "green"]
    sizes = [(3, 2), (8, 8), (3, 2), (1, 1)]
    sent = [base64.b64encode(picture(colors[n], s)).decode() for n, s in zip(names, sizes, strict=True)]
    answer = client.post("/models/colors/predict", json=[{"image": one} for one in sent]).json()
    assert [one["label"] for one in answer["predictions"]] == names


def test_a_picture_may_be_a_nest_of_pixels(client):
    answer = client.post("/models/colors/predict", json={"image": [[[0, 255, 0], [0, 200, 10]]]}).json()
    assert answer["predictions"][0]["label"] == "green"
    refused(client.post("/models/colors/predict", json={"image": [[[0, 256, 0]]]}), 400, "cannot hold 256")


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGBA", "LA", "CMYK", "I;16"])
def test_a_picture_of_any_mode_is_answered(client, mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    source = Image.new("RGB", (2, 2), (255, 255, 255))
    made = io.BytesIO()
    (Image.new("I;16", (2, 2)) if mode == "I;16" else source.convert(mode)).save(made, kind)
    answer = client.post(
        "/models/colors/predict", content=made.getvalue(), headers={"Content-Type": f"image/{kind.lower()}"}
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ("not a PNG or JPEG",)),
        (b"GIF89a" + bytes(100), ("not a PNG or JPEG",)),
        (picture((1, 2, 3), (50, 50))[:-30], ("is damaged",)),
        (picture((1, 2, 3), (50, 50), "JPEG")[:200], ("PNG or JPEG",)),
        (bomb(), ("pixels",)),
        (bomb(9_000, 9_000), ("pixels",)),
    ],
)
def test_a_broken_picture_is_refused_before_it_is_unpacked(client, content, words):
    refused(client.post("/models/colors/predict", content=content, headers={"Content-Type": "image/png"}), 400, *words)
    refused(client.post("/models/colors/predict", json={"image": base64.b64encode(content).decode()}), 400, *words)


def test_many_pictures_that_are_too_large_together_are_refused(client):
    one = base64.b64encode(picture((0, 0, 0), (4096, 4096))).decode()
    refused(client.post("/models/colors/predict", json=[{"image": one}] * 3), 400, "up to row 3", "pixels")


@given(cut=st.integers(8, 200), value=st.integers(0, 255), kind=st.sampled_from(["PNG", "JPEG"]))
@settings(max_examples=150, deadline=None)
def test_a_picture_with_a_changed_byte_is_answered_or_refused(client, cut, value, kind):
    content = bytearray(picture((9, 99, 9), (20, 20), kind))
    content[cut % len(content)] = value
    answer = client.post("/models/colors/predict", content=bytes(content), headers={"Content-Type": "image/png"})
    assert answer.status_code in {200, 400}, answer.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"age": 39, "workclass": "Private", "member": True}, ("row 1", "'since' is missing")),
        ({"age": 39, "workclas": "x", "member": True, "since": 0}, ("'workclas'", "did you mean 'workclass'")),
        ({"age": "old", "workclass": "Private", "member": True, "since": 0}, ("row 1", "'age'", "'old'")),
        ({"age": "Infinity", "workclass": "Private", "member": True, "since": 0}, ("row 1", "'age'")),
        ({"age": True, "workclass": "Private", "member": True, "since": 0}, ("row 1", "'age'", "True")),
        ({"age": [39], "workclass": "Private", "member": True, "since": 0}, ("row 1", "'age'")),
        ({"age": {}, "workclass": "Private", "member": True, "since": 0}, ("row 1", "'age'")),
        ({"age": 39, "workclass": ["Private"], "member": True, "since": 0}, ("row 1", "'workclass'")),
        ({"age": 39, "workclass": True, "member": True, "since": 0}, ("row 1", "'workclass'")),
        ({"age": 39, "workclass": "Private", "member": "perhaps", "since": 0}, ("row 1", "'member'", "perhaps")),
        ({"age": 39, "workclass": "Private", "member": 2, "since": 0}, ("row 1", "'member'")),
        ({"age": 39, "workclass": "Private", "member": [True], "since": 0}, ("row 1", "'member'")),
        ({"age": 39, "workclass": "Private", "member": True, "since": "soon"}, ("row 1", "'since'", "soon")),
        ({}, ("'age' is missing",)),
        ({"rows": []}, ("no rows",)),
        ([], ("no rows",)),
        ({"rows": {}}, ("no column 'rows'",)),
        ({"rows": [1, 2]}, ("row 1 is not an object",)),
        ([[39, "Private", True, 0]], ("row 1 is not an object",)),
        (39, ("a list of rows",)),
        ("Private", ("a list of rows",)),
        (True, ("a list of rows",)),
    ],
)
def test_a_row_that_does_not_fit_is_refused_with_its_place(client, body, words):
    refused(client.post("/predict", json=body), 400, *words)


def test_the_second_row_is_named_where_it_is_wrong(client, row):
    refused(client.post("/predict", json=[row, {**row, "age": "x"}]), 400, "row 2", "'age'")
    refused(client.post("/predict", json=[row, 7]), 400, "row 2")


def test_more_rows_than_allowed_are_refused(client, row):
    refused(client.post("/predict", json=[row] * 10_001), 400, "10,001 rows", "10,000")
    assert len(client.post("/predict", json=[row] * 10_000).json()["predictions"]) == 10_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"age=39",
        b'{"age": NaN}',
        b'{"age": 1e999}',
        b'{"age": 1, "age": 2}',
        b"[" * 100_000,
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_what_is_not_json_is_refused(client, body):
    refused(client.post("/predict", content=body, headers=JSON), 400)


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ('Application/JSON;charset="UTF-8"', 200),
        ("application/json; charset=utf-16", 415),
        ("application/x-www-form-urlencoded", 415),
        ("text/plain", 415),
        ("text/csv", 415),
        ("multipart/form-data; boundary=x", 415),
        ("image/png", 415),
        ("image/gif", 415),
    ],
)
def test_only_json_is_taken_for_rows(client, row, kind, status):
    answer = client.post("/predict", content=json.dumps(row), headers={"Content-Type": kind})
    assert answer.status_code == status


def test_a_compressed_body_is_refused(client, row):
    body = zlib.compress(json.dumps(row).encode())
    refused(client.post("/predict", content=body, headers={**JSON, "Content-Encoding": "deflate"}), 415, "compressed")


def test_a_model_that_is_not_served_is_answered_with_the_nearest(client, row):
    refused(client.post("/models/incom/predict", json=row), 404, "did you mean 'income'")


def test_a_sentence_that_quotes_a_stranger_stays_short(client):
    refused(client.post("/predict", json={"age": "x" * 1_000_000, "workclass": "", "member": 0, "since": 0}), 400, "…")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)
near_rows = st.fixed_dictionaries(
    {
        "age": json_values | st.integers(0, 99),
        "workclass": json_values | st.just("Private"),
        "member": json_values | st.booleans(),
        "since": json_values | st.dates().map(str),
    }
)


@given(
    body=(json_values | near_rows | st.lists(near_rows, max_size=3)).map(json.dumps).map(str.encode)
    | st.binary(max_size=60),
    route=st.sampled_from(["/predict", *(f"/models/{n}/predict" for n in ["income", "colors", "rent", "plain"])]),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_body_makes_the_server_fail(client, body, route):
    answer = client.post(route, content=body, headers=JSON)
    assert answer.status_code in {200, 400}, answer.text
    assert list(answer.json()) == ["error"] if answer.status_code == 400 else answer.json()["predictions"]


@given(
    cell=json_values | st.lists(st.integers(0, 255), min_size=3, max_size=3),
    place=st.sampled_from(["colors/image", "rent/area", "plain/x"]),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_cell_makes_the_server_fail(client, cell, place):
    name, _, column = place.partition("/")
    answer = client.post(f"/models/{name}/predict", content=json.dumps({column: cell}), headers=JSON)
    assert answer.status_code in {200, 400}, answer.text
