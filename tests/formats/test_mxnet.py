"""MXNet: files of MXNet 1.9.1 answer as they did there, and files that are spoiled are refused."""

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy import ndarray

from engram.errors import ConversionError, FormatError
from engram.formats import mxnet
from engram.formats._convert import convert, read, read_proven, write
from engram.formats._mxnet import params
from engram.graphs.walk import steps
from engram.graphs.weights import attach
from engram.records import Limits, Model, Signature
from engram.runtime import onnxruntime

GOLDEN = Path(__file__).parent / "golden" / "mxnet"
NAMES = sorted(path.parent.name for path in GOLDEN.glob("*/*-symbol.json"))
LIMITS = Limits()
Change = Callable[[str, Callable[[dict[str, Any]], object]], Path]


def symbol_of(name: str) -> Path:
    return GOLDEN / name / f"{name}-symbol.json"


def entries(name: str, kind: str) -> dict[str, ndarray]:
    with np.load(GOLDEN / name / "answers.npz") as found:  # noqa: TID251 - without pickles, which is its default
        return {key.partition("/")[2]: found[key] for key in found if key.startswith(f"{kind}/")}


def answers(model: Model, inputs: dict[str, ndarray]) -> dict[str, ndarray]:
    return onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), inputs)


def operators(name: str) -> list[str]:
    return [step.operator for step in steps(read(symbol_of(name)).graph).nodes]


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[str], Path]:
    """A network of the golden files in a folder of its own, to be spoiled."""

    def do(name: str) -> Path:
        shutil.copytree(GOLDEN / name, tmp_path / name, ignore=shutil.ignore_patterns("answers.npz"))
        return tmp_path / name / f"{name}-symbol.json"

    return do


@pytest.fixture
def changed(copied: Callable[[str], Path]) -> Change:
    """A network whose symbol was changed."""

    def do(name: str, how: Callable[[dict[str, Any]], object]) -> Path:
        path = copied(name)
        found = json.loads(path.read_text())
        how(found)
        path.write_text(json.dumps(found))
        return path

    return do


def node(symbol: dict[str, Any], operator: str) -> dict[str, Any]:
    return next(one for one in symbol["nodes"] if one["op"] == operator)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_answers_as_it_did_in_mxnet(name: str):
    model = read(symbol_of(name))
    given, wanted = entries(name, "input"), entries(name, "output")
    found = answers(model, given)
    assert {spec.name for spec in model.signature.inputs} == given.keys()
    assert [spec.name for spec in model.signature.outputs] == list(wanted)
    for key, array in wanted.items():
        assert found[key].shape == array.shape
        assert found[key].dtype == array.dtype
        np.testing.assert_allclose(found[key], array, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_keeps_its_name_and_its_bits(name: str):
    held = params.read(GOLDEN / name / f"{name}-0000.params", LIMITS)
    model = read(symbol_of(name))
    assert list(model.weights) == [key.partition(":")[2] for key in held]
    for key, array in held.items():
        assert model.weights[key.partition(":")[2]].tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lstm", {"LSTM": 2, "Loop": 0}),
        ("gru", {"GRU": 2, "Dropout": 0}),
        ("cnn", {"BatchNormalization": 2, "Dropout": 1, "Conv": 2, "MaxPool": 1}),
        ("attention", {"LayerNormalization": 1, "Gelu": 1}),
    ],
)
def test_layers_come_out_as_what_they_are(name: str, wanted: dict[str, int]):
    found = operators(name)
    assert {kind: found.count(kind) for kind in wanted} == wanted


def test_a_network_is_imported_from_either_file_with_proof():
    for path in (symbol_of("cnn"), GOLDEN / "cnn" / "cnn-0000.params"):
        model, certificate = read_proven(path)
        assert certificate.holds
        assert model.source == {"format": "mxnet", "parameters": "cnn-0000.params", "mxnet": 10901}


@pytest.mark.parametrize("name", ["fused", "gru", "sentence"])
def test_sequences_and_states_are_proven_and_converted(name: str, tmp_path: Path):
    assert convert(symbol_of(name), tmp_path / "m.onnx").holds


def test_statistics_of_a_batch_are_moved_by_no_optimizer():
    model = read(symbol_of("cnn"))
    fixed = set(steps(model.graph).fixed)
    assert fixed == {name for name in model.weights if "running" in name}
    assert len(fixed) == 4


def test_a_scale_that_mxnet_ignores_is_kept_and_not_computed_with():
    model = read(symbol_of("layers"))
    assert abs(model.weights["last_gamma"] - 1).max() > 0.1
    assert "last_gamma" not in {tensor for step in steps(model.graph).nodes for tensor in step.inputs}


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("cnn", ("batch", 3, 16, 16)),
        ("densenet", ("batch", 3, 64, 64)),
        ("line", ("batch", 3, 12)),
        ("mobilenet", ("batch", 3, "data.2", "data.3")),
        ("sentence", ("batch", "data.1")),
        ("gru", ("batch", "rows", 5)),
    ],
)
def test_the_shape_of_an_input_is_found(name: str, wanted: tuple[int | str, ...]):
    assert read(symbol_of(name)).signature.inputs[0].shape == wanted


