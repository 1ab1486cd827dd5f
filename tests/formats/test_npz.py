"""NumPy's files, read as numpy reads them and read by numpy as they were written."""

import io
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram.errors import ConversionError, FormatError
from engram.formats import _convert, _npy, npz
from engram.records import Limits, Model, Signature

WHOLE = np.arange(24).reshape(2, 3, 4)
KINDS = ["?", "i1", "u1", "<i2", ">i4", "i8", "u8", "f2", "<f4", ">f8", "c8", "c16", "S3", "U2"]


def arrays() -> dict[str, np.ndarray]:
    return {
        "dense/kernel": WHOLE.astype("f4"),
        "fortran": np.asfortranarray(WHOLE.astype("f8")),
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((3, 0), np.int16),
        "naïve 東京": np.ones(2),
        "weights..v2": np.ones(1),
        **{f"kind {np.dtype(kind).str[1:]} {kind[0]}": WHOLE.astype(kind) for kind in KINDS},
    }


def equal(found, wanted) -> bool:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        np.testing.assert_array_equal(found[name], array)
    return True


def model(weights) -> Model:
    return Model(b"", weights, Signature((), ()))


def load(path: Path):
    return np.load(path)  # noqa: TID251 - the peer


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(save, tmp_path):
    save(tmp_path / "m.npz", **arrays())
    found = _convert.read(tmp_path / "m.npz")
    assert equal(found.weights, arrays())
    assert found.source == {"format": "npz", "form": "npz"}


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_an_array_alone_is_read_in_every_version_of_its_header(version, tmp_path):
    for array in arrays().values():
        with (tmp_path / "m.npy").open("wb") as file:
            np.lib.format.write_array(file, array, version)
        found = _convert.read(tmp_path / "m.npy").weights
        assert equal(found, {"array": array})


def test_what_is_written_numpy_reads_and_it_is_the_same_each_time(tmp_path):
    path = tmp_path / "m.npz"
    _convert.write(model(arrays()), path)
    with load(path) as found:
        assert equal(dict(found), arrays())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    first = path.read_bytes()
    _convert.write(_convert.read(path), path)
    assert path.read_bytes() == first


def test_numpy_is_not_disturbed_by_the_graph_beside_the_arrays(models, tmp_path):
    given = models["pictures"]
    _convert.write(given, tmp_path / "m.npz")
    with load(tmp_path / "m.npz") as found:
        assert [name for name in found.files if name != "engram.json"] == list(given.weights)
    assert _convert.read(tmp_path / "m.npz").graph == given.graph


