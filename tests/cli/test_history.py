"""Commands about aliases, what protects them, and how versions are related."""

import json
import re
import shutil
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

import engram as facade
from engram.cli.terminal import when
from engram.records import Report, Score
from engram.store.references import parse

NET = """\
[data]
from = "sklearn:iris"
[train]
epochs = 1
[keep]
name = "iris"
alias = "prod"
"""


def read(answer) -> object:
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.fixture
def three(kept, here):
    """A store with iris:1, and prod at copies of it: iris:2 and then iris:3, of accuracy 0.8 and 0.9."""
    shutil.copytree(kept / "engrams", here / "engrams")
    store = facade.open(here / "engrams")
    for accuracy in (0.8, 0.9):
        report = Report("d", 9, "multiclass", (Score("accuracy", accuracy, accuracy, accuracy),))
        parent = store.version("iris")
        store.keep("iris", store.load("iris"), report=report, parents=[parent.digest], data=parent.data)
        store.alias("iris@prod", "iris", why=f"accuracy {accuracy}")
    return store


def test_a_rollback_says_what_was_and_what_is(engram, three):
    lines = engram("rollback", "iris@prod", "--why", "it [bold] fails").out.splitlines()
    assert lines[0] == "✓ iris@prod is iris:2 again (was iris:3)"
    assert lines[1].split() == ["version", "metric", "score", "kept"]
    assert [line.split()[:4] for line in lines[2:4]] == [
        ["now", "iris:2", "accuracy", "0.8"],
        ["was", "iris:3", "accuracy", "0.9"],
    ]
    assert lines[4] == "if that was wrong: engram rollback iris@prod --undo"
    assert "nothing is further back" in engram("rollback", "iris@prod").sentence
    undone = read(engram("rollback", "iris@prod", "--undo", "--json"))
    assert (undone["kind"], undone["now"]["number"], undone["was"]["number"]) == ("undo", 3, 2)
    assert "no rollback of iris@prod is left to undo" in engram("rollback", "iris@prod", "--undo").sentence
    assert engram("rollback", "iris@prod", "--to", "iris:2").out.startswith("✓ iris@prod is iris:2 again")
    assert "it [bold] fails" in engram("history", "iris@prod").out


@pytest.mark.parametrize("where", ["Pacific/Kiritimati", "Pacific/Marquesas", "Asia/Kathmandu", "UTC"])
def test_what_history_shows_can_be_typed_back(engram, three, zone, where):
    zone(where)
    for number in (1, 3, 2):  # several within a second
        engram("alias", "iris@prod", f"iris:{number}")
    moves = three.history("iris@prod")
    out = engram("history", "iris@prod").out
    shown = re.findall(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*)", out, re.MULTILINE)
    assert len(shown) == len(moves) == 5
    for said, move in zip(shown, moves, strict=True):
        assert read(engram("show", f"iris@prod@{said}", "--json"))["digest"] == move.target
        assert read(engram("show", f"iris@prod@{said.replace(' ', 'T')}", "--json"))["digest"] == move.target
    first = re.search(r"engram show (iris@prod@\S+)$", out, re.MULTILINE)[1]
    assert read(engram("show", first, "--json"))["digest"] == moves[-1].target
    day = shown[0].partition(" ")[0]
    assert read(engram("show", f"iris@prod@{day}", "--json"))["digest"] == moves[0].target


def test_an_hour_that_a_clock_shows_twice_is_shown_with_its_offset(zone):
    zone("Europe/Berlin")
    moments = [datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in range(3)]
    shown = [when(moment, "seconds") for moment in moments]
    assert shown == ["2026-10-25 02:30:00+02:00", "2026-10-25 02:30:00+01:00", "2026-10-25 03:30:00"]
    assert [parse(f"a@b@{said}").moment.replace(microsecond=0) for said in shown] == moments


def test_a_rollback_past_a_gate_is_not_blocked_and_is_told(engram, three):
    engram("protect", "iris@prod", "--if", "accuracy >= 0.85")
    went = engram("rollback", "iris@prod")
    assert went.code == 0
    assert went.out.startswith("✓ iris@prod is iris:2 again")
    assert "iris@prod is protected, and of iris:2, accuracy is 0.8 and must be >= 0.85" in went.err
    assert "rolled back, unmet" in engram("history", "iris@prod").out


