"""The power cut after any call: whatever of it the disk then holds, nothing that was acknowledged is lost."""

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from faults import power
from faults.looks import LOOK, both, pointed, seen, view
from faults.stage import Fault, Step

pytest_plugins = ["faults.fixtures"]

NEXT = Step("keep", {"seed": 999, "name": "next"})
SOON = [["keep", 11], ["keep", 12, "house"], ["alias", "income"], ["checkpoint", 5, True], ["checkpoint", 6]]
MUCH = [["keep", 20 + n, "income", False, 800_000] for n in range(6)]
"""Versions with so much said of them that SQLite moves its log into the database in the middle."""
SERIES = {
    "a store from its first day on": [Step("furnish"), Step("play", {"acts": SOON})],
    "a day of several programs": [
        Step("play", {"acts": SOON}),
        Step("keep", {"seed": 13, "large": True}),
        Step("close", {"acts": [["keep", 14], ["alias", "income:2"]]}),
        Step("play", {"acts": [["checkpoint", 7], ["alias", "income:1"], ["checkpoint", 8], ["finish", "stopped"]]}),
        Step("play", {"acts": [["checkpoint", 9], ["keep", 15], ["checkpoint", 10], ["checkpoint", 11]]}),
    ],
    "a log that is moved": [Step("play", {"acts": MUCH}), Step("close", {"acts": [["alias", "income"]]})],
}


@dataclass(frozen=True)
class Recording:
    """A series of calls on a disk, and what was there before."""

    start: power.Disk
    calls: list[power.Call]
    found: dict[str, Any]


@pytest.fixture(scope="module", params=SERIES)
def recording(request, stage, ground, furnished, tmp_path_factory):
    folder = ground.fresh() if request.param == "a store from its first day on" else ground.copy(furnished)
    start, (found,) = power.Disk.of(folder), seen(stage, folder, LOOK)
    if not found["versions"]:
        folder = ground.fresh()
    log = tmp_path_factory.mktemp("log") / "calls"
    for step in SERIES[request.param]:
        outcome = stage.play(folder, replace(step, fault=Fault("record", log=str(log))))
        assert not outcome.told("raised"), outcome
    calls = power.read(log, folder)
    assert len(calls) > 300
    reached = power.whole(start, calls)
    there = power.Disk.of(folder)
    assert {name for name in reached.names if not name.endswith("-shm")} == {
        name for name in there.names if not name.endswith("-shm")
    }
    for name, number in there.names.items():
        assert name.endswith(("/", "-shm")) or there.files[number] == reached.files[reached.names[name]], name
    return Recording(start, calls, found)


def acknowledged(recording, calls):
    """What a store must have after these calls: versions, moves, steps of the run and its status."""
    told = {word: [] for word in ("kept", "moved", "begun", "saved", "finished")}
    for word, *rest in power.marks(calls):
        told[word].append(rest)
    versions = {digest: seed for digest, (_, _, seed) in recording.found["versions"].items()}
    moves = recording.found["moves"] + [digest for (digest,) in told["moved"]]
    held = [steps[0] for _, steps in recording.found["runs"].values() if steps]
    steps = held + [step for (step,) in told["saved"]]
    return versions | dict(told["kept"]), moves, steps, [status for (status,) in told["finished"]]


def survived(found, owed):
    """Nothing acknowledged is missing, and at most what was under way is there besides."""
    versions, moves, steps, ended = owed
    kept = {digest: seed for digest, (_, _, seed) in found["versions"].items()}
    assert versions.items() <= kept.items()
    assert len(kept) <= len(versions) + 1
    assert found["moves"][: len(moves)] == moves
    assert len(found["moves"]) <= len(moves) + 1
    for status, held in found["runs"].values():
        assert not steps or held[0] >= steps[-1]
        assert not ended or status == ended[-1]
    assert found["runs"] or not steps


@both(quick=35, full=850)
@pytest.mark.parametrize("model", power.MODELS)
def test_nothing_acknowledged_is_lost_in_a_power_cut(stage, ground, recording, model, effort):
    chance = random.Random(f"{model} {effort}")
    ends = [place + 1 for place, call in enumerate(recording.calls) if call.what == "M"]
    for _ in range(effort):
        end = chance.choice(ends) if chance.random() < 0.3 else chance.randint(0, len(recording.calls))
        calls = recording.calls[:end]
        disk = power.after(recording.start, calls, model, chance)
        folder = ground.fresh()
        folder.mkdir()
        disk.lay(folder)
        first, second = seen(stage, folder, LOOK, NEXT, LOOK)
        view(first)
        survived(first, acknowledged(recording, calls))
        assert ("next", 1, 999) in view(second)[0]
        assert second["listed"] == pointed(second)


@pytest.mark.parametrize("model", power.MODELS)
@pytest.mark.parametrize(("content", "name"), [(False, True), (True, False), (False, False)])
def test_what_was_not_flushed_is_lost_in_some_power_cut(stage, ground, tmp_path, content, name, model):
    """The disk of these tests forgives nothing that a real one does not."""
    kept = notes(stage, ground, tmp_path, content=content, name=name, model=model)
    assert kept != {b"x" * 10_000}


@pytest.mark.parametrize("model", power.MODELS)
def test_what_was_flushed_survives_every_power_cut(stage, ground, tmp_path, model):
    assert notes(stage, ground, tmp_path, content=True, name=True, model=model) == {b"x" * 10_000}


def notes(stage, ground, tmp_path, *, content, name, model):
    """What may be left of a note after it was acknowledged; None for no note at all."""
    folder = ground.fresh()
    fault = Fault("record", log=str(tmp_path / "log"))
    assert stage.play(folder, Step("note", {"content": content, "name": name}, fault)).told("noted")
    calls, chance = power.read(tmp_path / "log", folder), random.Random(1)
    disks = [power.after(power.Disk({"./": 0}), calls, model, chance) for _ in range(200)]
    return {bytes(disk.files[disk.names["note"]]) if "note" in disk.names else None for disk in disks}
