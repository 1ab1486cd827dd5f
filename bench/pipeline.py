"""What the examples reach on held-out data, each as it stands in ``examples/``, beside scikit-learn on the same rows.

The data files are looked for in ENGRAM_DATA, then in ``../shared/data``. Name examples to run only these.
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.compose import make_column_transformer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import engram
from engram.data._load import load
from engram.data._target import encode
from engram.pipelines.parse import read
from engram.records import Dataset, Task

ROOT = Path(__file__).resolve().parents[1]
FIGURES = {
    "adult": ("accuracy", "adult_accuracy", ">= 0.855"),
    "mnist": ("accuracy", "mnist_accuracy", ">= 0.99"),
    "cifar10": ("accuracy", "cifar10_accuracy", ">= 0.70"),
    "wine": ("rmse", "wine_rmse", "< scikit-learn"),
}


def folder() -> Path:
    """Where the data files are."""
    for place in (os.environ.get("ENGRAM_DATA"), ROOT.parent / "shared" / "data"):
        if place and Path(place, "adult-train.csv").exists():
            return Path(place)
    raise SystemExit("the data files are nowhere; set ENGRAM_DATA to the folder that has adult-train.csv")


def scikit(name: str) -> float | None:
    """What scikit-learn's multilayer perceptron reaches with its defaults on the same rows; None for images."""
    if name in {"mnist", "cifar10"}:
        return None
    dataset, task = load(read(ROOT / "examples" / f"{name}.toml"), [folder()])
    numbers = [c.name for c in dataset.inputs if c.kind == "number"]
    words = [c.name for c in dataset.inputs if c.kind == "category"]
    scaled = make_column_transformer(
        (StandardScaler(), [dataset.inputs.index(dataset.column(n)) for n in numbers]),
        (OneHotEncoder(handle_unknown="ignore"), [dataset.inputs.index(dataset.column(n)) for n in words]),
    )
    network = MLPClassifier(random_state=0) if task.classifies else MLPRegressor(random_state=0)
    model = make_pipeline(scaled, network)
    (seen, truth), (held, wanted) = _rows(dataset, task, "train", "validation"), _rows(dataset, task, "test")
    model.fit(seen, truth)
    answers = model.predict(held)
    return float(np.mean(answers == wanted) if task.classifies else np.sqrt(np.mean((answers - wanted) ** 2)))


def _rows(dataset: Dataset, task: Task, *names: str) -> tuple[np.ndarray, np.ndarray]:
    """The inputs (rows, columns) as objects and the targets (rows,) of these parts together."""
    parts = [dataset.parts[name] for name in names]
    columns = [np.concatenate([part.column(c.name) for part in parts]).astype(object) for c in dataset.inputs]
    targets = np.concatenate([encode(task, part.column(task.target)) for part in parts])
    return np.stack(columns, axis=1), targets


def main() -> None:
    """Run, compare, print a table, and one line of JSON."""
    os.environ["ENGRAM_DATA"] = str(folder())
    chosen = sys.argv[1:] or list(FIGURES)
    figures: dict[str, float] = {}
    print(f"{'example':<10} {'metric':<10} {'engram':>8} {'wanted':>16} {'scikit-learn MLP':>17} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as place:
        for name in chosen:
            metric, figure, wanted = FIGURES[name]
            copy = Path(place, f"{name}.toml")
            copy.write_text((ROOT / "examples" / f"{name}.toml").read_text())
            start = time.perf_counter()
            version = engram.run(copy, store=Path(place, "store"))
            seconds = time.perf_counter() - start
            reached, theirs = version.metrics[metric], scikit(name)
            shown = f"{theirs:.4f}" if theirs is not None else "–"
            print(f"{name:<10} {metric:<10} {reached:>8.4f} {wanted:>16} {shown:>17} {seconds:>8.0f}", flush=True)
            if name == "wine" and theirs is not None:
                figures["wine_rmse_vs_sklearn"] = round(reached / theirs, 4)
            else:
                figures[figure] = round(reached, 4)
    print(json.dumps({"bench": "pipeline", "figures": figures}))


if __name__ == "__main__":
    main()
