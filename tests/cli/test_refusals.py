"""Bad input through the command line: one sentence, the right exit code, and nothing left behind."""

import io
import os
import resource
import shlex
import stat
import subprocess
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import engram as facade

ROWS = "\n".join(f"{i % 7},{i * 37 % 11},{'yes' if i % 3 else 'no'}" for i in range(60))
TABLE = f"age,height,owner\n{ROWS}\n"


def pipeline(place: Path, data: str = 'from = "rows.csv"\ntarget = "owner"', rest: str = "[train]\nepochs = 1") -> None:
    place.write_text(f"[data]\n{data}\n{rest}\n")


def table(here: Path, text: str = TABLE, **sections: str) -> None:
    (here / "rows.csv").write_text(text)
    pipeline(here / "rows.toml", **sections)


def left(here: Path) -> set[str]:
    """Everything in the folder but what the test itself put there."""
    return {str(path.relative_to(here)) for path in here.rglob("*")} - {"rows.csv", "rows.toml", "rows.zip"}


@contextmanager
def no_file_larger_than(limit: int):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_missing_pipeline_file_says_how_to_make_one(engram, here):
    assert "nothing.toml: no such pipeline file; make one with: engram new" in engram("run", "nothing.toml").sentence
    assert not left(here)


def test_a_missing_data_file_says_where_it_was_looked_for(engram, here):
    pipeline(here / "rows.toml")
    sentence = engram("run", "rows.toml").sentence
    assert f"rows.csv: no such file or folder in {here}" in sentence
    assert "ENGRAM_DATA" in sentence
    assert not left(here)


def test_a_missing_data_file_is_answered_with_the_nearest(engram, here):
    (here / "row.csv").write_text(TABLE)
    pipeline(here / "rows.toml")
    sentence = engram("run", "rows.toml").sentence
    assert "did you mean 'row.csv' (else set ENGRAM_DATA to the folder that has it)?" in sentence


def test_data_are_found_in_the_folder_that_engram_data_names(engram, here, kept, monkeypatch):
    (here / "data").mkdir()
    (here / "data" / "rows.csv").write_text(TABLE)
    names = "sepal_length,sepal_width,petal_length,petal_width,species"
    (here / "data" / "flowers.csv").write_text(f"{names}\n5.1,3.5,1.4,0.2,setosa\n6.7,3.0,5.2,2.3,virginica\n")
    pipeline(here / "rows.toml")
    monkeypatch.setenv("ENGRAM_DATA", str(here / "data"))
    assert engram("check", "rows.toml").code == 0
    assert engram("predict", "iris", "flowers.csv", "--store", kept / "engrams").code == 0
    assert engram("evaluate", "iris", "flowers.csv", "--store", kept / "engrams").code == 0
    sentence = engram("predict", "iris", "none.csv", "--store", kept / "engrams").sentence
    assert f"none.csv: no such file or folder in {here}" in sentence


@pytest.mark.parametrize("text", ["", "\n\n  \n"])
def test_an_empty_file_is_said_to_be_empty(engram, here, text):
    table(here, text)
    assert "rows.csv is empty (0 rows)" in engram("run", "rows.toml").sentence
    assert "rows.csv is empty (0 rows)" in engram("new", "x.toml", "--from", "rows.csv").sentence
    assert not left(here)


def test_a_header_without_rows_is_refused(engram, here):
    table(here, "age,height,owner\n")
    assert "rows.csv: a header and 0 rows; add rows below the header" in engram("run", "rows.toml").sentence


def test_a_column_that_is_not_there_is_answered_with_the_nearest_and_the_line(engram, here):
    table(here, rest='[columns]\nheigth = "ignore"')
    sentence = engram("run", "rows.toml").sentence
    assert sentence.startswith("rows.toml:5: ")
    assert "did you mean 'height'?" in sentence


