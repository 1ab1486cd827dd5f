"""The Open Inference Protocol as its specification says, and as its ambiguities are read here."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INFER = "/v2/models/income/infer"


def tensor(name, datatype, data, shape=None):
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def income(**changed):
    made = {
        "age": tensor("age", "FP64", [39.0, 20.0]),
        "workclass": tensor("workclass", "BYTES", ["Private", "State-gov"]),
        "member": tensor("member", "BOOL", [True, False]),
        "since": tensor("since", "FP64", [86_400.0, None]),
    }
    return list((made | changed).values())


def chances():
    logits = np.array([0.1 * 39 + 2 + 0.5 + 1 - 4, 0.1 * 20 - 1 - 4])
    high = 1 / (1 + np.exp(-logits))
    return np.stack([1 - high, high], axis=1)


def refused(response, status, *words):
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    for word in words:
        assert word in response.json()["error"], response.text


def test_the_server_lives_and_is_ready(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True, "live": True}


def test_the_server_describes_itself(client):
    content = client.get("/v2").json()
    assert content["name"] == "engram"
    assert isinstance(content["version"], str)
    assert content["extensions"] == []


@pytest.mark.parametrize("path", ["/v2/models/income", "/v2/models/income/versions/3", "/v2/models/income/versions/2"])
def test_a_model_describes_itself_with_and_without_a_version(client, path):
    assert client.get(path).json() == {
        "name": "income",
        "versions": ["3", "2"],
        "platform": "onnx_onnxv1",
        "inputs": [
            {"name": "age", "datatype": "FP64", "shape": [-1]},
            {"name": "workclass", "datatype": "BYTES", "shape": [-1]},
            {"name": "member", "datatype": "FP64", "shape": [-1]},
            {"name": "since", "datatype": "FP64", "shape": [-1]},
        ],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }


def test_a_free_axis_is_minus_one_and_a_fixed_one_its_length(client):
    content = client.get("/v2/models/colors").json()
    assert content["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]


@pytest.mark.parametrize("path", ["/v2/models/income/ready", "/v2/models/income/versions/3/ready"])
def test_a_model_is_ready_with_and_without_a_version(client, path):
    assert client.get(path).json() == {"name": "income", "ready": True}


@pytest.mark.parametrize("rest", ["", "/ready", "/infer"])
@pytest.mark.parametrize("model", ["incme", "income/versions/9"])
def test_what_is_not_served_is_a_404_with_the_nearest(client, model, rest):
    method = "POST" if rest == "/infer" else "GET"
    refused(client.request(method, f"/v2/models/{model}{rest}", json={"inputs": []}), 404, "income")


@pytest.mark.parametrize("path", [INFER, "/v2/models/income/versions/2/infer"])
def test_tensors_are_answered_with_tensors(client, path):
    content = client.post(path, json={"inputs": income()}).json()
    label, probabilities = content.pop("outputs")
    assert content == {"model_name": "income", "model_version": "2" if "versions" in path else "3"}
    assert label == {"name": "label", "shape": [2], "datatype": "BYTES", "data": [">50K", "<=50K"]}
    assert {**probabilities, "data": None} == {
        "name": "probabilities",
        "shape": [2, 2],
        "datatype": "FP32",
        "data": None,
    }
    np.testing.assert_allclose(np.reshape(probabilities["data"], (2, 2)), chances(), rtol=1e-5)


def test_a_model_without_a_version_answers_without_one(client):
    content = client.post("/v2/models/plain/infer", json={"inputs": [tensor("x", "FP32", [1, 2, 3], [1, 3])]}).json()
    assert content == {
        "model_name": "plain",
        "outputs": [{"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [6.0, 1.0]}],
    }


def test_data_may_be_nested_or_flat(client):
    nested = [[[[255, 0, 0], [255, 0, 0]]], [[[0, 0, 255], [0, 0, 255]]]]
    flat = np.ravel(nested).tolist()
    answers = [
        client.post("/v2/models/colors/infer", json={"inputs": [tensor("image", "UINT8", data, [2, 1, 2, 3])]}).json()
        for data in (nested, flat)
    ]
    assert answers[0] == answers[1]
    assert answers[0]["outputs"][0]["data"] == ["red", "blue"]


def test_the_id_comes_back_exactly_where_one_was_sent(client):
    assert client.post(INFER, json={"id": "42 ü", "inputs": income()}).json()["id"] == "42 ü"
    assert client.post(INFER, json={"id": "", "inputs": income()}).json()["id"] == ""
    assert "id" not in client.post(INFER, json={"inputs": income()}).json()


def test_asked_outputs_are_all_there_is_in_the_answer(client):
    asked = [{"name": "probabilities", "parameters": {"binary_data": False}}]
    content = client.post(INFER, json={"inputs": income(), "outputs": asked}).json()
    assert [output["name"] for output in content["outputs"]] == ["probabilities"]
    assert len(client.post(INFER, json={"inputs": income(), "outputs": []}).json()["outputs"]) == 2


def test_keys_beyond_the_specification_are_ignored(client):
    extra = {"model_name": "income", "parameters": {"priority": 1, "text": "x", "yes": True, "half": 0.5}}
    assert client.post(INFER, json={"inputs": income(), **extra}).status_code == 200


@pytest.mark.parametrize("datatype", ["INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32"])
def test_a_column_of_numbers_comes_in_any_number_type(client, datatype):
    content = client.post(INFER, json={"inputs": income(age=tensor("age", datatype, [39, 20]))}).json()
    np.testing.assert_allclose(np.reshape(content["outputs"][1]["data"], (2, 2)), chances(), rtol=1e-5)


def test_a_column_may_come_as_rows_by_one(client):
    sent = income(workclass=tensor("workclass", "BYTES", [["Private"], ["State-gov"]], [2, 1]))
    content = client.post(INFER, json={"inputs": sent}).json()
    np.testing.assert_allclose(np.reshape(content["outputs"][1]["data"], (2, 2)), chances(), rtol=1e-5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], ("object",)),
        ({}, ('"inputs" must be a list',)),
        ({"inputs": {}}, ('"inputs" must be a list',)),
        ({"inputs": [7]}, ('"inputs" must be a list of objects',)),
        ({"inputs": []}, ("empty",)),
        ({"inputs": [{"shape": [1]}]}, ('"name"',)),
        ({"inputs": [{"name": 7}]}, ('"name"',)),
        ({"inputs": income(), "id": 42}, ('"id"',)),
        ({"inputs": income(), "parameters": []}, ('"parameters"',)),
        ({"inputs": income(), "parameters": {"a": None}}, ("'a'",)),
        ({"inputs": income(), "parameters": {"a": {}}}, ("'a'",)),
        ({"inputs": income(), "outputs": {}}, ('"outputs"',)),
        ({"inputs": income(), "outputs": [{}]}, ('"name"',)),
        ({"inputs": income(), "outputs": [{"name": "lable"}]}, ("did you mean 'label'",)),
        ({"inputs": income(), "outputs": [{"name": "label"}] * 2}, ("twice",)),
        ({"inputs": [*income(), tensor("age", "FP64", [1.0, 2.0])]}, ("'age' is given twice",)),
        ({"inputs": [*income(), tensor("aeg", "FP64", [1.0, 2.0])]}, ("did you mean 'age'",)),
        ({"inputs": income()[1:]}, ("'age'", "missing")),
        ({"inputs": income(age=tensor("age", "FP64", [1.0]))}, ("'age'",)),
        ({"inputs": income(age=tensor("age", "FP64", [1.0, 2.0], [3]))}, ("has 2 values, but",)),
        ({"inputs": income(age=tensor("age", "FP64", [1.0, 2.0], [2, 2]))}, ("has 2 values, but",)),
        ({"inputs": income(age=tensor("age", "FP64", [[1.0, 2.0]], [2]))}, ("nested as [1, 2]",)),
        ({"inputs": income(age=tensor("age", "FP64", [[1.0], 2.0]))}, ("mixes",)),
        ({"inputs": income(member=tensor("member", "BOOL", [True], [3]))}, ("has 1 values, but",)),
        ({"inputs": income(age=tensor("age", "FP64", ["1", "2"]))}, ("'age'", "a string")),
        ({"inputs": income(age=tensor("age", "INT64", [1.5, 2]))}, ("'age'", "a decimal number")),
        ({"inputs": income(age=tensor("age", "INT8", [1, 128]))}, ("cannot hold 128",)),
        ({"inputs": income(age=tensor("age", "FP32", [1, 1e39]))}, ("cannot hold 1e+39",)),
        ({"inputs": income(age=tensor("age", "INT64", [1, 2**53 + 1]))}, ("2^53",)),
        ({"inputs": income(age=tensor("age", "BYTES", ["1", "2"]))}, ("'age'", "text")),
        ({"inputs": income(age=tensor("age", "FP16", [1, 2]))}, ("FP16 has no JSON form",)),
        ({"inputs": income(age=tensor("age", "BF16", [1, 2]))}, ("BF16 has no JSON form",)),
        ({"inputs": income(age=tensor("age", "float64", [1, 2]))}, ("'float64'", "FP64")),
        ({"inputs": income(age=tensor("age", ["FP64"], [1, 2]))}, ("datatype",)),
        ({"inputs": income(age={"name": "age", "datatype": "FP64", "data": [1, 2]})}, ("shape",)),
        ({"inputs": income(age={"name": "age", "datatype": "FP64", "shape": [2]})}, ("needs data",)),
        (
            {
                "inputs": income(
                    age={"name": "age", "datatype": "FP64", "shape": [2], "parameters": {"binary_data_size": 16}}
                )
            },
            ("binary data are not taken",),
        ),
        ({"inputs": income(age=tensor("age", "FP64", [1, 2], [-1]))}, ("shape",)),
        ({"inputs": income(age=tensor("age", "FP64", [1, 2], [True, 2]))}, ("shape",)),
        ({"inputs": income(age=tensor("age", "FP64", [1, 2], [2.0]))}, ("shape",)),
        ({"inputs": income(age=tensor("age", "FP64", [1, 2], [2**63]))}, ("shape",)),
        ({"inputs": income(age=tensor("age", "FP64", [1, 2], [2**40] * 32))}, ("has 2 values, but",)),
        ({"inputs": income(age=tensor("age", "FP64", [1, 2], [1] * 33))}, ("shape",)),
        ({"inputs": income(workclass=tensor("workclass", "FP64", [1, 2]))}, ("'workclass'",)),
        ({"inputs": income(workclass=tensor("workclass", "BYTES", ["a", None]))}, ("'workclass'", "null")),
        ({"inputs": income(member=tensor("member", "INT8", [0, 2]))}, ("'member'", "neither 0 nor 1")),
    ],
)
def test_a_request_that_does_not_fit_is_a_400_with_its_reason(client, body, words):
    refused(client.post(INFER, json=body), 400, *words)


def test_no_rows_are_refused(client):
    empty = {"inputs": [tensor("x", "FP32", [], [0, 3])]}
    refused(client.post("/v2/models/plain/infer", json=empty), 400, "no rows")


def test_a_body_of_another_type_is_refused(client):
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": "2"}
    refused(client.post(INFER, content=b"{}", headers=headers), 415, "application/json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
datatypes = st.sampled_from(["BOOL", "UINT8", "INT64", "UINT64", "FP32", "FP64", "BYTES", "FP16"])
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "area", "image", "y"]) | json_values,
        "datatype": datatypes | json_values,
        "shape": st.lists(st.integers(0, 4), max_size=4) | json_values,
        "data": st.lists(st.integers(0, 300) | st.floats(width=32), max_size=12) | json_values,
    },
    optional={"parameters": json_values},
)
bodies = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2) | json_values},
    optional={"id": json_values, "outputs": json_values, "parameters": json_values},
)


@given(body=bodies, name=st.sampled_from(["plain", "rent", "colors", "income"]))
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_request_makes_the_server_fail(client, body, name):
    answer = client.post(
        f"/v2/models/{name}/infer", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code in {200, 400}, answer.text


@given(
    shape=st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple),
    name=st.sampled_from(["plain/x/FP32", "rent/area/FP64", "colors/image/UINT8"]),
)
@settings(max_examples=200, deadline=None)
def test_every_shape_is_answered_or_refused(client, shape, name):
    model, column, datatype = name.split("/")
    sent = tensor(column, datatype, [1] * int(np.prod(shape)), list(shape))
    answer = client.post(f"/v2/models/{model}/infer", json={"inputs": [sent]})
    assert answer.status_code in {200, 400}, answer.text
