"""A table nobody prepared: ``new``, then ``run``, without an edit between them."""

import math
import tomllib
from pathlib import Path

import numpy as np
import pytest

import engram
from engram.errors import EngramError, UnknownName, UsageError

RANDOM = np.random.default_rng(0)
ROWS = 120


def rows(*columns, header=True, separator=","):
    """A table as text; each column is its name and a function from the row's number to what is written."""
    lines = [separator.join(name for name, _ in columns)] if header else []
    lines += [separator.join(str(write(i)) for _, write in columns) for i in range(ROWS)]
    return "\n".join(lines) + "\n"


def signal(i):
    return round(math.sin(i) * 10, 3)


def answer(i):
    return "yes" if signal(i) > 0 else "no"


def quoted(text):
    return '"' + text.replace('"', '""') + '"'


TABLES = {
    "dates, booleans, ids, a constant and a column of gaps": rows(
        ("id", lambda i: 1000 + i), ("unit", lambda _: "kg"), ("empty", lambda _: ""),
        ("day", lambda i: f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}"), ("open", lambda i: ["true", "false", ""][i % 3]),
        ("x", lambda i: signal(i) if i % 5 else "NA"), ("sold", answer),
    ),
    "stray words and infinite values among numbers": rows(
        ("x", lambda i: "unknown" if i == 7 else "n.a." if i == 9 else signal(i)),
        ("y", lambda i: "inf" if i == 3 else signal(i)), ("ok", answer),
    ),
    "a stray word in the target": rows(("x", signal), ("price", lambda i: "tbd" if i == 5 else 3 * signal(i))),
    "unicode, spaces and quotes in names": rows(
        ("größe", signal), ("年齢", lambda i: i % 50), ("пол", lambda i: "мж"[i % 2]), ("my column", signal),
        (quoted('a "b", c'), lambda i: i % 9), ("x = [1]", lambda i: i % 3), ("is it?", answer),
    ),
    "names of tensors": rows(
        ("features", signal), ("label", lambda i: i % 4), ("image", lambda i: "ab"[i % 2]), ("probabilities", answer)
    ),
    "names of tensors, a value": rows(("label", signal), ("value", lambda i: 2 * signal(i) + i / 7)),
    "two rows of a class": rows(("x", signal), ("kind", lambda i: "rare" if i < 2 else answer(i))),
    "sixty categories in 120 rows": rows(("city", lambda i: f"c{i % 60}x{i % 5}"), ("x", signal), ("ok", answer)),
    "semicolons and decimal commas": rows(
        ("x", lambda i: str(signal(i)).replace(".", ",")), ("ok", answer), separator=";"
    ),
    "the target first": rows(("class", answer), ("x", signal), ("z", lambda i: i % 8)),
    "a target of zeros and ones": rows(("x", signal), ("z", lambda i: i % 8), ("y", lambda i: int(signal(i) > 0))),
    "no header": rows(("", signal), ("", lambda i: i % 5), ("", answer), header=False),
    "very large and small numbers, codes, a text, spaces around words": rows(
        ("x", lambda i: signal(i) * 1e30), ("z", lambda i: signal(i) * 1e-30), ("zip", lambda i: f"0{i % 9}123"),
        ("note", lambda i: f"this is note {i * i}"), ("k", lambda i: [" a", "a ", "b"][i % 3]), ("ok", answer),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_nobody_prepared_becomes_a_model_that_answers_its_own_file(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("My Table.csv").write_text(TABLES[name], encoding="utf-8")
    engram.new("My Table.toml", "My Table.csv")
    text = Path("My Table.toml").read_text(encoding="utf-8")
    tomllib.loads(text)
    # Every row is used as it is; only the passes over them and the pictures of the report are fewer.
    Path("My Table.toml").write_text(
        text + "\n[train]\nepochs = 1\nthreads = 1\n[evaluate]\nintervals = 0\n", encoding="utf-8"
    )
    version = engram.run("My Table.toml")
    assert version.reference == "my-table:1"
    score = version.metrics[version.deciding[0]]
    assert np.isfinite(score)
    prediction = engram.predict("my-table", "My Table.csv")
    assert len(prediction) == ROWS
    answers = prediction.probabilities if prediction.labels is not None else prediction.values
    assert answers is not None
    assert np.isfinite(answers).all()


def test_rows_without_a_target_are_left_out_when_a_version_is_judged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLES["a stray word in the target"])
    engram.new("t.toml", "t.csv")
    Path("t.toml").write_text(Path("t.toml").read_text() + "\n[train]\nepochs = 1\n")
    engram.run("t.toml")
    report = engram.evaluate("t", "t.csv")
    assert report.rows == ROWS - 1
    assert "1 row has no 'price' and was left out" in report.findings


def test_twenty_rows_are_enough(tmp_path):
    lines = TABLES["the target first"].splitlines()[:21]
    (tmp_path / "few.csv").write_text("\n".join(lines))
    engram.new(tmp_path / "few.toml", str(tmp_path / "few.csv"))
    version = engram.run(tmp_path / "few.toml", store=tmp_path / "store")
    assert version.facts["epochs"] == 100


def test_what_is_learned_without_an_edit_is_sensible(tmp_path):
    """Nine tenths of a rule that a straight line through two columns can tell."""
    table = np.random.default_rng(1).normal(size=(600, 3))
    lines = [f"{a:.4f},{b:.4f},{c:.4f},{'above' if a + b > 0 else 'below'}" for a, b, c in table]
    (tmp_path / "line.csv").write_text("a,b,c,side\n" + "\n".join(lines))
    engram.new(tmp_path / "line.toml", str(tmp_path / "line.csv"))
    text = (tmp_path / "line.toml").read_text()
    (tmp_path / "line.toml").write_text(text + "\n[train]\nepochs = 10\n")
    assert engram.run(tmp_path / "line.toml", store=tmp_path / "store").metrics["accuracy"] > 0.9


def test_stray_words_are_taken_for_gaps_and_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLES["stray words and infinite values among numbers"])
    engram.new("t.toml", "t.csv")
    written = tomllib.loads(Path("t.toml").read_text())
    assert {"unknown", "n.a.", "inf", "NA", "?"} <= set(written["data"]["missing"])
    assert "columns" not in written
    assert engram.check("t.toml").columns[0].kind == "number"


def test_names_in_the_file_are_found_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLES["no header"])
    engram.new("t.toml", "t.csv", columns=["a", "b", 'say "hi"'])
    written = tomllib.loads(Path("t.toml").read_text())["data"]
    assert written["names"] == ["a", "b", 'say "hi"']
    assert written["target"] == 'say "hi"'


