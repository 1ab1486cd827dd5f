"""What torch writes is read without torch, and what is written here torch opens; both held against torch itself."""

import argparse
import collections
import dataclasses
import io
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import nn

from engram.errors import ConversionError, FormatError
from engram.formats import _convert, pytorch
from engram.formats._pytorch.names import ALLOWED
from engram.formats._pytorch.tensors import Storage
from engram.records import Limits, Model, Signature, TrainingState

FORMS = {"zip": True, "legacy": False}
ARRAYS = ("slots", "average", "random", "best")


@pytest.fixture(params=FORMS)
def form(request):
    return request.param


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "model.pt"


def save(value, path: Path, form: str = "zip") -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=FORMS[form])
    return path


def load(path: Path):
    return torch.load(path, weights_only=True)  # noqa: TID251 - the peer


def plain(weights) -> Model:
    return Model(b"", weights, Signature((), ()))


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


class Net(nn.Module):
    """Convolution, normalization, a buffer of its own, a tied weight and a parameter outside of layers."""

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("grid", torch.arange(6).reshape(2, 3).T)
        self.embed, self.head = nn.Linear(16, 16, bias=False), nn.Linear(16, 16, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.embed(self.features(x)))) * self.scale


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-2, amsgrad=True),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=1e-2),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3, momentum=0.5, centered=True),
}


def steps(net: nn.Module, optimizer, start: int, count: int) -> None:
    for number in range(start, start + count):
        batch = torch.randn(8, 1, 4, 4, generator=torch.Generator().manual_seed(number))
        optimizer.zero_grad()
        net(batch).square().mean().backward()
        optimizer.step()


def trained(kind: str = "AdamW", count: int = 3):
    net = Net()
    optimizer = OPTIMIZERS[kind](net.parameters())
    steps(net, optimizer, 0, count)
    return net, optimizer


def same(one: TrainingState, other: TrainingState) -> bool:
    for field in dataclasses.fields(TrainingState):
        first, second = getattr(one, field.name), getattr(other, field.name)
        if field.name in ARRAYS:
            assert first.keys() == second.keys(), field.name
            assert all(first[k].dtype == second[k].dtype and first[k].shape == second[k].shape for k in first)
            assert all(first[k].tobytes() == second[k].tobytes() for k in first)
        else:
            assert first == second, field.name
    return True


DTYPES = [
    torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.complex64, torch.complex128, torch.bool,
    torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64,
    torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
]  # fmt: skip


def drawn(kind: torch.dtype, *shape: int) -> torch.Tensor:
    made = torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 50
    return (made > 25) if kind == torch.bool else made.to(kind)


@pytest.mark.parametrize("kind", DTYPES, ids=str)
def test_tensors_of_every_type_are_read_and_written_bit_for_bit(kind, form, path):
    given = {"w": drawn(kind, 3, 5), "scalar": drawn(kind, 1)[0], "empty": drawn(kind, 0, 4)}
    found = pytorch.read(save(given, path, form), Limits())
    for name, tensor in given.items():
        assert found.weights[name].dtype.name == str(kind).removeprefix("torch.")
        assert found.weights[name].shape == tuple(tensor.shape)
        assert found.weights[name].tobytes() == bits(tensor)
    pytorch.write(found, path)
    again = load(path)
    assert all(again[name].dtype == kind and again[name].shape == given[name].shape for name in given)
    assert all(bits(again[name]) == bits(given[name]) for name in given)


def test_views_of_any_strides_are_read_as_torch_sees_them(form, path):
    whole = torch.arange(60.0).reshape(3, 4, 5)
    given = {
        "turned": whole.T if whole.ndim == 2 else whole.permute(2, 0, 1),
        "part": whole[1:, ::2, 1:4],
        "column": whole[:, 2, 3],
        "single": whole[2, 3, 4],
        "one": whole[:1].expand(1, 4, 5),
        "last": whole[:, :, 4:].permute(1, 0, 2),
        "nothing": whole[:, :0],
        "channels": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    }
    found = pytorch.read(save(given, path, form), Limits())
    for name, tensor in given.items():
        np.testing.assert_array_equal(found.weights[name], tensor.numpy(), err_msg=name)
    assert np.shares_memory(found.weights["turned"], found.weights["column"])


