import random

import numpy as np
import pytest

from engram.data._load import load
from engram.data._target import encode
from engram.errors import DataError, EngramError, UnknownName, UsageError
from engram.records import Pipeline
from engram.records.pipeline import DataSection, TrainSection

ADULT = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship", "race",
    "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip


def rows(count=60, seed=1):
    drawn = random.Random(seed)
    lines = [
        f"{drawn.gauss(0, 1):.6f},{drawn.choice(['red', 'blue'])},{drawn.choice(['yes', 'no'])}" for _ in range(count)
    ]
    return "size,color,buys\n" + "\n".join(lines) + "\n"


@pytest.fixture
def loaded(tmp_path):
    def run(content=None, columns=None, seed=0, **section):
        if content is not None:
            (tmp_path / "t.csv").write_text(content)
        section = {"source": ("t.csv",), "target": "buys", **section}
        train = TrainSection(seed=seed)
        return load(Pipeline(DataSection(**section), columns=columns or {}, train=train, folder=str(tmp_path)))

    run.folder = tmp_path
    return run


def sizes(dataset):
    return {name: len(part) for name, part in dataset.parts.items()}


def test_a_table_is_divided_into_three_parts(loaded):
    dataset, task = loaded(rows())
    assert sizes(dataset) == {"train": 43, "validation": 5, "test": 12}
    assert (task.kind, task.labels) == ("binary", ("no", "yes"))
    assert [column.name for column in dataset.inputs] == ["size", "color"]


def test_a_boolean_target_keeps_its_words(loaded):
    dataset, task = loaded(rows())
    assert set(dataset.parts["train"].take(np.arange(5))["buys"]) <= {"yes", "no"}
    assert encode(task, np.array(["yes", "no"], dtype=object)).tolist() == [1, 0]


