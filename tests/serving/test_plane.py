from dataclasses import replace

import numpy as np
import pytest

from engram.errors import ShapeError, UnknownName, UsageError, VersionNotFound
from engram.serving.limits import RequestLimits
from engram.serving.plane import DataPlane


@pytest.fixture(scope="module")
def plane(models):
    return models.plane(RequestLimits(rows=3))


def columns(**changed):
    row = {
        "age": np.array([39.0]),
        "workclass": np.array(["Private"], object),
        "member": np.array([1.0]),
        "since": np.array([86_400.0]),
    }
    return row | changed


def chance(days=1.0, age=39.0):
    return 1 / (1 + np.exp(-(0.1 * age + 2 + 0.5 + days - 4)))


def test_rows_are_answered_with_the_version_that_answered(plane, models):
    answer = plane.predict("income", [models.EXAMPLE, {**models.EXAMPLE, "since": None}])
    assert answer.served.reference == "income:3"
    np.testing.assert_allclose(answer.prediction.probabilities[:, 1], [chance(), chance(days=0)], rtol=1e-6)


def test_arrays_are_answered_like_rows(plane):
    answer, specs = plane.infer("income", "", columns())
    assert [spec.name for spec in specs] == ["label", "probabilities"]
    np.testing.assert_allclose(answer.tensor("probabilities")[0, 1], chance(), rtol=1e-6)
    assert answer.tensor("label").tolist() == [">50K"]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint64", "float32", "float64"])
def test_a_column_of_numbers_comes_in_any_number_type(plane, dtype):
    answer, _ = plane.infer("income", "", columns(age=np.array([39], dtype)))
    np.testing.assert_allclose(answer.tensor("probabilities")[0, 1], chance(), rtol=1e-6)


def test_truth_values_come_as_bool_or_as_numbers(plane):
    for member in (np.array([True]), np.array([1], "uint8"), np.array([1.0])):
        answer, _ = plane.infer("income", "", columns(member=member))
        np.testing.assert_allclose(answer.tensor("probabilities")[0, 1], chance(), rtol=1e-6)


def test_a_column_may_come_as_rows_by_one(plane):
    answer, _ = plane.infer("income", "3", columns(age=np.array([[39.0]])))
    np.testing.assert_allclose(answer.tensor("probabilities")[0, 1], chance(), rtol=1e-6)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"age": np.array([2**53 + 1])}, "beyond 2\\^53"),
        ({"age": np.array([np.inf])}, "infinite"),
        ({"age": np.array(["39"], object)}, "brings text"),
        ({"age": np.array([True])}, "brings bool"),
        ({"member": np.array([0.5])}, "neither 0 nor 1"),
        ({"workclass": np.array([1.0])}, "brings float64"),
        ({"age": np.array([1.0, 2.0])}, "has 1 of batch, but 'age' has 2"),
        ({"age": np.array([[1.0, 2.0]])}, "must have shape"),
        ({"age": np.zeros(0)}, "no rows"),
        ({"age": np.zeros(4)}, "4 rows, and 3 are allowed"),
        ({"age": np.float64(3)}, "no rows"),
        ({"aeg": np.array([1.0])}, "did you mean 'age'"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(plane, changed, reason):
    with pytest.raises(ShapeError, match=reason):
        plane.infer("income", "", columns(**changed))


def test_a_missing_input_is_named(plane):
    with pytest.raises(ShapeError, match="'since'"):
        plane.infer("income", "", {k: v for k, v in columns().items() if k != "since"})


def test_a_network_without_raw_columns_takes_exactly_its_type(plane):
    answer, specs = plane.infer("plain", "", {"x": np.array([[1, 2, 3]], np.float32)})
    assert [spec.name for spec in specs] == ["y"]
    assert answer.tensor("y").tolist() == [[6, 1]]
    with pytest.raises(ShapeError, match="float32, but the request brings float64"):
        plane.infer("plain", "", {"x": np.array([[1.0, 2.0, 3.0]])})


def test_asked_outputs_come_in_the_order_asked(plane):
    _, specs = plane.infer("income", "", columns(), ["probabilities", "label"])
    assert [spec.name for spec in specs] == ["probabilities", "label"]
    with pytest.raises(UnknownName, match="did you mean 'label'"):
        plane.infer("income", "", columns(), ["labels"])


def test_names_and_versions_find_models(plane):
    assert plane.names() == ["income", "colors", "rent", "plain"]
    assert plane.versions("income") == ["3", "2"]
    assert plane.versions("plain") == []
    assert plane.metadata().reference == "income:3"
    assert plane.metadata("income", "2").reference == "income:2"
    assert plane.metadata("plain").reference == "plain"


def test_an_unknown_name_or_version_is_answered_with_what_there_is(plane):
    with pytest.raises(VersionNotFound, match="did you mean 'income'"):
        plane.metadata("incmoe")
    with pytest.raises(VersionNotFound, match="there is 3, 2"):
        plane.metadata("income", "9")


def test_a_plane_serves_something_and_each_version_once(plane):
    with pytest.raises(UsageError, match="no model"):
        DataPlane([])
    with pytest.raises(UsageError, match="income:3 is given twice"):
        DataPlane([plane.metadata("income"), replace(plane.metadata("income"))])