def test_numbers_that_torch_turns_only_when_used_are_read_turned(form, path):
    z = torch.tensor([1 + 2j, 3 - 4j])
    given = {
        "negative": torch._neg_view(torch.tensor([1.0, -2.0])),
        "conjugate": z.conj(),
        "imaginary": z.clone().conj().imag,
        "both": torch._neg_view(z.conj()),
        "untouched": z,
        "negative int": nn.Parameter(torch._neg_view(torch.arange(3)), requires_grad=False),
    }
    found = pytorch.read(save(given, path, form), Limits())
    for name, tensor in load(path).items():
        np.testing.assert_array_equal(found.weights[name], tensor.resolve_conj().resolve_neg().numpy(), err_msg=name)
    assert found.weights["conjugate"].tolist() == [1 - 2j, 3 + 4j]


@pytest.mark.parametrize("said", [{"neg": True, "backend": {}}, {"conj": True}, {"neg": 1}, "neg"], ids=str)
def test_a_way_of_taking_numbers_that_is_not_known_is_refused(said):
    rebuild = ALLOWED["torch._utils", "_rebuild_tensor_v2"]
    storage = Storage("0", np.dtype("<f4"), 2)
    with pytest.raises(FormatError, match=r"not known .*save tensor.clone|have no conjugate"):
        rebuild(storage, 0, (2,), (1,), False, {}, said)


def test_what_was_set_on_a_tensor_is_named_as_left(path):
    plainly, parameter = torch.ones(2), nn.Parameter(torch.zeros(2))
    plainly.origin, parameter.sharded = "here", True
    found = pytorch.read(save({"a": plainly, "b": parameter, "c": torch.ones(1)}, path), Limits())
    said = " ".join(found.source["not_taken"])
    assert "set on the tensor 'a' (origin) is left out" in said
    assert "set on the tensor 'b' (sharded) is left out" in said
    assert "'c'" not in said


def test_a_view_that_repeats_its_numbers_is_written_out_up_to_a_bound(path):
    given = {"mask": torch.ones(1, 1, 8, 8).expand(4, 1, 8, 8), "steps": torch.arange(9.0).unfold(0, 4, 1)}
    found = pytorch.read(save(given, path), Limits())
    for name, tensor in given.items():
        np.testing.assert_array_equal(found.weights[name], tensor.numpy())
    save({"mask": torch.ones(1).expand(2**24 + 1)}, path)
    with pytest.raises(FormatError, match=r"tensor 'mask': its numbers overlap, .* over the limit of 67,108,864 bytes"):
        pytorch.read(path, Limits())


def test_tied_weights_stay_tied(form, path):
    net, _ = trained()
    found = pytorch.read(save(net.state_dict(), path, form), Limits())
    assert found.weights["embed.weight"] is found.weights["head.weight"]
    pytorch.write(found, path)
    again = load(path)
    assert again["embed.weight"].data_ptr() == again["head.weight"].data_ptr()


def test_a_state_dict_comes_back_into_its_module_strictly(form, path):
    net, _ = trained()
    found = pytorch.read(save(net.state_dict(), path, form), Limits())
    assert list(found.weights) == list(net.state_dict())
    assert found.source["metadata"]["features.1"] == {"version": 2}
    assert found.source["layout"] == "state_dict"
    assert found.source["form"] == form
    pytorch.write(found, path)
    fresh, again = Net(1), load(path)
    assert fresh.load_state_dict(again, strict=True).missing_keys == []
    assert all(torch.equal(one, other) for one, other in zip(fresh.parameters(), net.parameters(), strict=True))
    assert again._metadata == net.state_dict()._metadata


