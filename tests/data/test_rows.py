import math

import numpy as np
import pytest
from PIL import Image

from engram.data._rows import open_rows
from engram.errors import DataError, ShapeError
from engram.records import TensorSpec


def spec(name, kind):
    return TensorSpec(name, "string" if kind in {"category", "text"} else "float64", ("batch",), kind=kind)


INPUTS = (spec("code", "category"), spec("size", "number"), spec("new", "boolean"), spec("day", "date"))
PICTURE = TensorSpec("image", "uint8", ("batch", "height", "width", 1), kind="image")


@pytest.fixture
def file(tmp_path):
    def write(content):
        (tmp_path / "rows.csv").write_text(content)
        return tmp_path / "rows.csv"

    return write


def test_rows_are_read_by_the_signature_and_not_by_their_looks(file):
    opened = open_rows(file("day,size,new,code,more\n1970-01-02,3,1,7,x\n,?,no,008,y\n"), INPUTS)
    assert opened.columns["code"].tolist() == ["7", "008"]
    assert opened.columns["size"][0] == 3.0
    assert math.isnan(opened.columns["size"][1])
    assert opened.columns["new"].tolist() == [1.0, 0.0]
    assert opened.columns["day"][0] == 86400.0
    assert (list(opened.columns), len(opened), opened.truth) == ([s.name for s in INPUTS], 2, None)


def test_the_target_is_read_where_it_is_there(file):
    opened = open_rows(file("size,y\n1,a.\n2,b\n"), INPUTS[1:2], target="y", labels=("a", "b"))
    assert opened.truth.tolist() == ["a", "b"]
    assert open_rows(file("size\n1\n2\n"), INPUTS[1:2], target="y").truth is None


@pytest.mark.parametrize("content", ["1,a\n2,b\n", "1\n2\n"])
def test_names_fit_with_and_without_the_target(file, content):
    opened = open_rows(file(content), INPUTS[1:2], target="y", names=("size", "y"))
    assert opened.columns["size"].tolist() == [1.0, 2.0]


def test_a_single_row_is_enough(file):
    assert len(open_rows(file("size\n5\n"), INPUTS[1:2])) == 1


def test_a_column_that_is_missing_is_named_with_the_nearest(file):
    with pytest.raises(ShapeError, match=r"no column 'size', which the model needs; did you mean 'sizes'"):
        open_rows(file("sizes\n1\n2\n"), INPUTS[1:2])


def test_a_file_without_header_is_said_to_have_none(file):
    with pytest.raises(ShapeError, match="it has no header"):
        open_rows(file("1,2\n2,3\n"), INPUTS[1:2])


def test_a_value_that_does_not_fit_is_refused_with_its_row(file):
    with pytest.raises(DataError, match=r"row 2: 'big'"):
        open_rows(file("size\n1\nbig\n"), INPUTS[1:2])


def test_one_image_is_one_row_with_the_channels_of_the_model(tmp_path):
    Image.fromarray(np.full((3, 5, 3), 80, dtype=np.uint8)).save(tmp_path / "a.png")
    opened = open_rows(tmp_path / "a.png", (PICTURE,))
    assert opened.columns["image"].shape == (1, 3, 5, 1)
    assert (opened.columns["image"] == 80).all()


def test_a_broken_image_is_refused_by_name(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(DataError, match=r"a\.png is no PNG"):
        open_rows(tmp_path / "a.png", (PICTURE,))
