"""Files in and out of the store, each with a proof that it answers the same."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import engram
from engram.errors import ConversionError, DataError, UsageError
from engram.formats._convert import prove, read
from engram.formats._proving import Request
from engram.lifecycle.answer import predict_file


@pytest.fixture
def exported(tmp_path):
    """A network as torch itself writes it."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
    path = tmp_path / "theirs.onnx"
    torch.onnx.export(network, (torch.randn(2, 4),), path, dynamo=True, input_names=["x"], output_names=["y"],
                      external_data=False, verbose=False)  # fmt: skip
    return path, network


def test_an_imported_file_is_kept_with_a_certificate_against_the_file_itself(exported, tmp_path):
    path, network = exported
    version = engram.keep(path, "theirs", store=tmp_path / "store")
    assert "certificate" in version.holds
    certificate = engram.open(tmp_path / "store").certificate("theirs")
    assert certificate.holds
    assert certificate.rows > 0
    assert (certificate.source, certificate.target) == ("onnx", "engram")
    assert certificate.original == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert certificate.served == ("", "")
    rows = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    answer = engram.predict("theirs", {"x": rows}, store=tmp_path / "store")
    with torch.no_grad():
        theirs = network(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(next(iter(answer.outputs.values())), theirs, atol=1e-5)


def test_a_reading_that_answers_differently_from_its_file_is_refused(exported):
    path, _ = exported
    model = read(path)
    assert prove(model, path, Request()).holds
    name, weight = next(iter(model.weights.items()))
    misread = replace(model, weights={**model.weights, name: weight + np.float32(0.5)})
    with pytest.raises(ConversionError, match="answers differently"):
        prove(misread, path, Request())


def test_a_file_is_converted_with_proof(exported, tmp_path):
    certificate = engram.convert(exported[0], tmp_path / "theirs.json")
    assert certificate.holds
    assert (tmp_path / "theirs.json.certificate.json").exists()


def test_the_store_is_listed_shown_and_logged_with_the_words_of_the_command_line(exported, tmp_path):
    store = tmp_path / "store"
    kept = engram.keep(exported[0], "theirs", store=store)
    assert engram.list(store) == [kept]
    assert engram.show("theirs", store=store) == kept
    assert engram.log("theirs", store=store).versions == (kept,)


def test_a_file_with_a_row_that_cannot_be_read_is_not_answered_with_a_gap_in_the_count(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"{i},{i % 7},{'yes' if i % 2 else 'no'}" for i in range(60))
    (tmp_path / "t.csv").write_text(f"a,b,y\n{rows}\n")
    (tmp_path / "t.toml").write_text('[data]\nfrom = "t.csv"\ntarget = "y"\n[train]\nepochs = 1\n')
    engram.run("t.toml")
    model = engram.open().load("t")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n3,4,5,6\n7,8\n")
    with pytest.raises(DataError, match=r"line 3|row"):
        predict_file(model, tmp_path / "bad.csv", lambda _first, _answer: None, watch=lambda _progress: None)


def test_a_locked_run_is_refused_when_the_code_of_its_network_has_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    body = "nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))"
    source = f"from torch import nn\ndef make(signature):\n    return {body}\n"
    (tmp_path / "mine.py").write_text(source)
    (tmp_path / "iris.toml").write_text(
        '[data]\nfrom = "sklearn:iris"\n[model]\nkind = "mine.py:make"\n[train]\nepochs = 1\n'
    )
    first = engram.run("iris.toml")
    again = engram.run("iris.lock.toml")
    one, other = (engram.open().load(v.reference).weights for v in (first, again))
    assert all(np.array_equal(one[name], other[name]) for name in one)
    (tmp_path / "mine.py").write_text(source.replace("ReLU", "Tanh"))
    with pytest.raises(UsageError, match=r"mine\.py has changed since iris was locked"):
        engram.run("iris.lock.toml")