def test_parameters_sizes_devices_and_numbers_of_numpy_are_read(form, path):
    given = {
        "model": collections.OrderedDict(w=nn.Parameter(torch.ones(2)), b=torch.zeros(2)),
        "size": torch.Size([2, 3]),
        "device": torch.device("cuda", 1),
        "plain": torch.device("cpu"),
        "kind": torch.bfloat16,
        "best": np.float64(0.25),
        "history": np.arange(3.0),
        "args": argparse.Namespace(lr=0.1, layers=[2, 3]),
        "where": Path("runs/a"),
        "seen": {1, 2},
        "raw": b"\x00\xff",
        "noise": 2 + 1j,
        "inf": float("inf"),
    }
    state = pytorch.state(save(given, path, form), Limits())
    extra = state.extra["given"]
    assert extra["size"] == {"$tuple": [2, 3]}
    assert extra["device"] == "cuda:1"
    assert extra["plain"] == "cpu"
    assert extra["best"] == 0.25
    assert extra["args"] == {"lr": 0.1, "layers": [2, 3]}
    assert extra["where"] == "runs/a"
    assert extra["inf"] == float("inf")
    np.testing.assert_array_equal(state.slots[extra["history"]["$tensor"]], np.arange(3.0))
    told = " ".join(state.extra["not taken"])
    for name, kind in (("kind", "Reference"), ("seen", "set"), ("raw", "bytes"), ("noise", "complex")):
        assert f"{name} is not taken: given.{name} is a {kind}" in told


@pytest.mark.parametrize("names", [("model", "optimizer", "epoch", "step"),
                                   ("state_dict", "optimizer", "epoch", "global_step"),
                                   ("model_state_dict", "optimizer_state_dict", "epoch", "iteration"),
                                   ("net", "optim", "epoch", "iter"),
                                   ("module", "optimizer_state", "epoch", "steps"),
                                   ("network", "optimizer", "epochs", "num_updates"),
                                   ("my_very_own", "optimizer", "epoch", "step")])  # fmt: skip
def test_a_checkpoint_is_taken_apart_by_its_usual_names(names, form, path):
    net, optimizer = trained()
    parts = (net.state_dict(), optimizer.state_dict(), 7, 21)
    save(dict(zip(names, parts, strict=True)) | {"arch": "net"}, path, form)
    model, state = pytorch.read(path, Limits()), pytorch.state(path, Limits())
    assert list(model.weights) == list(net.state_dict())
    assert model.source["layout"] == "checkpoint"
    assert "not_taken" not in model.source
    assert (state.epoch, state.step) == (7, 21)
    assert state.extra["given"] == {"arch": "net"}
    assert state.optimizer["kind"] == "AdamW"


def test_slots_have_the_names_of_their_parameters(form, path):
    net, optimizer = trained()
    state = pytorch.state(save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path, form), Limits())
    by_name = dict(net.named_parameters())
    assert set(state.optimizer["slots"]) == set(by_name)
    for name, parameter in by_name.items():
        for slot, value in optimizer.state[parameter].items():
            np.testing.assert_array_equal(state.slots[f"{slot}/{name}"], value.numpy())
    assert state.step == 3
    assert state.extra["tied"] == [["embed.weight", "head.weight"]]


