"""Programs of torch.export are read without torch, and answer as torch does; ``golden/pt2/make.py`` made the files."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import engram
from engram.errors import ConversionError, FormatError
from engram.formats import pt2
from engram.formats._archive_writing import Zip
from engram.formats._pt2 import container, program
from engram.formats._pt2.expressions import length
from engram.graphs.weights import attach
from engram.records import Limits, Model, Signature
from engram.runtime import onnxruntime
from networks.torch_networks import NETWORKS, exported

GOLDEN = Path(__file__).parent / "golden" / "pt2"
FILES = sorted(path.stem for path in GOLDEN.glob("*.pt2"))
RELEASES = {"2.2.2", "2.5.1", "2.13.0"}
NEW = GOLDEN / "torch-2.13.0-mlp.pt2"


def golden(stem: str) -> Model:
    return pt2.read(GOLDEN / f"{stem}.pt2", Limits())


def network_of(stem: str) -> str:
    return stem.rpartition("-")[2]


def answers(model: Model, *rows: torch.Tensor) -> list[np.ndarray]:
    fed = {spec.name: row.numpy() for spec, row in zip(model.signature.inputs, rows, strict=True)}
    return list(onnxruntime.run(attach(model.graph, model.weights).SerializeToString(), fed).values())


def kinds(model: Model) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model.graph).graph.node]


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, found: dict[str, bytes]) -> Path:
    with path.open("wb") as file:
        made = Zip(file)
        for name, content in found.items():
            made.add(name, content)
        made.finish()
    return path


def edited(tmp_path: Path, change, source: Path = NEW) -> Path:
    """A file whose program was changed."""
    found = members(source)
    name = next(name for name in found if name.endswith("models/model.json"))
    said = json.loads(found[name])
    change(said)
    return rewritten(tmp_path / "model.pt2", found | {name: json.dumps(said).encode()})


def exported_file(module: nn.Module, rows, path: Path, **more) -> Path:
    torch.export.save(torch.export.export(module.eval(), rows, **more), path)
    return path


def test_files_of_all_nine_networks_and_of_three_releases_are_there():
    assert {network_of(stem) for stem in FILES} == set(NETWORKS)
    assert {stem.split("-")[1] for stem in FILES} == RELEASES


@pytest.mark.parametrize("stem", FILES)
def test_a_program_answers_as_its_module_with_every_parameter_under_its_own_name(stem):
    module, model = NETWORKS[network_of(stem)].made().eval(), golden(stem)
    state = module.state_dict()
    assert model.weights.keys() == state.keys()
    for name, array in model.weights.items():
        np.testing.assert_allclose(array, state[name].numpy(), atol=1e-6)
    for count in (1, 5):
        rows = NETWORKS[network_of(stem)].rows(count)
        expected = module(*rows)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for mine, theirs in zip(answers(model, *rows), expected, strict=True):
            np.testing.assert_allclose(mine, theirs.detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_stay_layers_and_the_graph_holds_no_numbers_of_weights(name):
    model = golden(f"torch-2.13.0-{name}")
    wanted = {"BatchNormalization", "LSTM", "GRU", "Conv", "LayerNormalization", "Gelu"}
    mine, theirs = kinds(model), kinds(exported(name))
    assert {kind: mine.count(kind) for kind in wanted} == {kind: theirs.count(kind) for kind in wanted}
    stored = onnx.load_from_string(model.graph).graph.initializer
    assert stored
    assert all(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in stored)
    assert {tensor.name for tensor in stored} <= set(model.weights)


def test_what_was_exported_while_training_trains_again():
    from engram.runtime.torch import module

    model = golden("torch-2.13.0-cnn")
    assert kinds(model).count("Dropout") == 1
    network = module(model.graph, model.weights)
    before = network.state_dict()["features.1.running_mean"].clone()
    network.train()(*NETWORKS["cnn"].rows(4))
    assert not torch.equal(before, network.state_dict()["features.1.running_mean"])
    assert dict(network.named_parameters()).keys() == dict(NETWORKS["cnn"].made().named_parameters()).keys()


def test_inputs_have_the_names_and_free_axes_of_the_program():
    inputs = golden("torch-2.13.0-two_inputs").signature.inputs
    assert [(spec.name, spec.dtype, spec.shape) for spec in inputs] == [
        ("row", "float32", ("batch", 5)),
        ("image", "float32", ("batch", 3, 8, 8)),
    ]


class Unary(nn.Module):
    """Functions of one number at a time."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        f, small = nn.functional, torch.sigmoid(x)
        return (
            x.abs(), x.acos(), small.asin(), x.atan(), (1 + small).acosh(), x.asinh(), small.atanh(), x.ceil(), x.cos(),
            x.cosh(), x.erf(), x.exp(), x.floor(), f.hardswish(x), small.log(), f.mish(x), -x, x.reciprocal(),
            x.round(),
            x.sign(), x.sin(), x.sinh(), small.sqrt(), x.tan(), f.gelu(x), f.gelu(x, approximate="tanh"), f.silu(x),
            f.leaky_relu(x, 0.3), f.elu(x, 0.7), f.celu(x, 1.3), f.selu(x), x.clamp(-0.5, 0.5), x.clamp(max=0.1),
            f.hardtanh(x), f.relu6(x), f.hardsigmoid(x), f.softplus(x), f.softplus(x, 2.0, 1.0), f.logsigmoid(x),
            small.log2(), small.log10(), small.log1p(), x.expm1(), small.rsqrt(), x.square(), x.trunc(), f.glu(x, 1),
            torch.isnan(x), torch.isinf(x), (x > 0).logical_not(), f.softmax(x, 1), f.log_softmax(x, 0),
            x.round().int(),
        )  # fmt: skip


