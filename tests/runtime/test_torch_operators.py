"""Every operator against the test cases that onnx ships: inputs and answers made by others, edge cases and all."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

from engram.errors import ConversionError
from engram.graphs.walk import operators
from engram.runtime import torch as runtime

# what torch has no kernels or types for; each is refused or needs random numbers, none answers wrongly
NOT_COMPARED = ("training_dropout", "empty_set")


@pytest.fixture(scope="module")
def cases():
    found = {}
    for case in collect_testcases(None):
        kinds = operators(case.model) - {"Constant"}
        if kinds and kinds <= set(runtime.OPERATORS) and not any(word in case.name for word in NOT_COMPARED):
            found[case.name] = (case.model, kinds, case.data_sets[0])
    return found


def plain(value):
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def difference(model, data):
    """What is wrong with torch's answers, or nothing."""
    inputs, expected = ([plain(value) for value in values] for values in data)
    names = [value.name for value in model.graph.input][: len(inputs)]
    found = list(runtime.run(model.SerializeToString(), dict(zip(names, inputs, strict=True))).values())
    for mine, theirs in zip(found, expected, strict=True):
        if mine.dtype != theirs.dtype or mine.shape != theirs.shape:
            return f"{mine.dtype} {mine.shape} in place of {theirs.dtype} {theirs.shape}"
        half = theirs.dtype.itemsize == 2 and theirs.dtype.kind not in "iu"
        relative, absolute = (2e-2, 1e-2) if half else (1e-3, 1e-5)
        if not np.allclose(mine.astype("c16"), theirs.astype("c16"), relative, absolute, equal_nan=True):
            return "other numbers"
    return ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_operators_answer_as_onnx_says_or_refuse(cases):
    wrong, compared = {}, set()
    for name, (model, kinds, data) in cases.items():
        try:
            fault = difference(model, data)
        except ConversionError:
            continue
        if fault:
            wrong[name] = fault
        else:
            compared |= kinds
    assert wrong == {}
    assert set(runtime.OPERATORS) - compared <= {"Mod"}