def test_what_is_read_is_what_a_store_keeps_of_the_same_loop(path):
    from engram.store.training.modules import Parts, checkpoint
    from engram.training.state import Staging

    net, optimizer = trained()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5])
    kept = checkpoint(Parts(net, optimizer, scheduler), TrainingState(epoch=2, step=3), Staging()).state
    given = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(),
             "epoch": 2, "step": 3}  # fmt: skip
    found = pytorch.state(save(given, path), Limits())
    assert found.optimizer == kept.optimizer
    assert found.scheduler == kept.scheduler
    assert found.slots.keys() == kept.slots.keys()
    assert all(found.slots[key].tobytes() == kept.slots[key].tobytes() for key in kept.slots)
    assert found.extra["tied"] == kept.extra["tied"]
    pytorch.write_training(
        pytorch.read(path, Limits()), dataclasses.replace(kept, random={"torch": np.arange(9, dtype=np.uint8)}), path
    )
    again = pytorch.state(path, Limits())
    assert same(again, dataclasses.replace(kept, random={"torch": np.arange(9, dtype=np.uint8)}, extra=kept.extra))


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("grouped", [False, True], ids=["one group", "decaying and not"])
def test_training_goes_on_to_the_same_bits_after_a_way_through_here(kind, grouped, form, path):
    def made(net):
        if not grouped:
            return OPTIMIZERS[kind](net.parameters())
        groups = [
            {"params": [p for p in net.parameters() if p.ndim > 1], "lr": 0.02},
            {"params": [p for p in net.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return OPTIMIZERS[kind](groups)

    net = Net()
    optimizer = made(net)
    steps(net, optimizer, 0, 3)
    save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}, path, form)
    steps(net, optimizer, 3, 5)

    model, state = pytorch.read(path, Limits()), pytorch.state(path, Limits())
    pytorch.write_training(model, state, path)
    again = load(path)
    other = Net(9)
    resumed = made(other)
    other.load_state_dict(again["model"], strict=True)
    resumed.load_state_dict(again["optimizer"])
    steps(other, resumed, 3, 5)
    assert state.optimizer["kind"] == kind
    for name, value in net.state_dict().items():
        assert bits(value) == bits(other.state_dict()[name]), name


def test_a_training_state_comes_back_whole_and_the_file_is_the_same_each_time(path):
    net, optimizer = trained("Adam")
    save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    model, found = pytorch.read(path, Limits()), pytorch.state(path, Limits())
    full = dataclasses.replace(
        found, epoch=4, step=99, position=3,
        scheduler={"state": {"milestones": {"$pairs": [[3, 1]], "of": "Counter"}, "best": float("inf")}},
        average={name: np.asarray(value * 2) for name, value in model.weights.items()},
        random={"torch": np.arange(16, dtype=np.uint8), "python": np.arange(5, dtype=np.uint32)},
        stopping={"best": 0.5, "since": 2}, progress={"sum": 1.5, "nothing": None},
        history=({"epoch": 0, "train.loss": float("nan")} | {"train.loss": 2.0}, {"epoch": 1, "train.loss": 1.0}),
        best={"scale": np.float32([3.0])},
        extra={"given": {"a": [1, 2]}, "tied": [], "scaler": {"scale": 65536.0}, "averaged": 3},
    )  # fmt: skip
    pytorch.write_training(model, full, path)
    first = path.read_bytes()
    assert same(pytorch.state(path, Limits()), full)
    pytorch.write_training(pytorch.read(path, Limits()), pytorch.state(path, Limits()), path)
    assert path.read_bytes() == first
    again = load(path)
    assert again["scheduler"]["milestones"] == collections.Counter([3])
    assert again["ema"].keys() == model.weights.keys()
    assert again["scaler"] == {"scale": 65536.0}


def test_a_run_of_engrams_own_leaves_an_optimizer_that_torch_takes(path):
    net, _ = trained()
    groups = [{"lr": 0.1, "betas": [0.9, 0.99], "eps": 1e-8}, {"lr": 0.1, "betas": [0.9, 0.99], "weight_decay": 0.0}]
    slots = {}
    for name, parameter in net.named_parameters():
        slots |= {f"exp_avg/{name}": np.full(parameter.shape, 0.5, np.float32), f"step/{name}": np.float32(3)[()]}
    slots = {key: np.asarray(value) for key, value in slots.items()}
    own = TrainingState(step=3, optimizer={"kind": "AdamW", "groups": groups}, slots=slots)
    model = plain({name: value.numpy() for name, value in net.state_dict().items()})
    pytorch.write_training(model, own, path)
    fresh = Net(5)
    optimizer = torch.optim.AdamW([{"params": [p for p in fresh.parameters() if p.ndim > 1]},
                                   {"params": [p for p in fresh.parameters() if p.ndim <= 1]}])  # fmt: skip
    optimizer.load_state_dict(load(path)["optimizer"])
    assert all((optimizer.state[p]["exp_avg"] == 0.5).all() for p in fresh.parameters())
    assert same(pytorch.state(path, Limits()), own)


def test_a_script_that_goes_on_with_our_file_is_believed_over_what_we_wrote(path):
    net, optimizer = trained()
    save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 3}, path)
    pytorch.write_training(pytorch.read(path, Limits()), pytorch.state(path, Limits()), path)
    tree = load(path)
    steps(net, optimizer, 3, 2)
    save(tree | {"optimizer": optimizer.state_dict(), "model": net.state_dict(), "step": 5}, path)
    state = pytorch.state(path, Limits())
    assert state.step == 5
    np.testing.assert_array_equal(state.slots["exp_avg/scale"], optimizer.state[net.scale]["exp_avg"].numpy())


