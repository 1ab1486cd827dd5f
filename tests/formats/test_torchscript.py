"""TorchScript that torch wrote is read to the same answers, and torch opens what is written; torch is the judge."""

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from engram.errors import FormatError, UsageError
from engram.formats import pt2, torchscript
from engram.formats._convert import write
from engram.formats._recognition import asked_for, recognized
from engram.formats._torchscript import container, job
from engram.graphs.weights import attach
from engram.records import Limits, Model
from engram.runtime import onnxruntime
from networks.torch_networks import NETWORKS, exported

WAYS = [(way, name) for way in ("trace", "script") for name in NETWORKS]


def tensors(found) -> list[np.ndarray]:
    return [one.detach().numpy() for one in (found if isinstance(found, tuple) else (found,))]


def answers(model: Model, *rows: torch.Tensor) -> list[np.ndarray]:
    fed = {spec.name: row.numpy() for spec, row in zip(model.signature.inputs, rows, strict=True)}
    return list(onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), fed).values())


def saved(module: nn.Module, path: Path, rows=None) -> Path:
    with torch.no_grad():
        made = torch.jit.trace(module.eval(), rows, check_trace=False) if rows else torch.jit.script(module.eval())
        torch.jit.save(made, path)
    return path


def converted(path: Path, tmp_path: Path, monkeypatch) -> Model:
    """What the worker makes of a file, without the seconds in which it imports torch."""
    monkeypatch.chdir(tmp_path)
    _, made = job.convert({"path": str(path), "inputs": container.opened(path, Limits()).inputs}, {})
    program = tmp_path / "converted.pt2"
    program.write_bytes(made["program"].tobytes())
    return pt2.read(program, Limits())


