"""Plain arrays by pickle and joblib, read as their own libraries read them, and read by these as they were written."""

import collections
import pickle  # noqa: TID251 - the peer
from pathlib import Path

import joblib as library
import ml_dtypes
import numpy as np
import pytest

from engram.errors import ConversionError, FormatError
from engram.formats import _convert, joblib
from engram.records import Limits, Model, Signature

KINDS = ["?", "i1", "u2", "<i4", ">f4", "f8", "f2", "c8", "S3", "U2", ml_dtypes.bfloat16]


def arrays() -> dict[str, np.ndarray]:
    whole = np.arange(24).reshape(2, 3, 4)
    return {
        "dense/kernel": whole.astype("f4"),
        "turned": whole.astype("f8").T,
        "fortran": np.asfortranarray(whole.astype("f4")),
        "scalar": np.array(3.5),
        "empty": np.zeros((0, 4), "f4"),
        **{f"kind {np.dtype(kind)}": whole.astype(kind) for kind in KINDS},
    }


def equal(found, given) -> bool:
    assert list(found) == list(given)
    for name, array in given.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    return True


def model(weights) -> Model:
    return Model(b"", weights, Signature((), ()))


def load(path: Path):
    return library.load(path)  # noqa: TID251 - the peer


@pytest.mark.parametrize("protocol", range(6))
def test_what_pickle_writes_is_read(protocol, tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(arrays(), protocol))
    assert equal(_convert.read(path).weights, arrays())


@pytest.mark.parametrize("compress", [0, 1, 9, ("gzip", 3), ("bz2", 3), ("xz", 3), ("lzma", 3)], ids=str)
@pytest.mark.parametrize("suffix", [".joblib", ".pkl", ""])
def test_what_joblib_writes_is_read(compress, suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    library.dump(arrays(), path, compress=compress)
    found = _convert.read(path)
    assert equal(found.weights, arrays())
    assert found.source["format"] == ("pickle" if suffix == ".pkl" else "joblib")


@pytest.mark.parametrize("suffix", [".joblib", ".pkl"])
def test_what_is_written_the_library_reads(suffix, tmp_path):
    path = tmp_path / f"m{suffix}"
    given = {name: array for name, array in arrays().items() if array.dtype.isnative}  # both turn the rest round
    _convert.write(model(given), path, to="joblib" if suffix == ".joblib" else "pickle")
    assert equal(load(path) if suffix == ".joblib" else pickle.loads(path.read_bytes()), given)
    first = path.read_bytes()
    _convert.write(_convert.read(path), path, to="joblib" if suffix == ".joblib" else "pickle")
    assert path.read_bytes() == first


def test_joblib_maps_what_is_written(tmp_path):
    path = tmp_path / "m.joblib"
    joblib.write(model({"w": np.arange(5000.0), "v": np.arange(3, dtype=np.uint8), "x": np.ones(7)}), path)
    found = library.load(path, mmap_mode="r")  # noqa: TID251 - the peer
    assert isinstance(found["x"], np.memmap)
    np.testing.assert_array_equal(found["w"], np.arange(5000.0))
    assert found["x"].ctypes.data % 16 == 0


def test_nested_containers_become_names_and_plain_values_what_the_file_says(tmp_path):
    tree = {
        "params": {"dense": [np.ones(2), np.zeros((2, 3))], 3: np.float32(1.5)},
        "step": 7,
        "note": "x",
        "best": float("inf"),
        "order": collections.OrderedDict(a=np.arange(2)),
    }
    for name, dump in (
        ("m.pkl", lambda p: p.write_bytes(pickle.dumps(tree))),
        ("m.joblib", lambda p: library.dump(tree, p)),
    ):
        dump(tmp_path / name)
        found = _convert.read(tmp_path / name)
        assert list(found.weights) == ["params/dense/0", "params/dense/1", "params/3", "order/a"]
        assert found.weights["params/3"] == np.float32(1.5)
        assert found.source["values"] == {"step": 7, "note": "x", "best": "inf"}


def test_an_array_alone_and_a_list_have_names(tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(np.ones(3)))
    assert list(_convert.read(path).weights) == ["array"]
    path.write_bytes(pickle.dumps([np.ones(3), np.zeros(2)]))
    assert list(_convert.read(path).weights) == ["0", "1"]


class Own:
    """A class of somebody's own."""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"w": Own()}, f"opcode STACK_GLOBAL {__name__}.Own at byte"),
        ({"w": np.array([{}], object)}, "an array of Python objects would be a pickle in a pickle"),
        ({"w": {1, 2}, "v": np.ones(1)}, "holds a set at 'w'; arrays and plain values are read"),
        ({"w": b"x", "v": np.ones(1)}, "holds a bytes at 'w'"),
        ({"w": np.float32, "v": np.ones(1)}, "opcode STACK_GLOBAL numpy.float32"),
        ({"w": np.dtype("f4"), "v": np.ones(1)}, "at 'w'; arrays"),
        ({"a": 1}, "holds no arrays"),
        ({"a/b": np.ones(1), "a": {"b": np.ones(1)}}, "two things that would be called 'a/b'"),
    ],
    ids=["class", "objects", "set", "bytes", "reference", "type", "none", "twice"],
)  # fmt: skip
def test_anything_else_is_refused_by_its_name(value, said, tmp_path):
    path = tmp_path / "m.pkl"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(FormatError) as refused:
        _convert.read(path)
    assert said in str(refused.value)


