"""A kept version served by the command, in a process of its own, asked over a real port."""

import json
import signal
import socket
import urllib.request

import pytest

ROW = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}


def ask(url: str, body: object = None) -> tuple[str, bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_a_served_version_answers_raw_rows_and_stops_when_told(start, kept):
    process = start("serve", "iris", "--port", 0, "--store", kept / "engrams", "--json")
    said = json.loads(process.stdout.readline())
    assert said["serving"] == ["iris"]
    url = said["url"]
    (answer,) = json.loads(ask(f"{url}/predict", {"rows": [ROW]})[1])["predictions"]
    assert answer["label"] in {"setosa", "versicolor", "virginica"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)

    inputs = [{"name": k, "datatype": "FP64", "shape": [1], "data": [v]} for k, v in ROW.items()]
    outputs = json.loads(ask(f"{url}/v2/models/iris/infer", {"inputs": inputs})[1])["outputs"]
    assert [o["data"] for o in outputs if o["name"] == "label"] == [[answer["label"]]]

    kind, page = ask(f"{url}/docs")
    assert kind.startswith("text/html")
    assert b"/predict" in page
    process.send_signal(signal.SIGTERM)
    _, complaints = process.communicate(timeout=30)
    assert process.returncode == 0, complaints
    assert not complaints


def test_a_port_in_use_is_said(engram, kept):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sentence = engram("serve", "iris", "--port", port, "--store", kept / "engrams").sentence
    assert f"port {port} on 127.0.0.1 is in use by another program; choose another port" in sentence
    assert "port 99999 does not exist" in engram("serve", "iris", "--port", 99999, "--store", kept / "engrams").sentence
    assert (
        "is not an address"
        in engram("serve", "iris", "--host", "nowhere.invalid", "--store", kept / "engrams").sentence
    )
