"""What every plug-in of the shelf keeps, present and future, shown on a place each of them can open."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from PIL import Image

from engram.data import SHELF
from engram.errors import EngramError
from engram.records import Dataset
from engram.records.dataset import KINDS


@pytest.fixture
def place(tmp_path):
    """A place that the plug-in of this name opens; a new plug-in adds its own here."""

    def made(name):
        if name == "csv":
            (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{i * i % 17},{'xyz'[i % 3]}\n" for i in range(30)))
            return str(tmp_path / "t.csv")
        if name == "images":
            for label in ("cat", "dog"):
                (tmp_path / "pets" / label).mkdir(parents=True)
                for i in range(3):
                    Image.fromarray(np.full((2, 2), 40 * i, dtype=np.uint8)).save(
                        tmp_path / "pets" / label / f"{i}.png"
                    )
            return str(tmp_path / "pets")
        if name == "sklearn":
            pytest.importorskip("sklearn")
            return "sklearn:iris"
        pytest.fail(f"say here what {name} can open")

    return made


@pytest.fixture(params=SHELF.names())
def opened(request, place):
    module = SHELF.take(request.param)
    return module, place(request.param)


def test_its_options_have_defaults(opened):
    module, _ = opened
    assert is_dataclass(module.Options)
    assert all(f.name in module.Options.__doc__ for f in fields(module.Options))
    module.Options()


def test_it_recognizes_its_own_place_and_nobody_elses(opened, place):
    module, where = opened
    others = [other for other in SHELF.names() if SHELF.take(other) is not module]
    assert module.recognizes(where)
    assert not any(SHELF.take(other).recognizes(where) for other in others)


def test_it_gives_a_dataset_that_keeps_what_its_record_says(opened):
    module, where = opened
    dataset = module.open((where,), (), module.Options())
    assert isinstance(dataset, Dataset)
    assert dataset.digest.startswith("sha256:")
    assert len(dataset.digest) == 71
    part = dataset.parts["all"]
    rows = np.array([2, 0, 2])
    taken = part.take(rows)
    for column in dataset.columns:
        assert column.kind in (*KINDS, "ignore")
        assert column.reason
        values = taken[column.name]
        assert len(values) == 3
        if column.kind in {"number", "boolean", "date"}:
            assert values.dtype == np.float64
        if column.kind in {"category", "text"}:
            assert all(isinstance(value, str) for value in values)
        np.testing.assert_array_equal(values[0], values[2])


def test_the_same_place_gives_the_same_digest(opened):
    module, where = opened
    assert module.open((where,), (), module.Options()).digest == module.open((where,), (), module.Options()).digest


def test_what_is_not_there_is_no_traceback(opened):
    module, where = opened
    assert not module.recognizes("/nowhere/at/all")
    with pytest.raises((EngramError, FileNotFoundError)):
        module.open((where + "-not",), (), module.Options())
