"""Torch against the cases that onnx ships for every operator, and against what onnxruntime makes of them.

Onnxruntime is asked first: a case it passes and that has numbers alone must be passed by torch as well. What is left
over is kept in ``docs/examples/runtime/torch.json`` with its reason, from which the page of the runtime is made; these
tests compare that file with what happens. The default run takes the cases of some operators of each kind, ``-m long``
all.
"""

import functools
import importlib
import json
import pkgutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnx.backend.test.case import node

from engram.errors import ConversionError
from engram.graphs.walk import operators
from engram.runtime import torch as runtime

KEPT = Path(__file__).parents[2] / "docs" / "examples" / "runtime" / "torch.json"
SAMPLE = (
    "add", "averagepool", "batch_normalization", "bitshift", "celu", "center_crop_pad", "col2im", "compress", "conv",
    "convtranspose", "cumsum", "deformconv", "dropout", "dynamicquantizelinear", "einsum", "gathernd", "gemm",
    "gridsample", "gru", "hannwindow", "if_", "loop", "lppool", "lstm", "matmulinteger", "maxpool", "maxunpool", "mod",
    "nonmaxsuppression", "optionalgetelement", "pad", "qlinearconv", "qlinearmatmul", "quantizelinear", "reducemax",
    "reversesequence", "rnn", "rotaryembedding", "scan", "scatternd", "sequence_map", "slice", "split",
    "splittosequence", "string_concat", "tensorscatter", "topk", "unique",
)  # fmt: skip
"""Modules of onnx, each with the cases of one operator."""
NEWEST = {"ir": 10, "opset": 26}
"""What onnxruntime reads; operators of newer numbers are asked with the newest that it takes."""
DRAWN = ("bernoulli", "random", "training_dropout", "multinomial")

pytestmark = pytest.mark.filterwarnings("ignore")


def imported(names):
    """The cases of some modules of onnx."""
    return [case for name in names for case in _of(f"{node.__name__}.{name}")]


@functools.cache
def _of(module):
    """The cases of one module, which are made while it is imported."""
    before = len(node._NodeTestCases)
    importlib.import_module(module)
    return tuple(node._NodeTestCases[before:])


def prepared(case):
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    model.ir_version = min(model.ir_version, NEWEST["ir"])
    for entry in model.opset_import:
        if entry.domain in {"", "ai.onnx"}:
            entry.version = min(entry.version, NEWEST["opset"])
    return model


