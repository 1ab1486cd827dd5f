"""What a stranger's graph may not do: run for ever, take all memory, end the process, or raise another's error."""

import resource
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engram.errors import EngramError, FormatError
from engram.runtime import torch as runtime
from engram.runtime.torch import Bounds

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
LARGE = 2**40
X = {"x": np.ones((4, 4), "f4")}


def value(name, kind=FLOAT, shape=None):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, constants=(), inputs=None):
    made = {name: numpy_helper.from_array(np.asarray(array), name) for name, array in dict(constants).items()}
    graph = helper.make_graph(nodes, "g", inputs or [value("x", FLOAT, [4, 4])], [value("y")], list(made.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


def node(kind, *inputs, constants=None, **attributes):
    return model([helper.make_node(kind, list(inputs), ["y"], name="greedy", **attributes)], constants or {})


def forever(rounds=2**60, leaves=False):
    body = helper.make_graph(
        [helper.make_node("Identity", ["g"], ["h"]), helper.make_node("Identity", ["v"], ["w"])],
        "b", [value("i", INT, []), value("g", BOOL, []), value("v")],
        [value("h", BOOL, []), value("w"), *([value("w")] if leaves else [])],
    )  # fmt: skip
    constants = {"n": np.int64(rounds), "t": np.bool_(True)}
    outputs = ["last", "y"] if leaves else ["y"]
    return model([helper.make_node("Loop", ["n", "t", "x"], outputs, body=body, name="greedy")], constants)


GREEDY = {
    "expand": node("Expand", "x", "s", constants={"s": np.array([LARGE, 4, 4])}),
    "tile": node("Tile", "x", "s", constants={"s": np.array([2**30, 2**30])}),
    "constant": node("ConstantOfShape", "s", constants={"s": np.array([LARGE])}),
    "range": node("Range", "a", "b", "c", constants={"a": np.int64(0), "b": np.int64(LARGE), "c": np.int64(1)}),
    "pad": node("Pad", "x", "s", constants={"s": np.array([0, 0, LARGE, 0])}),
    "hot": node("OneHot", "i", "d", "v", constants={"i": np.arange(4), "d": np.int64(LARGE), "v": np.ones(2, "f4")}),
    "resize": node("Resize", "x", "", "", "s", constants={"s": np.array([2**20, 2**20])}),
    "random": node("RandomNormal", shape=[2**20, 2**20]),
    "window": node("HannWindow", "n", constants={"n": np.int64(LARGE)}),
    "crop": node("CenterCropPad", "x", "s", constants={"s": np.array([2**20, 2**20])}),
    "einsum": node("Einsum", "v", "v", "v", constants={"v": np.ones(5000, "f4")}, equation="a,b,c->abc"),
    "outer": node("Mul", "a", "b", constants={"a": np.ones((200_000, 1), "f4"), "b": np.ones((1, 200_000), "f4")}),
    "product": node("MatMul", "a", "b", constants={"a": np.ones((200_000, 1), "f4"), "b": np.ones((1, 200_000), "f4")}),
    "gather": node("Gather", "a", "i", constants={"a": np.ones((1, 200_000), "f4"), "i": np.zeros(200_000, "i8")}),
    "transposed": node("ConvTranspose", "a", "w", strides=[2**30],
                       constants={"a": np.ones((1, 1, 64), "f4"), "w": np.ones((1, 1, 2), "f4")}),
}  # fmt: skip


@pytest.mark.parametrize("name", GREEDY)
def test_a_node_that_asks_for_too_much_memory_is_refused_before_it_is_computed(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match=r"'greedy' .* the bound is 4,294,967,296"):
        runtime.run(GREEDY[name], X)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kilobytes


def test_a_loop_ends_at_the_bound_that_the_caller_gives():
    with pytest.raises(FormatError, match=r"after 1,000 computed nodes.*raise Bounds\(nodes=…\)"):
        runtime.run(forever(), X, bounds=Bounds(nodes=1000))
    assert (runtime.run(forever(300), X, bounds=Bounds(nodes=1000))["y"] == 1).all()


def test_what_the_rounds_of_a_loop_leave_behind_is_counted():
    with pytest.raises(FormatError, match="bound is 1,000,000"):
        runtime.run(forever(leaves=True), X, bounds=Bounds(memory=1_000_000))


def test_a_chain_of_doublings_ends_at_the_bound():
    nodes = [helper.make_node("Concat", [f"v{n}", f"v{n}"], [f"v{n + 1}"], axis=0) for n in range(40)]
    nodes = [helper.make_node("Identity", ["x"], ["v0"]), *nodes, helper.make_node("Identity", ["v40"], ["y"])]
    with pytest.raises(FormatError, match="bound is 100,000,000"):
        runtime.run(model(nodes), X, bounds=Bounds(memory=100_000_000))


def test_memory_that_is_let_go_is_not_counted():
    nodes = [helper.make_node("Neg", [f"v{n}" if n else "x"], [f"v{n + 1}"]) for n in range(50)]
    made = model([*nodes, helper.make_node("Identity", ["v50"], ["y"])])
    assert (runtime.run(made, X, bounds=Bounds(memory=4 * 64))["y"] == 1).all()


def nested(depth):
    inner = helper.make_graph([helper.make_node("Neg", ["x"], ["a"])], "b", [], [value("a")])
    for _ in range(depth):
        within = helper.make_node("If", ["c"], ["a"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([within], "b", [], [value("a")])
    return inner


def test_graphs_nested_too_deep_are_refused():
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=nested(6), else_branch=nested(6))]
    assert runtime.run(model(nodes, {"c": np.bool_(True)}), X)["y"][0, 0] == -1
    # protobuf itself refuses some thirty graphs within each other when it reads them
    made = b"\x0a\x00"
    for _ in range(400):
        made = b"\x0a" + varint(len(made) + 2) + b"\x2a" + varint(len(made)) + made
    with pytest.raises(EngramError):
        runtime.run(b"\x3a" + varint(len(made)) + made, X)


def varint(number):
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


BROKEN = {
    "nonsense": b"no graph at all",
    "nothing": b"",
    "an attribute missing": node("Concat", "x"),
    "an attribute of another type": node("Transpose", "x", perm="abc"),
    "an axis that there is not": node("Softmax", "x", axis=9),
    "too many inputs": node("Relu", "x", "x", "x"),
    "too few inputs": node("Add", "x"),
    "a type that there is not": node("Cast", "x", to=999),
    "a branch that is missing": node("If", "c", constants={"c": np.bool_(True)}),
    "a loop without body": node("Loop", "", "", "x"),
    "a string": node("Identity", "s", constants={"s": np.array(["a"], dtype=object)}),
    "a shape of negative numbers": node("Reshape", "x", "s", constants={"s": np.array([-7, -9])}),
    "a step of zero": node("Range", "a", "b", "a", constants={"a": np.int64(0), "b": np.int64(4)}),
    "a slice of step zero": node("Slice", "x", "a", "b", "a", "a", constants={"a": np.array([0]), "b": np.array([3])}),
    "a place outside": node("Gather", "x", "i", constants={"i": np.array([99])}),
    "an equation of nonsense": node("Einsum", "x", equation="€€"),
    "no channels": node("Conv", "x", "x"),
    "an output that nobody makes": model([helper.make_node("Relu", ["x"], ["z"])]),
    "a node without outputs": model([helper.make_node("Relu", ["x"], [])]),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_graph_is_an_error_of_ours_of_one_line(name):
    with pytest.raises(EngramError) as refused:
        runtime.run(BROKEN[name], X)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rounds", [12, pytest.param(500, marks=pytest.mark.long)])
def test_mutated_graphs_never_raise_anything_else(rounds):
    """Bytes of sound graphs changed, cut and repeated; in a process of its own, because a crash would end this one."""
    script = textwrap.dedent("""
        import sys, numpy as np
        sys.path[:0] = ["tests", "src"]
        import torch
        torch.set_num_threads(1)
        from networks.torch_networks import NETWORKS, exported
        from engram.errors import EngramError
        from engram.graphs.weights import attach
        from engram.runtime import torch as runtime
        from engram.runtime.torch import Bounds
        draw = np.random.default_rng(7)
        for name in ("mlp", "gru", "cnn", "transformer"):
            model = exported(name)
            sound = attach(model.graph, model.weights).SerializeToString()
            fed = {s.name: v.numpy() for s, v in zip(NETWORKS[name].inputs, NETWORKS[name].rows(2))}
            for _ in range(ROUNDS):
                made = bytearray(sound)
                for _ in range(int(draw.integers(1, 6))):
                    place, way = int(draw.integers(len(made))), draw.integers(3)
                    if way == 0:
                        made[place] = int(draw.integers(256))
                    elif way == 1:
                        del made[place : place + int(draw.integers(1, 9))]
                    else:
                        made[place:place] = made[place : place + int(draw.integers(1, 9))]
                try:
                    runtime.run(bytes(made), fed, bounds=Bounds(nodes=10_000, memory=2**27))
                except EngramError as refused:
                    assert "\\n" not in str(refused), refused
    """).replace("ROUNDS", str(rounds))
    command = [sys.executable, "-W", "ignore", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