def test_a_joblib_file_of_python_objects_is_refused(tmp_path):
    path = tmp_path / "m.joblib"
    library.dump({"w": np.array([{}, Own()], object)}, path)
    with pytest.raises(FormatError, match="an array of Python objects"):
        _convert.read(path)
    library.dump({"w": np.matrix([[1.0]])}, path)
    with pytest.raises(FormatError, match=r"numpy\.matrix"):
        _convert.read(path)


def test_a_compressed_file_unpacks_to_a_bounded_size(tmp_path):
    path = tmp_path / "m.joblib"
    library.dump({"w": np.zeros(2**24, np.uint8)[: 2**24 - 4096]}, path, compress=9)
    assert _convert.read(path).weights["w"].size == 2**24 - 4096
    library.dump({"w": np.zeros(2**24 + 10, np.uint8)}, path, compress=9)
    with pytest.raises(FormatError, match="unpacks to over 100 times its size"):
        _convert.read(path)


@pytest.mark.parametrize("compress", ["zlib", "gzip", "bz2", "xz", "lzma"])
def test_a_compressed_file_that_is_cut_off_or_has_a_tail_is_refused(compress, tmp_path):
    path = tmp_path / "m.joblib"
    library.dump({"w": np.arange(1000.0)}, path, compress=(compress, 3))
    whole = path.read_bytes()
    for content in (whole[:-1], whole[: len(whole) // 2], whole[:12], whole + b"\0", whole + whole):
        path.write_bytes(content)
        with pytest.raises(FormatError):
            _convert.read(path)


def test_lz4_and_the_files_of_old_releases_are_refused_with_what_to_do(tmp_path):
    path = tmp_path / "m.joblib"
    path.write_bytes(b"\x04\x22\x4d\x18" + b"\0" * 40)
    with pytest.raises(FormatError, match="compressed by lz4, which is not read; dump it with compress='zlib'"):
        _convert.read(path)
    path.write_bytes(b"\x80\x02cjoblib.numpy_pickle\nNDArrayWrapper\n.")
    with pytest.raises(FormatError, match=r"joblib before 0\.10 kept arrays in files of their own"):
        _convert.read(path)


def test_a_shape_beyond_what_is_there_is_refused_before_it_is_taken(tmp_path):
    path = tmp_path / "m.joblib"
    joblib.write(model({"w": np.arange(8.0)}), path)
    whole = path.read_bytes()
    small, large = b"K\x08\x85", b"J\xff\xff\xff\x7f\x85"
    assert whole.count(small) == 1
    path.write_bytes(whole.replace(small, large))
    with pytest.raises(FormatError, match="is cut off"):
        _convert.read(path)


def test_a_model_with_a_graph_is_a_dictionary_with_a_text_beside_its_arrays(models, tmp_path):
    given = models["pictures"]
    for name, opened in (("m.pkl", lambda p: pickle.loads(p.read_bytes())), ("m.joblib", load)):
        _convert.write(given, tmp_path / name, to="joblib" if name == "m.joblib" else "pickle")
        found = opened(tmp_path / name)
        assert list(found) == [*given.weights, "engram"]
        assert type(found["engram"]) is str
        assert _convert.read(tmp_path / name).graph == given.graph


def test_names_and_types_that_have_no_place_are_refused_on_writing(tmp_path):
    with pytest.raises(ConversionError, match="is called 'engram'"):
        _convert.write(model({"engram": np.ones(1)}), tmp_path / "m.pkl", to="pickle")
    with pytest.raises(ConversionError, match="no weights"):
        _convert.write(model({}), tmp_path / "m.joblib", to="joblib")
    with pytest.raises(ConversionError, match="Python objects"):
        joblib.write(model({"w": np.array([{}], object)}), tmp_path / "n.joblib")


def test_as_many_arrays_as_the_limit_are_read(tmp_path):
    path = tmp_path / "m.joblib"
    joblib.write(model({f"w{n}": np.ones(1) for n in range(5)}), path)
    for most in (5, 6):
        assert len(joblib.read(path, Limits(tensors=most)).weights) == 5
    with pytest.raises(FormatError, match="has 5 arrays, over the limit of 4"):
        joblib.read(path, Limits(tensors=4))