@pytest.mark.parametrize(("way", "name"), WAYS)
def test_a_module_answers_as_torch_with_every_weight_under_its_own_name(way, name, tmp_path, monkeypatch):
    network, module = NETWORKS[name], NETWORKS[name].made().eval()
    path = saved(module, tmp_path / "model.pt", network.rows(3) if way == "trace" else None)
    weights, state = container.opened(path, Limits()).weights, module.state_dict()
    assert weights.keys() == state.keys()
    assert all(weights[key].tobytes() == value.numpy().tobytes() for key, value in state.items())
    model = converted(path, tmp_path, monkeypatch)
    assert model.weights.keys() == state.keys()
    assert [spec.name for spec in model.signature.inputs] == [spec.name for spec in network.inputs]
    if way == "trace":
        assert [spec.shape for spec in model.signature.inputs] == [spec.shape for spec in network.inputs]
    for count in (1, 5):
        rows = network.rows(count)
        for mine, theirs in zip(answers(model, *rows), tensors(module(*rows)), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_what_the_worker_hands_over_is_a_model(tmp_path):
    network, module = NETWORKS["two_outputs"], NETWORKS["two_outputs"].made().eval()
    path = saved(module, tmp_path / "model.pt", network.rows(3))
    assert recognized(path, Limits())[0] == "torchscript"
    model = torchscript.read(path, Limits())
    assert "BatchNormalization" in {node.op_type for node in onnx.load_from_string(model.graph).graph.node}
    for mine, theirs in zip(answers(model, *network.rows(4)), tensors(module(*network.rows(4))), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_opens_what_is_written_with_the_names_of_everything_and_answers_alike(name, tmp_path):
    model, module = exported(name), NETWORKS[name].made().eval()
    path = tmp_path / "model.torchscript"
    torchscript.write(model, path)
    again = torch.jit.load(path)  # noqa: TID251 - the peer
    assert {key: value.tolist() for key, value in again.state_dict().items()} == {
        key: value.tolist() for key, value in module.state_dict().items()
    }
    for count in (1, 5):
        rows = NETWORKS[name].rows(count)
        for mine, theirs in zip(tensors(again(*rows)), tensors(module(*rows)), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
    whole = torchscript.read(path, Limits())
    assert (whole.graph, whole.signature) == (model.graph, model.signature)
    assert whole.weights.keys() == model.weights.keys()


class Looping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        for _ in range(x.size(0)):
            y = y + 1
        return y


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return y + 1 if bool(y.sum() > 0) else y - 1


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.erfinv(self.layer(x))


class Bare(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Looping(), r"node '.*' is prim::Loop, which is no operator on tensors"),
        (Branching(), r"node '.*' is prim::If on numbers"),
        (Unknown(), r"is aten::erfinv, an operator that is not read"),
        (Bare(), "nothing in its graph says what the input 'x"),
    ],
)
def test_what_is_no_graph_of_values_is_refused_by_name(module, said, tmp_path, monkeypatch):
    path = saved(module, tmp_path / "model.pt")
    with pytest.raises(FormatError, match=said) as refused:
        converted(path, tmp_path, monkeypatch)
    assert len(str(refused.value).splitlines()) == 1


class Reaching(nn.Module):
    """What torch's own words for files are reached by; the numbers look as if they were weights."""

    def __init__(self, path: Path, *, saves: bool) -> None:
        super().__init__()
        self.layer, self.path, self.saves = nn.Linear(3, 3), str(path), saves

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        if self.saves:
            torch.save(y, self.path)
        else:
            y = y + torch.from_file(self.path, True, 3)
        return y


@pytest.mark.parametrize(("saves", "operator"), [(True, "save"), (False, "from_file")])
def test_an_operator_that_opens_files_is_not_called(saves, operator, tmp_path, monkeypatch):
    canary = tmp_path / "canary"
    path = saved(Reaching(canary, saves=saves), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=f"is aten::{operator}, an operator that is not read"):
        converted(path, tmp_path, monkeypatch)
    assert not canary.exists()
    torch.jit.load(path)(torch.ones(2, 3))  # noqa: TID251 - the peer
    assert canary.exists(), "it is no hostile file"


class Masked(nn.Module):
    """A layer of attention that does not look ahead."""

    def __init__(self, **options) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, **options)
        self.register_buffer("mask", torch.triu(torch.ones(5, 5, dtype=torch.bool), 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, src_mask=self.mask)


@pytest.mark.parametrize("options", [{}, {"norm_first": True}, {"activation": "gelu"}], ids=str)
def test_one_operator_for_a_layer_of_attention_is_taken_apart(options, tmp_path, monkeypatch):
    module, rows = Masked(**options).eval(), torch.randn(3, 5, 8)
    path = saved(module, tmp_path / "model.pt", (rows,))
    assert "_transformer_encoder_layer_fwd" in str(torch.jit.load(path).inlined_graph)  # noqa: TID251 - the peer
    model = converted(path, tmp_path, monkeypatch)
    for count in (1, 4):
        rows = torch.randn(count, 5, 8)
        np.testing.assert_allclose(answers(model, rows)[0], module(rows).detach().numpy(), atol=1e-5)


class Timed(nn.Module):
    """Layers of time, two of them if nothing else is said."""

    def __init__(self, kind: str, **options) -> None:
        super().__init__()
        self.layer = getattr(nn, kind)(4, 6, **{"num_layers": 2, "bidirectional": True, "batch_first": True, **options})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


def test_five_layers_of_time_without_biases_are_as_wide_as_their_states(tmp_path, monkeypatch):
    module, rows = Timed("LSTM", num_layers=5, bias=False).eval(), torch.randn(2, 3, 4)
    model = converted(saved(module, tmp_path / "model.pt"), tmp_path, monkeypatch)
    np.testing.assert_allclose(answers(model, rows)[0], module(rows).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_script_of_a_layer_of_time_takes_as_many_steps_as_there_are(kind, tmp_path, monkeypatch):
    module = Timed(kind).eval()
    model = converted(saved(module, tmp_path / "model.pt"), tmp_path, monkeypatch)
    assert isinstance(model.signature.inputs[0].shape[1], str)
    for steps in (1, 9):
        rows = torch.randn(2, steps, 4)
        np.testing.assert_allclose(answers(model, rows)[0], module(rows).detach().numpy(), atol=1e-5)
    with pytest.raises(FormatError, match="put it into a module"):
        converted(saved(module.layer, tmp_path / "layer.pt"), tmp_path, monkeypatch)


def test_a_pickle_that_names_what_is_no_module_is_refused_and_nothing_run(tmp_path):
    path = saved(NETWORKS["mlp"].made(), tmp_path / "model.pt", NETWORKS["mlp"].rows(3))
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    evil = {name: b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R." for name in found if name.endswith("/data.pkl")}
    from engram.formats._archive_writing import Zip

    with path.open("wb") as file:
        made = Zip(file)
        for name, content in (found | evil).items():
            made.add(name, content)
        made.finish()
    with pytest.raises(FormatError, match=r"opcode GLOBAL posix\.system at byte 2; nothing was run"):
        torchscript.read(path, Limits())


def test_as_many_weights_as_the_limit_are_read(tmp_path):
    path = saved(NETWORKS["mlp"].made(), tmp_path / "model.pt", NETWORKS["mlp"].rows(3))
    for most in (6, 7):
        assert len(container.opened(path, Limits(tensors=most)).weights) == 6
    with pytest.raises(FormatError, match="over 5 tensors"):
        container.opened(path, Limits(tensors=5))


def test_the_suffix_pt_says_a_state_dict_unless_torchscript_is_asked_for(models, tmp_path):
    assert asked_for(tmp_path / "model.pt")[0] == "pytorch"
    assert asked_for(tmp_path / "model.pt", "torchscript")[0] == "torchscript"
    assert asked_for(tmp_path / "model.torchscript")[0] == "torchscript"
    with pytest.raises(UsageError, match=r"should end in \.torchscript or \.ts to hold torchscript"):
        write(models["binary"], tmp_path / "model.onnx", to="torchscript")