def test_a_target_that_is_not_there_is_answered_with_the_nearest_and_the_line(engram, here):
    table(here, data='from = "rows.csv"\ntarget = "ower"')
    sentence = engram("run", "rows.toml").sentence
    assert sentence.startswith("rows.toml:3: ")
    assert "did you mean 'owner'?" in sentence
    assert "did you mean 'owner'?" in engram("new", "x.toml", "--from", "rows.csv", "--target", "ower").sentence
    assert not left(here)


@pytest.mark.parametrize(
    "text",
    ["age,owner\n" + "\n".join(f"{i},yes" for i in range(60)), "age,owner\n" + "\n".join(f"{i},3" for i in range(60))],
)
def test_a_constant_target_leaves_nothing_to_learn(engram, here, text):
    table(here, text)
    assert "has the one value" in (sentence := engram("run", "rows.toml").sentence)
    assert "name another column" in sentence
    assert not left(here)


def test_a_target_with_gaps_is_learned_from_the_other_rows_with_a_note(engram, here):
    table(here, TABLE + "3,4,\n5,6,?\n")
    done = engram("run", "rows.toml")
    assert done.code == 0
    assert "2 rows have no 'owner' and were left out" in done.err
    assert "2 rows have no 'owner' and were left out" in engram("show", "rows").err


def test_a_column_that_is_all_gaps_is_ignored_and_said(engram, here):
    rows = "\n".join(f"{line},{'' if i % 2 else '?'}" for i, line in enumerate(ROWS.splitlines()))
    table(here, f"age,height,owner,nothing\n{rows}\n")
    done = engram("check", "rows.toml")
    assert done.code == 0
    assert "column 'nothing' is ignored: no row has a value" in done.err


def test_duplicate_column_names_are_named_with_their_places(engram, here):
    table(here, TABLE.replace("height", "age", 1))
    assert "column 'age' is there 2 times (columns 1, 2); rename all but one" in engram("run", "rows.toml").sentence
    assert not left(here)


def test_a_class_with_one_row_is_trained_on_and_said(engram, here):
    table(here, TABLE + "3,4,maybe\n")
    done = engram("run", "rows.toml")
    assert done.code == 0
    assert "class 'maybe' has 1 row" in done.err


def test_a_row_with_too_many_fields_is_left_out_and_said(engram, here):
    table(here, TABLE + "3,4,yes,5\n")
    done = engram("check", "rows.toml")
    assert done.code == 0
    assert "1 of 61 rows does not have 3 fields (line 62)" in done.err


def test_many_rows_with_too_many_fields_are_refused_with_their_lines(engram, here):
    table(here, TABLE + "3,4,yes,5\n" * 9)
    sentence = engram("run", "rows.toml").sentence
    assert "9 of 69 rows do not have 3 fields (lines 62, 63" in sentence
    assert not left(here)


def test_words_among_numbers_are_named_with_their_rows(engram, here):
    table(here, TABLE.replace("\n3,", "\nthree,", 1))
    sentence = engram("run", "rows.toml").sentence
    assert "rows.csv: column 'age' has 1 value that is not a number (row 4: 'three')" in sentence
    assert "[columns]" in sentence
    assert not left(here)


@pytest.mark.parametrize("word", ["inf", "-Infinity", "1e999"])
def test_infinite_values_are_named_with_their_rows(engram, here, word):
    table(here, TABLE.replace("\n3,", f"\n{word},", 1))
    assert "column 'age' has an infinite value (row 4)" in engram("run", "rows.toml").sentence
    assert not left(here)


