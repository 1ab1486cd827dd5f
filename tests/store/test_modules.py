"""A loop of one's own that was stopped and restored computes the bits of one that was not."""

import random
import re
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler as schedulers
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import engram
from engram.errors import ShapeError, StoreError, UnknownName, UsageError, VersionNotFound
from engram.store.store import open as open_store
from engram.store.training import trees

STEPS, STOP = 9, 4


class Net(nn.Module):
    """Weights of several shapes, a buffer, dropout, a tied pair and a layer that does not learn."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.frozen = nn.Linear(4, 6)
        self.drop = nn.Dropout(0.4)
        self.there, self.back = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.back.weight = self.there.weight
        self.late = nn.Linear(6, 1)
        self.frozen.requires_grad_(requires_grad=False)
        self.to(dtype, memory_format=torch.channels_last)

    def forward(self, images):
        seen = self.norm(self.first(images)).relu().mean((2, 3))
        return self.late(self.back(self.drop(self.there(self.frozen(seen).tanh()))))


def groups(net):
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in learned if p.ndim > 1]},
        {"params": [p for p in learned if p.ndim <= 1], "lr": 0.03},
    ]


OPTIMIZERS = {
    "sgd without momentum": lambda net: torch.optim.SGD(groups(net), lr=0.05),
    "sgd with momentum": lambda net: torch.optim.SGD(groups(net), lr=0.05, momentum=0.9, nesterov=True),
    "adam": lambda net: torch.optim.Adam(groups(net), lr=0.01, amsgrad=True),
    "adam fused": lambda net: torch.optim.Adam(groups(net), lr=0.01, fused=True),
    "adamw one by one": lambda net: torch.optim.AdamW(groups(net), lr=0.01, foreach=False),
    "adamw with a tensor as rate": lambda net: torch.optim.AdamW(net.parameters(), lr=torch.tensor(0.01)),
    "rmsprop": lambda net: torch.optim.RMSprop(groups(net), lr=0.01, momentum=0.5, centered=True),
    "adagrad": lambda net: torch.optim.Adagrad(groups(net), lr=0.05),
    "nadam": lambda net: torch.optim.NAdam(groups(net), lr=0.01),
    "radam": lambda net: torch.optim.RAdam(groups(net), lr=0.01),
    "asgd": lambda net: torch.optim.ASGD(groups(net), lr=0.05),
    "adafactor": lambda net: torch.optim.Adafactor(groups(net), lr=0.05),
    "rprop": lambda net: torch.optim.Rprop(groups(net), lr=0.01),
}

SCHEDULERS = {
    "none": lambda _: None,
    "step": lambda o: schedulers.StepLR(o, 2, gamma=0.5),
    "milestones": lambda o: schedulers.MultiStepLR(o, [1, 3, 3, 7], gamma=0.5),
    "one cycle": lambda o: schedulers.OneCycleLR(o, max_lr=[0.1, 0.2], total_steps=STEPS + 1),
    "lambda": lambda o: schedulers.LambdaLR(o, lambda step: 0.9**step),
    "cyclic": lambda o: schedulers.CyclicLR(o, 0.01, 0.1, step_size_up=3, cycle_momentum=False),
    "warm restarts": lambda o: schedulers.CosineAnnealingWarmRestarts(o, 3),
    "in sequence": lambda o: schedulers.SequentialLR(
        o, [schedulers.LinearLR(o, total_iters=3), schedulers.ExponentialLR(o, 0.8)], [3]
    ),
    "plateau": lambda o: schedulers.ReduceLROnPlateau(o, patience=0, factor=0.7),
}


class Setup:
    """Everything of one training, built from its seed."""

    def __init__(self, optimizer, scheduler=SCHEDULERS["none"], dtype=torch.float32):
        torch.manual_seed(3)
        random.seed(4)
        np.random.seed(5)  # noqa: NPY002 - the generator that networks written elsewhere draw from
        self.net = Net(dtype)
        self.optimizer = optimizer(self.net)
        self.scheduler = scheduler(self.optimizer)
        self.average = AveragedModel(self.net, multi_avg_fn=get_ema_multi_avg_fn(0.9))
        self.losses = []

    def train(self, steps):
        """Every generator decides something; gauss and randn draw two numbers and keep one back."""
        dtype = self.net.late.weight.dtype
        for _ in range(steps):
            images = torch.randn(5, 2, 6, 6).to(dtype) * random.gauss(1, 0.1)
            wanted = torch.from_numpy(np.random.randn(5, 1)).to(dtype)  # noqa: NPY002 - likewise
            self.optimizer.zero_grad()
            loss = (self.net(images) - wanted).square().mean()
            loss.backward()
            self.optimizer.step()
            if isinstance(self.scheduler, schedulers.ReduceLROnPlateau):
                self.scheduler.step(loss.item())
            elif self.scheduler is not None:
                self.scheduler.step()
            self.average.update_parameters(self.net)
            self.losses.append(loss.item())

    @property
    def rest(self):
        return {"scheduler": self.scheduler, "average": self.average}

    def bits(self):
        """All numbers of this training by name, as bytes."""
        found = {**self.net.state_dict(), **{f"average {k}": v for k, v in self.average.state_dict().items()}}
        for parameter, slots in self.optimizer.state.items():
            name = next(name for name, one in self.net.named_parameters() if one is parameter)
            found |= {f"{name} {slot}": v for slot, v in slots.items() if isinstance(v, torch.Tensor)}
            found |= {f"{name} {slot}": torch.tensor(v) for slot, v in slots.items() if isinstance(v, (int, float))}
        made = {name: value.contiguous().reshape(-1).view(torch.uint8).tolist() for name, value in found.items()}
        return made | {"rates": [float(group["lr"]) for group in self.optimizer.param_groups]}


def stopped_and_restored(store, *made):
    """A training that was stopped, and that went on in objects of its own."""
    first = Setup(*made)
    first.train(STOP)
    store.checkpoint(first.net, first.optimizer, step=STOP, **first.rest)
    first.train(2)  # which must not change what was saved
    second = Setup(*made)
    second.train(1)  # which must all be undone
    restored = store.restore(second.net, second.optimizer, **second.rest)
    assert restored.step == STOP
    second.train(STEPS - STOP)
    return second


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_in_the_same_bits(store, name):
    whole = Setup(OPTIMIZERS[name])
    whole.train(STEPS)
    again = stopped_and_restored(store, OPTIMIZERS[name])
    assert again.losses[1:] == whole.losses[STOP:]
    assert again.bits() == whole.bits()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_goes_on_in_the_same_bits(store, name):
    made = (OPTIMIZERS["sgd with momentum"], SCHEDULERS[name])
    whole = Setup(*made)
    whole.train(STEPS)
    again = stopped_and_restored(store, *made)
    assert again.losses[1:] == whole.losses[STOP:]
    assert again.bits() == whole.bits()


def test_a_bfloat16_module_goes_on_in_the_same_bits(store):
    made = (OPTIMIZERS["adam"], SCHEDULERS["step"], torch.bfloat16)
    whole = Setup(*made)
    whole.train(STEPS)
    assert stopped_and_restored(store, *made).bits() == whole.bits()


def test_the_second_order_of_lbfgs_goes_on_in_the_same_bits(store):
    inputs, wanted = torch.randn(20, 3, generator=torch.Generator().manual_seed(1)), torch.arange(20.0).unsqueeze(1)

    def begin():
        torch.manual_seed(2)
        net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
        optimizer = torch.optim.LBFGS(net.parameters(), lr=0.3, max_iter=4, history_size=3)

        def closure():
            optimizer.zero_grad()
            loss = (net(inputs) - wanted).square().mean()
            loss.backward()
            return loss

        return net, optimizer, lambda steps: [optimizer.step(closure).item() for _ in range(steps)]

    _, _, train = begin()
    whole = train(8)
    net, optimizer, train = begin()
    train(3)
    store.checkpoint(net, optimizer, step=3)
    net, optimizer, train = begin()
    store.restore(net, optimizer)
    assert train(5) == whole[3:]


def test_a_gradient_scaler_goes_on_where_it_was(store):
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    net = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(3):
        scaler.scale(net(torch.ones(1, 2)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    store.checkpoint(net, optimizer, step=3, scaler=scaler)
    again = torch.amp.GradScaler("cpu")
    store.restore(net, optimizer, scaler=again)
    assert again.state_dict() == scaler.state_dict()
    assert again.get_scale() == 16.0


def test_an_average_that_is_a_dictionary_comes_back_in_place(store):
    net = nn.Linear(2, 1)
    average = {name: value.clone() for name, value in net.state_dict().items()}
    store.checkpoint(net, step=1, average=average)
    emptied = {name: torch.zeros_like(value) for name, value in average.items()}
    store.restore(net, average=emptied)
    assert all(torch.equal(emptied[name], average[name]) for name in average)


def test_what_the_loop_said_comes_back(store):
    net = nn.Linear(2, 1)
    for step in (10, 20):
        metrics = {"loss": torch.tensor(1 / step), "accuracy": np.float32(0.5), "rows": np.int64(step)}
        run = store.checkpoint(net, step=np.int64(step), epoch=step // 10, metrics=metrics, extra={"seen": [1, None]})
    found = store.restore(net)
    assert (found.run, found.step, found.epoch) == (run, 20, 2)
    assert found.extra == {"seen": [1, None]}
    assert found.metrics == {"loss": float(np.float32(0.05)), "accuracy": 0.5, "rows": 20.0}
    assert found.history[-1] == {"loss": float(np.float32(0.05)), "accuracy": 0.5, "rows": 20.0, "epoch": 2, "step": 20}
    assert [epoch["step"] for epoch in found.history] == [10, 20]
    assert store.checkpoints(run)[0].metrics["accuracy"] == 0.5


def test_the_run_is_named_after_the_module_and_ends_with_the_store(tmp_path):
    with open_store(tmp_path / "engrams", who="ada") as store:
        run = store.checkpoint(Net(), step=1, hold="last 3, every 10th")
        assert run.startswith("net-20")
        assert store.run(run).status == "running"
        assert store.run(run).hold == "last 3, every 10th"
    assert store.run(run).status == "stopped"
    assert store.run(run).step == 1


def test_a_module_in_wrappers_is_known_by_its_own_names(store):
    net = nn.Linear(2, 1)
    assert store.checkpoint(torch.compile(nn.DataParallel(net)), step=1).startswith("linear-")
    plain = nn.Linear(2, 1)
    store.restore(plain)
    assert torch.equal(plain.weight, net.weight)


def test_a_restored_loop_goes_on_with_its_run(store, clock):
    net = nn.Linear(2, 1)
    run = store.checkpoint(net, step=1, metrics={"loss": 2.0})
    store.close()
    store.restore(net)
    assert store.checkpoint(net, step=2, metrics={"loss": 1.0}) == run
    store.flush()
    assert store.run(run).status == "running"
    assert [one.step for one in store.checkpoints(run)] == [2, 1]
    assert len(store.last(run).state.history) == 2


def test_a_module_that_is_trained_on_after_its_store_was_closed_goes_on_with_its_run(store):
    net = nn.Linear(2, 1)
    with store:
        run = store.checkpoint(net, step=1, metrics={"loss": 2.0}, best="loss", hold="all")
        store.checkpoint(net, step=2, metrics={"loss": 1.0}, best="loss")
    assert store.run(run).status == "stopped"
    assert store.checkpoint(torch.compile(net), step=3, metrics={"loss": 3.0}, best="loss") == run
    assert store.run(run).status == "running"
    store.close()
    store.close()
    assert store.checkpoint(net, step=3, metrics={"loss": 4.0}, best="loss") == run
    store.close()
    assert len(store.runs()) == 1
    assert (store.run(run).status, store.run(run).hold) == ("stopped", "all")
    assert [(one.step, one.best) for one in store.checkpoints(run)] == [(3, False), (3, False), (2, True), (1, False)]
    assert [epoch["loss"] for epoch in store.last(run).state.history] == [2.0, 1.0, 3.0, 4.0]


def test_another_module_or_the_same_from_its_beginning_is_another_run(store):
    net = nn.Linear(2, 1)
    first = store.checkpoint(net, step=5)
    store.close()
    second = store.checkpoint(nn.Linear(2, 1), step=6)
    store.close()
    assert store.run(second).origin == ""
    third = store.checkpoint(net, step=1)
    store.close()
    assert len({first, second, third}) == 3
    assert [[one.step for one in store.checkpoints(run)] for run in (first, second, third)] == [[5], [6], [1]]
    with pytest.raises(UsageError, match=f"run {first!r} is already in the store"):
        store.checkpoint(nn.Linear(2, 1), step=6, run=first)


def filled(value):
    net = nn.Linear(2, 1)
    torch.nn.init.constant_(net.weight, value)
    return net


def steps(store, run):
    return [one.step for one in store.checkpoints(run)]


@pytest.mark.parametrize("named", [{}, {"name": "pair"}])
def test_two_modules_that_are_trained_side_by_side_have_a_run_each(store, named):
    one, two = filled(1.0), filled(2.0)
    for step in (1, 2):
        first = store.checkpoint(one, step=step, wait=True, **named)
        second = store.checkpoint(two, step=step, wait=True, **named)
    assert first != second
    assert steps(store, first) == steps(store, second) == [2, 1]
    for net, value in ((one, 1.0), (two, 2.0)):  # each is known while the store is open
        torch.nn.init.zeros_(net.weight)
        store.restore(net, **named)
        assert net.weight.tolist() == [[value, value]]
    store.close()
    other = open_store(store.folder, who="bob")
    fresh = nn.Linear(2, 1)
    with pytest.raises(UsageError, match=f"one program began 2 runs of .* that fit .*: {first}, {second}; say which"):
        other.restore(fresh, or_begin=True, **named)
    other.restore(fresh, run=first)
    assert fresh.weight.tolist() == [[1.0, 1.0]]


def test_each_fold_is_a_run_and_what_it_holds_counts_within_it(store):
    runs = []
    for _ in range(3):
        net = nn.Linear(2, 1)
        runs += {store.checkpoint(net, step=step, hold="last 2") for step in (1, 2, 3)}
    store.close()
    assert len(set(runs)) == 3
    assert [steps(store, run) for run in runs] == [[3, 2]] * 3
    assert {store.run(run).status for run in runs} == {"stopped"}


def test_a_module_from_an_earlier_step_is_another_run_and_from_the_same_step_is_not(store):
    net = nn.Linear(2, 1)
    first = [store.checkpoint(net, step=step) for step in (1, 2, 2)]
    second = [store.checkpoint(net, step=step) for step in (1, 2)]
    store.flush()
    assert len(set(first)) == len(set(second)) == 1
    assert (steps(store, first[0]), steps(store, second[0])) == ([2, 2], [2, 1])
    assert (store.run(first[0]).status, store.run(second[0]).status) == ("stopped", "running")


def test_of_a_pair_of_other_shapes_the_one_that_fits_is_restored(store):
    one, two = filled(1.0), nn.Linear(3, 1)
    store.checkpoint(one, step=1, wait=True)
    store.checkpoint(two, step=1, wait=True)
    fresh = nn.Linear(2, 1)
    assert open_store(store.folder, who="bob").restore(fresh).step == 1
    assert fresh.weight.tolist() == [[1.0, 1.0]]


def test_runs_that_other_programs_began_or_that_go_back_to_one_beginning_do_not_stand_in_the_way(store):
    code = f"""