def test_the_same_seed_divides_alike(loaded):
    one, again, other = (loaded(rows(), seed=seed)[0].parts["test"].column("size") for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert set(one) != set(other)


def test_parts_have_every_row_once(loaded):
    dataset, _ = loaded(rows())
    seen = np.concatenate([part.column("size") for part in dataset.parts.values()])
    assert sorted(seen) == sorted(float(line.split(",")[0]) for line in rows().splitlines()[1:])


def test_a_share_of_zero_makes_no_part(loaded):
    assert set(sizes(loaded(rows(), test=0.0, validation=0.0)[0])) == {"train"}


def test_an_official_test_file_is_the_test(loaded):
    (loaded.folder / "u.csv").write_text(rows(17, seed=2).replace("yes", "yes."))
    dataset, task = loaded(rows(), test="u.csv")
    assert sizes(dataset) == {"train": 54, "validation": 6, "test": 17}
    assert set(dataset.parts["test"].column("buys")) <= set(task.labels)
    assert any("full stop" in note for note in dataset.notes)


def test_the_test_file_is_read_by_the_kinds_of_the_training_file(loaded):
    codes = "code,x,buys\n" + "".join(
        f"{'A' if i % 3 else i % 5},{i * i},{'yes' if i % 2 else 'no'}\n" for i in range(30)
    )
    (loaded.folder / "u.csv").write_text("x,buys,code\n1,yes,7\n2,no,8\n3,no,7\n")
    dataset, _ = loaded(codes, test="u.csv")
    assert dataset.parts["test"].column("code").tolist() == ["7", "8", "7"]


def test_the_digest_changes_with_the_test_file(loaded):
    (loaded.folder / "u.csv").write_text(rows(17, seed=2))
    (loaded.folder / "v.csv").write_text(rows(17, seed=3))
    assert len({loaded(rows(), test=test)[0].digest for test in ("u.csv", "v.csv", 0.2)}) == 3


def test_a_label_that_only_the_test_file_has_is_refused(loaded):
    (loaded.folder / "u.csv").write_text("size,color,buys\n1,red,maybe\n2,red,no\n")
    with pytest.raises(DataError, match=r"the test set: .*'maybe' \(row 1\)"):
        loaded(rows(), test="u.csv")


def test_a_column_that_the_test_file_lacks_is_named(loaded):
    (loaded.folder / "u.csv").write_text("size,colour,buys\n1,red,yes\n2,red,no\n")
    with pytest.raises(DataError, match=r"u\.csv has no column 'color'.*did you mean 'colour'"):
        loaded(rows(), test="u.csv")


def test_rows_without_a_target_are_left_out_and_counted(loaded):
    dataset, _ = loaded(rows() + "1,red,\n2,blue,?\n")
    assert sum(sizes(dataset).values()) == 60
    assert "2 rows have no 'buys' and were left out" in dataset.notes


def test_a_class_with_one_row_is_trained_on_and_noted(loaded):
    dataset, task = loaded(rows() + "1,red,perhaps\n")
    assert "perhaps" in dataset.parts["train"].column("buys")
    assert any("class 'perhaps' has 1 row" in note for note in dataset.notes)
    assert task.kind == "multiclass"


def test_the_latest_rows_are_the_test_by_time(loaded):
    days = "day,x,y\n" + "".join(f"2024-01-{1 + i * 5 % 28:02},{i},{i * 1.5}\n" for i in range(28))
    dataset, _ = loaded(days, target="y", split="time:day")
    assert dataset.parts["test"].column("day").min() > dataset.parts["validation"].column("day").max()
    assert dataset.parts["validation"].column("day").min() > dataset.parts["train"].column("day").max()


def test_a_column_that_names_the_parts_is_no_input(loaded):
    lines = "part,x,y\n" + "".join(f"{'test' if i % 4 == 0 else 'train'},{i * i},{i * 1.5}\n" for i in range(40))
    dataset, _ = loaded(lines, target="y", split="column:part")
    assert sizes(dataset) == {"train": 27, "validation": 3, "test": 10}
    assert [column.name for column in dataset.inputs] == ["x"]


def test_what_is_said_of_columns_wins(loaded):
    content = "zip,n1,n2,buys\n" + "".join(f"{i % 3},{i * i},{i * 3 % 7},{'a' if i % 2 else 'b'}\n" for i in range(30))
    dataset, _ = loaded(content, columns={"zip": "category", "n*": "ignore", "n2": {"kind": "number", "scale": "log"}})
    assert {c.name: c.kind for c in dataset.columns} == {
        "zip": "category", "n1": "ignore", "n2": "number", "buys": "category",
    }  # fmt: skip
    assert set(dataset.parts["train"].column("zip")) == {"0", "1", "2"}


def test_a_number_said_to_be_a_category_keeps_its_digits(loaded):
    content = "code,buys\n" + "".join(f"{1 + i % 3}.50,{'a' if i % 2 else 'b'}\n" for i in range(30))
    dataset, _ = loaded(content, columns={"code": "category"})
    assert set(dataset.parts["train"].column("code")) == {"1.50", "2.50", "3.50"}


MIXED = "age,x,buys\n" + "".join(f"{'old' if i == 16 else i % 50},{i * i},{'a' if i % 2 else 'b'}\n" for i in range(60))


def test_a_word_among_numbers_is_refused_unless_the_kind_is_said(loaded):
    with pytest.raises(DataError, match=r"t\.csv: column 'age' has 1 value that is not a number \(row 17: 'old'\)"):
        loaded(MIXED)
    assert loaded(MIXED, columns={"age": "category"})[0].column("age").kind == "category"
    assert loaded(MIXED, columns={"age": "ignore"})[0].column("age").kind == "ignore"


@pytest.mark.parametrize(
    ("content", "section", "error", "words"),
    [
        (None, {"source": ("nothing.csv",)}, DataError, "nothing.csv: no such file"),
        ("", {}, DataError, "t.csv is empty"),
        (rows(), {"target": "buy"}, UnknownName, "did you mean 'buys'"),
        (rows(), {"target": ""}, UsageError, 'target = "buys"'),
        (rows(), {"columns": {"colour": "ignore"}}, UnknownName, "did you mean 'color'"),
        (rows(), {"columns": {"color": "catgory"}}, UnknownName, "did you mean 'category'"),
        (rows(), {"columns": {"color": 3}}, UsageError, "color = 3 is refused"),
        (rows(), {"columns": {"buys": "ignore"}}, UsageError, "is the target"),
        (rows(), {"columns": {"color": "number"}}, DataError, "values that are not numbers"),
        (rows(), {"split": "tiem:size"}, UsageError, "split = 'tiem:size' is refused"),
        (rows(), {"split": "time:sise"}, UnknownName, "did you mean 'size'"),
        (rows(), {"split": "time:color"}, UsageError, "has words"),
        (rows(), {"target": "size", "split": "stratified"}, UsageError, "say random"),
        (rows(), {"kind": "cvs"}, UnknownName, "did you mean 'csv'"),
        (rows(), {"options": {"seperator": ","}}, UnknownName, "did you mean 'separator'"),
        (rows(3), {}, DataError, "3 rows are too few"),
        (rows().replace("yes", "no"), {}, DataError, "one value 'no'"),
        ("a,a,buys\n1,2,yes\n", {}, DataError, "column 'a' is there 2 times"),
        ("a,buys\n1,yes\n2,yes,4\n3\n4,no\n", {}, DataError, "lines 3, 4"),
        ("a,buys\n1,yes\ninf,no\n3,no\n4,no\n5,yes\n6,yes\n", {}, DataError, "infinite value (row 2)"),
        ("a,buys\n,yes\n,no\n,no\n,no\n,yes\n,yes\n", {}, DataError, "no column is left"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(loaded, content, section, error, words):
    with pytest.raises(EngramError) as caught:
        loaded(content, **section)
    assert type(caught.value) is error
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_adult_is_loaded_with_its_official_split(real_data):
    folder = str(real_data("adult-train.csv").parent)
    section = DataSection(("adult-train.csv",), "income", names=ADULT, test="adult-test.csv")
    dataset, task = load(Pipeline(section, folder=folder))
    assert task.labels == ("<=50K", ">50K")
    assert sizes(dataset) == {"train": 29_305, "validation": 3_256, "test": 16_281}
    # adult.names: 24.78 % of the training and 23.93 % of the test rows without gaps are above; these are with gaps
    test = encode(task, dataset.parts["test"].column("income"))
    assert test.sum() == 3846
    shares = [encode(task, dataset.parts[name].column("income")).mean() for name in ("train", "validation")]
    assert shares == pytest.approx([7841 / 32561] * 2, abs=1e-3)


def test_both_wines_are_read_as_one_table_of_amounts(real_data):
    folder = str(real_data("winequality-red.csv").parent)
    dataset, task = load(Pipeline(DataSection(("winequality-*.csv",), "column_12"), folder=folder))
    assert sum(sizes(dataset).values()) == 1599 + 4898
    assert task.kind == "regression"


def test_digits_need_no_file_at_all():
    pytest.importorskip("sklearn")
    dataset, task = load(Pipeline(DataSection(("sklearn:digits",))))
    assert sizes(dataset) == {"train": 1294, "validation": 144, "test": 359}
    assert len(task.labels) == 10
    assert dataset.parts["train"].take(np.array([0]))["image"].shape == (1, 8, 8, 1)