class Binary(nn.Module):
    """Functions of two numbers, with the types that come of them."""

    def forward(self, x: torch.Tensor, n: torch.Tensor) -> tuple[torch.Tensor, ...]:
        m = n.flip(0) + 1
        return (
            x + n, torch.add(x, n, alpha=2), x - 3, torch.rsub(x, n, alpha=3), 5 - x, x * 2, n * 2, n * 0.5, x / 3,
            n / m,
            torch.div(x, 0.3, rounding_mode="floor"), torch.div(x, 0.3, rounding_mode="trunc"), n // m, (n - 4) // 3,
            torch.remainder(x, 0.7), torch.remainder(n - 4, 3), torch.fmod(x, 0.7), x.abs() ** 1.5, x**2, 2.0**x,
            x == n, x != n, n < 2, n <= 2.5, n > m, n >= m, x > 0, (x > 0) & (n > 1), (x > 0) | (n > 1),
            (x > 0) ^ (n > 1),
            torch.where(x > 0, x, n), torch.where(x > 0, 1.0, x), x.masked_fill(x > 0, -1.0), torch.maximum(x,
            n.float()),
            torch.minimum(n, m), torch.addcmul(x, x, x, value=0.5), torch.lerp(x, x * 2, 0.3), n & 3, n | 4, n.bool(),
            x.double() + n, x.to(torch.float64), n.float() + x.half(),
        )  # fmt: skip


class Shapes(nn.Module):
    """Other shapes of the same numbers, and parts of them."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        n = x.shape[0]
        return (
            x.view(n, -1), x.reshape(n * 4, 6), x.flatten(1), x.flatten(), x.unflatten(2, (2, 3)), x.permute(2, 0, 1),
            x.transpose(0, 2), x[0].t(), x.unsqueeze(1), x.unsqueeze(1).squeeze(1), x[:, :1].squeeze(), x[:,
            :1].expand(-1, 4, 6),
            x.repeat(1, 2, 1), torch.cat([x, x], 1), torch.stack([x, x], 1), *x.split(3, 2), *x.chunk(2, 1),
            *x.split([1, 3], 1), *x.unbind(1), x[:, 1], x[:, -1], x[:, 1:3], x[:, ::2], x[..., -2:], x.narrow(1, 1, 2),
            torch.index_select(x, 1, torch.tensor([2, 0])), x[:, torch.tensor([1, 1, 3])], x.flip(1, 2), x.tril(),
            x.triu(1), x.roll(1, 1), x.gather(2, (x[:, :, :2] > 0).long()), torch.zeros(n, 2), torch.ones_like(x),
            torch.full((2, n), 3), torch.arange(5), torch.arange(n), x.new_zeros(2, 2), nn.functional.pad(x, (1, 2),
            value=3.0),
        )  # fmt: skip


class Reductions(nn.Module):
    """One number out of many."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        best, place = x.max(1)
        least, where = x.min(2, keepdim=True)
        top, order = x.topk(2, 1)
        rising, rank = x.sort(2)
        return (
            x.mean(1), x.mean((1, 2), keepdim=True), x.sum(), x.sum(-1), x.amax(1), x.amin((0, 1)), best, place, least,
            where, x.max(), x.argmax(1), x.argmin(2, keepdim=True), x.argmax(), x.prod(1), x.var(1), x.std((1, 2)),
            x.var(1, correction=0), x.logsumexp(1), x.cumsum(1), x.norm(dim=1), torch.linalg.vector_norm(x, 1,
            dim=2), top,
            order, rising, rank, (x > 0).any(1), (x > 0).all(), (x > 0).sum(1), torch.einsum("bij,bkj->bik", x, x),
        )  # fmt: skip