import torch, engram
with engram.open({str(store.folder)!r}) as store:
    print(store.checkpoint(torch.nn.Linear(2, 1), step=5))
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    net = nn.Linear(2, 1)
    for step in (1, 2):
        store.checkpoint(net, step=step)
    store.restore(net, step=1)
    branch = store.checkpoint(net, step=3, wait=True)
    assert open_store(store.folder, who="bob").restore(nn.Linear(2, 1)).run == branch


def test_a_copy_that_is_looked_at_leaves_the_run_of_the_module_in_training_alone(store):
    net = nn.Linear(2, 1)
    run = store.checkpoint(net, step=1)
    store.restore(nn.Linear(2, 1))
    assert store.checkpoint(net, step=2) == run


@pytest.mark.parametrize(
    ("module", "optimizer"),
    [
        (lambda: nn.LazyLinear(3), lambda: None),
        (lambda: nn.Linear(1, 1, device="meta"), lambda: None),
        (lambda: nn.Linear(1, 1), lambda: torch.optim.SGD(nn.Linear(9, 1).parameters(), lr=0.1)),
    ],
)
def test_a_checkpoint_that_is_refused_leaves_no_run(store, module, optimizer):
    with pytest.raises(UsageError):
        store.checkpoint(module(), optimizer(), step=1)
    assert not store.folder.exists() or store.runs() == []
    store.close()
    assert not store.folder.exists() or store.runs() == []