@pytest.mark.parametrize(
    ("rest", "line", "help_"),
    [
        ('[model]\nkind = "mlp"\ndropuot = 0.1', 6, "did you mean 'dropout'?"),
        ("[train]\nepoch = 3", 5, "did you mean 'epochs'?"),
        ("[trian]\nepochs = 3", 4, "did you mean 'train'?"),
        ('[model]\nkind = "mpl"', 5, "did you mean 'mlp'?"),
        ('[train]\noptimizer = { name = "rmsporp" }', 5, "did you mean 'rmsprop'?"),
        ('[evaluate]\nmetrics = ["acuracy"]', 5, "did you mean 'accuracy'?"),
        ('[keep]\nif = { acuracy = ">= 0.5" }', 5, "did you mean 'accuracy'?"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_answered_with_the_nearest_and_the_line(engram, here, rest, line, help_):
    table(here, rest=rest)
    for verb in ("check", "run"):
        sentence = engram(verb, "rows.toml").sentence
        assert sentence.startswith(f"rows.toml:{line}: "), sentence
        assert help_ in sentence
    assert not left(here)


@pytest.mark.parametrize(
    ("rest", "line"),
    [
        ('[train]\nepochs = "three"', 5),
        ("[train]\nepochs = 0", 5),
        ("[model]\ndropout = 7", 5),
        ("[model]\nlayers = [64, -1]", 5),
        ('[train]\noptimizer = { name = "adamw", lr = "fast" }', 5),
        ("[keep]\nif = { accuracy = 0.5 }", 5),
        ('[keep]\nif = { accuracy = "good" }', 5),
        ('[columns]\nage = "number of years"', 5),
    ],
)
def test_a_value_of_the_wrong_type_is_shown_with_the_line(engram, here, rest, line):
    table(here, rest=rest)
    for verb in ("check", "run"):
        assert engram(verb, "rows.toml").sentence.startswith(f"rows.toml:{line}: ")
    assert not left(here)


def test_a_file_that_is_not_toml_is_refused_with_the_line(engram, here):
    (here / "rows.toml").write_text('[data]\nfrom = "rows.csv\n')
    assert "line 2" in engram("run", "rows.toml").sentence


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/x", "..", "A B", "sha256"])
def test_a_name_that_is_a_path_is_refused_before_anything_is_read(engram, here, name):
    pipeline(here / "rows.toml", rest=f'[keep]\nname = "{name}"')
    sentence = engram("run", "rows.toml").sentence
    assert sentence.startswith("rows.toml:5: ")
    assert f"name {name!r} cannot be used" in sentence
    assert not left(here)


@pytest.mark.parametrize(
    "words",
    [
        ("show", "../x"),
        ("log", "../x"),
        ("export", "../x", "--to", "onnx"),
        ("alias", "../x@prod", "iris"),
        ("serve", "../x"),
    ],
)
def test_a_reference_that_is_a_path_is_refused(engram, here, kept, words):
    assert "cannot be used (it looks like a path)" in engram(*words, "--store", kept / "engrams").sentence
    assert not left(here)


@pytest.mark.parametrize("words", [("fly",), ("run",), ("run", "x.toml", "--fast"), ("serve", "x", "--port", "many")])
def test_a_misused_command_line_leaves_with_two(engram, words):
    answer = engram(*words)
    assert answer.code == 2
    assert "Traceback" not in answer.err


def picture(size: tuple[int, int], seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(here: Path, spoiled: bytes) -> None:
    with zipfile.ZipFile(here / "rows.zip", "w") as made:
        for i in range(24):
            made.writestr(f"{'cat' if i % 2 else 'dog'}/{i}.png", picture((8, 8), i))
        made.writestr("cat/spoiled.png", spoiled)
    pipeline(here / "rows.toml", data='from = "rows.zip"')


SPOILED = {
    "truncated": picture((8, 8), 0)[:60],
    "cut at its end": picture((8, 8), 1)[:-30],
    "text": b"no picture at all",
    "empty": b"",
}


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_a_damaged_image_is_named_and_left_out(engram, here, spoiled):
    pictures(here, spoiled)
    done = engram("check", "rows.toml")
    assert done.code == 0
    assert "rows.zip: 1 of 25 images cannot be read and were left out (cat/spoiled.png is" in done.err
    (here / "rows.zip").write_bytes((here / "rows.zip").read_bytes()[:-80])
    assert "rows.zip" in engram("run", "rows.toml").sentence
    assert not left(here)


@pytest.mark.parametrize("spoiled", SPOILED.values(), ids=SPOILED)
def test_a_damaged_image_to_be_answered_is_named(engram, here, drawn, spoiled):
    (here / "spoiled.png").write_bytes(spoiled)
    assert "image spoiled.png" in engram("predict", "drawn", "spoiled.png", "--store", drawn, "-o", "x.csv").sentence
    assert left(here) == {"spoiled.png"}


def test_an_image_of_another_size_is_brought_to_size(engram, here, drawn):
    (here / "other.png").write_bytes(picture((30, 20), 3))
    answer = engram("predict", "drawn", "other.png", "--store", drawn)
    assert answer.code == 0
    assert answer.out.splitlines()[0] == "row,label,probability cat,probability dog"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A store with a network that was trained on images of which one has another size."""
    folder = tmp_path_factory.mktemp("drawn")
    pictures(folder, picture((13, 10), 0))
    (folder / "rows.toml").rename(folder / "drawn.toml")
    facade.run(folder / "drawn.toml", store=folder / "engrams")
    return folder / "engrams"


@pytest.fixture
def unwritable(here):
    """Makes a folder that cannot be written, even by root."""
    changed = []

    def lock(folder: Path) -> None:
        if os.geteuid() == 0:
            done = subprocess.run(["chattr", "+i", folder], capture_output=True, check=False)
            if done.returncode:
                pytest.skip("root writes everywhere, and this file system has no immutable folders")
        else:
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
        changed.append(folder)

    yield lock
    for folder in changed:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", folder], check=True)
        else:
            folder.chmod(stat.S_IRWXU)


def test_a_store_that_cannot_be_written_is_named_and_nothing_else_is_left(engram, here, unwritable):
    table(here)
    (here / "locked").mkdir()
    unwritable(here / "locked")
    sentence = engram("run", "rows.toml", "--store", here / "locked" / "engrams").sentence
    assert str(here / "locked") in sentence
    assert "--store" in sentence
    assert left(here) == {"locked"}


def test_a_store_where_a_file_is_is_refused(engram, here):
    table(here)
    (here / "file").write_text("mine")
    assert "--store" in engram("run", "rows.toml", "--store", here / "file" / "engrams").sentence
    assert (here / "file").read_text() == "mine"
    assert left(here) == {"file"}


def test_a_pipeline_folder_that_cannot_be_written_is_named_and_no_run_is_begun(engram, here, unwritable):
    folder = here / "locked"
    folder.mkdir()
    table(folder)
    unwritable(folder)
    sentence = engram("run", folder / "rows.toml", "--store", here / "engrams").sentence
    assert "rows.lock.toml cannot be written" in sentence
    assert not left(folder)
    assert left(here) == {"locked", "locked/rows.csv", "locked/rows.toml"}
    made = engram("new", folder / "x.toml", "--from", folder / "rows.csv").sentence
    assert "x.toml cannot be written" in made


def test_a_full_disk_during_training_keeps_what_was_kept_and_says_how_to_go_on(engram, here):
    table(here, rest="[model]\nlayers = [256, 256]\n[train]\nepochs = 2")
    with no_file_larger_than(200_000):  # the catalog fits, a checkpoint of 270 kB does not
        sentence = engram("run", "rows.toml").sentence
    assert "file too large" in sentence
    words = sentence.partition("go on with: engram ")[2].split()
    assert words[0] == "resume"
    store = facade.open(here / "engrams")
    assert not store.versions()
    assert not list((here / "engrams" / "incoming").iterdir())
    assert engram(*words).code == 0
    assert [version.reference for version in store.versions()] == ["rows:1"]


@pytest.fixture
def small_disk(here):
    """A disk of 400 kB of its own, and a function that makes it larger."""
    disk = here / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "none", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small disk; a limit on the size of files stands in for it above")
    yield disk, lambda: subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
    subprocess.run(["umount", "--lazy", disk], check=True)  # this process still has its catalog open


def test_a_disk_that_fills_up_loses_nothing_and_is_gone_on_with_once_there_is_room(engram, here, small_disk):
    disk, enlarge = small_disk
    table(here, rest="[model]\nlayers = [256, 256]\n[train]\nepochs = 2")
    sentence = engram("run", "rows.toml", "--store", disk / "engrams").sentence
    assert "no space left on device" in sentence
    assert "free some space" in sentence
    assert not list((disk / "engrams" / "incoming").iterdir())
    enlarge()
    words = shlex.split(sentence.partition("go on with: engram ")[2])
    assert engram(*words).code == 0
    assert [version.reference for version in facade.open(disk / "engrams").versions()] == ["rows:1"]


def test_a_full_disk_from_the_start_leaves_no_run_and_no_lock_file(engram, here):
    table(here)
    with no_file_larger_than(4_000):
        sentence = engram("run", "rows.toml").sentence
    assert "engrams" in sentence
    assert not [name for name in left(here) if name.endswith((".toml", ".part"))]
    assert engram("run", "rows.toml").code == 0


@pytest.mark.parametrize(
    ("words", "out"),
    [
        (("export", "iris", "--to", "json", "-o"), "iris.json"),
        (("predict", "iris", "rows.csv", "-o"), "out.csv"),
        (("evaluate", "iris", "sklearn:iris", "-o"), "page.html"),
    ],
)
def test_a_full_disk_leaves_no_half_a_file(engram, here, kept, words, out):
    names = "sepal_length,sepal_width,petal_length,petal_width"
    (here / "rows.csv").write_text(names + "\n" + "5.1,3.5,1.4,0.2\n" * 2000)
    (here / out).write_text("old")
    with no_file_larger_than(40_000):
        assert f"{out} cannot be written: file too large" in engram(*words, out, "--store", kept / "engrams").sentence
    assert (here / out).read_text() == "old"
    assert left(here) == {out}


def test_a_network_too_wild_to_learn_fails_with_advice(engram, here):
    table(here, rest='[train]\nepochs = 3\noptimizer = { name = "sgd", lr = 1e30 }\nschedule = { name = "constant" }')
    sentence = engram("run", "rows.toml").sentence
    assert "lower the learning rate" in sentence
    assert "failed" in engram("log", "rows").out


def test_a_version_that_misses_its_condition_is_not_kept(engram, here):
    table(here, rest='[train]\nepochs = 1\n[keep]\nif = { accuracy = ">= 1.01" }')
    assert "rows is not kept: accuracy is" in engram("run", "rows.toml").sentence
    shown = engram("log", "rows").out
    assert "refused" in shown
    assert "go on with" not in shown
    assert not facade.open(here / "engrams").versions()


def test_predicting_a_file_that_lacks_a_column_names_it(engram, here, kept):
    (here / "rows.csv").write_text("sepal_length,sepal_width,petal_length,petal_widht\n1,2,3,4\n")
    sentence = engram("predict", "iris", "rows.csv", "--store", kept / "engrams", "-o", "out.csv").sentence
    assert "rows.csv has no column 'petal_width', which the model needs; did you mean 'petal_widht'?" in sentence
    assert not left(here)


def test_evaluating_a_file_without_the_target_says_so(engram, here, kept):
    (here / "rows.csv").write_text("sepal_length,sepal_width,petal_length,petal_width\n1,2,3,4\n")
    assert "has no column 'species'" in engram("evaluate", "iris", "rows.csv", "--store", kept / "engrams").sentence
    assert not left(here)


def test_an_unknown_version_is_answered_with_the_nearest(engram, here, kept):
    store = ("--store", kept / "engrams")
    assert "did you mean 'iris'?" in engram("show", "irsi", *store).sentence
    assert "no version 9; its versions go from 1 to 1" in engram("show", "iris:9", *store).sentence
    assert (
        "format 'onx' does not exist; did you mean 'onnx'?" in engram("export", "iris", "--to", "onx", *store).sentence
    )
    assert not left(here)


def test_a_store_that_is_not_there_is_named_by_every_command_that_reads(engram, here):
    for words in [("list",), ("log", "iris"), ("show", "iris"), ("resume", "iris-1"), ("serve", "iris")]:
        assert "there is no store at engrams" in engram(*words).sentence
    assert not left(here)