def plain(value):
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return numpy_helper.to_optional(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def alike(mine, theirs, case):
    """Whether an answer is the one expected, in type, shape and numbers."""
    if isinstance(theirs, list):
        same = isinstance(mine, list) and len(mine) == len(theirs)
        return same and all(alike(a, b, case) for a, b in zip(mine, theirs, strict=True))
    if theirs is None or mine is None:
        return mine is theirs
    mine, theirs = np.asarray(mine), np.asarray(theirs)
    if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
        return False
    if theirs.dtype.kind in "OUS":
        return bool((mine == theirs).all())
    # half a thousandth is the last digit of 16 bits; sums of products of 32 bits differ in the seventh
    half = theirs.dtype.kind not in "iub" and theirs.dtype.itemsize == 2
    least = {"atol": 1e-2, "rtol": 2e-2} if half else {"atol": max(case.atol, 2e-6), "rtol": case.rtol}
    return np.allclose(mine.astype("c16"), theirs.astype("c16"), **least, equal_nan=True)


def passes(case, answer):
    """Whether a runtime answers all data of a case as expected; its own error counts as no."""
    for given, expected in case.data_sets:
        names = [value.name for value in case.model.graph.input]
        found = answer({name: plain(value) for name, value in zip(names, given, strict=False)})
        if not all(alike(mine, plain(theirs), case) for mine, theirs in zip(found, expected, strict=False)):
            return False
    return True


def peer_passes(case, model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return passes(case, lambda fed: session.run(None, fed))
    except Exception:  # noqa: BLE001 - whatever its bindings raise; a case it cannot be asked is one it does not pass
        return False


def has_words(case):
    """Whether there is text in what is put in or what comes out."""
    given, expected = case.data_sets[0]
    arrays = [np.asarray(one) for value in (*given, *expected) for one in _parts(plain(value))]
    return any(array.dtype.kind in "OUS" for array in arrays)


def _parts(value):
    return value if isinstance(value, list) else [] if value is None else [value]


def reason(case, model):
    """Why torch does not run a case; empty where it should."""
    kinds = sorted(operators(model) - {"Constant"})
    if has_words(case) or "TfIdfVectorizer" in kinds:
        return "words: torch has none; preprocessing runs in onnxruntime"
    if any(entry.domain == "ai.onnx.ml" for entry in model.opset_import):
        return "tables and trees of ai.onnx.ml: nothing in them has a gradient"
    if any(entry.domain == "" and entry.version < 21 for entry in model.opset_import):
        return "operator sets before 21 that onnx itself brings to 21 with another meaning"
    return ""


def examined(cases):
    """What onnxruntime and torch make of cases: totals, the rest by reason, and what is simply wrong."""
    found = {"cases": 0, "onnxruntime": 0, "numbers": 0, "torch": 0}
    rest, wrong, compared = {}, {}, set()
    for case in cases:
        model = prepared(case)
        found["cases"] += 1
        peer, why = peer_passes(case, model), reason(case, model)
        try:
            graph = model.SerializeToString()
            mine = passes(case, lambda fed, graph=graph: list(runtime.run(graph, fed).values()))
        except ConversionError as refused:
            mine = False
            fault = str(refused)
        else:
            fault = "" if mine else "other numbers"
        compared |= operators(model) if mine else set()
        found["onnxruntime"] += peer
        found["numbers"] += peer and not has_words(case) and "ai.onnx.ml" not in str(model.opset_import)
        found["torch"] += peer and mine
        if peer and not mine:
            rest.setdefault(why or f"not explained: {fault}", []).append(case.name)
        if fault == "other numbers" and not any(word in case.name for word in DRAWN):
            wrong[case.name] = fault
    return found, {why: sorted(names) for why, names in sorted(rest.items())}, wrong, compared


@pytest.fixture(scope="module")
def sample():
    return examined(imported(SAMPLE))


def test_no_operator_of_the_sample_answers_wrongly(sample):
    assert sample[2] == {}


def test_what_onnxruntime_passes_in_the_sample_and_torch_does_not_is_on_the_page(sample):
    kept = json.loads(KEPT.read_text())
    for why, names in sample[1].items():
        assert set(names) <= set(kept["rest"].get(why, ())), why


def test_the_page_lists_no_case_of_the_sample_that_torch_passes(sample):
    kept = json.loads(KEPT.read_text())
    asked = {case.name for case in imported(SAMPLE)}
    listed = {name for names in kept["rest"].values() for name in names} & asked
    assert listed == {name for names in sample[1].values() for name in names}


def test_torch_passes_most_of_what_onnxruntime_passes():
    kept = json.loads(KEPT.read_text())
    assert kept["torch"] >= 0.95 * kept["numbers"]
    assert kept["onnxruntime"] - kept["torch"] == sum(len(names) for names in kept["rest"].values())


@pytest.mark.long
def test_every_case_of_onnx_is_as_the_page_says():
    names = [module.name for module in pkgutil.walk_packages(node.__path__, f"{node.__name__}.")]
    everything = [name.removeprefix(f"{node.__name__}.") for name in names]
    found, rest, wrong, compared = examined(imported(everything))
    assert wrong == {}
    assert {**found, "rest": rest} == json.loads(KEPT.read_text())
    own = {name for name in runtime.OPERATORS if not name.startswith("engram.torch.")}
    drawn = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
    sequences = {"ConcatFromSequence", "SequenceErase"}  # compared in test_torch_control
    assert own - compared - drawn - sequences <= {"GlobalLpPool", "Scatter", "Upsample"}