def test_a_run_that_another_went_on_with_after_it_was_closed_is_not_written_over(store):
    net = nn.Linear(2, 1)
    run = store.checkpoint(net, step=1)
    store.close()
    other = open_store(store.folder, who="bob")
    other.restore(net)
    assert other.checkpoint(net, step=2) == run
    other.close()
    mine = store.checkpoint(net, step=2)
    store.close()
    assert store.run(mine).origin == f"{run}@1"
    assert [one.step for one in store.checkpoints(run)] == [2, 1]


def test_a_run_whose_last_checkpoint_could_not_be_written_is_gone_on_with(store):
    net = nn.Linear(600, 600)
    run = store.checkpoint(net, step=1, wait=True)
    incoming = store.folder / "incoming"
    incoming.rename(store.folder / "away")
    incoming.write_text("not a folder")
    torch.nn.init.zeros_(net.weight)
    store.checkpoint(net, step=2)
    with pytest.raises(StoreError, match="the store cannot"):
        store.close()
    assert store.run(run).status == "failed"
    incoming.unlink()
    (store.folder / "away").rename(incoming)
    assert store.checkpoint(net, step=3) == run
    store.close()
    assert [one.step for one in store.checkpoints(run)] == [3, 1]
    assert store.run(run).status == "stopped"


