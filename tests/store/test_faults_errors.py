"""Every call of the store failing once: one sentence, nothing half done, the space given back, and the next try works.

A failed fsync is never taken for a success: what the kernel could not write is gone, whatever a second fsync says.
"""

import errno
import itertools
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from faults.looks import LOOK, both, pointed, seen, view
from faults.stage import CHANGES, KINDS, Fault, Step

pytest_plugins = ["faults.fixtures"]

WORKS = {
    "keep": Step("keep", {"seed": 5, "large": True}),
    "move an alias": Step("play", {"acts": [["alias", "income:1"]]}),
    "save a checkpoint": Step("play", {"acts": [["checkpoint", 5]]}),
}
FIRST = Step("keep", {"seed": 5})
CARE = {"sweep": Step("play", {"acts": [["sweep"]]}), "make the catalog anew": Step("play", {"acts": [["rebuild"]]})}
EMPTY = {"blobs": [], "incoming": [], "differences": []}
NOTHING = {"versions": {}, "moves": [], "runs": {}, "damage": [], "listed": {}, **EMPTY}
NEXT = Step("keep", {"seed": 999, "name": "next"})


def under(step, mode, nth, error, kinds=CHANGES):
    return Step(step.work, step.given, Fault(mode, nth, error, kinds))


def harmless(hit, folder):
    """Whether a call may fail without anybody hearing of it.

    Clearing up, what SQLite only does to be quick, and ``index.json``, which is made anew by whoever writes next; the
    folder itself is flushed for its sake. What the catalog says last is which blobs are gone; that nothing else of it
    is lost is asked after a crash.
    """
    name, _, path = hit.partition(" ")
    return (
        not hit
        or name == "unlink"
        or path.endswith(("-shm", "catalog.db-wal", "catalog.db"))
        or ("index.json" in path or path == str(folder))
    )


def refusal(raised):
    """Why a work was refused, by an error of the store in one sentence; empty if it was not."""
    if raised is None:
        return ""
    kinds, sentence, trace = raised
    assert "StoreError" in kinds, trace
    assert sentence
    assert "\n" not in sentence
    return sentence


def tried(stage, folder, fault, before, after, *, frees=False):
    """A work under a fault, then a look and a next keep, in the same process and then in another.

    Args:
        before, after: what a look finds in the old state, and the view of the new one.
        frees: whether the work removes blobs, so that it may have removed some.
    """
    outcome = stage.play(folder, fault, LOOK, NEXT, LOOK)
    assert not outcome.killed, outcome
    work, look, more, last = outcome.steps()
    raised, (_, hit) = refusal(work.get("raised")), work["fault"]
    for step in (look, more, last):
        assert "raised" not in step, (hit, raised, step["raised"])
    (found,), (again,) = look["found"], last["found"]
    assert view(found) == (view(before) if raised else after), (hit, raised)
    assert ("next", 1, 999) in view(again)[0], hit
    assert again["listed"] == pointed(again), hit
    (later,) = seen(stage, folder, LOOK)
    assert later == again, hit
    if raised and not hit.startswith("unlink") and not frees:
        assert found["incoming"] == before["incoming"], hit
        assert found["blobs"] == before["blobs"], hit
    return raised, hit


@both(quick=19, full=1)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("work", WORKS)
def test_any_call_may_fail(stage, ground, furnished, work, error, effort):
    folder = ground.copy(furnished)
    found, whole = seen(stage, folder, LOOK, WORKS[work], LOOK)
    refused = 0
    for nth in itertools.count(1 + error % effort, effort):
        folder = ground.copy(furnished)
        fault = under(WORKS[work], "fail", nth, error)
        raised, hit = tried(stage, folder, fault, found, view(whole))
        assert raised or harmless(hit, folder), f"{hit} failed, and nobody heard of it"
        refused += bool(raised)
        if not hit:
            break
    assert refused > 15 / effort


@both(quick=19, full=1)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("work", WORKS)
def test_what_was_refused_does_not_come_back_after_a_crash(stage, ground, furnished, work, error, effort):
    """Another process has the catalog open, so that nobody clears its log up; then the machine stops."""
    folder = ground.copy(furnished)
    found, whole = seen(stage, folder, LOOK, WORKS[work], LOOK)
    for nth in itertools.count(1 + error % effort, effort):
        folder = ground.copy(furnished)
        with closing(sqlite3.connect(folder / "catalog.db")) as reader:
            reader.execute("SELECT count(*) FROM versions").fetchone()
            (step,) = stage.play(folder, under(WORKS[work], "fail", nth, error)).steps()
            stopped = shutil.copytree(folder, folder / "stopped", ignore=shutil.ignore_patterns("*-shm"))
        raised, (_, hit) = refusal(step.get("raised")), step["fault"]
        later, again = seen(stage, stopped, LOOK, NEXT, LOOK)
        assert view(later) == (view(found) if raised else view(whole)), (hit, raised)
        assert ("next", 1, 999) in view(again)[0], hit
        if not hit:
            break


