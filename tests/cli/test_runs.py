"""``engram log RUN``: the account of one run."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys

import pytest

import engram as library

PIPELINE = """\
[data]
from = "sklearn:iris"
[model]
kind = "mlp"
layers = [8]
[train]
epochs = 12
threads = 1
checkpoint = { hold = "last 2, best, every 5th" }
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which the pipeline ran."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "iris.toml").write_text(PIPELINE)
    library.run(folder / "iris.toml", store=folder / "engrams")
    return folder


@pytest.fixture
def run(here, trained):
    """The run, in a copy of its folder to be changed at will."""
    shutil.copytree(trained, here, dirs_exist_ok=True)
    with library.open("engrams") as store:
        return store.version("iris").facts["run"]


def test_a_run_is_told_with_its_curve_and_its_checkpoints(engram, run):
    said = engram("log", run).out
    assert said.startswith(f"{run}  kept\n")
    assert re.search(r"became +iris:1 \([0-9a-f]{8}\)", said)
    assert re.search(r"holds +last 2, best, every 5th", said)
    assert re.search(r"\|t.* *\n", said), "the curve of the training loss, in letters because nobody looks"
    assert "validation.loss" in said
    assert "^ best" in said
    heads = next(line for line in said.splitlines() if "validation.accuracy" in line)
    assert heads.split() == ["epoch", "train.accuracy", "train.loss", "validation.accuracy", "validation.loss"]
    assert re.search(r"\ncheckpoints\n *step +epoch +saved", said)
    assert re.search(r"plain\n", said)
    assert f"engram resume {run} --at STEP" in said


def test_a_run_is_told_to_machines(engram, run):
    seen = json.loads(engram("log", run, "--json").out)
    assert seen["run"]["id"] == run
    assert seen["run"]["status"] == "kept"
    assert seen["became"] == "iris:1"
    assert [epoch["epoch"] for epoch in seen["history"]] == list(range(1, 13))
    losses = [epoch["validation.loss"] for epoch in seen["history"]]
    assert seen["best"] == losses.index(min(losses))
    assert {one["number"] for one in seen["checkpoints"]} >= {12, 11, 10, 5}
    assert [one["step"] for one in seen["checkpoints"] if one["best"]] == [
        one["step"] for one in seen["checkpoints"] if one["epoch"] == seen["best"] + 1
    ]
    assert all(one["stored"] in {"plain", "delta"} for one in seen["checkpoints"])


def test_another_run_tells_where_it_began(engram, run):
    seen = json.loads(engram("log", run, "--json").out)
    step = seen["checkpoints"][-1]["step"]
    other = json.loads(engram("resume", run, "--at", step, "--json").out)["facts"]["run"]
    assert re.search(rf"from +{run}@{step}\n", engram("log", other).out)
    refused = engram("resume", run, "--at", 1).sentence
    assert refused.startswith(f"run {run} holds no checkpoint of step 1; it holds those of")
    assert (
        "start another with engram run, or from one of its checkpoints with --at STEP" in engram("resume", run).sentence
    )


def test_the_run_of_a_script_tells_who_goes_on_with_it(engram, here):
    from torch import nn

    network = nn.Linear(2, 1)
    with library.open("engrams") as store:
        for step in range(3):
            run = store.checkpoint(network, step=step, metrics={"val_loss": 1 / (step + 1)}, best="val_loss")
    said = engram("log", run).out
    assert f"go on with: its own script, with store.restore(module, optimizer, run={run!r}) before the loop" in said
    assert "v val_loss" in said
    assert "--at" not in said
    assert json.loads(engram("log", run, "--json").out)["best"] == 2
    assert "was trained by a script" in engram("resume", run).sentence


def shown(words, folder):
    """What a command shows on a terminal of 80 columns."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-m", "engram", *words]
    with subprocess.Popen(command, cwd=folder, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        seen = b""
        while select.select([leader], [], [], 60)[0]:
            try:
                part = os.read(leader, 65_536)
            except OSError:  # the other end is closed
                break
            seen += part
            if not part:
                break
        assert process.wait() == 0
    os.close(leader)
    return seen.decode()


def test_a_terminal_shows_dots_that_fit_it(run, here):
    said = shown(["log", run], here)
    assert "▲ best" in said
    assert any(0x2801 <= ord(letter) <= 0x28FF for letter in said)
    drawn = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip("\r") for line in said.split("\n") if "│" in line]
    assert drawn
    assert max(map(len, drawn)) <= 80


def test_a_name_that_is_neither_is_said(engram, run):
    assert "did you mean 'iris'" in engram("log", "iriss").sentence
