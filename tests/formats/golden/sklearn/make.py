"""Estimators as releases of scikit-learn keep them, with the releases' own answers; ``estimators.tar.xz`` is made so:

    for each release: python make.py FOLDER     (with the release's own interpreter, 2.7 and 3.6 among them)
    once at the end:  python make.py FOLDER estimators.tar.xz

``python3.6 -m venv /tmp/old && /tmp/old/bin/pip install scikit-learn==0.22.2.post1 pandas==1.0.5 joblib==0.14.1`` makes
one of the old ones; skops belongs to those from 1.0 on. Everything is drawn from seeds, and each release is asked what
it knows: 0.18 has no transformer of columns, and histogram boosting begins with 0.21.
"""

# Python 2.7 and 3.6 run it, too, which know no newer words.
# ruff: noqa: PTH118, PTH123, PTH208, SIM105, UP032

import io
import os
import pickle  # noqa: TID251 - the peer's own
import sys
import tarfile

import numpy as np

PROTOCOLS = {"logistic": 0, "line": 1, "forest": 2}
"""Estimators that are kept by another protocol than the release's usual one."""
JOBLIB = {"perceptron": 0, "piped": ("zlib", 3), "grown": ("xz", 3), "boosted": ("bz2", 3), "filled": ("gzip", 3)}
"""Estimators that are kept with joblib, and how it packs them."""
SKOPS = {"perceptron", "piped", "forest", "boosted", "columns", "histogram", "grown", "logistic"}
"""Estimators that are kept with skops, too."""


def data():
    """Numbers, numbers with gaps, numbers whose first column stands for classes, three classes, two, and a target."""
    draw = np.random.RandomState(7)
    numbers = draw.normal(size=(36, 4)).round(3)
    gaps = np.where(draw.uniform(size=numbers.shape) < 0.15, np.nan, numbers)
    places = np.column_stack([draw.randint(0, 3, 36), numbers[:, 1:]])
    classes = np.array(["a", "b", "c"])[np.digitize(numbers[:, 0] + numbers[:, 1] / 2, [-0.4, 0.4])]
    return numbers, gaps, places, classes, (numbers[:, 2] > 0).astype(int), numbers.dot([1.0, -2.0, 0.5, 3.0])


def estimators():
    """Name → (fitted estimator, the rows it is asked)."""
    from sklearn import ensemble, linear_model, neural_network, tree
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

    numbers, _, _, classes, sides, target = data()
    network = {"hidden_layer_sizes": (3,), "max_iter": 30, "random_state": 0}
    logarithmic = {"loss": "log_loss" if release() >= (1, 1) else "log", "random_state": 0}
    few = {"n_estimators": 3, "max_depth": 3, "random_state": 0}
    classifiers = {
        "perceptron": neural_network.MLPClassifier(**network),
        "logistic": linear_model.LogisticRegression(),
        "descended": linear_model.SGDClassifier(max_iter=50, **logarithmic),
        "hinge": linear_model.SGDClassifier(max_iter=50, random_state=0),
        "ridged": linear_model.RidgeClassifier(),
        "grown": tree.DecisionTreeClassifier(max_depth=3, random_state=0),
        "forest": ensemble.RandomForestClassifier(**few),
        "extra": ensemble.ExtraTreesClassifier(**few),
        "boosted": ensemble.GradientBoostingClassifier(**few),
        "piped": make_pipeline(StandardScaler(), PCA(3), neural_network.MLPClassifier(**network)),
        "scaled": make_pipeline(RobustScaler(), MinMaxScaler(), linear_model.LogisticRegression()),
    }
    regressors = {
        "perceptron_value": neural_network.MLPRegressor(**network),
        "line": linear_model.LinearRegression(),
        "ridge": linear_model.Ridge(),
        "lasso": linear_model.Lasso(alpha=0.1),
        "elastic": linear_model.ElasticNet(alpha=0.1),
        "descended_value": linear_model.SGDRegressor(max_iter=50, random_state=0),
        "grown_value": tree.DecisionTreeRegressor(max_depth=3, random_state=0),
        "forest_value": ensemble.RandomForestRegressor(**few),
        "boosted_value": ensemble.GradientBoostingRegressor(**few),
    }
    made = {name: (one.fit(numbers, classes), numbers) for name, one in classifiers.items()}
    made.update({name: (one.fit(numbers, target), numbers) for name, one in regressors.items()})
    for name in ("logistic", "boosted", "perceptron", "hinge"):
        two = type(classifiers[name])(**classifiers[name].get_params())
        made[name + "_two"] = (two.fit(numbers, sides), numbers)
    made.update(newer())
    return made


