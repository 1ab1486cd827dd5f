"""A process killed at every call it makes on the store: the old state or the new one, and nothing between."""

import itertools
import random
from dataclasses import replace

import pytest

from faults.looks import LOOK, both, pointed, seen, view
from faults.stage import Fault, Step

pytest_plugins = ["faults.fixtures"]

WORKS = {
    "keep": ["keep", 5],
    "keep a large network": ["keep", 5, "income", True],
    "move an alias": ["alias", "income:1"],
    "save a checkpoint": ["checkpoint", 6],
    "save the best checkpoint": ["checkpoint", 6, True],
    "begin a run": ["begin", "income-2"],
    "end a run": ["finish", "failed"],
    "sweep": ["sweep"],
    "make the catalog anew": ["rebuild"],
}
NEXT = Step("keep", {"seed": 999, "name": "next"})


def under(work, mode="off", nth=0):
    return Step("play", {"acts": [WORKS[work]]}, Fault(mode, nth))


def survived(stage, folder, outcome, before, after):
    """Old or new; what was acknowledged is there, and the next keep works."""
    first, second = seen(stage, folder, LOOK, NEXT, LOOK)
    assert view(first) in (before, after)
    assert not outcome.told("raised"), outcome
    if {word for word, *_ in outcome.said} - {"fault"}:
        assert view(first) == after
    assert [entry for entry in view(second)[0] if entry[0] == "next"] == [("next", 1, 999)]
    assert second["listed"] == pointed(second)


@both(quick=17, full=1)
@pytest.mark.parametrize("work", WORKS)
def test_a_kill_at_any_call_leaves_the_old_state_or_the_new_one(stage, ground, ended, work, effort):
    folder = ground.copy(ended)
    before, after = map(view, seen(stage, folder, LOOK, under(work), LOOK))
    for mode, start in (("kill before", 1), ("kill after", 1 + effort // 2)):
        for nth in itertools.count(start, effort):
            folder = ground.copy(ended)
            outcome = stage.play(folder, under(work, mode, nth))
            survived(stage, folder, outcome, before, after)
            if not outcome.killed:
                break
        assert nth > 15


@both(quick=31, full=1)
def test_the_first_keep_of_all_may_be_killed_at_any_call(stage, ground, effort):
    nothing, kept = ([], [], {}), ([("income", 1, 5)], [], {})
    for mode, start in (("kill before", 1), ("kill after", 1 + effort // 2)):
        for nth in itertools.count(start, effort):
            folder = ground.fresh()
            outcome = stage.play(folder, under("keep", mode, nth))
            survived(stage, folder, outcome, nothing, kept)
            if not outcome.killed:
                break
        assert nth > 100


@both(quick=40, full=1000)
def test_a_kill_at_any_moment_loses_nothing_acknowledged(stage, ground, ended, effort):
    chance = random.Random(20_261)
    acts = [["keep", 20], ["alias", "income"], ["keep", 21, "house"], ["begin", "income-2"], ["keep", 22], ["sweep"]]
    told = 0
    for _ in range(effort):
        folder = ground.copy(ended)
        outcome = stage.play(folder, Step("play", {"acts": acts}, Fault(seconds=chance.uniform(0.001, 0.25))))
        first, second = seen(stage, folder, LOOK, NEXT, LOOK)
        view(first)
        kept = {digest: seed for digest, (_, _, seed) in first["versions"].items()}
        assert dict(outcome.told("kept")).items() <= kept.items()
        assert [digest] == first["moves"][-1:] if (digest := (outcome.told("moved") or [[""]])[-1][0]) else True
        assert ("next", 1, 999) in view(second)[0]
        told += len(outcome.told("kept"))
    assert told > effort / 4


SMALL = {
    "make them small": [["demote"]],
    "make them small while somebody tidies up": [["demote beside"]],
    "end the run and look after the store": [["finish", "stopped"], ["sweep"]],
}
SWEEP = Step("play", {"acts": [["sweep"]]})


def tidied(stage, folder):
    """What lies there once whoever comes next has looked after the store, twice: what he finds loose goes then."""
    finish = Step("play", {"acts": [["finish", "stopped"]]})
    *_, last = seen(stage, folder, finish, SWEEP, SWEEP, LOOK)
    view(last)
    return {part: last[part] for part in ("blobs", "differences", "runs")}


@both(quick=23, full=1)
@pytest.mark.parametrize("work", SMALL)
def test_a_kill_while_old_checkpoints_are_made_small_loses_none_and_leaves_nothing(
    stage, ground, outlived, work, effort
):
    """One stands on what only it holds, and is moved: of the forms that it has meanwhile, there is one that reads."""
    step = Step("play", {"acts": SMALL[work]})
    folder = ground.copy(outlived)
    before, after = map(view, seen(stage, folder, LOOK, step, LOOK))
    assert before[2]["income-1"][1] == after[2]["income-1"][1] == [6, 4, 2]
    wanted = tidied(stage, folder)
    for mode, start in (("kill before", 1), ("kill after", 1 + effort // 2)):
        for nth in itertools.count(start, effort):
            folder = ground.copy(outlived)
            outcome = stage.play(folder, replace(step, fault=Fault(mode, nth)))
            (first,) = seen(stage, folder, LOOK)
            assert view(first) in (before, after), (mode, nth)
            assert tidied(stage, folder) == wanted, (mode, nth)
            if not outcome.killed:
                break
        assert nth > 25
