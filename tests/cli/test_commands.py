"""What each command does when all is well, for people and for machines."""

import json
import os
import re
import shutil
import stat
from pathlib import Path

import pytest
import typer

import engram as facade
from engram.cli.application import application

NAMES = "sepal_length,sepal_width,petal_length,petal_width"


def read(answer) -> object:
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


@pytest.fixture
def own(kept, here):
    """A store of this test, with a copy of the kept version."""
    shutil.copytree(kept / "engrams", here / "engrams")
    return here


COMMANDS = typer.main.get_command(application).commands  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_of_a_command_is_explained(name):
    command = COMMANDS[name]
    assert command.help
    for parameter in command.params:
        assert getattr(parameter, "help", ""), parameter.name
    options = {parameter.name for parameter in command.params}
    assert "json" in options


def test_every_command_is_a_function_of_the_facade_or_a_method_of_the_store(here):
    """What is asked of a store is asked of ``engram.open()``; ``import`` is a keyword of Python."""
    store = facade.open(here)
    words = {"list": "names", "log": "versions", "show": "version"}
    others = {"import": "read", "convert": "write"}
    for name in set(COMMANDS) - {"doctor"}:
        assert hasattr(facade, others.get(name, name)) or hasattr(store, words.get(name, name)), name


def test_the_version_is_shown(engram):
    assert engram("--version").out == "engram 0.1.0\n"


def test_help_lists_every_command(engram):
    words = engram("--help").out.split()
    for name in COMMANDS:
        assert name in words


def test_list_shows_the_metric_that_decides(engram, own):
    (seen,) = read(engram("list", "--json"))
    assert seen["facts"]["metric"] == "accuracy"
    lines = engram("list").out.splitlines()
    assert lines[0].split() == ["network", "newest", "kept", "metric", "score", "size", "aliases"]
    assert [word for word in lines[1].split() if word in {"iris", ":1", "accuracy"}] == ["iris", ":1", "accuracy"]


def test_the_metric_named_first_is_the_one_that_decides(engram, here):
    text = '[data]\nfrom = "sklearn:iris"\n[train]\nepochs = 1\n[evaluate]\nmetrics = ["log_loss"]\nintervals = 0\n'
    (here / "net.toml").write_text(text)
    assert engram("run", "net.toml").out.startswith("✓ kept net:1  log_loss ")
    assert " log_loss " in engram("list").out
    assert " log_loss " in engram("log", "net").out


def test_an_empty_store_says_what_to_do(engram, own):
    shutil.rmtree(own / "engrams")
    (own / "x.toml").write_text(
        '[data]\nfrom = "sklearn:iris"\n[keep]\nif = { accuracy = ">= 2" }\n[train]\nepochs = 1\n'
    )
    assert engram("run", "x.toml").code == 1
    assert "keep a first version with: engram run FILE" in engram("list").out


def test_log_names_versions_runs_and_digests_whole(engram, own):
    seen = read(engram("log", "iris", "--json"))
    version = seen["versions"][0]
    assert seen["runs"][0]["status"] == "kept"
    for words in [("log",), ("log", "iris"), ("log", version["facts"]["run"])]:
        said = engram(*words).out
        assert "iris:1" in said
        assert version["facts"]["run"] in said
        assert version["digest"][7:15] in said
    assert engram("show", version["digest"][:15]).code == 0


def test_show_says_what_a_version_is_and_holds(engram, own):
    seen = read(engram("show", "iris", "--json"))
    assert seen["labels"] == ["setosa", "versicolor", "virginica"]
    said = engram("show", "iris").out
    assert seen["digest"] in said
    assert seen["data"] in said
    assert re.search(r"in +sepal_length +number", said)
    page = Path(said.rpartition("report: ")[2].strip())
    assert "<html" in page.read_text()


