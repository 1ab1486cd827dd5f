"""What is found for a column, and how a pipeline file says otherwise."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import DataError, UnknownName, UsageError
from engram.pipelines.lock import dump
from engram.preprocessing import bins, clip, date, encode, image, impute, scale
from engram.preprocessing._columns import ColumnPlan, Step, parse
from engram.preprocessing._fit import fit
from engram.preprocessing._found import steps
from engram.preprocessing._plan import plan
from engram.records import Column, Pipeline
from engram.records.pipeline import DataSection

RANDOM = np.random.default_rng(0)
ROWS = 500
DAY = 86_400.0
KINDS = {
    "size": "number", "tail": "number", "holes": "number", "sure": "boolean", "color": "category",
    "town": "category", "user": "category", "note": "text", "tag": "text", "when": "date", "flat": "number",
    "empty": "number", "y": "category",
}  # fmt: skip


def _words(values):
    return np.array([str(value) for value in values], dtype=object)


def _columns():
    holes = RANDOM.normal(size=ROWS)
    holes[:50] = np.nan
    return {
        "size": RANDOM.normal(170, 10, ROWS),
        "tail": RANDOM.lognormal(3, 2, ROWS) - 5,
        "holes": holes,
        "sure": RANDOM.integers(0, 2, ROWS).astype(float),
        "color": _words(RANDOM.choice(["red", "green", ""], ROWS)),
        "town": _words(RANDOM.integers(0, 100, ROWS)),
        "user": _words(range(ROWS)),
        "note": _words(f"a long text about {i} and {j}" for i, j in RANDOM.integers(0, 40, (ROWS, 2))),
        "tag": _words(RANDOM.choice(["one of", "three", "phrases"], ROWS)),
        "when": np.floor(RANDOM.uniform(0, 20_000, ROWS)) * DAY,
        "flat": np.full(ROWS, 3.0),
        "empty": np.full(ROWS, np.nan),
        "y": _words(RANDOM.choice(["no", "yes"], ROWS)),
    }


@pytest.fixture(scope="module")
def many(table):
    """A table with a column of every sort."""
    return table(_columns(), KINDS)


def _plans(given, **overrides):
    return {column.name: column for column in plan(given.dataset, given.task, overrides)}


def _steps(column):
    return {step.name: step.options for step in column.steps}


def test_numbers_are_imputed_and_scaled(many):
    found = _steps(_plans(many, size={"bins": "none"})["size"])
    assert found == {"impute": impute.Options("median"), "scale": scale.Options("standard")}


def test_numbers_with_rows_enough_get_bins(many, table):
    assert _steps(_plans(many)["size"])["bins"] == bins.Options(32)
    few = table({"x": np.arange(499.0), "y": _words(np.arange(499))}, {"x": "number", "y": "category"})
    assert "bins" not in _steps(_plans(few)["x"])


def test_a_wide_table_gets_fewer_bins_a_column():
    column = Column("x", "number")
    assert steps(column, np.arange(999.0), numbers=100)[-1].options == bins.Options(10)
    assert steps(column, np.arange(999.0), numbers=1000)[-1].name == "scale"


def test_a_long_tail_is_taken_by_its_logarithm_and_the_skewness_is_said(many):
    found = _plans(many)["tail"]
    assert _steps(found)["scale"] == scale.Options("log")
    assert "skewness" in found.why


def test_a_value_far_away_is_clipped(table):
    values = np.concatenate([np.arange(500.0), [-1e5]])
    found = _plans(table({"x": values, "y": _words(values)}, {"x": "number", "y": "category"}), x={"scale": "standard"})
    assert "clip" in _steps(found["x"])
    assert "standard deviations away" in found["x"].why


def test_many_gaps_get_an_indicator(many):
    found = _plans(many)
    assert _steps(found["holes"])["impute"].indicator
    assert "10.0% gaps" in found["holes"].why
    assert not _steps(found["size"])["impute"].indicator


def test_booleans_stay_zeros_and_ones(many):
    assert _steps(_plans(many)["sure"]) == {"impute": impute.Options("most_frequent")}


def test_words_become_one_column_each_or_are_hashed(many, table):
    found = _plans(many)
    assert _steps(found["color"]) == _steps(found["tag"]) == {"encode": encode.Options("onehot")}
    assert "the 64 most frequent" in found["town"].why
    towns = _words(np.arange(6000) % 2000)
    vast = table({"town": towns, "y": towns}, {"town": "category", "y": "category"})
    assert _steps(_plans(vast)["town"])["encode"].method == "hashed"


@pytest.mark.parametrize("name", ["user", "note", "flat", "empty"])
def test_what_cannot_help_is_ignored_with_a_reason(many, name):
    found = _plans(many)[name]
    assert found.kind == "ignore"
    assert found.reason
    assert found.as_table() == "ignore"


def test_dates_give_the_parts_that_differ(many):
    assert _steps(_plans(many)["when"])["date"].parts == ("year", "month", "day", "weekday")


def test_pictures_keep_their_size_where_it_is_one(table):
    pictures = np.zeros((10, 28, 28, 1), np.uint8)
    given = table({"image": pictures, "y": _words(range(10))}, {"image": "image", "y": "category"})
    assert _steps(_plans(given)["image"])["image"] == image.Options(resize=28)
    given = table({"image": pictures[:, :, :20], "y": _words(range(10))}, {"image": "image", "y": "category"})
    assert _steps(_plans(given)["image"])["image"] == image.Options(resize=(28, 20))


def test_the_target_and_the_test_rows_are_not_looked_at(many, table):
    other = table(many.train, KINDS, {name: values[:0] for name, values in many.train.items()})
    assert plan(other.dataset, other.task, {}) == plan(many.dataset, many.task, {})
    assert "y" not in _plans(many)


@pytest.mark.parametrize(
    ("name", "said", "step"),
    [
        ("size", {"scale": "log"}, Step("scale", scale.Options("log"))),
        ("size", {"impute": "mean"}, Step("impute", impute.Options("mean"))),
        (
            "size",
            {"impute": {"strategy": "constant", "value": 0, "indicator": True}},
            Step("impute", impute.Options("constant", 0.0, indicator=True)),
        ),
        ("size", {"clip": [0, 100]}, Step("clip", clip.Options(bounds=(0.0, 100.0)))),
        ("size", {"clip": {"quantiles": [0.1, 0.9]}}, Step("clip", clip.Options(quantiles=(0.1, 0.9)))),
        ("color", {"encode": "ordinal"}, Step("encode", encode.Options("ordinal"))),
        ("color", {"encode": {"method": "hashed", "buckets": 8}}, Step("encode", encode.Options("hashed", buckets=8))),
        ("note", {"encode": "hashed"}, Step("encode", encode.Options("hashed"))),
        ("when", {"date": ["year"]}, Step("date", date.Options(("year",)))),
        ("flat", {"scale": "minmax"}, Step("scale", scale.Options("minmax"))),
        ("user", {"kind": "category", "encode": "onehot"}, Step("encode", encode.Options("onehot"))),
    ],
)
def test_a_step_that_is_said_takes_the_place_of_the_found_one(many, name, said, step):
    assert step in _plans(many, **{name: said})[name].steps


def test_a_picture_is_said_by_the_options_of_its_step():
    said = {"resize": 64, "crop": 56, "normalize": "standard"}
    found = parse(Column("image", "image"), said, "image")
    assert found == {"image": Step("image", image.Options(resize=64, crop=56))}


def test_a_step_can_be_left_out(many):
    assert set(_steps(_plans(many, size={"scale": "none", "bins": "none"})["size"])) == {"impute"}


def test_an_ordinal_is_scaled_like_a_number(many):
    assert set(_steps(_plans(many, color={"encode": "ordinal"})["color"])) == {"encode", "scale"}
    assert set(_steps(_plans(many, color={"encode": "ordinal", "scale": "none"})["color"])) == {"encode"}


def test_a_pattern_speaks_of_all_columns_it_fits_and_a_name_goes_before_it(many):
    found = _plans(many, **{"s*": "ignore", "si*": {"scale": "robust"}, "sure": "boolean"})
    assert _steps(found["size"])["scale"] == scale.Options("robust")
    assert found["sure"].kind == "boolean"
    assert _plans(many, **{"s*": "ignore"})["size"].kind == "ignore"


@pytest.mark.parametrize(
    ("overrides", "error", "sentence"),
    [
        ({"siez": "ignore"}, UnknownName, "did you mean 'size'"),
        ({"size": "numbre"}, UnknownName, "did you mean 'number'"),
        ({"size": {"scael": "log"}}, UnknownName, "did you mean 'scale'"),
        ({"size": {"impute": {"stratgy": "mean"}}}, UnknownName, "did you mean 'strategy'"),
        ({"size": {"scale": "lgo"}}, UsageError, "'lgo'"),
        ({"size": {"impute": 3}}, UsageError, "strategy = 3"),
        ({"size": {"impute": "none"}}, UsageError, "strategy = 'none'"),
        ({"size": {"clip": [9, 1]}}, UsageError, "high to low"),
        ({"size": {"clip": {"quantiles": [0.5, 2]}}}, UsageError, "within 0 to 1"),
        ({"size": {"encode": "onehot"}}, UnknownName, "no step 'encode'"),
        ({"size": "category"}, UsageError, "was read as number"),
        ({"size": 3}, UsageError, "a kind, or a table"),
        ({"color": {"scale": "standard"}}, UsageError, "nothing to do after"),
        ({"color": {"encode": {"maximum": 0}}}, UsageError, "at least 1"),
        ({"color": {"encode": {"method": "ordinal", "order": ["a", "a"]}}}, UsageError, "twice"),
        ({"when": {"date": ["yaer"]}}, UsageError, "yaer"),
    ],
)
def test_what_is_said_wrongly_is_refused_and_located(many, overrides, error, sentence):
    with pytest.raises(error, match=r"\[columns") as refused:
        plan(many.dataset, many.task, overrides)
    assert sentence in str(refused.value)
    assert refused.value.place == f"columns.{next(iter(overrides))}"


@pytest.mark.parametrize("said", [{"crop": 65}, {"resize": 0}, {"normalize": "fixed"}, {"std": [0]}, {"resise": 3}])
def test_wrong_options_of_a_picture_are_refused(table, said):
    given = table({"image": np.zeros((3, 8, 8, 1), np.uint8), "y": _words("abc")}, {"image": "image", "y": "category"})
    with pytest.raises(UsageError) as refused:
        plan(given.dataset, given.task, {"image": {"resize": 64, **said}})
    assert refused.value.place == "columns.image"


def test_no_rows_to_train_on_is_an_error(many, table):
    empty = table({name: values[:0] for name, values in many.train.items()}, KINDS)
    with pytest.raises(DataError, match="no rows"):
        plan(empty.dataset, empty.task, {})


def test_a_column_that_was_ignored_when_read_stays_ignored(many):
    columns = tuple(
        replace(c, kind="ignore", reason="said so") if c.name == "size" else c for c in many.dataset.columns
    )
    found = plan(replace(many.dataset, columns=columns), many.task, {})
    assert (found[0].kind, found[0].reason) == ("ignore", "said so")


def test_a_lock_file_of_the_plan_repeats_the_very_graph(many):
    found = plan(many.dataset, many.task, {})
    tables = {column.name: column.as_table() for column in found}
    text = dump(
        Pipeline(DataSection(("x.csv",)), columns=tables), {f"columns.{c.name}": c.why for c in found}, {"a": 1}
    )
    said = plan(many.dataset, many.task, tomllib.loads(text)["columns"])
    assert [column.as_table() for column in said] == [column.as_table() for column in found]
    assert fit(many.dataset, said).graph == fit(many.dataset, found).graph


OPTIONS = {
    "clip": st.none()
    | st.builds(
        clip.Options, bounds=st.just((0.0, 2.0)) | st.none(), quantiles=st.sampled_from([(0.001, 0.999), (0.0, 1.0)])
    ),
    "impute": st.builds(
        impute.Options,
        st.sampled_from(["mean", "median", "most_frequent", "constant"]),
        st.floats(-9, 9),
        indicator=st.booleans(),
    ),
    "scale": st.none() | st.builds(scale.Options, st.sampled_from(["standard", "minmax", "robust", "log"])),
    "bins": st.none() | st.builds(bins.Options, st.integers(2, 99)),
    "encode": st.builds(
        encode.Options,
        st.sampled_from(["onehot", "ordinal", "hashed"]),
        st.integers(1, 99),
        st.sampled_from([(), ("a", "b")]),
        st.integers(1, 99),
    ),
    "date": st.builds(
        date.Options,
        st.lists(st.sampled_from(date.PARTS), min_size=1, unique=True).map(tuple),
        st.booleans(),
        st.booleans(),
    ),
    "image": st.builds(
        image.Options,
        st.integers(9, 64) | st.just((30, 20)),
        st.integers(0, 9),
        st.sampled_from(["standard", "unit", "fixed"]),
        st.just((0.5,)),
        st.just((0.25,)),
    ),
}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("number", ("clip", "impute", "scale", "bins")),
        ("boolean", ("impute", "scale")),
        ("category", ("encode",)),
        ("date", ("date", "impute", "scale")),
        ("image", ("image",)),
    ],
)
@given(data=st.data())
def test_any_plan_is_read_back_from_its_table(kind, names, data):
    drawn = {name: data.draw(OPTIONS[name]) for name in names}
    steps = tuple(Step(name, options) for name, options in drawn.items() if options is not None)
    table = ColumnPlan("x", kind, steps).as_table()
    read = parse(Column("x", kind), table, "x")
    assert tuple(step for step in read.values() if step is not None) == steps