def test_a_loop_restored_to_an_earlier_step_is_a_new_run_and_the_old_one_stays(store):
    net = nn.Linear(2, 1)
    for step in range(1, 5):
        run = store.checkpoint(net, step=step, hold="all")
    store.restore(net, step=2)
    other = store.checkpoint(net, step=3)
    store.close()
    assert other != run
    assert store.run(other).origin == f"{run}@2"
    assert [one.step for one in store.checkpoints(run)] == [4, 3, 2, 1]
    assert [one.step for one in store.checkpoints(other)] == [3]
    assert [epoch["step"] for epoch in store.last(other).state.history] == [1, 2, 3]


def test_a_run_that_another_process_went_on_with_is_not_written_over(store, tmp_path, clock):
    net = nn.Linear(2, 1)
    run = store.checkpoint(net, step=1)
    store.close()
    store.restore(net)
    other = open_store(store.folder, who="bob")
    other.restore(net)
    assert other.checkpoint(net, step=2) == run
    other.flush()
    mine = store.checkpoint(net, step=2)
    assert store.run(mine).origin == f"{run}@1"
    other.close()


def test_a_rule_that_is_none_is_said_before_that_a_run_goes_by_another(store):
    net = nn.Linear(2, 1)
    store.checkpoint(net, step=1, hold="last 3")
    with pytest.raises(UnknownName, match="'lsat 3' is no rule; did you mean 'last 2'"):
        store.checkpoint(net, step=2, hold="lsat 3")
    with pytest.raises(UsageError, match="goes by 'last 3'; say the same each time"):
        store.checkpoint(net, step=2, hold="last 4")