def test_predict_answers_rows_in_order(engram, own):
    (own / "rows.csv").write_text(f"{NAMES}\n5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n,,,\n")
    shown = engram("predict", "iris", "rows.csv")
    assert engram("predict", "iris", "rows.csv", "-o", "out.csv").out == "✓ 3 rows answered in out.csv\n"
    assert (own / "out.csv").read_text() == shown.out
    answered = read(engram("predict", "iris", "rows.csv", "--json"))
    model = facade.open(own / "engrams").load("iris")
    assert [row["label"] for row in answered] == model.predict(own / "rows.csv").labels.tolist()
    assert shown.out.splitlines()[1].split(",")[:2] == ["1", answered[0]["label"]]
    assert read(engram("predict", "iris", "rows.csv", "--json", "-o", "o.csv")) == {"rows": 3, "out": "o.csv"}


def test_rows_left_out_are_said_when_answering(engram, own):
    (own / "rows.csv").write_text(f"{NAMES}\n5.1,3.5,1.4,0.2\n1,2,3\n" + "5.1,3.5,1.4,0.2\n" * 3)
    assert "does not have 4 fields (line 3)" in engram("predict", "iris", "rows.csv").err


def test_evaluate_writes_the_report(engram, own):
    seen = read(engram("evaluate", "iris", "sklearn:iris", "-o", "page.html", "--json"))
    assert seen["rows"] == 150
    assert next(score["name"] for score in seen["scores"]) == "accuracy"
    assert "<html" in (own / "page.html").read_text()
    assert "150 rows" in engram("evaluate", "iris", "sklearn:iris").out
    assert (own / "iris-1.report.html").exists()


def test_evaluate_compares_several_versions_on_the_same_rows(engram, own):
    (own / "more.toml").write_text('[data]\nfrom = "sklearn:iris"\n[train]\nepochs = 8\n[evaluate]\nintervals = 20\n')
    assert engram("run", "more.toml").code == 0
    seen = read(engram("evaluate", "iris", "more", "sklearn:iris", "--json"))
    assert list(seen["scores"]) == ["iris:1", "more:1"]
    (made,) = seen["comparisons"]
    scores = [next(s["value"] for s in seen["scores"][name] if s["name"] == "accuracy") for name in seen["scores"]]
    apart = made["disagreement"]
    assert (apart["second"] - apart["first"]) / 150 == pytest.approx(scores[1] - scores[0])
    said = engram("evaluate", "iris", "more", "sklearn:iris").out
    assert made["verdict"] in said
    assert engram("evaluate", "iris", "iris:1", "sklearn:iris").sentence.endswith("name two or more different versions")
    assert "leave it out" in engram("evaluate", "iris", "more", "sklearn:iris", "-o", "x.html").sentence


def test_explain_says_what_a_version_goes_by(engram, own):
    seen = read(engram("explain", "iris", "sklearn:iris", "--row", "7", "-o", "why.svg", "--json"))
    assert len(seen["importances"]) == len(seen["effects"]) == 4
    assert sum(each["effect"] for each in seen["effects"]) == pytest.approx(seen["output"] - seen["average"])
    assert (own / "why.svg").read_text().count("<svg") == 1
    assert "row 7: chance of " in engram("explain", "iris", "sklearn:iris", "--row", "7").out
    assert "give --row 1 to 150" in engram("explain", "iris", "sklearn:iris", "--row", "151").sentence
    assert "ending" in engram("explain", "iris", "sklearn:iris", "-o", "why.gif").sentence


def test_a_version_leaves_and_comes_back_in_every_format(engram, own):
    umask = os.umask(0o022)
    os.umask(umask)
    for suffix in ("onnx", "safetensors", "json"):
        seen = read(engram("export", "iris", "--to", suffix, "--json"))
        assert seen["holds"]
        for name in (f"iris.{suffix}", f"iris.{suffix}.certificate.json"):
            assert stat.S_IMODE((own / name).stat().st_mode) == 0o666 & ~umask, name
        assert "largest difference" in engram("convert", f"iris.{suffix}", "-o", f"again-{suffix}.onnx").out
        assert read(engram("import", f"iris.{suffix}", "--name", "back", "--json"))["name"] == "back"
        assert "5,189 parameters" in engram("inspect", f"iris.{suffix}").out
    assert engram("list").code == 0
    assert "back:3" in engram("log", "back").out
    assert engram("show", "back").code == 0


