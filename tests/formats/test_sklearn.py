"""Estimators of scikit-learn, read without it and compared with it."""

import bz2
import pickle  # noqa: TID251 - files are made with it
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn import (
    datasets,
    discriminant_analysis,
    ensemble,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import make_pipeline, make_union

import engram
from engram.errors import ConversionError, FormatError, ShapeError
from engram.formats import sklearn as reader
from engram.formats._convert import convert, read, write
from engram.formats._pickle import Inert
from engram.formats._sklearn.unpickled import estimator
from engram.records import Limits, Model
from engram.runtime import onnxruntime

warnings.filterwarnings("ignore", module="sklearn")

KEEP: dict[str, Callable[[Any, Path], object]] = {
    "2.pkl": lambda one, path: path.write_bytes(pickle.dumps(one, protocol=2)),
    "5.pkl": lambda one, path: path.write_bytes(pickle.dumps(one, protocol=5)),
    "plain.joblib": joblib.dump,
    "zlib.joblib": lambda one, path: joblib.dump(one, path, compress=3),
    "xz.joblib": lambda one, path: joblib.dump(one, path, compress=("xz", 3)),
    "whole.skops": skops.io.dump,
}

CLASSIFIERS = [
    neural_network.MLPClassifier((8,), max_iter=20, random_state=0),
    neural_network.MLPClassifier((5, 4), activation="tanh", max_iter=20, random_state=0),
    linear_model.LogisticRegression(),
    linear_model.SGDClassifier(loss="log_loss", random_state=0),
    linear_model.SGDClassifier(random_state=0),
    linear_model.SGDClassifier(loss="modified_huber", random_state=0),
    linear_model.Perceptron(),
    linear_model.RidgeClassifier(),
    svm.LinearSVC(),
    tree.DecisionTreeClassifier(),
    ensemble.RandomForestClassifier(5, random_state=0),
    ensemble.ExtraTreesClassifier(5, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=5),
    ensemble.HistGradientBoostingClassifier(max_iter=5),
    svm.SVC(),
    svm.SVC(kernel="poly", degree=2, decision_function_shape="ovo"),
    svm.NuSVC(kernel="linear", nu=0.2),
    neighbors.KNeighborsClassifier(4),
    naive_bayes.GaussianNB(),
    naive_bayes.MultinomialNB(),
    naive_bayes.BernoulliNB(binarize=2.0),
    discriminant_analysis.LinearDiscriminantAnalysis(),
    ensemble.AdaBoostClassifier(n_estimators=4, random_state=0),
    ensemble.BaggingClassifier(n_estimators=3, max_features=0.5, random_state=0),
    ensemble.VotingClassifier(
        [
            ("a", linear_model.LogisticRegression()),
            ("b", make_pipeline(PCA(2), tree.DecisionTreeClassifier(max_depth=2))),
        ],
        voting="soft",
        weights=[2, 1],
    ),
    ensemble.StackingClassifier(
        [("a", naive_bayes.GaussianNB()), ("b", tree.DecisionTreeClassifier(max_depth=2))], passthrough=True, cv=2
    ),
    CalibratedClassifierCV(svm.LinearSVC(), cv=2),
    CalibratedClassifierCV(naive_bayes.GaussianNB(), cv=2),
    OneVsRestClassifier(linear_model.LogisticRegression()),
    GridSearchCV(linear_model.LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, scoring="accuracy"),
]
REGRESSORS = [
    neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=20, random_state=0),
    linear_model.LinearRegression(),
    linear_model.Lasso(),
    svm.LinearSVR(),
    tree.DecisionTreeRegressor(),
    ensemble.RandomForestRegressor(5, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=5),
    ensemble.HistGradientBoostingRegressor(max_iter=5),
    ensemble.HistGradientBoostingRegressor(max_iter=5, loss="poisson"),
    linear_model.PoissonRegressor(),
    linear_model.TweedieRegressor(power=0),
    svm.SVR(),
    svm.NuSVR(kernel="sigmoid"),
    neighbors.KNeighborsRegressor(3, p=1),
    ensemble.BaggingRegressor(n_estimators=3, random_state=0),
    ensemble.VotingRegressor([("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=2))]),
    ensemble.StackingRegressor([("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=2))], cv=2),
    TransformedTargetRegressor(linear_model.Ridge(), transformer=preprocessing.StandardScaler()),
    TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1),
]
STEPS = [
    preprocessing.StandardScaler(),
    preprocessing.StandardScaler(with_mean=False),
    preprocessing.StandardScaler(with_std=False),
    preprocessing.MinMaxScaler(clip=True),
    preprocessing.MaxAbsScaler(),
    preprocessing.RobustScaler(),
    preprocessing.Normalizer(),
    preprocessing.Normalizer("l1"),
    preprocessing.Normalizer("max"),
    preprocessing.Binarizer(threshold=2),
    PCA(3),
    PCA(2, whiten=True),
    VarianceThreshold(0.2),
    make_union(preprocessing.StandardScaler(), PCA(2)),
    preprocessing.PolynomialFeatures(2),
    preprocessing.PolynomialFeatures((2, 3), interaction_only=True, include_bias=False),
    preprocessing.PowerTransformer(),
    preprocessing.PowerTransformer("box-cox", standardize=False),
    preprocessing.KBinsDiscretizer(3, quantile_method="averaged_inverted_cdf"),
    preprocessing.KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
    preprocessing.FunctionTransformer(np.log1p),
    SelectKBest(k=2),
    TruncatedSVD(2),
    "passthrough",
]
FLOWERS = datasets.load_iris(return_X_y=True)
TUMORS = tuple(part[:, :12] if part.ndim == 2 else part for part in datasets.load_breast_cancer(return_X_y=True))
PATIENTS = datasets.load_diabetes(return_X_y=True)


def named(one: object) -> str:
    return type(one).__name__


def kept(fitted: Any, path: Path) -> Path:
    KEEP["5.pkl"](fitted, path)
    return path


def compared(fitted: Any, path: Path, rows: Any) -> None:
    """What was read answers as the estimator does."""
    model = read(path)
    inputs = columns(rows) if isinstance(rows, pd.DataFrame) else {model.signature.inputs[0].name: rows}
    found = onnxruntime.open(model).predict(inputs)
    if not model.labels:
        wanted = fitted.predict(rows)
        np.testing.assert_allclose(found.values.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-5)  # noqa: PD011 - no table
        return
    assert list(map(str, found.labels)) == list(map(str, fitted.predict(rows).tolist()))
    if hasattr(fitted, "predict_proba"):
        np.testing.assert_allclose(found.probabilities, fitted.predict_proba(rows), atol=1e-6)


def columns(table: pd.DataFrame) -> dict[str, np.ndarray]:
    numbers = {name: pd.api.types.is_numeric_dtype(table[name]) for name in table}
    return {
        name: table[name].to_numpy(float) if plain else table[name].fillna("").to_numpy(object)
        for name, plain in numbers.items()
    }


@pytest.mark.parametrize("classifier", CLASSIFIERS, ids=named)
@pytest.mark.parametrize("data", [FLOWERS, TUMORS], ids=["three", "two"])
def test_a_classifier_answers_as_in_scikit_learn(classifier: Any, data: Any, tmp_path: Path):
    compared(classifier.fit(*data), kept(classifier, tmp_path / "a.pkl"), data[0])


@pytest.mark.parametrize("regressor", REGRESSORS, ids=named)
def test_a_regressor_answers_as_in_scikit_learn(regressor: Any, tmp_path: Path):
    compared(regressor.fit(*PATIENTS), kept(regressor, tmp_path / "a.pkl"), PATIENTS[0])


@pytest.mark.parametrize("step", STEPS, ids=named)
def test_a_step_prepares_as_in_scikit_learn(step: Any, tmp_path: Path):
    whole = make_pipeline(step, linear_model.LogisticRegression()).fit(*FLOWERS)
    compared(whole, kept(whole, tmp_path / "a.pkl"), FLOWERS[0])


@pytest.fixture(scope="module")
def people() -> tuple[pd.DataFrame, pd.Series]:
    """A table with gaps, words and numbers that stand for classes."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame({
        "age": draw.normal(40, 9, 200), "work class": draw.choice(["a", "b", "état"], 200),
        "school": draw.choice(["low", "mid", "high"], 200), "hours": draw.normal(30, 5, 200),
        "kind": draw.choice([1, 2, 5], 200),
    })  # fmt: skip
    table.loc[::7, "age"] = np.nan
    return table, (table.hours > 30).map({False: "no", True: "yes"})


@pytest.fixture(scope="module")
def pipeline(people) -> Any:
    """A pipeline of columns, words and a network."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), preprocessing.StandardScaler())
    before = ColumnTransformer(
        [
            ("numbers", numbers, ["age", "hours"]),
            ("words", preprocessing.OneHotEncoder(handle_unknown="ignore"), ["work class"]),
            (
                "places",
                preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
                ["school"],
            ),
        ],
        remainder="passthrough",
    )
    return make_pipeline(before, neural_network.MLPClassifier((8,), max_iter=20, random_state=0)).fit(*people)


@pytest.mark.parametrize("form", list(KEEP))
def test_a_whole_pipeline_is_read_from_every_form(form: str, pipeline, people, tmp_path: Path):
    KEEP[form](pipeline, tmp_path / form)
    unseen = people[0].copy()
    unseen.loc[3, ["work class", "school"]] = "never seen"
    compared(pipeline, tmp_path / form, unseen)


def test_learned_numbers_keep_names_and_bits(pipeline, tmp_path: Path):
    model = read(kept(pipeline, tmp_path / "a.pkl"))
    network = pipeline.steps[-1][1]
    assert list(model.weights) == ["coefs_.0", "intercepts_.0", "coefs_.1", "intercepts_.1"]
    for place in range(2):
        assert model.weights[f"coefs_.{place}"].tobytes() == network.coefs_[place].tobytes()
    assert [spec.name for spec in model.signature.inputs] == ["age", "work class", "school", "hours", "kind"]
    assert model.source["estimator"]["kind"] == "Pipeline"


@pytest.mark.slow
@pytest.mark.parametrize("form", ["5.pkl", "plain.joblib", "whole.skops"])
def test_the_real_scikit_learn_is_asked_in_a_process_of_its_own(form: str, pipeline, people, tmp_path: Path):
    KEEP[form](pipeline, tmp_path / form)
    answer = reader.run(tmp_path / form, columns(people[0]))["answer"]
    np.testing.assert_allclose(1 / (1 + np.exp(-answer[:, 0])), pipeline.predict_proba(people[0])[:, 1], atol=1e-9)


def table(people) -> tuple[pd.DataFrame, pd.Series]:
    """Columns that never had a gap, words of a closed list among them."""
    return people[0][["hours", "school", "kind"]], people[1]


def test_what_never_had_gaps_is_proven_without_any_and_refuses_them(people, tmp_path: Path):
    rows, wanted = table(people)
    encoder = ColumnTransformer([
        ("scaled", preprocessing.StandardScaler(), ["hours"]),
        ("words", preprocessing.OneHotEncoder(), ["school", "kind"]),
    ])  # fmt: skip
    fitted = make_pipeline(encoder, linear_model.LogisticRegression()).fit(rows, wanted)
    certificate = convert(kept(fitted, tmp_path / "a.pkl"), tmp_path / "a.onnx")
    assert certificate.served == ("", "")
    model = engram.read(tmp_path / "a.onnx")
    assert [spec.gaps for spec in model.signature.inputs] == [False] * 3
    with pytest.raises(ShapeError, match=r"row 1, column 'hours' has a gap, and the model takes none"):
        model.predict([{"hours": None, "school": "low", "kind": 1}])


def test_gaps_are_proven_and_answered_where_the_estimator_takes_them(tmp_path: Path):
    rows = np.where(np.random.default_rng(0).random(FLOWERS[0].shape) < 0.2, np.nan, FLOWERS[0])
    for number, one in enumerate((
        ensemble.HistGradientBoostingClassifier(max_iter=3),
        make_pipeline(SimpleImputer(), preprocessing.StandardScaler(), linear_model.LogisticRegression()),
        tree.DecisionTreeClassifier(max_depth=3),
    )):  # fmt: skip
        path = kept(one.fit(rows, FLOWERS[1]), tmp_path / f"{number}.pkl")
        found = engram.read(path).predict(rows).probabilities
        np.testing.assert_allclose(found, one.predict_proba(rows), atol=1e-6)
    convert(tmp_path / "0.pkl", tmp_path / "0.onnx")


def test_a_gap_among_words_is_what_the_estimator_calls_one(people, tmp_path: Path):
    for number, gap in enumerate((None, np.nan)):
        rows = people[0][["work class"]].astype(object)
        rows.loc[::5, "work class"] = gap
        filled = SimpleImputer(strategy="most_frequent", missing_values=gap)
        fitted = make_pipeline(filled, preprocessing.OneHotEncoder(), linear_model.LogisticRegression())
        convert(kept(fitted.fit(rows, people[1]), tmp_path / f"{number}.pkl"), tmp_path / f"{number}.onnx")
        compared(fitted, tmp_path / f"{number}.pkl", rows)


@pytest.mark.parametrize("encoder", [
    preprocessing.OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60),
    preprocessing.OneHotEncoder(handle_unknown="ignore", max_categories=2, drop="first"),
    preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-2, encoded_missing_value=-1),
    preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=9, min_frequency=60),
], ids=repr)  # fmt: skip
def test_rare_unknown_and_missing_categories_are_encoded_as_in_scikit_learn(encoder: Any, people, tmp_path: Path):
    rows = people[0][["work class", "school", "kind"]].copy()
    rows.loc[::4, "school"] = np.nan
    fitted = make_pipeline(encoder, tree.DecisionTreeClassifier()).fit(rows, people[1])
    rows.loc[::7, "work class"] = "never seen"
    compared(fitted, kept(fitted, tmp_path / "a.pkl"), rows)


def test_targets_at_once_answer_side_by_side(tmp_path: Path):
    fitted = MultiOutputRegressor(linear_model.Ridge()).fit(PATIENTS[0], np.stack([PATIENTS[1], -PATIENTS[1]], axis=1))
    compared(fitted, kept(fitted, tmp_path / "a.pkl"), PATIENTS[0])


def test_an_imputer_also_tells_where_the_gaps_were(people, tmp_path: Path):
    rows = people[0][["age", "hours"]].assign(
        school=people[0].school.where(people[0].hours > 25, np.nan).astype(object)
    )
    filled = ColumnTransformer([
        ("numbers", SimpleImputer(add_indicator=True), ["age", "hours"]),
        ("words", make_pipeline(SimpleImputer(strategy="most_frequent"), preprocessing.OneHotEncoder()), ["school"]),
    ])  # fmt: skip
    fitted = make_pipeline(filled, linear_model.LogisticRegression()).fit(rows, people[1])
    compared(fitted, kept(fitted, tmp_path / "a.pkl"), rows)


@pytest.mark.parametrize("form", ["5.pkl", "plain.joblib", "whole.skops"])
def test_what_is_made_of_others_is_proven_from_every_form(form: str, tmp_path: Path):
    near = neighbors.KNeighborsClassifier(4, algorithm="kd_tree")
    grown = ensemble.GradientBoostingClassifier(n_estimators=2)
    voted = ensemble.VotingClassifier([("a", grown), ("b", near)], voting="soft")
    function = preprocessing.FunctionTransformer(np.log1p)
    search = GridSearchCV(make_pipeline(function, voted), {"votingclassifier__weights": [None, [1, 2]]}, cv=2)
    KEEP[form](search.fit(*TUMORS), tmp_path / form)
    compared(search, tmp_path / form, TUMORS[0])
    certificate = convert(tmp_path / form, tmp_path / "a.onnx")
    assert [one.output for one in certificate.differences] == ["probabilities"]
    assert certificate.served == ("", "")


def test_chances_are_held_against_those_of_scikit_learn_itself(tmp_path: Path):
    fitted = linear_model.SGDClassifier(loss="modified_huber", random_state=0).fit(*TUMORS)
    told = reader.run(kept(fitted, tmp_path / "a.pkl"), {"features": TUMORS[0]})
    np.testing.assert_allclose(told["probabilities"], fitted.predict_proba(TUMORS[0]))
    assert told["label"].tolist() == list(map(str, fitted.predict(TUMORS[0])))


@pytest.mark.parametrize("suffix", [".pkl", ".joblib", ".skops"])
def test_a_network_of_ours_is_opened_by_scikit_learn(suffix: str, models: dict[str, Model], tmp_path: Path):
    path = tmp_path / f"a{suffix}"
    write(models["binary"], path, to="sklearn")
    load = {
        ".pkl": lambda: pickle.loads(path.read_bytes()),
        ".joblib": lambda: joblib.load(path),  # noqa: TID251 - the peer
        ".skops": lambda: skops.io.load(path),  # noqa: TID251 - the peer
    }
    rows = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    wanted = onnxruntime.open(models["binary"]).predict({"x": rows})
    found = load[suffix]()
    assert found.predict(rows).tolist() == list(map(str, wanted.labels))
    np.testing.assert_allclose(found.predict_proba(rows), wanted.probabilities, atol=1e-6)
    first = path.read_bytes()
    reader.write(models["binary"], path)
    assert path.read_bytes() == first


def test_what_scikit_learn_has_no_word_for_is_refused_by_the_node(models: dict[str, Model], tmp_path: Path):
    with pytest.raises(ConversionError, match="is a Conv, and scikit-learn has only chains of dense layers"):
        write(models["pictures"], tmp_path / "a.joblib", to="sklearn")


class _Evil:
    def __reduce__(self):
        return subprocess.getoutput, ("touch hacked",)


def test_a_file_that_names_anything_else_is_refused_and_nothing_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    network = neural_network.MLPClassifier((3,), max_iter=2).fit(*FLOWERS)
    network.loss_curve_ = [_Evil()]
    for form in ("2.pkl", "5.pkl", "plain.joblib", "zlib.joblib"):
        KEEP[form](network, tmp_path / form)
        with pytest.raises(FormatError, match=r"getoutput at byte .*; nothing was run"):
            read(tmp_path / form)
    assert not (tmp_path / "hacked").exists()


def test_estimators_that_are_not_known_or_not_fitted_are_named(tmp_path: Path):
    for form in ("5.pkl", "plain.joblib", "whole.skops"):
        KEEP[form](IsotonicRegression(), tmp_path / form)
        with pytest.raises(ConversionError, match=rf"^{form}: IsotonicRegression is no estimator .* are ARD"):
            read(tmp_path / form)
    with pytest.raises(FormatError, match="perhaps never fitted"):
        read(kept(linear_model.LinearRegression(), tmp_path / "b.pkl"))


def test_trees_that_are_no_trees_are_refused(tmp_path: Path):
    grown = tree.DecisionTreeClassifier(max_depth=3).fit(*FLOWERS)
    whole = pickle.dumps(grown, protocol=5)
    nodes = grown.tree_.__reduce__()[2]["nodes"]
    for field, value in (("left_child", 0), ("right_child", 10**9), ("feature", 99)):
        spoiled = nodes.copy()
        spoiled[field][0] = value
        assert nodes.tobytes() in whole
        (tmp_path / "a.pkl").write_bytes(whole.replace(nodes.tobytes(), spoiled.tobytes()))
        with pytest.raises(FormatError):
            read(tmp_path / "a.pkl")


def test_a_compressed_file_that_unpacks_to_too_much_is_refused(tmp_path: Path):
    start = pickle.dumps(linear_model.LinearRegression(), protocol=2)
    (tmp_path / "a.joblib").write_bytes(bz2.compress(start + bytes(200_000_000)))
    with pytest.raises(FormatError, match=r"^a\.joblib unpacks to over 100 times its size"):
        reader.read(tmp_path / "a.joblib", Limits())


def test_parts_that_share_each_other_do_not_grow_to_any_number(tmp_path: Path):
    inner: Any = linear_model.Ridge().fit(*PATIENTS)
    for _ in range(40):
        outer = ensemble.VotingRegressor([("a", inner), ("b", inner)])
        outer.estimators_ = [inner, inner]
        inner = outer
    with pytest.raises(FormatError, match="once written out"):
        read(kept(inner, tmp_path / "a.pkl"))
    record: Any = Inert("sklearn", "Ridge", (), {})
    for _ in range(40):  # as a file of skops may say it, which a pickle may not
        record = Inert("sklearn", "VotingRegressor", (), {"estimators_": [record, record]})
    with pytest.raises(FormatError, match=r"^a has [\d,]+ parts once written out, but only [\d,]+ of them differ"):
        estimator(record, "a")
