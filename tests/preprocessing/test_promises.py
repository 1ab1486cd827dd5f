"""What every preprocessing step keeps, whichever is on the shelf."""

import inspect
import typing
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engram.graphs.build import Builder
from engram.preprocessing import SHELF
from engram.preprocessing._columns import STEPS
from engram.records import TensorSpec

NUMBER = st.floats(allow_infinity=False) | st.integers(-1000, 1000).map(float) | st.just(float("nan"))
SECONDS = st.floats(-1e11, 3e11) | st.just(float("nan")) | st.sampled_from([1e300, -1e300, 0.0])
WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from("ab")


@dataclass(frozen=True)
class Kind:
    """How values of a kind are made, and what a graph is told of them."""

    values: st.SearchStrategy
    dtype: str
    shape: tuple


def _of(elements, columns, dtype=np.float64):
    return arrays.arrays(dtype, st.tuples(st.integers(1, 12), *columns), elements=elements, fill=st.nothing())


def _words(rows):
    made = np.empty(len(rows), dtype=object)
    made[:] = rows
    return made


KINDS = {
    "number": Kind(_of(NUMBER, [st.just(2)]), "float64", ("batch", 2)),
    "date": Kind(_of(SECONDS, [st.just(1)]), "float64", ("batch", 1)),
    "category": Kind(st.lists(WORD, min_size=1, max_size=20).map(_words), "string", ("batch",)),
    "image": Kind(
        _of(st.integers(0, 255), [st.just(9), st.just(7), st.just(3)], np.uint8),
        "uint8",
        ("batch", "height", "width", 3),
    ),
}


def _variants(options):
    """The default options, and each with one choice or switch made differently."""
    hints = typing.get_type_hints(type(options))
    yield options
    for field in fields(options):
        choices = typing.get_args(hints[field.name]) if typing.get_origin(hints[field.name]) is typing.Literal else ()
        choices = (True, False) if hints[field.name] is bool else choices
        yield from (replace(options, **{field.name: choice}) for choice in choices)


def _cases():
    for name in SHELF.names():
        module = SHELF.take(name)
        kind = next((kind for kind, steps in STEPS.items() if name in steps), "number")
        allowed = [o for o in _variants(module.Options()) if not (hasattr(module, "wrong") and module.wrong(o))]
        yield from (pytest.param(module, options, KINDS[kind], id=f"{name}-{i}") for i, options in enumerate(allowed))


CASES = list(_cases())


def _graph(module, fitted, kind):
    builder = Builder([TensorSpec("raw", kind.dtype, kind.shape)])
    value = module.nodes(fitted, builder, "raw")
    shape = ("batch", None, None, None) if kind.dtype == "uint8" else ("batch", None)
    dtype = "float32" if kind.dtype == "uint8" or _zeros_and_ones(fitted) else "float64"
    builder.node("Identity", value, name="made")
    return builder.finish([TensorSpec("made", dtype, shape)])


def _zeros_and_ones(fitted):
    return getattr(fitted, "method", "") in {"onehot", "hashed"}


@pytest.mark.parametrize(("module", "options", "kind"), CASES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_graph_says_what_the_step_says(module, options, kind, run, data):
    fitted = module.fit(data.draw(kind.values), options)
    served = data.draw(kind.values)
    made = run(_graph(module, fitted, kind), {"raw": served})["made"]
    expected = module.transform(served, fitted)
    assert made.dtype == expected.dtype
    assert made.shape == expected.shape
    close = 1e-4 if kind.dtype == "uint8" else 1e-9
    np.testing.assert_allclose(made, expected, rtol=close, atol=close)


@pytest.mark.parametrize(("module", "options", "kind"), CASES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_a_batch_may_be_empty_or_one_row(module, options, kind, run, data):
    values = data.draw(kind.values)
    graph = _graph(module, module.fit(values, options), kind)
    whole = run(graph, {"raw": values})["made"]
    np.testing.assert_allclose(run(graph, {"raw": values[:1]})["made"], whole[:1], rtol=1e-6, atol=1e-9)
    assert run(graph, {"raw": values[:0]})["made"].shape == (0, *whole.shape[1:])


@pytest.mark.parametrize(("module", "options", "kind"), CASES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_the_same_rows_give_the_same_bytes(module, options, kind, data):
    values = data.draw(kind.values)
    fitted = module.fit(values, options)
    again = module.fit(values.copy(), options)
    assert again == fitted
    assert _graph(module, again, kind) == _graph(module, fitted, kind)


@pytest.mark.parametrize(("module", "options", "kind"), CASES)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_every_column_that_is_made_has_a_name(module, options, kind, data):
    values = data.draw(kind.values)
    fitted = module.fit(values, options)
    raw = ["a", "b"] if kind.shape == ("batch", 2) else ["a"]
    if kind.dtype != "uint8":
        names = module.names(fitted, raw)
        assert len(names) == module.transform(values, fitted).shape[1]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", SHELF.names())
def test_a_pipeline_file_can_ask_for_the_step(name):
    assert any(name in steps for steps in STEPS.values())


@pytest.mark.parametrize("name", SHELF.names())
def test_a_step_explains_itself_and_its_options(name):
    module = SHELF.take(name)
    assert inspect.getdoc(module)
    for field in fields(module.Options):
        assert field.name in (inspect.getdoc(module.Options) or "")
    for function in (module.fit, module.transform, module.nodes, module.names):
        assert inspect.getdoc(function)
