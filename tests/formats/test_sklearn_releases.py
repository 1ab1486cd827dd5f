"""Files of releases of scikit-learn from 0.21 to 1.9 are read, and answer as the release that kept them did.

``golden/sklearn/make.py`` made them, each with the release's own interpreter, and says what they were fitted on.
"""

import importlib.util
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy import ndarray

from engram.formats import sklearn as reader
from engram.formats._convert import read
from engram.records import Model
from engram.runtime import onnxruntime

GOLDEN = Path(__file__).parent / "golden" / "sklearn"
RELEASES = [
    "0.21.3-py3", "0.22.2-py3", "0.24.2-py3", "1.0.2-py3", "1.1.3-py3", "1.2.2-py3", "1.3.2-py3",
    "1.4.2-py3", "1.5.2-py3", "1.6.1-py3", "1.7.2-py3", "1.9.1-py3",
]  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files, unpacked once."""
    folder = tmp_path_factory.mktemp("releases")
    with tarfile.open(GOLDEN / "estimators.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="module")
def rows() -> Mapping[str, ndarray]:
    """What the estimators were asked, by the names of those that were asked something of their own."""
    spec = importlib.util.spec_from_file_location("make", GOLDEN / "make.py")
    made: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    numbers, gaps, places, *_ = made.data()
    return {"": numbers, "filled": gaps, "columns": places, "table": made.named(places)}


def given(model: Model, name: str, rows: Mapping[str, ndarray]) -> dict[str, ndarray]:
    found = rows.get(name, rows[""])
    if name != "table":
        return {model.signature.inputs[0].name: found}
    return {spec.name: found[spec.name].to_numpy(spec.dtype.replace("string", "O")) for spec in model.signature.inputs}


def far(model: Model, name: str, rows: Mapping[str, ndarray], said: Mapping[str, ndarray]) -> float:
    """The largest difference of an answer; infinite where a label is another."""
    found = onnxruntime.open(model).predict(given(model, name, rows))
    wanted = said[f"{name}.predict"]
    if not model.labels:
        return float(abs(found.values.reshape(wanted.shape) - wanted).max())
    if list(map(str, found.labels)) != list(map(str, wanted.tolist())):
        return float("inf")
    chances = said.get(f"{name}.chances")
    return 0.0 if chances is None else float(abs(found.probabilities - chances).max())


@pytest.mark.parametrize("release", RELEASES)
def test_estimators_answer_as_in_the_release_that_kept_them(release: str, place: Path, rows: Mapping[str, ndarray]):
    said = dict(np.load(place / f"{release}-answers.npz"))  # noqa: TID251 - of our own making
    kept = [one for one in sorted(place.glob(f"{release}-*")) if one.suffix != ".npz"]
    assert len(kept) >= len({name.partition(".")[0] for name in said})
    found = {}
    for path in kept:
        assert reader.recognizes(path.read_bytes()[:4096], path), path.name
        found[path.name] = far(read(path), path.stem.rpartition("-")[2], rows, said)
    assert {name: value for name, value in found.items() if value > 1e-5} == {}
