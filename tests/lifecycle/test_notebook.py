"""The facade as it is used in a notebook."""

import html.parser
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

import engram
from engram.errors import ShapeError
from engram.records import Prediction

NASTY = '<script>alert("x")</script>'
ROWS = "".join(f"{i % 7},{i * 37 % 11},{'<u>yes' if i % 3 else NASTY.replace(',', '')}\n" for i in range(60)).replace(
    '"', "'"
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A version whose labels and column names are HTML."""
    folder = tmp_path_factory.mktemp("notebook")
    (folder / "rows.csv").write_text("age,<u>height,owner\n" + ROWS)
    (folder / "net.toml").write_text('[data]\nfrom = "rows.csv"\ntarget = "owner"\n[train]\nepochs = 1\nthreads = 1\n')
    engram.run(folder / "net.toml", store=folder / "engrams")
    return engram.open(folder / "engrams")


class Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):  # noqa: ARG002 - the parser's word
        self.seen.add(tag)


def tags(text: str) -> set[str]:
    parser = Tags()
    parser.feed(text)
    return parser.seen


def test_everything_shows_itself_and_what_the_data_hold_stays_text(store):
    model = store.load("net")
    shown = [store.version("net"), model, store.report("net"), model.predict([{"age": 1, "<u>height": 2}] * 30)]
    for thing in shown:
        assert tags(thing._repr_html_()) <= {"table", "caption", "tr", "th", "td", "iframe"}, type(thing)
    assert not {"u", "script"} & tags(store.report("net").page)


def test_a_prediction_shows_its_first_rows():
    labels = np.array(["a", "b"] * 20, dtype=object)
    shown = Prediction(labels, np.full((40, 2), 0.5, np.float32), classes=("a", "b"))._repr_html_()
    assert "40 rows, the first 10" in shown
    assert shown.count("<tr>") == 11
    assert "probability b" in shown
    assert "<td>2.5</td>" in Prediction(values=np.array([2.5], np.float32))._repr_html_()
    assert "0 rows" in Prediction()._repr_html_()


@dataclass
class Series:
    """A column as pandas has it."""

    values: list

    def to_numpy(self):
        return np.array(self.values)


class Frame:
    """A table as pandas has it."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    def __getitem__(self, name):
        return Series(self._columns[name])

    def to_dict(self):
        return self._columns


def test_rows_come_in_every_form_that_people_hold_them_in(store, tmp_path):
    model = store.load("net")
    ages, heights = [1, 2, None], [5.0, 6.0, 7.0]
    columns = {"age": ages, "<u>height": heights}
    path = tmp_path / "rows.csv"
    path.write_text("age,<u>height\n1,5\n2,6\n,7\n")
    forms = [
        [{"age": a, "<u>height": h} for a, h in zip(ages, heights, strict=True)],
        columns,
        pl.DataFrame(columns),
        Frame({"age": [1.0, 2.0, np.nan], "<u>height": heights}),
        path,
        str(path),
    ]
    answers = [model.predict(form).probabilities for form in forms]
    for other in answers[1:]:
        np.testing.assert_array_equal(answers[0], other)
    np.testing.assert_array_equal(answers[0], engram.predict("net", path, store=store.folder).probabilities)
    assert len(model.predict({"age": 1, "<u>height": 5})) == 1


def test_a_wrong_row_is_named(store):
    with pytest.raises(ShapeError, match="row 2: column 'age' is missing"):
        store.load("net").predict([{"age": 1, "<u>height": 2}, {"<u>height": 2}])


def test_a_file_without_a_header_is_read_as_the_training_data_were(tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    text = '[data]\nfrom = "rows.csv"\ntarget = "owner"\nnames = ["age", "height", "owner"]\n[train]\nepochs = 1\n'
    (tmp_path / "bare.toml").write_text(text)
    engram.run(tmp_path / "bare.toml", store=tmp_path / "engrams")
    assert len(engram.predict("bare", tmp_path / "rows.csv", store=tmp_path / "engrams")) == 60
    (tmp_path / "new.csv").write_text("3,4\n5,6\n")
    assert len(engram.predict("bare", tmp_path / "new.csv", store=tmp_path / "engrams")) == 2


def test_a_pipeline_made_in_python_runs_without_a_file(tmp_path, monkeypatch):
    from engram.records.pipeline import DataSection, TrainSection

    monkeypatch.chdir(tmp_path)
    pipeline = engram.Pipeline(data=DataSection(("sklearn:iris",)), train=TrainSection(epochs=1), name="made")
    assert engram.run(pipeline).reference == "made:1"


def test_dates_are_shown_as_dates(tmp_path):
    """In the report's examples of wrong answers, which are raw rows."""
    rows = "".join(f"2024-{i % 12 + 1:02}-{i % 28 + 1:02},{'no' if i % 2 else 'yes'}\n" for i in range(80))
    (tmp_path / "rows.csv").write_text("day,sold\n" + rows)
    (tmp_path / "net.toml").write_text('[data]\nfrom = "rows.csv"\ntarget = "sold"\n[train]\nepochs = 1\n')
    engram.run(tmp_path / "net.toml", store=tmp_path / "engrams")
    pages = [
        engram.open(tmp_path / "engrams").report("net").page,
        engram.evaluate("net", tmp_path / "rows.csv", store=tmp_path / "engrams").page,
    ]
    for page in pages:
        assert "2024-" in page
        assert "e+09" not in page
