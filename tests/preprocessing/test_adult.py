"""What is served is what was trained, on every row of a real table; and it is what scikit-learn would have made."""

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    RobustScaler,
    StandardScaler,
)

from engram.preprocessing._fit import fit, transform
from engram.preprocessing._plan import plan

NUMBERS = ["age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week"]
WORDS = ["workclass", "education", "marital-status", "occupation", "relationship", "race", "sex", "native-country"]
SCALERS = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}


def _signed_log(values):
    return np.sign(values) * np.log1p(np.abs(values))


def _with_gaps(columns):
    """Adult's numbers have no gaps: every seventh row gets one."""
    made = dict(columns)
    for offset, name in enumerate(NUMBERS):
        made[name] = columns[name].copy()
        made[name][offset::7] = np.nan
    return made


class _Scikit:
    """The same by scikit-learn: numbers, their indicators, then the categories."""

    def __init__(self, columns, scaler, strategy):
        imputer = SimpleImputer(strategy=strategy, fill_value=0.0, add_indicator=True)
        self._numbers = make_pipeline(imputer, scaler).fit(_stacked(columns, NUMBERS))
        self._words = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(_stacked(columns, WORDS))
        self.names = [*NUMBERS, *(f"{name} missing" for name in NUMBERS)]
        for name, categories in zip(WORDS, self._words.categories_, strict=True):
            self.names += [f"{name}={word}" for word in categories]

    def transform(self, columns):
        numbers = self._numbers.transform(_stacked(columns, NUMBERS))
        return np.concatenate([numbers, self._words.transform(_stacked(columns, WORDS))], axis=1)


def _stacked(columns, names):
    return np.column_stack([columns[name] for name in names])


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_graph_equals_the_fit_on_every_row_of_adult(adult, run, part):
    fitted = fit(adult.dataset, plan(adult.dataset, adult.task, {}))
    columns = getattr(adult, part)
    made = run(fitted.graph, columns)["features"]
    expected = transform(fitted, columns)["features"]
    assert made.dtype == expected.dtype == np.float32
    assert np.abs(made - expected).max() <= 1e-5
    assert made.shape == (len(columns["age"]), len(fitted.features))


@pytest.mark.parametrize("method", ["standard", "minmax", "robust", "log"])
@pytest.mark.parametrize("strategy", ["mean", "median", "most_frequent", "constant"])
def test_the_fit_equals_scikit_learn_on_every_row_of_adult(adult, table, method, strategy):
    train, test = _with_gaps(adult.train), _with_gaps(adult.test)
    kinds = {column.name: column.kind for column in adult.dataset.columns}
    given = table(train, kinds, test, "income")
    filled = {"strategy": strategy, "indicator": True}
    steps = {"clip": "none", "impute": filled, "scale": method, "bins": "none"}
    fitted = fit(given.dataset, plan(given.dataset, given.task, dict.fromkeys(NUMBERS, steps)))
    scaler = SCALERS[method]() if method != "log" else make_pipeline(FunctionTransformer(_signed_log), StandardScaler())
    theirs = _Scikit(train, scaler, strategy)
    order = [theirs.names.index(feature) for feature in fitted.features]
    for columns in (train, test):
        ours = transform(fitted, columns)["features"]
        # float32 is what the network gets; scikit-learn's answer is rounded to it before they are compared.
        expected = theirs.transform(columns)[:, order].astype(np.float32)
        np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


def test_the_plan_of_adult_is_sensible(adult):
    found = {column.name: column for column in plan(adult.dataset, adult.task, {})}
    assert "income" not in found
    scales = {name: step.options.method for name in NUMBERS for step in found[name].steps if step.name == "scale"}
    assert scales == dict.fromkeys(NUMBERS, "standard") | {"capital-gain": "log"}
    assert "skewness 12.0" in found["capital-gain"].why
    assert all(found[name].steps[0].options.method == "onehot" for name in WORDS)


def test_a_gap_seen_in_training_is_a_category(adult):
    fitted = fit(adult.dataset, plan(adult.dataset, adult.task, {}))
    assert "workclass=" in fitted.features
    assert "sex=" not in fitted.features


def test_a_table_of_the_plan_repeats_the_very_graph(adult):
    found = plan(adult.dataset, adult.task, {})
    said = plan(adult.dataset, adult.task, {column.name: column.as_table() for column in found})
    assert fit(adult.dataset, said).graph == fit(adult.dataset, found).graph


def test_an_absurd_value_that_is_served_stays_finite(adult, run):
    fitted = fit(adult.dataset, plan(adult.dataset, adult.task, {}))
    row = {name: values[:2].copy() for name, values in adult.test.items()}
    row["age"][:], row["capital-gain"][:] = [1e308, -1e308], [-1e308, 1e308]
    row["workclass"][:] = "astronaut"
    made = run(fitted.graph, row)["features"]
    assert np.isfinite(made).all()
    np.testing.assert_array_equal(made, transform(fitted, row)["features"])
    assert not made[:, [name.startswith("workclass") for name in fitted.features]].any()
