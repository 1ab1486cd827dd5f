"""Files in and out on the command line: what is said, what is refused, and the exit codes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from engram.graphs.build import Builder
from engram.records import TensorSpec


@pytest.fixture
def theirs(here: Path) -> Path:
    """Somebody's ONNX file."""
    builder = Builder([TensorSpec("x", "float32", ("batch", 4))])
    numbers = np.random.default_rng(0)
    hidden = builder.node(
        "MatMul", "x", builder.constant(numbers.normal(size=(4, 3)).astype(np.float32), "dense.kernel")
    )
    builder.node("Add", hidden, builder.constant(np.ones(3, np.float32), "dense.bias"), name="y")
    path = here / "theirs.onnx"
    path.write_bytes(builder.finish([TensorSpec("y", "float32", ("batch", 3))]))
    return path


@pytest.fixture
def alone(engram, theirs: Path, here: Path) -> Path:
    """Its weights alone."""
    engram("convert", "theirs.onnx", "-o", "whole.safetensors")
    save_file(load_file(here / "whole.safetensors"), here / "alone.safetensors")
    return here / "alone.safetensors"


def test_a_file_is_converted_verified_and_kept(engram, theirs: Path):
    said = engram("convert", "theirs.onnx", "--to", "json", "-o", "theirs.json")
    assert said.code == 0
    assert "✓ theirs.json: answers as the original on 64 probe rows, largest difference" in said.out
    assert "theirs.json was served by onnxruntime from what was read: json has no runtime of its own" in said.err
    said = engram("verify", "theirs.json")
    assert "✓ theirs.json is the file that was certified: sha256:" in said.out
    assert "compared with what the original answered on 64 rows" in said.out
    assert json.loads(engram("verify", "theirs.json", "--json").out)["holds"] is True
    assert engram("import", "theirs.json", "--name", "theirs").out == "✓ kept theirs.json as theirs:1\n"


def test_weights_are_divided_where_a_size_is_asked_for(engram, theirs: Path, here: Path):
    index = "m.safetensors.index.json"
    assert engram("convert", "theirs.onnx", "--shard-size", "0.04 kB", "-o", index).code == 0
    files = sorted(path.name for path in here.glob("m-*"))
    assert files == ["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"]
    assert engram("import", index, "--name", "theirs").code == 0
    for wrong in ("much", "0", "5 apples", "-1GB", "1e3"):
        said = engram("convert", "theirs.onnx", "--shard-size", wrong, "-o", index)
        assert f"{wrong!r} is no size; write bytes with a unit, as in 5GB or 500MB" in said.sentence


def test_a_file_that_was_changed_is_not_verified(engram, theirs: Path, here: Path):
    engram("convert", "theirs.onnx", "-o", "theirs.json")
    (here / "theirs.json").write_text((here / "theirs.json").read_text() + " ")
    assert "theirs.json is not the file that was certified" in engram("verify", "theirs.json").sentence
    assert "has no certificate beside it" in engram("verify", "./theirs.onnx").sentence
    assert "are about a store, but theirs.json is a file" in engram("verify", "theirs.json", "--rebuild").sentence


def test_weights_alone_are_kept_by_the_graph_of_another(engram, alone: Path):
    refused = engram("import", "alone.safetensors", "--name", "mine").sentence
    assert "holds weights alone, which cannot answer" in refused
    assert "engram import alone.safetensors --name mine --graph REF" in refused
    assert engram("import", "theirs.onnx", "--name", "theirs").code == 0
    kept = json.loads(engram("import", "alone.safetensors", "--name", "mine", "--graph", "theirs:1", "--json").out)
    assert kept["facts"]["graph"] == "theirs:1"
    assert "graph" in kept["holds"]
    assert engram("import", "alone.safetensors", "--name", "mine", "--graph", "theirs.onnx").code == 0
    said = engram("diff", "theirs:1", "mine:1").out
    assert "dense.kernel" not in said


