import numpy as np
import pytest

from engram.errors import DataError, ShapeError
from engram.evaluation.answers import answers
from engram.records import Prediction, Task

PETS = Task("multiclass", "pet", ("cat", "dog", "emu"))
PRICE = Task("regression", "price")


def test_classes_in_another_order_are_put_in_the_order_of_the_task():
    chances = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    prediction = Prediction(
        labels=np.array(["emu", "cat"], object), probabilities=chances, classes=("emu", "dog", "cat")
    )
    seen = answers(PETS, np.array([2, 0]), prediction)
    assert seen.labels.tolist() == [2, 0]
    assert seen.probabilities.tolist() == [[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]


def test_probabilities_alone_answer_with_the_most_probable_class():
    seen = answers(PETS, np.array([0]), Prediction(probabilities=np.array([[0.1, 0.8, 0.1]]), classes=PETS.labels))
    assert seen.labels.tolist() == [1]


def test_labels_alone_are_enough_for_metrics_of_labels():
    seen = answers(PETS, np.array([0, 1]), Prediction(labels=np.array(["cat", "emu"], object)))
    assert seen.labels.tolist() == [0, 2]
    assert seen.wanted("probabilities") is None


def test_one_column_of_values_is_one_value_a_row():
    seen = answers(PRICE, np.array([1.0, 2.0], np.float32), Prediction(values=np.array([[1.5], [2.5]], np.float32)))
    assert seen.values.tolist() == [1.5, 2.5]


def test_a_class_that_the_task_does_not_have_is_refused_with_its_rows():
    with pytest.raises(DataError, match=r"'pet'.*none of the 3.*rows 2, 3"):
        answers(PETS, np.array([0, 3, -1]), Prediction(labels=np.array(["cat"] * 3, object)))


def test_a_target_with_gaps_is_refused_with_its_rows():
    with pytest.raises(DataError, match=r"'price'.*1 rows \(rows 2\)"):
        answers(PRICE, np.array([1.0, np.nan]), Prediction(values=np.zeros(2)))


@pytest.mark.parametrize(
    ("task", "truth", "prediction"),
    [
        (PETS, np.array([0, 1]), Prediction(labels=np.array(["cat"], object))),
        (PETS, np.array([0]), Prediction(labels=np.array(["cow"], object))),
        (PETS, np.array([0]), Prediction(probabilities=np.ones((1, 2)), classes=("cat", "dog"))),
        (PETS, np.array([0]), Prediction()),
        (PETS, np.array([0.0]), Prediction(labels=np.array(["cat"], object))),
        (PRICE, np.array([0.0]), Prediction()),
        (PRICE, np.array([0.0]), Prediction(values=np.zeros((1, 2)))),
    ],
)
def test_a_prediction_that_does_not_fit_is_refused(task, truth, prediction):
    with pytest.raises(ShapeError):
        answers(task, truth, prediction)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="one or more rows"):
        answers(PRICE, np.zeros(0), Prediction(values=np.zeros(0)))