def newer():
    """As ``estimators``, of classes that came after 0.18."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, gaps, places, classes, sides, target = data()
    made = {}
    if release() >= (0, 20):
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import OrdinalEncoder

        filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler(), LogisticRegression())
        made["filled"] = (filled.fit(gaps, classes), gaps)
        encoder = OneHotEncoder(handle_unknown="ignore", categories=[[0.0, 1.0, 2.0]])
        columns = ColumnTransformer([("code", encoder, [0]), ("number", StandardScaler(), [1, 2, 3])])
        network = MLPClassifier(hidden_layer_sizes=(3,), max_iter=30, random_state=0)
        made["columns"] = (make_pipeline(columns, network).fit(places, sides), places)
        table = named(places)
        chosen = ColumnTransformer(
            [
                ("word", OneHotEncoder(), ["word"]),
                ("order", OrdinalEncoder(), ["size"]),
                ("n", StandardScaler(), ["b"]),
            ],
            remainder="passthrough" if release() >= (1, 0) else "drop",
        )
        made["table"] = (make_pipeline(chosen, LogisticRegression()).fit(table, sides), table)
    if release() >= (0, 21):
        if release() < (1, 0):
            from sklearn.experimental import enable_hist_gradient_boosting  # noqa: F401
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        few = {"max_iter": 3, "min_samples_leaf": 5, "random_state": 0}
        made["histogram"] = (HistGradientBoostingClassifier(**few).fit(numbers, classes), numbers)
        made["histogram_two"] = (HistGradientBoostingClassifier(**few).fit(numbers, sides), numbers)
        made["histogram_value"] = (HistGradientBoostingRegressor(**few).fit(numbers, target), numbers)
    return made


def named(places):
    """The rows as a table with words."""
    import pandas as pd

    words = np.array(["low", "mid", "high"], dtype=object)
    code = places[:, 0].astype(int)
    return pd.DataFrame(
        {"word": words[code], "size": words[(code + np.arange(36)) % 3], "b": places[:, 1], "c": places[:, 2]},
        columns=["word", "size", "b", "c"],
    )


def release():
    """The release at hand, as numbers."""
    import sklearn

    return tuple(int(part) for part in sklearn.__version__.split(".")[:2])


def kept(folder, mark, name, one):
    """Write one estimator in the forms it is kept in."""
    if name in JOBLIB:
        try:
            import joblib
        except ImportError:
            from sklearn.externals import joblib
        joblib.dump(one, os.path.join(folder, "{}-{}.joblib".format(mark, name)), compress=JOBLIB[name])
    else:
        with open(os.path.join(folder, "{}-{}.pkl".format(mark, name)), "wb") as file:
            pickle.dump(one, file, protocol=PROTOCOLS.get(name, min(pickle.HIGHEST_PROTOCOL, 4)))
    if name in SKOPS and release() >= (1, 0):
        import skops.io

        skops.io.dump(one, os.path.join(folder, "{}-{}.skops".format(mark, name)))


def answers(one, rows):
    """What the release itself answers: labels or values, and chances where it has them."""
    found = {"predict": np.asarray(one.predict(rows))}
    if found["predict"].dtype.kind == "O":
        found["predict"] = found["predict"].astype("U")
    try:
        found["chances"] = one.predict_proba(rows)
    except AttributeError:
        pass
    return found


def main(folder):
    """Write what this release keeps and answers."""
    import sklearn

    mark = "{}-py{}".format(".".join(sklearn.__version__.split(".")[:3]), sys.version_info[0])
    said = {}
    for name, (one, rows) in sorted(estimators().items()):
        kept(folder, mark, name, one)
        said.update({"{}.{}".format(name, part): array for part, array in answers(one, rows).items()})
    np.savez_compressed(os.path.join(folder, mark + "-answers.npz"), **said)


def pack(folder, path):
    """All files in one archive, those of one estimator beside each other, without owners and times."""
    order = sorted(os.listdir(folder), key=lambda name: (name.rpartition(".")[2], name.rpartition("-")[2], name))
    with tarfile.open(path, "w:xz", preset=9) as archive:
        for name in order:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    pack(*sys.argv[1:3]) if sys.argv[2:] else main(sys.argv[1])