def test_two_processes_do_not_train_one_run(store):
    net = nn.Linear(2, 1)
    run = store.checkpoint(net, step=1, wait=True)
    code = f"""
import torch, engram
store, net = engram.open({str(store.folder)!r}), torch.nn.Linear(2, 1)
store.restore(net)
try:
    store.checkpoint(net, step=2)
except engram.errors.UsageError as refused:
    print(refused)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"run {run} is being trained by another process" in ran.stdout


def test_a_store_opened_anew_takes_the_run_over_from_one_that_was_left_open(store):
    net = nn.Linear(2, 1)
    run = store.checkpoint(net, step=1)
    other = open_store(store.folder, who="ada")
    assert other.restore(net).step == 1
    assert other.checkpoint(net, step=2) == run
    store.close()
    assert store.run(run).status == "running"
    assert store.checkpoint(net, step=2) != run
    other.close()
    assert store.run(run).status == "stopped"
    assert [one.step for one in store.checkpoints(run)] == [2, 1]


def test_the_best_is_told_by_a_metric(store):
    net = nn.Linear(2, 1)
    for step, loss in enumerate([3.0, 1.0, 2.0, float("nan")]):
        run = store.checkpoint(net, step=step, metrics={"val_loss": loss}, best="val_loss", hold="all")
    for step, accuracy in enumerate([0.3, 0.5, 0.4]):
        other = store.checkpoint(net, name="other", step=step, metrics={"acc": accuracy}, best="acc", hold="all")
    store.flush()
    assert [one.step for one in store.checkpoints(run) if one.best] == [1]
    assert [one.step for one in store.checkpoints(other) if one.best] == [1]


def test_tied_weights_stay_tied_and_are_stored_once(store):
    torch.manual_seed(0)
    net = nn.ModuleDict({"there": nn.Linear(600, 600, bias=False), "back": nn.Linear(600, 600, bias=False)})
    net["back"].weight = net["there"].weight
    store.checkpoint(net, step=1, wait=True)
    large = [path for path in store.folder.glob("blobs/sha256/*") if path.stat().st_size > 600 * 600 * 4]
    assert len(large) == 1
    with torch.no_grad():
        net["there"].weight.zero_()
    store.restore(net)
    assert net["back"].weight is net["there"].weight
    assert net["back"].weight.abs().sum() > 0
    loose = nn.ModuleDict({"there": nn.Linear(600, 600, bias=False), "back": nn.Linear(600, 600, bias=False)})
    with pytest.raises(UsageError, match=r"'back.weight' and 'there.weight' are not one tensor .* and were"):
        store.restore(loose)


def wrong(change):
    """A training that was saved, and another that differs from it."""
    made = Setup(OPTIMIZERS["adam"])
    other = Setup(OPTIMIZERS["adam"])
    made.train(1)
    other.train(2)
    change(other)
    return made, other


def renamed(other):
    other.net.later = other.net.late
    del other.net.late


def wider(other):
    other.net.late = nn.Linear(6, 2)
    other.optimizer = OPTIMIZERS["adam"](other.net)
    other.average = AveragedModel(other.net)


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        (renamed, UnknownName, r"the module has no 'late.bias', which was saved; did you mean 'later.bias'"),
        (lambda o: setattr(o.net, "more", nn.Linear(1, 1)), UnknownName, "has 'more.weight', which was not saved"),
        (wider, ShapeError, r"'late.\w+' was saved as float32 \[1"),
        (lambda o: o.net.double(), ShapeError, "was kept as float32, and the module's is float64"),
        (
            lambda o: setattr(o, "optimizer", OPTIMIZERS["rmsprop"](o.net)),
            UsageError,
            "with the optimizer Adam and this",
        ),
        (
            lambda o: setattr(o, "optimizer", torch.optim.Adam(o.net.parameters())),
            UsageError,
            "saved with 2 groups of parameters in the optimizer, and this one has 1",
        ),
        (lambda o: o.optimizer.param_groups[1]["params"].pop(), UsageError, r"group 1 .* other parameters .*late.bias"),
        (lambda o: o.optimizer.param_groups[0]["params"].reverse(), UsageError, "group 0 .*their order"),
        (
            lambda o: setattr(o, "scheduler", schedulers.StepLR(o.optimizer, 1)),
            UsageError,
            "was saved without scheduler",
        ),
        (
            lambda o: setattr(o, "average", {"x": torch.zeros(1)}),
            UnknownName,
            "the average has no 'norm.num_batches_tracked'",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(store, change, error, why):
    made, other = wrong(change)
    store.checkpoint(made.net, made.optimizer, step=1, **made.rest)
    before = {name: value.clone() for name, value in other.net.state_dict().items()}
    slots = {id(p): {k: v.clone() for k, v in s.items()} for p, s in other.optimizer.state.items()}
    drawn = torch.get_rng_state()
    with pytest.raises(error, match=why):
        store.restore(other.net, other.optimizer, **other.rest)
    assert all(torch.equal(value, other.net.state_dict()[name]) for name, value in before.items())
    assert all(
        torch.equal(v, other.optimizer.state[p][k]) for p in other.optimizer.state for k, v in slots[id(p)].items()
    )
    assert torch.equal(torch.get_rng_state(), drawn)


class Odd(torch.optim.SGD):
    """Keeps more than its state says."""

    def state_dict(self):
        return {**super().state_dict(), "more": 1}


class Strange(nn.Linear):
    """Keeps what is no tensor."""

    def get_extra_state(self):
        return {"seen": {1, 2}}

    def set_extra_state(self, state):
        """Nothing to set."""


class Expanded(nn.Linear):
    """Shows one number four times."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.register_buffer("shown", torch.zeros(1).expand(4))