class Layers(nn.Module):
    """Layers with parameters, on pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Conv2d(4, 6, 3, 2, 1, groups=2), nn.Conv2d(4, 6, 3, padding="same", dilation=2), nn.PReLU(4),
            nn.ConvTranspose2d(4, 3, 3, 2, 1, output_padding=1), nn.BatchNorm2d(4, affine=False), nn.GroupNorm(2, 4),
            nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([8, 8], bias=False), nn.LayerNorm(8,
            elementwise_affine=False),
            nn.MaxPool2d(3, 2, 1, dilation=1, ceil_mode=True), nn.AvgPool2d(3, 2, 1), nn.AdaptiveAvgPool2d(2),
            nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d((4, 2)), nn.Upsample(scale_factor=2),
            nn.Upsample(scale_factor=2, mode="bilinear"), nn.Upsample(size=(5, 11), mode="bilinear",
            align_corners=True),
            nn.PixelShuffle(2), nn.ReflectionPad2d(2), nn.ReplicationPad2d((1, 0, 2, 1)), nn.ZeroPad2d(1),
            nn.RMSNorm(8),
            nn.ReLU(inplace=True),
        ])  # fmt: skip

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(layer(x.clone()) for layer in self.layers)


class Others(nn.Module):
    """Layers on series and words."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool, self.norm = nn.Conv1d(5, 4, 3), nn.AvgPool1d(2), nn.BatchNorm1d(4)
        self.plain, self.relu = nn.RNN(5, 3, 2, batch_first=True), nn.RNN(5, 3, nonlinearity="relu", bias=False)
        self.gru, self.lstm = nn.GRU(5, 4, 2, bidirectional=True), nn.LSTM(5, 4, bias=False)
        self.product = nn.Bilinear(5, 5, 2)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.words = nn.Embedding(7, 8)

    def forward(self, x: torch.Tensor, words: torch.Tensor) -> tuple[torch.Tensor, ...]:
        steps, seen = x.transpose(0, 1), self.words(words)
        heads = seen.unflatten(2, (2, 4)).transpose(1, 2)
        both = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, is_causal=True)
        mask = torch.ones(6, 6, dtype=torch.bool).tril()
        masked = torch.nn.functional.scaled_dot_product_attention(heads, heads, heads, attn_mask=mask, scale=0.3)
        return (
            self.norm(self.pool(self.conv(x.transpose(1, 2)))), *self.plain(x), *self.relu(steps), *self.gru(steps),
            self.lstm(steps)[0], *self.lstm(steps)[1], self.attention(seen, seen, seen)[0], both, masked,
            torch.addmm(x[:, 0, :2], x[:, 0], x[0].t()[:, :2], beta=0.5, alpha=2), torch.bmm(x, x.transpose(1, 2)),
        )  # fmt: skip


class Selections(nn.Module):
    """What is picked by numbers or by order, and written where numbers say."""

    def __init__(self) -> None:
        super().__init__()
        self.product = nn.Bilinear(6, 6, 2)

    def forward(self, x: torch.Tensor, here: torch.Tensor) -> tuple[torch.Tensor, ...]:
        one, other, image, some = torch.tensor([0, 2, -1]), torch.tensor([[1], [3]]), x[:, None], x.flip(2)
        grid = here[:, :, :4].float().unflatten(2, (2, 2)) / 3 - 1
        return (
            x[one, other], x[:, other, one], x[one, :, one], x[:, one],
            x.scatter(2, here, 2.5), x.scatter(2, here, some * 3), x.scatter_add(1, here, some),
            x.scatter_reduce(2, here, some, "amax"), *x.kthvalue(2, 1), *x.median(2, keepdim=True), x.mT,
            torch.atan2(x, x.flip(2)), torch.cdist(x, x.flip(1)), torch.cdist(x, x.flip(1), p=1.0),
            nn.functional.adaptive_avg_pool2d(image, (3, 4)), nn.functional.adaptive_max_pool2d(image, (3, 4)),
            nn.functional.grid_sample(image, grid, align_corners=False),
            nn.functional.grid_sample(image, grid, "nearest", "border", align_corners=True),
            self.product(x, x.flip(1)),
        )  # fmt: skip


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


