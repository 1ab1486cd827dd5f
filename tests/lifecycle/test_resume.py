"""Killed at any moment, interrupted, or run from its lock file: a run ends in the same bits."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engram
from engram.errors import DataError, EngramError, Interrupted, StoreError, UsageError, VersionNotFound
from engram.store.store import Store

# Threads and precision are found by trying, which may find others in another process.
TABLE = """\
[data]
from = "sklearn:iris"
[model]
kind = "mlp"
layers = [16]
dropout = 0.3
[train]
epochs = 12
ema = 0.9
threads = 1
checkpoint = { steps = 4 }
"""

IMAGES = """\
[data]
from = "sklearn:digits"
[model]
kind = "cnn"
channels = [4, 8]
dropout = 0.2
[augment]
shift = 1
rotate = 10.0
mixup = 0.2
[train]
epochs = 2
batch = 64
threads = 1
precision = "float32"
checkpoint = { steps = 3 }
"""


CSV = TABLE.replace('"sklearn:iris"', '"rows.csv"\ntarget = "label"')


def pipeline(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "net.toml").write_text(text)
    return folder / "net.toml"


def begin(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "engram", "run", "net.toml"],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith("ENGRAM_")},
    )


def first_checkpoint(process: subprocess.Popen[str], store: Store) -> str:
    """The run, as soon as it has a checkpoint after its second; looked for again and again while the process lives."""
    while process.poll() is None:
        try:
            running = [run for run in store.runs() if run.step > 1]
        except StoreError:  # there is none yet
            running = []
        if running:
            return running[0].id
        time.sleep(0.002)
    pytest.fail(f"the process ended by itself: {process.communicate()}")


def same_bits(one: Store, other: Store, name: str = "net", second_name: str = "") -> None:
    names = (name, second_name or name)
    first, second = one.load(names[0]), other.load(names[1])
    assert first.weights.keys() == second.weights.keys()
    for key, values in first.weights.items():
        assert np.array_equal(values, second.weights[key]), key
    assert first.preprocessing == second.preprocessing
    states = one.state(names[0]), other.state(names[1])
    for key, values in states[0].slots.items():
        assert np.array_equal(values, states[1].slots[key]), key
    plain = [[{k: v for k, v in epoch.items() if k != "seconds"} for epoch in state.history] for state in states]
    assert plain[0] == plain[1]
    assert one.report(names[0]).scores == other.report(names[1]).scores


@pytest.mark.parametrize("text", [TABLE, IMAGES], ids=["a table with dropout", "images with augmentation"])
def test_a_run_killed_and_resumed_ends_in_the_bits_of_one_that_was_not(tmp_path, text):
    pipeline(tmp_path / "killed", text)
    store = engram.open(tmp_path / "killed" / "engrams")
    process = begin(tmp_path / "killed")
    run = first_checkpoint(process, store)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = store.run(run)
    assert before.status == "running", "it was too fast to be killed"
    assert not store.names()

    engram.resume(run, store=store.folder)
    engram.run(pipeline(tmp_path / "whole", text), store=tmp_path / "whole" / "engrams")
    same_bits(store, engram.open(tmp_path / "whole" / "engrams"))
    assert store.run(run).status == "kept"


def test_a_killed_run_is_found_and_said_how_to_go_on_with(tmp_path):
    from engram.lifecycle.alive import course

    pipeline(tmp_path / "killed", TABLE.replace("epochs = 12", "epochs = 100000"))
    store = engram.open(tmp_path / "killed" / "engrams")
    process = begin(tmp_path / "killed")
    run = first_checkpoint(process, store)
    assert [seen.status for seen in course("net", store).runs] == ["running"]
    with pytest.raises(UsageError, match="is being trained by another process"):
        engram.resume(run, store=store.folder)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [seen.status for seen in course("net", store).unfinished] == ["killed"]
    log = subprocess.run(
        [sys.executable, "-m", "engram", "log", "net"],
        cwd=tmp_path / "killed",
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(rf"{run} .* killed ", log.stdout)
    assert f"go on with: engram resume {run}" in log.stdout


def test_ctrl_c_keeps_a_checkpoint_and_says_how_to_go_on(tmp_path):
    pipeline(tmp_path / "stopped", TABLE.replace("epochs = 12", "epochs = 16"))
    store = engram.open(tmp_path / "stopped" / "engrams")
    process = begin(tmp_path / "stopped")
    run = first_checkpoint(process, store)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in said
    assert f"go on with: engram resume {run}" in said
    stopped = store.run(run)
    assert stopped.status == "stopped"
    assert f"step {stopped.step:,}" in said or "stopped after epoch" in said
    assert not store.names()
    version = engram.resume(run, store=store.folder)
    assert version.facts["run"] == run


def test_the_lock_file_gives_the_bits_of_the_run_that_wrote_it(tmp_path):
    file = pipeline(tmp_path / "first", TABLE.replace("epochs = 12", "epochs = 3"))
    engram.run(file, store=tmp_path / "one")
    lock = file.with_name("net.lock.toml")
    before = lock.read_text()
    engram.run(lock, store=tmp_path / "two")
    same_bits(engram.open(tmp_path / "one"), engram.open(tmp_path / "two"))
    assert lock.read_text() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["net.lock.toml", "net.toml"]


def stopped(folder: Path, after: int) -> str:
    """A run that was stopped while training, at the given look of its watcher."""
    seen = 0

    def watch(progress: engram.Progress) -> None:
        nonlocal seen
        seen += progress.stage == "training"
        if seen == after:
            raise KeyboardInterrupt

    file = pipeline(folder, CSV)
    with pytest.raises(Interrupted, match="go on with: engram resume") as said:
        engram.run(file, store=folder / "engrams", watch=watch)
    return str(said.value).partition("engram resume ")[2].split()[0]


def written(folder: Path) -> Path:
    lines = [f"{i % 7},{i * 37 % 11},{'yes' if i % 3 else 'no'}" for i in range(60)]
    (folder / "rows.csv").write_text("a,b,label\n" + "\n".join(lines))
    return folder / "rows.csv"


@pytest.fixture
def rows(tmp_path):
    return written(tmp_path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The store of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    written(folder)
    engram.run(pipeline(folder, CSV), store=folder / "engrams")
    return engram.open(folder / "engrams")


def test_an_interruption_in_a_notebook_says_how_to_go_on(tmp_path, rows, whole):
    run = stopped(tmp_path, after=3)
    store = engram.open(tmp_path / "engrams")
    assert store.run(run).status == "stopped"
    engram.resume(run, store=store.folder)
    same_bits(store, whole)


def relocated(folder: Path, elsewhere: Path) -> Path:
    """The store on another machine: a copy, with its data in another folder and nothing left where they were."""
    shutil.copytree(folder / "engrams", elsewhere / "copy")
    (elsewhere / "data").mkdir()
    shutil.move(folder / "rows.csv", elsewhere / "data" / "rows.csv")
    shutil.rmtree(folder)
    return elsewhere / "copy"


def test_a_run_goes_on_on_another_machine_in_the_same_bits(tmp_path, whole):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    written(here)
    run = stopped(here, after=3)
    store = relocated(here, there)
    with pytest.raises(EngramError, match="which is not on this machine, so say where they start with --folder PATH"):
        engram.resume(run, store=store)
    engram.resume(run, store=store, folder=there / "data")
    same_bits(engram.open(store), whole)


def test_another_run_begins_at_any_checkpoint_that_is_held_and_ends_in_the_same_bits(tmp_path, rows):
    text = CSV.replace("{ steps = 4 }", '{ steps = 4, hold = "every 5th, best" }')
    version = engram.run(pipeline(tmp_path, text), store=tmp_path / "engrams")
    store = engram.open(tmp_path / "engrams")
    run = version.facts["run"]
    held = store.checkpoints(run)
    assert store.run(run).hold == "every 5th, best"
    assert len(held) > 2
    for saved in held[1:]:
        again = engram.resume(run, at=saved.step, store=store.folder)
        begun = store.run(again.facts["run"])
        assert (begun.origin, begun.status, begun.version) == (f"{run}@{saved.step}", "kept", again.digest)
        assert begun.hold == "every 5th, best"
        same_bits(store, store, again.reference, version.reference)
    assert store.run(run).version == version.digest
    assert store.checkpoints(run) == held
    steps = ", ".join(f"{step:,}" for step in sorted({saved.step for saved in held}))
    with pytest.raises(VersionNotFound, match=f"holds no checkpoint of step 99,999; it holds those of {steps}"):
        engram.resume(run, at=99_999, store=store.folder)


def test_a_run_that_was_killed_before_its_copy_was_made_begins_at_its_origin(tmp_path, rows, whole):
    run = stopped(tmp_path, after=3)
    store = engram.open(tmp_path / "engrams")
    record, held = store.run(run), store.checkpoints(run)
    store.begin(replace(record, id="net-other", step=0, origin=f"{run}@{held[0].step}"))
    engram.resume("net-other", store=store.folder)
    same_bits(store, whole)


def test_the_run_of_a_script_is_not_resumed_by_a_command(tmp_path):
    from torch import nn

    with engram.open(tmp_path / "engrams") as store:
        run = store.checkpoint(nn.Linear(2, 1), step=1)
    for at in (None, 1):
        with pytest.raises(
            UsageError, match=rf"was trained by a script .* store.restore\(module, optimizer, run='{run}'\)"
        ):
            engram.resume(run, at=at, store=store.folder)


def test_words_that_hold_nothing_are_refused_with_their_line_before_training(tmp_path, rows):
    file = pipeline(tmp_path, CSV.replace("{ steps = 4 }", '{ steps = 4, hold = "last 3, bst" }'))
    with pytest.raises(
        UsageError, match=r"net.toml:12: \[train\] checkpoint: hold = .* 'bst' is no rule; did you mean 'best'"
    ):
        engram.check(file)


def test_what_cannot_be_resumed_is_said(tmp_path, rows):
    run = stopped(tmp_path, after=2)
    folder = tmp_path / "engrams"
    with pytest.raises(VersionNotFound, match=f"no run is called '{run[:-1]}'; did you mean '{run}'"):
        engram.resume(run[:-1], store=folder)
    text = rows.read_text()
    rows.write_text(text.replace("1,", "2,", 1))
    with pytest.raises(DataError, match="have changed since net was locked"):
        engram.resume(run, store=folder)
    rows.unlink()
    with pytest.raises(EngramError, match=r"rows.csv: no such file or folder"):
        engram.resume(run, store=folder)
    rows.write_text(text)
    engram.resume(run, store=folder)
    with pytest.raises(UsageError, match=r"is finished and kept as sha256:.* start another with engram run"):
        engram.resume(run, store=folder)


def test_other_versions_of_what_computes_are_refused(tmp_path, rows):
    run = stopped(tmp_path, after=2)
    store = engram.open(tmp_path / "engrams")
    record = store.run(run)
    older = replace(record, id=f"{run}-older", lock=re.sub(r'torch = "[^"]*"', 'torch = "1.0.0"', record.lock))
    store.begin(older)
    with pytest.raises(UsageError, match=r"was begun with torch 1\.0\.0 and here is .* install torch 1\.0\.0"):
        engram.resume(older.id, store=store.folder)
