import numpy as np
import pytest

from engram.data._check import check
from engram.data._leak import alone
from engram.data._load import load
from engram.records import Pipeline
from engram.records.pipeline import DataSection


@pytest.fixture
def findings(tmp_path):
    def run(content, target="y", **section):
        (tmp_path / "t.csv").write_text(content)
        return check(*load(Pipeline(DataSection(("t.csv",), target, **section), folder=str(tmp_path))))

    return run


def lines(make, count=400, header="a,b,y"):
    generator = np.random.default_rng(0)
    return header + "\n" + "".join(",".join(map(str, make(i, generator))) + "\n" for i in range(count))


def clean(i, generator):
    return round(generator.normal(), 6), round(generator.normal(), 6), generator.choice(["x", "z"])


def test_clean_data_have_no_findings(findings):
    assert findings(lines(clean)) == ()


def test_a_column_that_is_the_target_in_other_words_is_a_leak(findings):
    found = findings(lines(lambda i, g: (g.normal(), ["no", "si"][i % 2], ["x", "z"][i % 2])))
    assert "column 'b' alone predicts 'y' (avoids 100.0% of all errors)" in found[0]


def test_a_number_that_the_target_is_made_of_is_a_leak(findings):
    def make(_, generator):
        hidden = generator.uniform(0, 100)
        return generator.normal(), hidden * 2, hidden

    found = findings(lines(make))
    assert "column 'b' alone predicts 'y' (explains 9" in found[0]


def test_copies_within_train_and_across_to_test_are_counted(findings):
    found = findings(lines(lambda i, _: (i % 20, i % 10, ["x", "z"][i // 20 % 2])))
    assert any("training rows" in sentence and "copies" in sentence for sentence in found)
    assert any("80 of 80 test rows (100.0%) are also in train" in sentence for sentence in found)


def test_rare_classes_are_named(findings):
    found = findings(lines(lambda i, g: (g.normal(), g.normal(), "rare" if i % 100 == 0 else "x")))
    assert any("'rare' (" in sentence and "balanced_accuracy" in sentence for sentence in found)


def test_a_column_that_is_mostly_gaps_is_named(findings):
    found = findings(lines(lambda i, g: (g.normal(), g.normal() if i % 10 == 0 else "", g.choice(["x", "z"]))))
    assert any("column 'b' has no value in" in sentence for sentence in found)


def test_a_value_far_from_the_rest_is_named(findings):
    found = findings(lines(lambda i, g: (g.normal(), 1e6 if i < 3 else g.normal(), g.choice(["x", "z"]))))
    assert any("column 'b' has" in sentence and "1e+06" in sentence for sentence in found)


def test_very_few_rows_are_said_to_be_few(findings):
    assert any("very few" in sentence for sentence in findings(lines(clean, 40)))


def test_adult_has_no_leak(real_data):
    folder = str(real_data("adult-train.csv").parent)
    found = check(*load(Pipeline(DataSection(("adult-train.csv",), "column_15"), folder=folder)))
    assert not any("alone predicts" in sentence for sentence in found)
    assert any("copies of another" in sentence for sentence in found)  # 24 rows are known to be twice in it


def test_identifiers_explain_nothing():
    truth = np.arange(2000) % 2
    names = np.array([f"u{i}" for i in range(2000)], dtype=object)
    assert alone(names, truth, 2) == 0.0


def test_a_linear_column_explains_as_much_as_its_noise_leaves():
    generator = np.random.default_rng(0)
    x = generator.normal(size=50_000)
    truth = x + generator.normal(size=50_000)
    assert alone(x, truth) == pytest.approx(0.5, abs=0.02)  # R² = var(x) / (var(x) + var(noise))


def test_gaps_can_be_the_leak():
    truth = np.arange(1000) % 2
    assert alone(np.where(truth == 1, np.nan, 0.0), truth, 2) == 1.0
