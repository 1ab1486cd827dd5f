import numpy as np
import pytest

from engram.data import sklearn
from engram.errors import UnknownName, UsageError

datasets = pytest.importorskip("sklearn.datasets")


@pytest.mark.parametrize("name", sorted(sklearn.TARGETS))
def test_every_set_has_the_rows_and_the_target_of_scikit_learn(name):
    found = sklearn.open((f"sklearn:{name}",))
    bunch = getattr(datasets, f"load_{name}")()
    target = found.parts["all"].column(found.target)
    assert len(found.parts["all"]) == len(bunch.target)
    if "target_names" in bunch:
        assert target.tolist() == [str(bunch.target_names[i]) for i in bunch.target]
    else:
        np.testing.assert_array_equal(target, bunch.target)


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "iris", "wine"])
def test_a_table_has_the_numbers_of_scikit_learn_to_the_last_bit(name):
    found = sklearn.open((f"sklearn:{name}",))
    taken = found.parts["all"].take(np.arange(len(found.parts["all"])))
    data = getattr(datasets, f"load_{name}")().data
    numbers = [values for column, values in taken.items() if column != found.target]
    np.testing.assert_array_equal(np.stack(numbers, axis=1), data)


def test_digits_are_images_with_their_shades_spread_over_a_byte():
    taken = sklearn.open(("sklearn:digits",)).parts["all"].take(np.arange(1797))["image"]
    assert (taken.shape, taken.dtype) == ((1797, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(np.round(taken[..., 0] * (16 / 255)), datasets.load_digits().images)


def test_digits_can_be_a_table():
    found = sklearn.open(("sklearn:digits",), (), sklearn.Options("table"))
    assert len(found.columns) == 65


def test_the_digest_is_that_of_the_same_data():
    first, again = (sklearn.open(("sklearn:iris",)).digest for _ in range(2))
    assert first == again
    assert first != sklearn.open(("sklearn:wine",)).digest


def test_a_set_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        sklearn.open(("sklearn:digit",))


def test_a_form_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="form = 'image' is refused for sklearn:iris"):
        sklearn.open(("sklearn:iris",), (), sklearn.Options("image"))