def fits(path, state_dict, optimizer) -> TrainingState:
    return pytorch.state(save({"model": state_dict, "optimizer": optimizer.state_dict()}, path), Limits())


def test_an_optimizer_of_some_of_the_parameters_is_taken_where_only_one_choice_fits(path):
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 6))
    head = torch.optim.Adam(list(net[1:].parameters()))
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    head.step()
    state = fits(path, net.state_dict(), head)
    assert list(state.optimizer["slots"]) == ["1.weight", "1.bias", "2.weight", "2.bias"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda net: torch.optim.Adam(list(net.parameters())[::-1]), "none fit by their shapes"),
        (lambda net: torch.optim.Adam([*net.parameters(), torch.ones(3, requires_grad=True)]), "none fit"),
    ],
    ids=["backwards", "foreign"],
)
def test_an_optimizer_that_does_not_fit_is_left_with_the_reason_and_the_weights_load(make, said, path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    optimizer = make(net)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step(lambda: net(torch.ones(2, 3)).sum())
    state = fits(path, net.state_dict(), optimizer)
    if state.optimizer:
        pytest.fail(f"it was taken: {state.optimizer}")
    assert state.slots == {}
    [told] = state.extra["not taken"]
    assert "the optimizer's state is left out, because " in told
    assert said in told
    model = pytorch.read(path, Limits())
    assert model.source["not_taken"] == [told]
    assert list(model.weights) == list(net.state_dict())


def stepped(net: nn.Module, optimizer, count: int = 2) -> None:
    for number in range(count):
        batch = torch.randn(4, 3, generator=torch.Generator().manual_seed(number))

        def loss(batch: torch.Tensor = batch) -> torch.Tensor:
            optimizer.zero_grad()
            made = net(batch).square().mean()
            made.backward()
            return made

        optimizer.step(loss)


def square(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))


def frozen(net: nn.Sequential) -> torch.optim.Optimizer:
    for parameter in net[:3].parameters():
        parameter.requires_grad_(False)
    return torch.optim.AdamW(net[3:].parameters(), lr=0.01)


OTHERS = {
    **{kind: lambda net, kind=kind: getattr(torch.optim, kind)(net.parameters(), lr=0.01)
       for kind in ("NAdam", "RAdam", "Adadelta", "Adagrad", "Adamax", "ASGD", "Rprop", "Adafactor", "LBFGS")},
    "AdamW of a part": frozen,
    "Adam of groups in another order": lambda net: torch.optim.Adam(
        [{"params": net[4].parameters()}, {"params": [*net[0].parameters(), *net[2].parameters()], "lr": 0.1}]),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_any_optimizer_of_torch_goes_on_to_the_same_bits(kind, path, tmp_path):
    net = square()
    optimizer = OTHERS[kind](net)
    stepped(net, optimizer)
    save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 1}, path)
    stepped(net, optimizer, 3)
    told = _convert.convert(path, tmp_path / "again.pt").lost
    again, other = load(tmp_path / "again.pt"), square(1)
    resumed = OTHERS[kind](other)
    other.load_state_dict(again["model"], strict=True)
    resumed.load_state_dict(again["optimizer"])
    stepped(other, resumed, 3)
    assert all(bits(one) == bits(two) for one, two in zip(net.parameters(), other.parameters(), strict=True))
    assert pytorch.state(path, Limits()).optimizer["kind"] == kind.partition(" ")[0]
    guesses = [sentence for sentence in told if " is a guess: " in sentence]
    assert (len(told), len(guesses)) == ((1, 1) if " of " in kind else (0, 0))