def test_inspect_shows_the_layers_of_a_version(engram, own):
    said = engram("inspect", "iris").out
    assert "dense1" in said
    assert "bias 64, weight 64×4" in said
    assert read(engram("inspect", "iris", "--json"))["parameters"] == 5189


def test_an_alias_moves_and_its_history_remembers(engram, own):
    assert (
        engram("alias", "iris@prod", "iris:1", "--why", "the [bold] first").out == "✓ iris@prod is now iris:1 (new)\n"
    )
    moves = read(engram("history", "iris@prod", "--json"))
    assert [move["why"] for move in moves] == ["the [bold] first"]
    assert "the [bold] first" in engram("history", "iris@prod").out
    assert "prod → :1" in engram("list").out
    assert engram("show", "iris@prod").code == 0
    assert "is no alias; write NAME@ALIAS, such as iris@prod" in engram("history", "iris").sentence
    assert "is no alias; write NAME@ALIAS" in engram("alias", "iris", "iris:1").sentence


def test_new_check_and_run_answer_machines(engram, here):
    made = read(engram("new", "net.toml", "--from", "sklearn:iris", "--json"))
    assert (made["target"], made["rows"]) == ("species", 150)
    checked = read(engram("check", "net.toml", "--json"))
    assert checked["task"]["kind"] == "multiclass"
    assert not (here / "engrams").exists()
    said = engram("check", "net.toml")
    assert said.out.endswith("net.toml is good to run\n")
    (here / "net.toml").write_text((here / "net.toml").read_text() + "\n[train]\nepochs = 1\n")
    kept = read(engram("run", "net.toml", "--json"))
    assert Path(kept["report"]).exists()
    assert kept["digest"] == facade.open(here / "engrams").version("net").digest


def test_the_run_is_named_and_findings_are_said_where_nobody_looks_at_bars(engram, here):
    (here / "net.toml").write_text('[data]\nfrom = "sklearn:iris"\n[train]\nepochs = 1\n')
    said = engram("run", "net.toml").err
    assert f"run {facade.open(here / 'engrams').runs()[0].id}\n" in said
    assert "copies of another" in said
    assert "\r" not in said
    assert "\x1b" not in said


def test_doctor_finds_what_is_there_and_makes_nothing(engram, here):
    facts = {fact["what"]: fact for fact in read(engram("doctor", "--json"))}
    assert facts["torch"]["verdict"] == "good"
    assert "is not there yet" in facts["store"]["found"]
    assert not list(here.iterdir())
    assert "✓  numpy" in engram("doctor").out


def test_doctor_tells_where_the_catalog_is_and_that_the_variable_is_for_other_stores(engram, kept, monkeypatch):
    monkeypatch.setenv("ENGRAM_CATALOG", "postgresql://ada:secret@nowhere.invalid/nets")
    facts = {fact["what"]: fact for fact in read(engram("doctor", "--store", kept / "engrams", "--json"))}
    assert facts["catalog"]["found"] == str(kept / "engrams" / "catalog.db")
    assert facts["catalog"]["advice"] == (
        "ENGRAM_CATALOG (postgresql://ada@nowhere.invalid/nets) is only for stores that have none yet"
    )


def test_doctor_leaves_with_one_where_something_is_wrong(engram, here, monkeypatch):
    monkeypatch.setenv("ENGRAM_DATA", str(here / "nowhere"))
    assert "nowhere is no folder, name a folder that is there" in engram("doctor").sentence
    (here / "engrams" / "blobs" / "sha256").mkdir(parents=True)
    (here / "engrams" / "catalog.db").write_text("no database, but long enough to be taken for one " * 50)
    facts = {fact["what"]: fact for fact in json.loads(engram("doctor", "--json").out)}
    assert facts["store"]["verdict"] == "bad"