def test_an_input_of_which_nothing_is_known_is_refused_with_what_helps(changed: Change):
    def sever(symbol: dict[str, Any]) -> None:
        symbol["nodes"] = [symbol["nodes"][0], {"op": "sum", "name": "all", "inputs": [[0, 0, 0]]}]
        symbol["heads"] = [[1, 0, 0]]

    with pytest.raises(FormatError, match=r"'data' is no parameter in the file.*mxnet\.sym\.var\('data', shape="):
        read(changed("mlp", sever))


# ----------------------------------------------------------------- lists of arrays


@pytest.mark.parametrize("layout", ["v0", "v1", "v2"])
def test_lists_of_every_layout_hold_what_mxnet_found_in_them(layout: str):
    found = params.read(GOLDEN / "lists" / f"{layout}.params", LIMITS)
    np.testing.assert_array_equal(found["arg:w"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_arrays_of_every_type_are_read():
    found = params.read(GOLDEN / "lists" / "kinds.params", LIMITS)
    assert len(found) == 7
    for kind, array in found.items():
        assert array.dtype == kind
        np.testing.assert_array_equal(array, np.arange(6).reshape(1, 2, 3))
    newest = params.read(GOLDEN / "lists" / "v3.params", LIMITS)
    assert newest["scalar"].shape == ()
    assert newest["scalar"] == 2.5
    assert newest["none"].shape == (0, 3)
    assert list(params.read(GOLDEN / "lists" / "unnamed.params", LIMITS)) == ["0"]


def test_parameters_alone_are_weights_alone():
    model = read(GOLDEN / "lists" / "v2.params")
    assert model.graph == b""
    assert list(model.weights) == ["w"]


def test_a_sparse_array_is_refused():
    with pytest.raises(FormatError, match="is sparse"):
        read(GOLDEN / "lists" / "sparse.params")


HEAD = struct.pack("<QQQ", 0x112, 0, 1)
BODY = struct.pack("<ii", 1, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack("<QQQ", 0x112, 0, 2**40), "announces"),
        (struct.pack("<QQ", 0x112, 1), "does not begin as"),
        (HEAD + struct.pack("<IiIqq", 0xF993FAC9, 0, 2, 2**40, 2**40) + BODY + bytes(8), "are announced at byte"),
        (HEAD + struct.pack("<IiIq", 0xF993FAC9, 0, 1, -1) + BODY, "the shape"),
        (HEAD + struct.pack("<IiI", 0xF993FAC9, 0, 2**31), "axes"),
        (HEAD + struct.pack("<I", 2**32 - 1), "axes"),
        (HEAD + struct.pack("<IiI", 0xF993FAC9, 0, 0), "never filled"),
        (HEAD + struct.pack("<IiIq", 0xF993FAC9, 0, 1, 1) + BODY + struct.pack("<i", 99), "the type 99"),
        (HEAD + struct.pack("<IiIq", 0xF993FAC9, 0, 1, 1) + BODY + bytes(8) + struct.pack("<Q", 2), "2 names"),
        (HEAD + struct.pack("<IiIq", 0xF993FAC9, 0, 1, 1) + BODY + bytes(8) + struct.pack("<QQ", 1, 2**62), "a name"),
    ],
)  # fmt: skip
def test_a_list_that_announces_what_it_has_not_is_refused(tmp_path: Path, data: bytes, reason: str):
    path = tmp_path / "m.params"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=reason):
        read(path)


def test_two_arrays_of_one_name_are_refused(tmp_path: Path):
    data = (GOLDEN / "lists" / "v2.params").read_bytes()
    array = data[24:-21]
    name = data[-13:]
    path = tmp_path / "m.params"
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, 2) + array * 2 + struct.pack("<Q", 2) + name * 2)
    with pytest.raises(FormatError, match="two arrays that are called 'arg:w'"):
        read(path)


# ------------------------------------------------------------------------ symbols


def test_symbols_of_old_releases_are_read_alike(changed: Change):
    def age(symbol: dict[str, Any]) -> None:
        for one in symbol["nodes"]:
            settings = one.pop("attrs", {})
            one["param"] = {key: value.replace("(3, 3)", "(3L, 3L)") for key, value in settings.items()}
            one["inputs"] = [edge[:2] for edge in one["inputs"]]
            one["backward_source_id"] = -1
        symbol["heads"] = [head[:2] for head in symbol["heads"]]
        del symbol["attrs"], symbol["node_row_ptr"]

    old, new = read(changed("cnn", age)), read(symbol_of("cnn"))
    assert old.graph == new.graph
    assert "mxnet" not in old.source