class Counting(nn.Linear):
    """Keeps what is no parameter and no buffer, part of it as a tensor made for the occasion."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.seen, self.scale = 0, 1.0

    def get_extra_state(self):
        return {"seen": self.seen, "scale": torch.tensor(self.scale), "words": ("a", None)}

    def set_extra_state(self, state):
        assert state["words"] == ("a", None)
        self.seen, self.scale = state["seen"], float(state["scale"])


class Bytes(nn.Linear):
    """Keeps a tensor of bytes, as libraries of low precision do."""

    amax = 0

    def get_extra_state(self):
        return torch.tensor([self.amax], dtype=torch.uint8)

    def set_extra_state(self, state):
        self.amax = int(state[0])


def test_what_a_module_has_beside_parameters_and_buffers_comes_back(store):
    def built():
        return nn.Sequential(Counting(2, 2), Bytes(2, 1))

    net = built()
    net[0].seen, net[0].scale, net[1].amax = 7, 0.5, 9
    store.checkpoint(net, step=1)
    store.close()
    other = built()
    store.restore(other)
    assert (other[0].seen, other[0].scale, other[1].amax) == (7, 0.5, 9)
    with pytest.raises(UnknownName, match=r"has no '0._extra_state', which was saved"):
        store.restore(nn.Sequential(nn.Linear(2, 2), Bytes(2, 1)), name="sequential")


def sgd(net, **options):
    return torch.optim.SGD(net.parameters(), **{"lr": 0.1, **options})


@pytest.mark.parametrize(
    ("given", "error", "why"),
    [
        (lambda net: {"optimizer": sgd(net, lr=np.float64(0.1))}, UsageError, r"groups\[0\].lr is a numpy.float64"),
        (lambda net: {"optimizer": Odd(net.parameters(), lr=0.1)}, UsageError, "Odd has a state_dict of its own"),
        (lambda _: {"optimizer": sgd(nn.Linear(9, 1))}, UsageError, r"shape \[1, 9\] that is no parameter"),
        (lambda _: {"extra": {"rows": np.int64(3)}}, UsageError, r"extra.given.rows is a numpy.int64"),
        (lambda _: {"metrics": {"loss": [1, 2]}}, UsageError, r"metric 'loss' is \[1, 2\], which is no number"),
        (lambda _: {"metrics": {"loss": torch.zeros(2)}}, UsageError, "which is no number"),
        (lambda _: {"step": -1}, UsageError, "step = -1 is refused"),
        (lambda _: {"step": 1.5}, UsageError, "step = 1.5 is refused"),
        (lambda _: {"step": True}, UsageError, "step = True is refused: it is a whole number from 0 to 9,223,"),
        (
            lambda _: {"step": 2**63},
            UsageError,
            "step = 9223372036854775808 is refused: .* to 9,223,372,036,854,775,807",
        ),
        (lambda _: {"epoch": torch.tensor(1.5)}, UsageError, r"epoch = tensor\(1.5000\) is refused"),
        (lambda _: {"module": "x"}, UsageError, r"the module is 'x' \(str\), and must be a torch.nn.Module"),
        (
            lambda _: {"module": nn.LazyLinear(3)},
            UsageError,
            "'weight' of the module .* not seen data yet; run one batch",
        ),
        (lambda _: {"hold": 3}, UsageError, r"hold is 3 \(int\), and must be text such as 'last 3, best'"),
        (lambda _: {"name": "../net"}, UsageError, r"name '../net' cannot be used"),
        (lambda _: {"hold": "last 0"}, UsageError, "'last 0' counts from 1"),
        (lambda _: {"best": "los", "metrics": {"loss": 1}}, UnknownName, "did you mean 'loss'"),
        (lambda _: {"module": Strange(2, 2)}, UsageError, "_extra_state.seen is a set, which a store cannot keep"),
        (
            lambda _: {"optimizer": "x"},
            UsageError,
            r"the optimizer is 'x' \(str\), and must be one that has",
        ),
        (
            lambda _: {"scheduler": 3},
            UsageError,
            r"the scheduler is 3 \(int\), and must be one that has state",
        ),
        (
            lambda _: {"average": "x"},
            UsageError,
            "the average is 'x', and must be a torch.nn.Module",
        ),
        (lambda _: {"metrics": "x"}, UsageError, r"metrics is 'x' \(str\), and must be a mapping"),
        (lambda _: {"extra": [1]}, UsageError, r"extra is \[1\] \(list\), and must be a mapping"),
        (lambda _: {"module": nn.Linear(2, 2, device="meta")}, UsageError, "'weight' cannot be kept"),
        (lambda _: {"average": {"x": torch.eye(2).to_sparse()}}, UsageError, "'x' cannot be kept"),
    ],
)
def test_what_cannot_be_kept_is_refused_while_it_is_saved(store, given, error, why):
    net = nn.Linear(2, 2)
    with pytest.raises(error, match=why):
        store.checkpoint(**{"module": net, "step": 1, **given(net)})
    assert (store.runs() if store.folder.exists() else []) == []


def test_a_restore_where_there_is_nothing_says_so_or_begins(store):
    net = nn.Linear(2, 1)
    with pytest.raises(VersionNotFound, match=r"no checkpoint of 'linear'; .* or_begin=True"):
        store.restore(net)
    before = net.weight.clone()
    found = store.restore(net, or_begin=True)
    assert (found.run, found.step, found.epoch, found.history) == ("", 0, 0, ())
    assert torch.equal(net.weight, before)
    store.checkpoint(net, step=7)
    with pytest.raises(UsageError, match=r"name is 3 \(int\), and must be text such as income"):
        store.restore(net, name=3)
    with pytest.raises(VersionNotFound, match="no checkpoint of step 8 of 'linear'"):
        store.restore(net, step=8)
    assert store.restore(net, or_begin=True).step == 7


def test_a_full_disk_is_said_at_the_next_checkpoint_or_at_the_end(store):
    net = nn.Linear(600, 600)
    run = store.checkpoint(net, step=1, wait=True)
    blobs = store.folder / "blobs" / "sha256"
    blobs.rename(blobs.with_name("away"))
    blobs.write_text("not a folder")
    torch.nn.init.zeros_(net.weight)
    store.checkpoint(net, step=2)
    with pytest.raises(StoreError, match="the store cannot"):
        store.checkpoint(net, step=3)
    with pytest.raises(StoreError, match="the store cannot"):
        store.checkpoint(net, step=4, wait=True)
    blobs.unlink()
    blobs.with_name("away").rename(blobs)
    store.close()
    assert [one.step for one in store.checkpoints(run)] == [1]


SCRIPT = """\
import sys, torch, engram
torch.manual_seed(1)
net = torch.nn.Linear(3, 1)
optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
store = engram.open("engrams")
start = store.restore(net, optimizer, or_begin=True)
for step in range(start.step + 1, 13):
    optimizer.zero_grad()
    net(torch.randn(4, 3)).square().mean().backward()
    optimizer.step()
    store.checkpoint(net, optimizer, step=step)
    if len(sys.argv) > 1 and step == int(sys.argv[1]):
        {end}