def test_a_guess_is_the_end_of_the_network_and_stays_one_on_the_way_back(path, tmp_path):
    net = square()
    stepped(net, optimizer := frozen(net))
    save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    _convert.convert(path, tmp_path / "again.pt")
    for file in (path, tmp_path / "again.pt"):
        state = pytorch.state(file, Limits())
        assert state.optimizer["groups"][0]["params"] == ["4.weight", "4.bias"]
        assert (
            "it has state for 2 parameters, and the weights hold 6, of which more than one choice fits"
            in (state.extra["guessed"])
        )


def test_groups_whose_shapes_tell_them_apart_are_named_without_a_guess(path):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(4, 2))
    groups = [{"params": [*net[2].parameters(), *net[4].parameters()]}, {"params": [*net[:2].parameters()], "lr": 0.1},
              {"params": net[3].parameters()}]  # fmt: skip
    stepped(net, optimizer := torch.optim.SGD(groups, lr=0.1, momentum=0.9))
    state = fits(path, net.state_dict(), optimizer)
    assert [group["params"][0] for group in state.optimizer["groups"]] == ["2.weight", "0.weight", "3.weight"]
    assert "guessed" not in state.extra


def test_a_reason_for_leaving_the_optimizer_is_said_by_a_conversion(path, tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    stepped(net, optimizer := torch.optim.Adam(list(net.parameters())[::-1]))
    fits(path, net.state_dict(), optimizer)
    certificate = _convert.convert(path, tmp_path / "again.pt")
    [told] = certificate.lost
    assert told.startswith("the optimizer's state is left out, because it has state for 4 parameters")
    assert told.endswith("none fit by their shapes")


def test_parameters_that_name_themselves_are_taken_in_any_order(path):
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    optimizer = torch.optim.AdamW(list(net.named_parameters())[::-1])
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    state = fits(path, net.state_dict(), optimizer)
    assert state.optimizer["groups"][0]["params"] == ["1.bias", "1.weight", "0.bias", "0.weight"]


def lightning(net, optimizer) -> dict:
    """The keys that Lightning's trainer writes."""
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    return {
        "epoch": 4,
        "global_step": 40,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": net.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 5}}}, "validate_loop": {}},
        "callbacks": {
            "ModelCheckpoint{'monitor': 'val_loss'}": {"best_model_score": torch.tensor(0.25), "dirpath": "/x"}
        },
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [scheduler.state_dict()],
        "hparams_name": "kwargs",
        "hyper_parameters": {"lr": 0.01, "layers": (2, 3)},
        "MixedPrecision": {"scale": 1024.0, "growth_factor": 2.0},
    }


def test_a_checkpoint_of_lightning_is_taken_apart(form, path):
    net, optimizer = trained("RMSprop")
    save(lightning(net, optimizer), path.with_suffix(".ckpt"), form)
    model, state = _convert.read(path.with_suffix(".ckpt")), _convert.read_state(path.with_suffix(".ckpt"))
    assert model.source["layout"] == "lightning"
    assert list(model.weights) == list(net.state_dict())
    assert (state.epoch, state.step) == (4, 40)
    assert state.optimizer["kind"] == "RMSprop"
    assert state.scheduler["state"]["best"] == float("inf")
    assert state.extra["scaler"] == {"scale": 1024.0, "growth_factor": 2.0}
    given = state.extra["given"]
    assert given["hyper_parameters"] == {"lr": 0.01, "layers": {"$tuple": [2, 3]}}
    assert given["loops"]["fit_loop"]["epoch_progress"] == {"total": {"ready": 5}}
    score = given["callbacks"]["ModelCheckpoint{'monitor': 'val_loss'}"]["best_model_score"]["$tensor"]
    assert state.slots[score] == 0.25


def test_a_checkpoint_is_read_by_the_suffix_of_the_example_for_imagenet(tmp_path):
    net, optimizer = trained()
    parts = {"state_dict": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    file = save(parts, tmp_path / "checkpoint.pth.tar")
    assert list(_convert.read(file).weights) == list(net.state_dict())
    assert _convert.read_state(file).epoch == 3


def test_two_optimizers_of_lightning_are_named_and_left(path):
    net, optimizer = trained()
    both = lightning(net, optimizer) | {"optimizer_states": [optimizer.state_dict()] * 2}
    state = pytorch.state(save(both, path), Limits())
    assert state.optimizer == {}
    assert any("optimizer_states has 2 entries" in told for told in state.extra["not taken"])


def test_an_average_is_taken_with_its_count(path):
    net, _ = trained()
    average = torch.optim.swa_utils.AveragedModel(net)
    average.update_parameters(net)
    save({"model": net.state_dict(), "ema": average.state_dict()}, path)
    state = pytorch.state(path, Limits())
    assert state.average.keys() == net.state_dict().keys()
    assert state.extra["averaged"] == 1


def test_a_model_with_a_graph_is_torchs_own_file_beside_it(models, tmp_path):
    model, path = models["pictures"], tmp_path / "m.pth"
    _convert.write(model, path)
    again = load(path)
    assert list(again) == list(model.weights)
    assert all(again[name].numpy().tobytes() == array.tobytes() for name, array in model.weights.items())
    assert _convert.read(path).graph == model.graph


def test_a_training_state_goes_with_a_model_that_has_a_graph(models, tmp_path):
    model, path = models["binary"], tmp_path / "m.ckpt"
    state = TrainingState(epoch=2, step=8, slots={"exp_avg/0.weight": model.weights["0.weight"]})
    _convert.write(model, path, state=state)
    assert _convert.read(path).signature == model.signature
    assert same(_convert.read_state(path), state)


def test_numbers_with_their_highest_byte_first_are_turned_round(path):
    kinds = {"f": torch.float32, "b": torch.bfloat16, "i": torch.int64, "c": torch.complex64, "u": torch.uint8}
    given = {name: drawn(kind, 2, 3) for name, kind in kinds.items()}
    save(given, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    sizes = {"f": 4, "b": 2, "i": 8, "c": 4, "u": 1}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            size = sizes[list(given)[int(name.rpartition("/")[2])]] if "/data/" in name else 1
            turned = np.frombuffer(content, f"u{size}").byteswap().tobytes()
            archive.writestr(name, b"big" if name.endswith("byteorder") else turned)
    found = pytorch.read(path, Limits())
    for name, tensor in given.items():
        assert found.weights[name].tobytes() == bits(tensor), name
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, b"middle" if name.endswith("byteorder") else content)
    with pytest.raises(FormatError, match="the order b'middle', which is none"):
        pytorch.read(path, Limits())


def sparse():
    return {"w": torch.eye(3).to_sparse()}


def quantized():
    return {"w": torch.quantize_per_tensor(torch.rand(2, 3), 0.1, 2, torch.qint8)}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (lambda: nn.Linear(2, 3), "torch.nn.modules.linear.Linear (no part of a state_dict; if a whole module"),
        (lambda: {"model": Net()}, "save module.state_dict()"),
        (sparse, "sparse tensors are not read; save tensor.to_dense()"),
        (lambda: {"w": torch.eye(3).to_sparse_csr()}, "sparse tensors are not read"),
        (quantized, "quantized tensors are not read; save tensor.dequantize()"),
        (lambda: {"w": torch.empty(3, device="meta")}, "a tensor without numbers was saved"),
        (lambda: {"w": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])}, "nested tensors are not read"),
        (lambda: torch.ones(3), "holds a tensor and no dictionary of tensors; save module.state_dict()"),
        (lambda: [torch.ones(3)], "holds a list and no dictionary"),
        (dict, "an empty dictionary"),
        (lambda: {"epoch": 3, "note": "x"}, "holds no weights: none of 'epoch', 'note' is a dictionary of tensors"),
        (lambda: {"generator": {"w": torch.ones(1)}, "critic": {"w": torch.ones(1)}},
         "holds several networks ('generator', 'critic'); save the state_dict of the one that is wanted"),
        (lambda: {3: torch.ones(2)}, "keys that are no texts"),
    ],
)  # fmt: skip
def test_what_is_no_state_dict_is_refused_with_what_to_do(value, said, path):
    save(value(), path)
    with pytest.raises(FormatError) as refused:
        _convert.read(path)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_torch_has_no_type_for_is_refused_on_writing(path):
    with pytest.raises(ConversionError, match="no tensors of int4"):
        pytorch.write(plain({"w": np.zeros(2, ml_dtypes.int4)}), path)
    with pytest.raises(ConversionError, match="no tensors of <U1"):
        pytorch.write(plain({"w": np.array(["a"])}), path)


