"""The facade lists exactly what it shows."""

import inspect

import engram
from engram import errors


def test_the_facade_lists_exactly_what_it_shows():
    assert dir(engram) == sorted(engram.__all__)
    for name in engram.__all__:
        assert getattr(engram, name) is not None


def test_what_is_listed_has_a_docstring():
    for name in engram.__all__:
        assert inspect.getdoc(getattr(engram, name)), name


def test_every_error_is_an_engram_error_and_a_built_in():
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, errors.EngramError)
        assert name == "EngramError" or len(error.__mro__) > 4


def test_the_tree_in_the_docstring_is_the_tree_in_the_code():
    drawn = errors.__doc__ or ""
    for name in errors.__all__:
        assert name in drawn
