"""Windows of a table with moments: what they hold, where they end, and that nothing of the test is trained on."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from engram.data import timeseries
from engram.data._describe import look
from engram.data._load import load
from engram.errors import DataError, UnknownName, UsageError
from engram.pipelines.parse import parse

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def table(tmp_path):
    def write(rows, header="at,x,word,y"):
        path = tmp_path / "t.csv"
        path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
        return str(path)

    return write


def hours(count, skip=()):
    """Rows of an hour each; x is the number of the hour, y a hundred times it."""
    kept = [i for i in range(count) if i not in skip]
    return [((START + timedelta(hours=i)).strftime("%Y-%m-%dT%H:%M"), i % 97, "uvw"[i % 3], i * 100) for i in kept]


def windows(place, **options):
    return look(place, kind="timeseries", target="y", options=options)


def seconds(hour):
    return (START + timedelta(hours=hour)).timestamp()


def test_a_window_holds_what_was_known_and_leads_to_what_comes(table):
    dataset = windows(table(hours(50)), steps=3, horizon=2)
    part = dataset.parts["all"]
    assert len(part) == 48
    assert [part.column(f"x_t-{step}")[0] for step in range(3)] == [2, 1, 0]
    assert part.column("y")[0] == 400
    assert part.column("y_t-0")[0] == 200
    assert part.column("time")[0] == seconds(4)
    assert part.column("word_t-0")[:4].tolist() == ["w", "u", "v", "w"]
    assert dataset.target == "y"


def test_windows_at_the_end_lead_to_what_nobody_knows_yet(table):
    part = windows(table(hours(50)), steps=3, horizon=2).parts["all"]
    assert np.isnan(part.column("y")[-2:]).all()
    assert part.column("time")[-1] == seconds(51)


def test_windows_begin_a_stride_apart(table):
    part = windows(table(hours(50)), steps=4, stride=5).parts["all"]
    assert part.column("x_t-0").tolist() == [3, 8, 13, 18, 23, 28, 33, 38, 43, 48]


def test_no_window_reaches_across_a_gap(table):
    dataset = windows(table(hours(60, skip={30})), steps=4)
    times = dataset.parts["all"].column("x_t-0")
    assert not {30, 31, 32, 33} & set(times.tolist())
    assert 29 not in times  # what it leads to is missing
    assert any(
        "1 of 60 moments are missing, first after 2024-01-02T05:00:00 (row 30)" in note for note in dataset.notes
    )


def test_too_many_gaps_are_refused_unless_rows_just_follow_each_other(table):
    place = table(hours(60, skip=set(range(7, 60, 7))))
    with pytest.raises(DataError, match=r"8 of 60 moments are missing, .* more than gaps = 0\.05 allows"):
        windows(place, steps=3)
    assert len(windows(place, steps=3, even=False).parts["all"]) == 50


def test_rows_out_of_order_are_refused_or_sorted(table):
    rows = hours(40)
    rows[10], rows[20] = rows[20], rows[10]
    with pytest.raises(DataError, match=r"row 12 \(2024-01-01T11:00:00\) is earlier than the one before it"):
        windows(table(rows), steps=3)
    straight = windows(table(hours(40)), steps=3).parts["all"]
    part = windows(table(rows), steps=3, sort=True).parts["all"]
    assert part.column("x_t-0").tolist() == straight.column("x_t-0").tolist()


def test_two_rows_of_one_moment_are_two_series(table):
    rows = [(*row, place) for row in hours(30) for place in ("north", "south")]
    place = table(rows, "at,x,word,y,station")
    with pytest.raises(DataError, match=r"rows 1 and 2 have the same moment"):
        windows(place, steps=3)
    part = windows(place, steps=3, series="station").parts["all"]
    assert len(part) == 2 * 28
    assert part.column("station").tolist() == ["north"] * 28 + ["south"] * 28
    assert part.column("x_t-2")[28] == 0


def test_a_moment_between_others_is_refused(table):
    rows = hours(30)
    rows[5] = ("2024-01-01T05:20", *rows[5][1:])
    with pytest.raises(DataError, match=r"row 6 \(2024-01-01T05:20:00\) is 4800 seconds after"):
        windows(table(rows), steps=3)


def test_year_month_day_and_hour_make_a_moment(table):
    moments = [START + timedelta(hours=i * 7) for i in range(40)]
    rows = [(m.year, m.month, m.day, m.hour, i % 11, i * 2) for i, m in enumerate(moments)]
    part = windows(table(rows, "year,month,day,hour,x,y"), steps=2).parts["all"]
    assert part.column("time").tolist() == [m.timestamp() for m in moments[2:]] + [moments[-1].timestamp() + 7 * 3600]


@pytest.mark.parametrize(("steps", "horizon"), [(1, 1), (6, 1), (6, 4)])
def test_what_is_trained_on_ends_before_the_test_could_be_asked(table, tmp_path, steps, horizon):
    place = table(hours(200))
    text = f'[data]\nfrom = "{place}"\nkind = "timeseries"\ntarget = "y"\nsteps = {steps}\nhorizon = {horizon}\n'
    dataset, task = load(parse(text))
    assert task.kind == "regression"
    hour = 3600
    ends = {name: part.column("time") for name, part in dataset.parts.items()}
    assert ends["train"].max() <= ends["validation"].min() - horizon * hour
    assert ends["validation"].max() <= ends["test"].min() - horizon * hour
    assert len(ends["test"]) == round(0.2 * (201 - steps - horizon))


def test_a_random_division_of_windows_is_refused(table):
    place = table(hours(200))
    with pytest.raises(UsageError, match="halves of one window"):
        load(parse(f'[data]\nfrom = "{place}"\nkind = "timeseries"\ntarget = "y"\nsplit = "random"\n'))


@pytest.mark.parametrize(
    ("options", "error", "wrong"),
    [
        ({"steps": 0}, UsageError, "steps = 0 is refused"),
        ({"steps": 90}, DataError, "no window of steps = 90 fits: the longest stretch without a gap has 40 rows"),
        ({"time": ["att"]}, UnknownName, "did you mean 'at'"),
        ({"time": ["word"]}, UsageError, "has words and no moments"),
        ({"series": "stat"}, UnknownName, "no column 'stat'"),
    ],
)
def test_what_cannot_be_is_a_sentence(table, options, error, wrong):
    with pytest.raises(error, match=wrong):
        windows(table(hours(40)), **options)


def test_a_target_that_is_no_column_is_refused(table):
    with pytest.raises(UsageError, match="say target in"):
        look(table(hours(40)), kind="timeseries")
    with pytest.raises(UnknownName, match="did you mean 'y'"):
        timeseries.open((table(hours(40)),), (), timeseries.Options(target="yy"))


def test_a_table_without_moments_says_so(table):
    with pytest.raises(UsageError, match="no column has dates; say which one"):
        windows(table([(i, i * 2) for i in range(30)], "x,y"))


def test_a_row_without_a_moment_is_named(table):
    rows = hours(40)
    rows[6] = ("", *rows[6][1:])
    with pytest.raises(DataError, match="at: row 7 has no moment"):
        windows(table(rows))


def test_the_hours_of_beijing_are_windows(real_data):
    dataset = look(str(real_data("pollution.csv")), kind="timeseries", target="pm2.5", options={"steps": 24})
    part = dataset.parts["all"]
    assert len(part) == 43_824 - 23
    assert dataset.column("pm2.5").missing == 2067 - 24 + 1  # the first day has none, the last window no target yet
    assert part.column("time")[-1] == datetime(2015, 1, 1, tzinfo=UTC).timestamp()