def test_arrays_of_any_layout_are_written(path):
    whole = np.arange(24, dtype=">f4").reshape(2, 3, 4)
    given = {"turned": whole.T, "part": whole[:, ::2], "fortran": np.asfortranarray(whole), "one": np.float32(3)[()]}
    given = {name: np.asarray(value) for name, value in given.items()} | {"empty": np.zeros((2, 0, 3), np.float64)}
    pytorch.write(plain(given), path)
    found = load(path)
    for name, array in given.items():
        np.testing.assert_array_equal(found[name].numpy(), array)
        assert found[name].shape == array.shape
    assert found["empty"].stride() == torch.zeros(2, 0, 3).stride()


def test_torch_itself_reads_what_is_written_in_every_way_it_has(path):
    given = {f"layer{n}.weight": np.random.default_rng(n).normal(size=(7, n + 1)).astype(np.float32) for n in range(9)}
    pytorch.write(plain(given), path)
    ways = (
        torch.load(path, weights_only=True),  # noqa: TID251 - the peer
        torch.load(path, weights_only=False),  # noqa: TID251 - the peer
        torch.load(path, weights_only=True, mmap=True),  # noqa: TID251 - the peer
        torch.load(io.BytesIO(path.read_bytes()), weights_only=True),  # noqa: TID251 - the peer
    )
    for found in ways:
        assert all(np.array_equal(found[name].numpy(), array) for name, array in given.items())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None