def test_an_official_test_file_or_a_share_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLES["the target first"])
    engram.new("a.toml", "t.csv", test="0.4")
    engram.new("b.toml", "t.csv", test="t.csv")
    assert tomllib.loads(Path("a.toml").read_text())["data"]["test"] == 0.4
    assert tomllib.loads(Path("b.toml").read_text())["data"]["test"] == "t.csv"
    assert engram.check("a.toml").rows["test"] == 0.4 * ROWS


def test_a_file_that_is_there_is_not_written_over(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLES["the target first"])
    Path("t.toml").write_text("mine")
    with pytest.raises(UsageError, match=r"t\.toml is already there; choose another name or say --force"):
        engram.new("t.toml", "t.csv")
    assert Path("t.toml").read_text() == "mine"
    engram.new("t.toml", "t.csv", force=True)
    assert Path("t.toml").read_text() != "mine"


def test_a_pipeline_in_another_folder_finds_the_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(TABLES["the target first"])
    Path("inner").mkdir()
    engram.new("inner/t.toml", "t.csv")
    assert engram.check("inner/t.toml").rows["train"] > 0


def test_what_cannot_be_predicted_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a\n" + "2024-01-01\n2024-01-02\n" * 20)
    with pytest.raises(UsageError, match="no column that could be predicted; say which one with --target"):
        engram.new("t.toml", "t.csv")
    with pytest.raises(UnknownName, match="has no column 'b'"):
        engram.new("t.toml", "t.csv", target="b")
    with pytest.raises(EngramError, match="no such file or folder"):
        engram.new("t.toml", "none.csv")
    assert not Path("t.toml").exists()


def test_images_and_bundled_data_get_a_pipeline_too(tmp_path):
    assert "1,797 rows" in engram.new(tmp_path / "d.toml", "sklearn:digits")
    written = tomllib.loads((tmp_path / "d.toml").read_text())
    assert written["model"]["kind"] == "cnn"
    assert written["augment"] == {"shift": 2}