print(net.weight.sum().item().hex())
"""


@pytest.mark.parametrize("end", ["sys.exit(3)", "raise ValueError", "1"])
def test_a_program_that_ends_without_closing_loses_nothing(tmp_path, end):
    (tmp_path / "train.py").write_text(SCRIPT.replace("{end}", end))
    ran = subprocess.run([sys.executable, "train.py", "5"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == {"sys.exit(3)": 3, "raise ValueError": 1, "1": 0}[end], ran.stderr
    assert "Exception ignored" not in ran.stderr
    store = open_store(tmp_path / "engrams", who="ada")
    only = store.runs()[0]
    assert (only.status, only.step) == ("stopped", 12 if end == "1" else 5)


def test_a_program_killed_again_and_again_ends_in_the_same_bits(tmp_path):
    def ran(folder, *words):
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(SCRIPT.replace("{end}", "import os; os.kill(os.getpid(), 9)"))
        return subprocess.run(
            [sys.executable, "train.py", *words], cwd=folder, capture_output=True, text=True, check=False
        )

    whole = ran(tmp_path / "whole")
    assert whole.stdout, whole.stderr
    for step in ("4", "9"):
        assert ran(tmp_path / "killed", step).returncode == -9
    assert ran(tmp_path / "killed").stdout == whole.stdout
    store = open_store(tmp_path / "killed" / "engrams", who="ada")
    assert len(store.runs()) == 1
    assert store.runs()[0].step == 12


def test_a_child_process_leaves_the_run_of_its_parent_alone(store):
    import os

    net = nn.Linear(2, 1)
    run = store.checkpoint(net, step=1, wait=True)
    child = os.fork()
    if not child:
        store._leave(os.getppid())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert store.run(run).status == "running"


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": [1, 2.5, "x", True, None], "b": (1, (2,))},
        {1: "one", "two": 2},
        {"$tensor": "not one"},
        Counter({3: 2, 5: 1}),
        [float("inf"), -0.0],
    ],
)
def test_plain_values_come_back_as_they_were(value):
    tensors = {}
    found = trees.grown(trees.pressed(value, "value", tensors), tensors.__getitem__)
    assert found == value
    assert type(found) is type(value)
    assert not tensors


def test_opening_a_store_does_not_import_torch():
    code = "import sys; from engram.store.store import open; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_loop_on_the_page_of_python_goes_on_in_the_same_bits(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "examples" / "python.md"
    (example,) = [
        text for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if "or_begin" in text
    ]

    def ran(folder, stop=0):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        monkeypatch.delenv("ENGRAM_STORE", raising=False)
        made = Setup(OPTIMIZERS["adam"], SCHEDULERS["step"])

        def train_step(*_):
            made.train(1)
            if stop and len(made.losses) == stop:
                raise KeyboardInterrupt
            return made.losses[-1]

        names = {"engram": engram, "net": made.net, "optimizer": made.optimizer, "scheduler": made.scheduler}
        with suppress(KeyboardInterrupt):
            exec(example, {**names, "train_step": train_step})
        engram.open().close()
        return made

    whole = ran(tmp_path / "whole")
    stopped = ran(tmp_path / "stopped", stop=37)
    del stopped
    again = ran(tmp_path / "stopped")
    assert len(again.losses) == 70
    assert again.losses == whole.losses[30:]