@pytest.mark.parametrize(
    ("name", "how", "reason"),
    [
        ("mlp", lambda s: node(s, "Activation").update(op="Custom"), "'Custom', which is not read"),
        ("mlp", lambda s: node(s, "Activation").update(subgraphs=[{}]), "graphs of its own"),
        ("mlp", lambda s: node(s, "Activation").update(inputs=[[99, 0, 0]]), "no output of a node before it"),
        ("mlp", lambda s: node(s, "Activation").update(inputs=[[-1, 0, 0]]), "no output of a node before it"),
        ("mlp", lambda s: node(s, "Activation").update(inputs=[]), "needs one more"),
        ("mlp", lambda s: node(s, "Activation").update(inputs=[[3, 7, 0]]), "takes output 7"),
        ("mlp", lambda s: node(s, "Activation")["attrs"].update(act_type="magic"), "'magic', which is not read"),
        ("mlp", lambda s: node(s, "FullyConnected")["attrs"].update(flatten="maybe"), "flatten"),
        ("mlp", lambda s: node(s, "FullyConnected")["attrs"].update(flatten="__import__('os')"), "no number or list"),
        ("mlp", lambda s: node(s, "Activation").update(attrs={"act_type": 3}), "an object of texts"),
        ("mlp", lambda s: s.update(heads=[[5, 99, 0]]), "is asked for, which there is not"),
        ("mlp", lambda s: s.update(nodes=[]), "lists of nodes and heads"),
        ("cnn", lambda s: node(s, "Convolution")["attrs"].update(kernel="(" * 9_000), "no number or list"),
        ("cnn", lambda s: node(s, "Convolution")["attrs"].update(kernel="(3, 3, 3)"), "slides over 2 axes"),
        ("cnn", lambda s: node(s, "Convolution")["attrs"].update(layout="NHWC"), "'NHWC', which is not read"),
        ("cnn", lambda s: node(s, "Pooling")["attrs"].update(stride="(0, 0)"), "at least 1"),
        ("lstm", lambda s: node(s, "RNN")["attrs"].update(num_layers="999999999"), "layers of"),
        ("lstm", lambda s: node(s, "RNN")["attrs"].update(projection_size="3"), "projects its state"),
    ],
)  # fmt: skip
def test_a_symbol_that_is_not_whole_or_not_read_is_refused(changed: Change, name: str, how, reason: str):
    with pytest.raises(FormatError, match=reason.replace("(", r"\(")) as refused:
        read(changed(name, how))
    assert len(str(refused.value).splitlines()) == 1


def test_a_parameter_that_is_not_in_the_file_is_missed_by_name(changed: Change):
    def rename(symbol: dict[str, Any]) -> None:
        next(one for one in symbol["nodes"] if one["name"] == "fc2_weight")["name"] = "gone"

    with pytest.raises(FormatError, match="'gone' is no parameter in the file"):
        read(changed("mlp", rename))


def test_numbers_that_would_fill_the_memory_are_refused_or_never_made(changed: Change):
    def widen(symbol: dict[str, Any]) -> None:
        ones = {"op": "_ones", "name": "ones", "attrs": {"shape": "(1000, 1000)"}, "inputs": []}
        tiled = {"op": "tile", "name": "tiled", "attrs": {"reps": "(100000, 100000)"}, "inputs": [[0, 0, 0]]}
        symbol["nodes"] = [ones, tiled]
        symbol["heads"] = [[1, 0, 0]]

    path = changed("mlp", widen)
    try:
        assert read(path).graph
    except FormatError as refused:
        assert str(refused)  # noqa: PT017 - either outcome is right, this is about the memory


def test_the_file_of_parameters_must_be_the_only_one_or_be_named(copied: Callable[[str], Path]):
    path = copied("mlp")
    first = path.with_name("mlp-0000.params")
    shutil.copy(first, path.with_name("mlp-0010.params"))
    shutil.copy(first, path.with_name("mlp-more-0000.params"))
    with pytest.raises(FormatError, match=r"name the one that is meant, as mlp-0010\.params"):
        read(path)
    assert read(path.with_name("mlp-0010.params")).source["parameters"] == "mlp-0010.params"
    path.with_name("mlp-0010.params").unlink()
    assert read(path).graph
    first.unlink()
    first.symlink_to(path)
    with pytest.raises(FormatError, match="symbolic link"):
        read(path)
    first.unlink()
    with pytest.raises(FormatError, match=r"needs its parameters beside it \(mlp-0000\.params\)"):
        read(path)


def test_it_is_only_read(models: dict[str, Model], tmp_path: Path):
    with pytest.raises(ConversionError, match="only read"):
        write(models["binary"], tmp_path / "m.params")
    with pytest.raises(ConversionError, match="only read"):
        mxnet.write(Model(b"", {}, Signature((), ())), tmp_path / "m.params")