CASES = {
    "unary": (Unary, (drawn(3, 4),)),
    "binary": (Binary, (drawn(3, 4), torch.arange(12).reshape(3, 4))),
    "shapes": (Shapes, (drawn(3, 4, 6),)),
    "reductions": (Reductions, (drawn(3, 4, 6),)),
    "layers": (Layers, (drawn(3, 4, 8, 8),)),
    "selections": (Selections, (drawn(3, 4, 6), torch.arange(72).reshape(3, 4, 6) % 4)),
    "others": (Others, (drawn(3, 6, 5), torch.arange(18).reshape(3, 6) % 7)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_operator_of_the_table_computes_what_torch_computes(name, tmp_path):
    kind, rows = CASES[name]
    torch.manual_seed(1)
    module = kind().eval()
    axis = torch.export.Dim("rows", min=2, max=50)
    free = tuple({0: axis} for _ in rows)
    path = exported_file(module, rows, tmp_path / "model.pt2", dynamic_shapes=free)
    model = pt2.read(path, Limits())
    more = tuple(torch.cat([row, row]) for row in rows)
    for given in (rows, more):
        expected = module(*given)
        for place, (mine, theirs) in enumerate(zip(answers(model, *given), expected, strict=True)):
            assert mine.dtype == theirs.detach().numpy().dtype, place
            np.testing.assert_allclose(mine, theirs.detach().numpy(), atol=2e-5, rtol=1e-4, err_msg=f"output {place}")


def test_a_program_of_fixed_lengths_is_read(tmp_path):
    module = NETWORKS["cnn"].made().eval()
    rows = NETWORKS["cnn"].rows(2)
    model = pt2.read(exported_file(module, rows, tmp_path / "model.pt2"), Limits())
    assert model.signature.inputs[0].shape == (2, 3, 8, 8)
    np.testing.assert_allclose(answers(model, *rows)[0], module(*rows).detach().numpy(), atol=1e-5)


class Endless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.layer(x).masked_fill(x > 0, float("-inf")), -1).clamp(max=float("inf"))


def test_a_mask_of_endless_numbers_is_read(tmp_path):
    module, rows = Endless().eval(), torch.tensor([[-1.0, -2.0, 3.0, -4.0], [-1.0, 2.0, 3.0, -4.0]])
    model = pt2.read(exported_file(module, (rows,), tmp_path / "model.pt2"), Limits())
    np.testing.assert_allclose(answers(model, rows)[0], module(rows).detach().numpy(), atol=1e-5)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
        self.other.weight = self.one.weight
        self.register_buffer("offset", torch.arange(4.0), persistent=False)
        self.register_buffer("turned", torch.arange(16.0).reshape(4, 4).t()[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.other(self.one(x)) + self.offset * self.turned


def test_tied_weights_windows_and_buffers_that_are_not_kept_are_read(tmp_path):
    module = Tied()
    model = pt2.read(exported_file(module, (drawn(2, 4),), tmp_path / "model.pt2"), Limits())
    assert {name: array.tolist() for name, array in model.weights.items()} == {
        name: tensor.tolist() for name, tensor in module.state_dict().items()
    }
    np.testing.assert_allclose(answers(model, drawn(2, 4))[0], module(drawn(2, 4)).detach().numpy(), atol=1e-5)


class Writing(nn.Module):
    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        shown = y[:, :2]
        y.add_(1)
        y.mul_(3)
        return (y[:, :2] + shown if self.late else y) + 0


def test_what_is_written_in_place_is_followed_and_refused_where_another_tensor_shows_it(tmp_path):
    rows = drawn(2, 4)
    model = pt2.read(exported_file(Writing(late=False), (rows,), tmp_path / "model.pt2"), Limits())
    np.testing.assert_allclose(answers(model, rows)[0], Writing(late=False)(rows).numpy(), atol=1e-6)
    path = exported_file(Writing(late=True), (rows,), tmp_path / "late.pt2")
    with pytest.raises(FormatError, match=r"node 'add_\w*'.* writes into 'mul', which other tensors show afterwards"):
        pt2.read(path, Limits())


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda y: y + 1, lambda y: y - 1, (x,))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.add_(x[0])
        return x + self.seen


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Branching(), r"cond.*is given graph, which is not read"),
        (Counting(), r"changes the buffer 'seen'"),
        (nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, track_running_stats=False)), "keeps no statistics"),
    ],
)
def test_what_is_no_graph_of_values_is_refused_by_the_name_of_its_node(module, said, tmp_path):
    path = exported_file(module, (drawn(2, 4),), tmp_path / "model.pt2")
    with pytest.raises(FormatError, match=said):
        pt2.read(path, Limits())