def test_history_tells_moves_and_gates_in_their_order(engram, three):
    engram("rollback", "iris@prod")
    engram("protect", "iris@prod", "--if", "accuracy >= 0.85", "--why", "the contract")
    engram("alias", "iris@prod", "iris:2", "--force", "--why", "no time")
    engram("protect", "iris@prod", "--off")
    kinds = [entry["kind"] for entry in read(engram("history", "iris@prod", "--json"))]
    assert kinds == ["freed", "forced", "protected", "rollback", "move", "move"]
    lines = engram("history", "iris@prod").out.splitlines()
    assert lines[0].split() == ["when", "who", "what", "from", "to", "why"]
    for line, words in zip(lines[1:], ("freed", "forced", "accuracy >= 0.85", "rolled back"), strict=False):
        assert words in line


def test_a_protected_alias_refuses_says_why_and_can_be_forced(engram, three):
    said = engram("protect", "iris@prod", "--if", "accuracy >= 0.85", "--if", "accuracy<1").sentence
    assert said == "--if names accuracy twice (>= 0.85 and <1); say one of the two"
    said = engram("protect", "iris@prod", "--if", "accuracy >= 0.85")
    assert said.out == "✓ iris@prod only moves to versions with accuracy >= 0.85\n"
    assert engram("protect", "iris@prod").out == "iris@prod only moves to versions with accuracy >= 0.85\n"
    assert read(engram("protect", "iris@prod", "--json"))["conditions"] == {"accuracy": ">= 0.85"}
    assert "prod → :3 (protected)" in engram("list").out
    refused = engram("alias", "iris@prod", "iris:2").sentence
    assert "stays at iris:3: of iris:2, accuracy is 0.8 and must be >= 0.85" in refused
    assert "needs a reason" in engram("alias", "iris@prod", "iris:2", "--force").sentence
    forced = engram("alias", "iris@prod", "iris:2", "--force", "--why", "no time")
    assert forced.out == "✓ iris@prod is now iris:2 (was iris:3)\n"
    assert "does not meet what protects iris@prod" in forced.err
    assert engram("protect", "iris@prod", "--off").out == "✓ iris@prod is free\n"
    assert engram("protect", "iris@prod").out == "iris@prod is not protected; protect it with --if CONDITION\n"
    assert engram("protect", "iris@prod", "--json").out == "null\n"
    assert "say one of the two" in engram("protect", "iris@prod", "--off", "--if", "accuracy > 0").sentence


def test_a_gate_that_the_present_version_does_not_pass_is_put_up_and_said(engram, three):
    said = engram("protect", "iris@prod", "--if", "accuracy >= 0.95", "--if", "log_loss <= present")
    assert said.err == "• iris@prod stays at iris:3, of which accuracy is 0.9 and must be >= 0.95\n"


def test_an_alias_can_be_protected_before_it_is_set(engram, three):
    assert engram("protect", "iris@next", "--if", "accuracy >= 0.85").code == 0
    assert [entry["kind"] for entry in read(engram("history", "iris@next", "--json"))] == ["protected"]
    assert "is not set: of iris:2" in engram("alias", "iris@next", "iris:2").sentence
    assert engram("alias", "iris@next", "iris:3").out == "✓ iris@next is now iris:3 (new)\n"


def test_a_trained_version_is_kept_even_if_its_alias_refuses_it(engram, here):
    (here / "net.toml").write_text(NET)
    assert engram("run", "net.toml").code == 0
    assert engram("protect", "iris@prod", "--if", "accuracy >= 2").code == 0
    said = engram("run", "net.toml").sentence
    assert said.startswith("iris:2 is kept, but iris@prod is protected and stays at iris:1: of iris:2, accuracy is ")
    store = facade.open(here / "engrams")
    assert [run.status for run in store.runs()] == ["kept", "kept"]
    assert store.runs()[0].version == store.version("iris:2").digest
    assert store.version("iris@prod").number == 1


def test_a_pipeline_that_compares_with_what_is_there_is_refused_before_training(engram, here):
    (here / "net.toml").write_text(NET + 'if = { accuracy = ">= present" }\n')
    assert "which only the gate of an alias can (engram protect NAME@ALIAS)" in engram("check", "net.toml").sentence


