import base64
import io

import numpy as np
from PIL import Image

from engram.evaluation.answers import Answers
from engram.evaluation.examples import worst
from engram.records import Task

PETS = Task("binary", "pet", ("cat", "dog"))


def test_the_truth_that_was_given_the_least_chance_comes_first():
    chances = np.array([[0.9, 0.1], [0.4, 0.6], [0.99, 0.01], [0.8, 0.2]])
    answers = Answers(np.array([1, 0, 1, 0]), chances.argmax(axis=1), chances)
    shown = worst(PETS, answers, lambda rows: {"age": np.array([1.0, np.nan, 3.5, 4.0])[rows], "pet": rows})
    assert [example.row for example in shown] == [3, 1, 2]
    assert (shown[0].true, shown[0].predicted) == ("dog", "cat")
    assert shown[0].measure == "99.0\u00a0% against 1.0\u00a0%"
    assert [dict(example.values) for example in shown] == [{"age": "3.5"}, {"age": "1"}, {"age": "–"}]


def test_the_number_furthest_off_comes_first():
    answers = Answers(np.array([1.0, 2.0, 3.0]), values=np.array([1.5, 2.0, 0.0]))
    shown = worst(Task("regression", "y"), answers, None)
    assert [(example.row, example.measure) for example in shown] == [(3, "-3"), (1, "+0.5")]


def test_images_are_shown_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), dtype=np.uint8)
    answers = Answers(np.array([1, 0, 0]), np.array([0, 0, 0]))
    (example,) = worst(PETS, answers, lambda rows: {"image": pixels[rows]})
    png = base64.b64decode(example.image.removeprefix("data:image/png;base64,"))
    assert (np.asarray(Image.open(io.BytesIO(png))) == pixels[0]).all()


def test_large_images_of_different_sizes_become_small():
    images = np.empty(1, object)
    images[0] = np.zeros((300, 1000, 1), np.uint8)
    (example,) = worst(PETS, Answers(np.array([1]), np.array([0])), lambda rows: {"image": images[rows]})
    png = base64.b64decode(example.image.removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(png)).size == (128, 38)


def test_no_more_than_twelve_are_shown_and_nothing_where_all_is_right():
    wrong = Answers(np.zeros(50, np.int64), np.ones(50, np.int64))
    assert len(worst(PETS, wrong, None)) == 12
    assert worst(PETS, Answers(wrong.truth, wrong.truth), None) == ()