def test_weights_that_do_not_fit_a_graph_are_refused_by_name(engram, alone: Path, here: Path):
    weights = load_file(alone)
    tries = {
        "lacking": ({"dense.kernel": weights["dense.kernel"]}, "has no weight 'dense.bias', which the graph of theirs"),
        "over": (
            {**weights, "more": weights["dense.bias"]},
            "has a weight 'more', which the graph of theirs",
        ),
        "turned": (
            {**weights, "dense.kernel": np.ascontiguousarray(weights["dense.kernel"].T)},
            "weight 'dense.kernel' is float32 [3, 4], but the graph of theirs.onnx needs float32 [4, 3]",
        ),
        "typed": (
            {**weights, "dense.bias": weights["dense.bias"].astype(np.float64)},
            "weight 'dense.bias' is float64 [3], but the graph of theirs.onnx needs float32 [3]",
        ),
    }
    for name, (arrays, reason) in tries.items():
        save_file(arrays, here / f"{name}.safetensors")
        assert reason in engram("import", f"{name}.safetensors", "--name", name, "--graph", "theirs.onnx").sentence
    assert "has a graph of its own" in engram("import", "theirs.onnx", "--name", "a", "--graph", "theirs.onnx").sentence
    assert "has no graph to give" in engram("import", alone, "--name", "a", "--graph", "alone.safetensors").sentence
    assert not (here / "engrams").exists()


def test_weights_take_the_architecture_of_a_pipeline_file(engram, kept: Path, here: Path):
    engram("export", "iris", "-o", "iris.safetensors", "--store", kept / "engrams")
    save_file(load_file(here / "iris.safetensors"), here / "alone.safetensors")
    (here / "iris.toml").write_text((kept / "iris.toml").read_text())
    said = engram("import", "alone.safetensors", "--name", "again", "--graph", "iris.toml")
    assert said.out == "✓ kept alone.safetensors as again:1\n", said.err
    assert engram("predict", "again", "sklearn:iris").out == engram(
        "predict", "iris", "sklearn:iris", "--store", kept / "engrams"
    ).out  # fmt: skip


def test_what_is_no_model_is_refused_in_one_line(engram, here: Path):
    (here / "evil.bin").write_bytes(b"\x03no format begins like this\xff")
    (here / "cut.onnx").write_bytes(b"\x08\x0a\x12")
    (here / "folder").mkdir()
    os.mkfifo(here / "pipe.onnx")
    (here / "link").mkdir()
    (here / "link" / "config.json").symlink_to("/etc/passwd")
    for name in ("evil.bin", "cut.onnx", "folder", "pipe.onnx", "link", "nowhere.onnx"):
        for words in (("import", name, "--name", "x"), ("convert", name, "-o", "out.onnx")):
            assert name in engram(*words).sentence
    assert not (here / "out.onnx").exists()


def test_a_suffix_of_no_format_and_a_wrong_one_are_refused_with_what_to_do(engram, theirs: Path):
    assert "from which no format follows" in engram("convert", "theirs.onnx", "-o", "theirs.xyz").sentence
    assert (
        "should end in .json to hold json" in engram("convert", "theirs.onnx", "--to", "json", "-o", "a.bin").sentence
    )
    assert "did you mean 'json'" in engram("convert", "theirs.onnx", "--to", "jsn", "-o", "a.json").sentence


def test_what_is_left_out_of_an_import_is_said(engram, theirs: Path, here: Path):
    kernel, bias = torch.nn.Parameter(torch.zeros(4, 3)), torch.nn.Parameter(torch.zeros(3))
    other = torch.nn.Parameter(torch.zeros(7, 7))
    other.grad = torch.ones_like(other)
    optimizer = torch.optim.Adam([other])
    optimizer.step()
    weights = {"dense.kernel": kernel.detach(), "dense.bias": bias.detach()}
    torch.save({"model": weights, "optimizer": optimizer.state_dict(), "epoch": 1}, here / "run.pt")
    said = engram("import", "run.pt", "--name", "mine", "--graph", "theirs.onnx")
    assert said.code == 0
    assert "the optimizer's state is left out, because it has state for 1 parameters" in said.err