def test_more_members_than_the_short_form_of_a_zip_counts_are_written(path):
    from engram.formats._archive_writing import Zip

    with path.open("wb") as file:
        made = Zip(file)
        for number in range(65_540):
            made.add(str(number), b"%d" % number)
        made.finish()
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 65_540
        assert archive.read("65539") == b"65539"


def test_as_many_tensors_as_the_limit_are_read(path):
    save({f"w{n}": torch.ones(1) for n in range(5)}, path)
    for most in (5, 6):
        assert len(pytorch.read(path, Limits(tensors=most)).weights) == 5
    with pytest.raises(FormatError, match="has 5 tensors, over the limit of 4"):
        pytorch.read(path, Limits(tensors=4))


def test_a_flipped_bit_of_a_weight_is_noticed(path):
    save({"w": torch.ones(4)}, path)
    whole = bytearray(path.read_bytes())
    at = whole.index(torch.ones(4).numpy().tobytes())
    whole[at + 3] ^= 4
    path.write_bytes(whole)
    with pytest.raises(FormatError, match="is damaged: its bytes are not those of its checksum"):
        pytorch.read(path, Limits())


def test_the_zips_of_torchscript_and_torch_export_are_left_to_others(path):
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    assert not pytorch.recognizes(path.read_bytes()[:4096], path)
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), path)
    assert not pytorch.recognizes(path.read_bytes()[:4096], path)
    save({"w": torch.ones(1)}, path)
    assert pytorch.recognizes(path.read_bytes()[:4096], path)
    path.write_bytes(path.read_bytes()[:400])
    assert pytorch.recognizes(path.read_bytes()[:4096], path)


def test_extra_state_that_is_no_tensor_is_named_and_left(path):
    given = collections.OrderedDict(w=torch.ones(2), _extra_state={"scale": 3}, v=torch.ones(1))
    save(given, path)
    found = pytorch.read(path, Limits())
    assert list(found.weights) == ["w", "v"]
    assert found.source["not_taken"] == ["'_extra_state' in the state_dict is a dict and no tensor"]


def test_what_was_read_outlasts_the_file(form, path):
    found = pytorch.read(save({"w": torch.ones(100_000), "v": torch.zeros(3)}, path, form), Limits())
    path.write_bytes(b"")
    assert found.weights["w"].sum() == 100_000