def written(model: Model, path: Path) -> Path:
    pt2.write(model, path)
    return path


@pytest.mark.parametrize("name", NETWORKS)
def test_torch_opens_what_is_written_with_the_names_of_everything_and_answers_alike(name, tmp_path):
    model, module = exported(name), NETWORKS[name].made().eval()
    path = written(model, tmp_path / "model.pt2")
    again = torch.export.load(path).module()  # noqa: TID251 - the peer
    assert {key: value.tolist() for key, value in again.state_dict().items()} == {
        key: value.tolist() for key, value in module.state_dict().items()
    }
    for count in (1, 5):
        rows = NETWORKS[name].rows(count)
        expected = module(*rows)
        for mine, theirs in zip(tensors(again(*rows)), tensors(expected), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)
    whole = pt2.read(path, Limits())
    assert (whole.graph, whole.signature) == (model.graph, model.signature)
    bare = rewritten(path, {key: value for key, value in members(path).items() if "/extra/" not in key})
    seen = pt2.read(bare, Limits())
    assert [spec.name for spec in seen.signature.inputs] == [spec.name for spec in model.signature.inputs]
    for mine, theirs in zip(answers(seen, *rows), tensors(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def tensors(found) -> list[np.ndarray]:
    return [one.detach().numpy() for one in (found if isinstance(found, tuple) else (found,))]


def test_what_torch_has_no_words_for_is_refused_on_writing(models, tmp_path):
    with pytest.raises(ConversionError, match=r"no weight can be called 'in\.weight'"):
        pt2.write(models["table"], tmp_path / "model.pt2")
    with pytest.raises(ConversionError, match="weights without a graph"):
        pt2.write(Model(b"", {"w": np.ones(2)}, Signature((), ())), tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def node(said, number: int = 0) -> dict:
    return said["graph_module"]["graph"]["nodes"][number]


def size(said, text: str) -> None:
    said["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0] = {"as_expr": {"expr_str": text}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: node(p).update(target="torch.ops.aten.cholesky.default"),
         r"node 'linear' \(cholesky\) is an operator that is not read"),
        (lambda p: node(p).update(target="torch.ops.mine.evil.default"), "is no operator of torch's own"),
        (lambda p: node(p).update(target="os.system"), "is no operator of torch's own"),
        (lambda p: size(p, "__import__('os').system('id')"), "is no expression of numbers and names"),
        (lambda p: size(p, "exec('1')"), "is no expression of numbers and names"),
        (lambda p: size(p, "(" * 10_001), "over the limit of 10,000"),
        (lambda p: size(p, "(" * 9_000), "nested deeper than 50"),
        (lambda p: node(p)["inputs"].pop(0), r"node 'linear' \(linear\) has no input"),
        (lambda p: node(p)["inputs"][0].update(arg={"as_tensor": {"name": "nothing"}}),
         "'nothing' is read, but nothing"),
        (lambda p: node(p)["inputs"][0].update(arg={"as_custom_obj": {"name": "o", "class_fqn": "c"}}), "custom obj"),
        (lambda p: node(p)["inputs"][0].update(arg={"as_int": 1, "as_float": 2.0}), "as_int and as_float at once"),
        (lambda p: p["graph_module"].update(graph=None), "has no graph"),
        (lambda p: p["graph_module"]["signature"]["input_specs"].append({"custom_obj": {}}), "takes a custom obj"),
        (lambda p: p["graph_module"]["signature"]["output_specs"].clear(), "has no outputs"),
        (lambda p: node(p, 3)["inputs"][1].update(arg={"as_string": "half"}), "should have a number as p"),
    ],
)  # fmt: skip
def test_a_program_that_was_tampered_with_is_refused_with_the_place(change, said, tmp_path):
    with pytest.raises(FormatError, match=said) as refused:
        pt2.read(edited(tmp_path, change), Limits())
    assert len(str(refused.value).splitlines()) == 1


def test_example_inputs_are_never_looked_at(tmp_path):
    found = members(NEW)
    name = next(name for name in found if "/sample_inputs/" in name)
    evil = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."
    model = pt2.read(rewritten(tmp_path / "model.pt2", found | {name: evil}), Limits())
    assert model.weights.keys() == golden(NEW.stem).weights.keys()


def test_a_weight_that_was_pickled_is_read_by_the_list_of_what_is_allowed(tmp_path):
    found = members(NEW)
    config = next(name for name in found if name.endswith("weights_config.json"))
    said = json.loads(found[config])
    entry = said["config"]["first.bias"]
    member = f"{config.rpartition('/')[0]}/{entry['path_name']}"
    entry["use_pickle"] = True
    pickled = io.BytesIO()
    torch.save(torch.arange(16.0), pickled)
    changed = found | {config: json.dumps(said).encode(), member: pickled.getvalue()}
    model = pt2.read(rewritten(tmp_path / "model.pt2", changed), Limits())
    np.testing.assert_array_equal(model.weights["first.bias"], np.arange(16.0))
    evil = io.BytesIO()
    torch.save(nn.Linear(2, 2), evil)
    with pytest.raises(FormatError, match="Linear"):
        pt2.read(rewritten(tmp_path / "model.pt2", changed | {member: evil.getvalue()}), Limits())


def test_a_weight_that_reaches_beyond_its_numbers_is_refused(tmp_path):
    found = members(NEW)
    config = next(name for name in found if name.endswith("weights_config.json"))
    said = json.loads(found[config])
    said["config"]["first.bias"]["tensor_meta"]["storage_offset"]["as_int"] = 1
    with pytest.raises(FormatError, match="reaches beyond the 16 numbers"):
        pt2.read(rewritten(tmp_path / "model.pt2", found | {config: json.dumps(said).encode()}), Limits())


def test_as_many_nodes_and_weights_as_the_limit_are_read():
    found = container.opened(NEW, Limits(tensors=6))
    assert len(program.parsed(found.program, Limits(nodes=5)).steps) == 5
    with pytest.raises(FormatError, match="5 nodes, over the limit of 4"):
        pt2.read(NEW, Limits(nodes=4))
    with pytest.raises(FormatError, match="more than 5"):
        pt2.read(NEW, Limits(tensors=5))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("s0", "s0"),
        ("12", 12),
        ("2*s0 + 1", "2*s0+1"),
        ("Symbol('s77', positive=True, integer=True)", "s77"),
        ("Mul(Integer(4), Symbol('s77', positive=True, integer=True))", "4*s77"),
        ("Mul(Integer(4), Integer(-3))", -12),
        ("(s0 // 2) - 1", "(s0//2)-1"),
        ("FloorDiv(Symbol('s0'), Integer(2))", "FloorDiv(s0, 2)"),
    ],
)
def test_a_length_is_a_number_or_a_name_for_a_free_axis(text, meant):
    assert length(text) == meant


@pytest.mark.parametrize(
    "text", ["", "s0 +", "f(", "Symbol('a", "a.b", "lambda: 1", "1 2", "[1]", "Symbol(a b)", "x=1"]
)
def test_what_is_no_length_is_refused(text):
    with pytest.raises(FormatError):
        length(text)


@pytest.mark.parametrize("suffix", ["pt2", "ts"])
def test_torch_itself_is_asked_for_what_was_just_written_and_never_for_what_came(suffix, tmp_path):
    model, path = exported("two_outputs"), tmp_path / f"model.{suffix}"
    certificate = engram.write(model, path)
    assert certificate.served[1] == ""
    assert any("torch" in runtime for runtime in certificate.runtimes)
    again = engram.convert(path, tmp_path / "model.onnx")
    assert "made a moment ago" in again.served[0]