def test_diff_shows_what_differs_and_nothing_else(engram, three):
    said = engram("diff", "iris:2", "iris:3").out
    assert re.search(r"^accuracy +0\.8 +0\.9 +\+0\.1$", said, re.MULTILINE)
    assert "all 16 weights are the same" in said
    assert "layer" not in said
    said = engram("diff", "iris:1", "iris:2").out
    assert re.search(r"^parents +– +sha256:[0-9a-f]{12}…$", said, re.MULTILINE)
    assert '-from = "sklearn:iris"' in said
    found = read(engram("diff", "iris:1", "iris:2", "--json"))
    assert found["unchanged"] == 16
    assert found["weights"] == []
    assert "did you mean" in engram("diff", "iris", "irs").sentence


def test_lineage_is_a_tree_a_picture_or_json(engram, three, here):
    run = three.version("iris:1").facts["run"]
    lines = engram("lineage", "iris:2").out.splitlines()
    assert lines[0].startswith("iris:2  accuracy 0.8  ")
    assert lines[1:3] == ["", "made from"]
    assert lines[3].startswith("├─ iris:1  accuracy ")
    assert lines[4].startswith(f"│  └─ run {run}  kept  ")
    assert lines[5].startswith("│     └─ data sha256:")
    assert lines[6].startswith("└─ data sha256:")
    assert lines[8] == "went into"
    assert lines[9].startswith("└─ iris:3  accuracy 0.9")
    assert lines[9].endswith("@prod")
    assert engram("lineage", "iris:2", "-o", "tree.svg").out == (
        "✓ 5 parts of the lineage of iris:2 are drawn in tree.svg\n"
    )
    assert ET.fromstring((here / "tree.svg").read_text()).tag.endswith("svg")
    assert len(read(engram("lineage", "iris:2", "--json"))["nodes"]) == 5
    assert "cannot be written" in engram("lineage", "iris:2", "-o", "no/such/tree.svg").sentence


def test_a_tree_of_a_thousand_generations_is_shown(engram, three):
    for _ in range(3):
        three.keep("deep", three.load("iris"), parents=[v.digest for v in three.versions("deep", most=2)])
    lines = engram("lineage", "deep:3").out.splitlines()
    assert sum("deep:1" in line for line in lines) == 2
    from engram.cli.history import _branches

    chain = {str(n): [str(n + 1)] for n in range(5000)}
    assert len(_branches("0", chain)) == 5000


def test_log_shows_the_newest_and_says_how_many_there_are(engram, three):
    lines = engram("log", "iris", "-n", "2").out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["iris:3", "iris:2"]
    assert lines[3] == "1 more, which are older: engram log --all"
    found = read(engram("log", "-n", "1", "--json"))
    assert (found["total"], [v["number"] for v in found["versions"]]) == (3, [3])
    assert len(read(engram("log", "--all", "--json"))["versions"]) == 3
    assert "more, which are older" not in engram("log").out
    run = three.version("iris:1").facts["run"]
    assert "iris:1" in engram("log", run).out


def test_what_the_commands_do_the_functions_do(three, here, monkeypatch):
    store = here / "engrams"
    assert facade.alias("iris@next", "iris:1", why="first", store=store).why == "first"
    facade.alias("iris@next", "iris:2", store=store)
    assert facade.rollback("iris@next", store=store).kind == "rollback"
    assert facade.rollback("iris@next", undo=True, store=store).kind == "undo"
    assert facade.rollback("iris@next", to="iris:1", why="x", store=store).why == "x"
    assert facade.protect("iris@next", {"accuracy": "> 0.85"}, store=store).conditions == {"accuracy": "> 0.85"}
    with pytest.raises(facade.errors.ConditionNotMet):
        facade.alias("iris@next", "iris:2", store=store)
    assert facade.alias("iris@next", "iris:2", force=True, why="y", store=store).kind == "forced"
    assert [move.kind for move in facade.history("iris@next", store=store)][:2] == ["forced", "rollback"]
    assert facade.diff("iris:2", "iris:3", store=store).unchanged == 16
    assert len(facade.lineage("iris:2", store=store).nodes) == 5
    assert [version.number for version in facade.list(store)] == [3]
    assert len(facade.log("iris", most=2, store=store).versions) == 2
