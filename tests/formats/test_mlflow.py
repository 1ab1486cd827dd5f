"""Folders of MLflow, those that MLflow wrote and those that it is to load."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from engram.errors import FormatError
from engram.formats import onnx
from engram.formats._convert import probes, read, write
from engram.records import Model
from engram.runtime import onnxruntime


def changed(folder: Path, **flavors: object) -> Path:
    said = yaml.safe_load((folder / "MLmodel").read_text())
    said["flavors"] = flavors
    (folder / "MLmodel").write_text(yaml.safe_dump(said))
    return folder


@pytest.fixture
def folder(models: dict[str, Model], tmp_path: Path) -> Path:
    write(models["table"], tmp_path / "theirs", to="mlflow")
    return tmp_path / "theirs"


def test_a_folder_of_another_program_is_read_by_its_flavor(models: dict[str, Model], tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    onnx.write(models["binary"], tmp_path / "theirs" / "model.onnx")
    said = {"flavors": {"onnx": {"data": "model.onnx"}, "python_function": {"loader_module": "mlflow.onnx"}}}
    (tmp_path / "theirs" / "MLmodel").write_text(yaml.safe_dump(said))
    assert dict(read(tmp_path / "theirs").source) == dict(models["binary"].source)


def test_a_flavor_that_is_a_pickle_of_code_is_refused(folder: Path):
    with pytest.raises(FormatError, match="flavors python_function, pytorch, of which none is read without"):
        read(changed(folder, pytorch={"model_data": "data"}, python_function={"loader_module": "os"}))


@pytest.mark.parametrize("name", ["../theirs/model.onnx", "/etc/passwd", "a/../model.onnx"])
def test_a_file_outside_of_the_folder_is_not_opened(folder: Path, name: str):
    shutil.copy(folder / "model.onnx", folder.parent / "model.onnx")
    with pytest.raises(FormatError, match=r"plain name|none is read"):
        read(changed(folder, onnx={"data": name}))


@pytest.mark.parametrize(
    "text",
    [
        "flavors: &a {onnx: *a}",
        "flavors: {onnx: 1, onnx: 2}",
        "flavors: !!python/object/apply:os.system ['touch hacked']",
        "- a",
        "flavors: []",
        "\x00",
        "[" * 5000,
    ],
)
def test_yaml_that_is_more_than_plain_is_refused(folder: Path, text: str):
    (folder / "MLmodel").write_text(text)
    with pytest.raises(FormatError):
        read(folder)
    assert not Path("hacked").exists()


def test_a_graph_that_was_changed_is_no_longer_the_model_beside_it(folder: Path, models: dict[str, Model]):
    shutil.move(folder / "model.onnx", folder / "old.onnx")
    onnx.write(models["binary"], folder / "model.onnx")
    with pytest.raises(FormatError, match=r"model\.onnx is not the model in engram\.safetensors"):
        read(folder)


@pytest.fixture(scope="session")
def mlflow() -> dict[str, str]:
    """An environment with MLflow, which ``make test`` puts into a folder of its own."""
    folder = Path(__file__).parents[2] / ".stamps" / "mlflow"
    if not (folder / "mlflow").is_dir():
        pytest.skip(f"there is no MLflow in {folder}; make test installs it where PyPI can be reached")
    return {**os.environ, "PYTHONPATH": str(folder)}


_ASK = """
import json, sys, mlflow.pyfunc, pandas as pd
given = json.load(open(sys.argv[2]))
model = mlflow.pyfunc.load_model(sys.argv[1])
table = pd.DataFrame(given)
answer = model.predict(table.astype("float32") if isinstance(given, list) else table)
json.dump({name: list(map(str, answer[name])) for name in answer}, open(sys.argv[2], "w"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["table", "binary", "residual"])
def test_mlflow_itself_loads_and_scores_it(mlflow: dict[str, str], models: dict[str, Model], tmp_path: Path, name: str):
    model = models[name]
    write(model, tmp_path / "ours", to="mlflow")
    rows = {key: array[4:] for key, array in probes(model, rows=12, seed=3).items()}
    given = {key: array.tolist() for key, array in rows.items()}
    table = given if name == "table" else [*next(iter(given.values()))]
    (tmp_path / "rows.json").write_text(json.dumps(table).replace("NaN", "null"))
    words = [sys.executable, "-c", _ASK, tmp_path / "ours", tmp_path / "rows.json"]
    subprocess.run(words, check=True, cwd=tmp_path, env=mlflow)
    answer = json.loads((tmp_path / "rows.json").read_text())
    wanted = onnxruntime.open(model).predict(rows)
    if model.labels:
        assert answer["label"] == list(map(str, wanted.labels))
        found = np.array([answer[f"probability {label}"] for label in model.labels], dtype=float).T
        np.testing.assert_allclose(found, wanted.probabilities, atol=1e-6)
    else:
        np.testing.assert_allclose(np.array(answer["value"], dtype=float), wanted.values, rtol=1e-5)