def npy(header: bytes, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
        b'{"shape": (2,), "descr": "<f4", "fortran_order": False}',
        b"{'descr':'<f4','fortran_order':False,'shape':(2,)}\n",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }  \n",
        b"  { 'fortran_order' : False , 'descr' : '<f4' , 'shape' : ( 2 , ) , } ",
    ],
)
def test_headers_of_other_writers_are_read(header, tmp_path):
    path = tmp_path / "m.npy"
    path.write_bytes(npy(header, np.float32([1, 2]).tobytes()))
    np.testing.assert_array_equal(_convert.read(path).weights["array"], [1, 2])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", b"\x80\x04N."), "Python objects"),
        (npy(b"{'descr': 'object', 'fortran_order': False, 'shape': (1,), }"), "the type 'object'"),
        (npy(b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 4), "a table of the"),
        (npy(b"{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,), }", b"\0" * 8), "Python objects"),
        (npy(b"{'descr': [('a', '<f4', (2,))], 'fortran_order': False, 'shape': (1,), }"), "not as numpy writes it"),
        (npy(b"{'descr': '<M8[D]', 'fortran_order': False, 'shape': (1,), }"), "the type '<M8[D]'"),
        (npy(b"{'descr': '|V2', 'fortran_order': False, 'shape': (1,), }"), "the type '|V2'"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", b"\0" * 8), "does not take 8 bytes"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", b"\0" * 8), "does not take 8 bytes"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999999,), }"), "over the limits"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (" + b"1," * 33 + b")}", b"\0" * 4), "over the lim"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), "not as numpy writes it"),
        (npy(b"{'descr': '|S0', 'fortran_order': False, 'shape': (999999999999,), }"), "has no numbers"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': 3, }"), "not as numpy writes it"),
        (npy(b"{'descr': '<f4', 'fortran_order': 1, 'shape': (3,), }"), "not as numpy writes it"),
        (npy(b"{'descr': '<f4', 'descr': '<f8', 'fortran_order': False, 'shape': (3,), }"), "says 'descr' twice"),
        (npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), 'more': 1}"), "not as numpy writes it"),
        (npy(b"{'descr': '<f4', 'fortran_order': False}"), "not as numpy writes it"),
        (npy(b"__import__('os').system('true')"), "not as numpy writes it"),
        (npy(b"(" * 60_000), "not as numpy writes it"),
        (npy(b"{}", version=b"\4\0"), "in version 1, 2 or 3"),
        (b"\x93NUMPY\1\0\xff\xff{   ", "a header of 65,535 bytes"),
        (b"\x93NUMPY", "does not begin as an array"),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff{}", "a header of 4,294,967,295 bytes"),
    ],
)  # fmt: skip
def test_a_file_that_lies_is_refused_before_it_is_believed(content, said, tmp_path):
    for path in (tmp_path / "m.npy", tmp_path / "m.npz"):
        if path.suffix == ".npz":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("w.npy", content)
        else:
            path.write_bytes(content)
        with pytest.raises(FormatError) as refused:
            _convert.read(path)
        assert said in str(refused.value)
        assert "\n" not in str(refused.value)


@given(st.binary(max_size=120))
def test_any_header_is_refused_or_read(header):
    try:
        _npy.parse(npy(header), "x")
    except FormatError as refused:
        assert "\n" not in str(refused)  # noqa: PT017 - either outcome is right


@given(st.text("{}()'\":, <f4descrfortran_ordershapeTrueFalse0123456789\\", max_size=90))
def test_any_header_in_the_letters_of_one_is_refused_or_as_numpy_reads_it(header):
    content = npy(header.encode())
    try:
        found = _npy.parse(content, "x")
    except FormatError:
        return
    np.testing.assert_array_equal(found, np.lib.format.read_array(io.BytesIO(content)))


def test_names_and_types_that_have_no_place_are_refused_on_writing(tmp_path):
    path = tmp_path / "m.npz"
    for name in ("../w", "/w", "a//b", "a\\b"):
        with pytest.raises(ConversionError, match="has no plain name inside a zip"):
            npz.write(model({name: np.ones(1)}), path)
    with pytest.raises(ConversionError, match="differ only in case"):
        npz.write(model({"W": np.ones(1), "w": np.ones(1)}), path)
    for array in (np.zeros(2, ml_dtypes.bfloat16), np.array([{}], object), np.array(["2020"], "M8[Y]")):
        with pytest.raises(ConversionError, match="which numpy's files have no word for"):
            npz.write(model({"w": array}), path)
    with pytest.raises(ConversionError, match=r"write \.npz"):
        npz.write(model({"w": np.ones(1)}), tmp_path / "m.npy")
    with pytest.raises(ConversionError, match="no weights"):
        npz.write(model({}), path)


def test_as_many_arrays_as_the_limit_are_read(tmp_path):
    path = tmp_path / "m.npz"
    npz.write(model({f"w{n}": np.ones(1) for n in range(5)}), path)
    for most in (5, 6):
        assert len(npz.read(path, Limits(tensors=most)).weights) == 5
    with pytest.raises(FormatError, match="has 5 arrays, over the limit of 4"):
        npz.read(path, Limits(tensors=4))


def test_what_was_read_outlasts_the_file(tmp_path):
    path = tmp_path / "m.npz"
    npz.write(model({"w": np.ones(100_000)}), path)
    found = npz.read(path, Limits())
    path.write_bytes(b"")
    assert found.weights["w"].sum() == 100_000