@both(quick=37, full=1)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_any_call_of_the_first_keep_may_fail(stage, ground, error, effort):
    for nth in itertools.count(1 + error % effort, effort):
        fault = under(FIRST, "fail", nth, error)
        folder = ground.fresh()
        raised, hit = tried(stage, folder, fault, NOTHING, ([("income", 1, 5)], [], {}))
        assert raised or harmless(hit, folder), f"{hit} failed, and nobody heard of it"
        if not hit:
            break


@both(quick=29, full=1)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("work", CARE)
def test_any_call_may_fail_while_a_store_is_looked_after(stage, ground, ended, work, error, effort):
    (found,) = seen(stage, ended, LOOK)
    for nth in itertools.count(1 + error % effort, effort):
        folder = ground.copy(ended)
        fault = under(CARE[work], "fail", nth, error)
        _, hit = tried(stage, folder, fault, found, view(found), frees=True)
        if not hit:
            break


@both(quick=23, full=1)
@pytest.mark.parametrize("mode", ["fail", "short"])
def test_any_reading_may_fail(stage, ground, ended, mode, effort):
    """An error of the store, or all of what was asked for; never less, and never another kind of error."""
    folder = ground.copy(ended)
    reading = Step("read", {}, Fault(mode, 0, errno.EIO, KINDS["read"] | KINDS["look"]))
    ((whole,),) = stage.play(folder, reading).told("read")
    refused = 0
    for nth in itertools.count(1, effort):
        (step,) = stage.play(folder, Step("read", {}, replace(reading.fault, nth=nth))).steps()
        _, hit = step["fault"]
        refused += bool(refusal(step.get("raised")))
        assert "raised" in step or step["read"] == [whole], hit
        assert mode == "fail" or "read" in step, (hit, step)
        if not hit:
            break
    assert (refused > 0) == (mode == "fail")


@both(quick=17, full=1)
@pytest.mark.parametrize("work", WORKS)
def test_a_disk_that_stays_full_is_an_error_and_the_space_comes_back(stage, ground, furnished, work, effort):
    """At once; or with the next sweep, where the last room went to the blobs and the catalog had none to say so."""
    folder = ground.copy(furnished)
    found, whole = seen(stage, folder, LOOK, WORKS[work], LOOK)
    (swept,) = seen(stage, ground.copy(furnished), CARE["sweep"], LOOK)
    for nth in itertools.count(1, effort):
        fault = under(WORKS[work], "full", nth, errno.ENOSPC)
        tried(stage, ground.copy(furnished), fault, found, view(whole), frees=True)
        folder = ground.copy(furnished)
        (step,) = stage.play(folder, fault).steps()
        _, hit = step["fault"]
        left, cleared = seen(stage, folder, LOOK, CARE["sweep"], LOOK)
        if refusal(step.get("raised")):
            assert view(left) == view(found), hit
            assert cleared["blobs"] == swept["blobs"], hit
            assert left["blobs"] == found["blobs"] or hit.endswith("catalog.db-wal"), hit
            assert left["incoming"] == found["incoming"], hit
        if not hit:
            break


@both(quick=11, full=1)
@pytest.mark.parametrize("work", WORKS)
def test_any_write_may_be_cut_short(stage, ground, furnished, work, effort):
    folder = ground.copy(furnished)
    found, whole = seen(stage, folder, LOOK, WORKS[work], LOOK)
    for nth in itertools.count(1, effort):
        folder = ground.copy(furnished)
        fault = under(WORKS[work], "short", nth, 0, KINDS["write"])
        raised, hit = tried(stage, folder, fault, found, view(whole))
        assert not raised, (raised, hit)
        if not hit:
            break


COMMANDS = {
    "alias": ("alias", "income@prod", "income:1", "--why", "it is better"),
    "sweep": ("sweep",),
    "verify": ("verify",),
}


@both(quick=41, full=1)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_says_so_in_one_sentence(stage, ground, ended, name, effort):
    kinds = KINDS["read"] | KINDS["look"] if name == "verify" else CHANGES
    refused = 0
    for nth in itertools.count(1 + effort // 3, effort):
        folder = ground.copy(ended)
        words = {"words": [*COMMANDS[name], "--store", str(folder)]}
        (step,) = stage.play(folder, Step("command", words, Fault("fail", nth, errno.EIO, kinds))).steps()
        _, hit = step["fault"]
        assert "raised" not in step, (hit, step["raised"])
        code, said, _ = step["ended"]
        refused += code == 1
        assert code in (0, 1), (hit, said)
        if code == 1 and name != "verify":
            assert "Traceback" not in said
            assert len(said.strip().splitlines()) == 1, said
        if not hit:
            break
    assert refused
