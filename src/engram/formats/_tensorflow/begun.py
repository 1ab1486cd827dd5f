"""What TensorFlow runs of a file by itself: when it loads it, and before it answers.

Operations that save stand in every honest file, and nothing of an answer hangs on them. But a file may name any node as
the one it begins with, the one that restores it, or one that must be done before an answer, and TensorFlow then runs
it: with ``SaveV2`` and a path of its own, a file would write wherever its reader may. Functions are taken as a whole,
because TensorFlow runs all in them that has effects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from engram.errors import FormatError

__all__ = ["refuse_writing"]

_WRITES = frozenset({"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"})


def refuse_writing(graph: Any) -> None:  # noqa: ANN401 - a generated class
    """Refuse a graph that would write files without being told to save.

    Raises:
        FormatError: it would; the operation is named.
    """
    nodes = {node.name: node for node in graph.graph_def.node}
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    waiting, seen, entered = list(_starts(graph)), set[str](), set[str]()
    while waiting:
        name = waiting.pop().lstrip("^").partition(":")[0]
        if name in seen or name not in nodes:
            continue
        seen.add(name)
        waiting += nodes[name].input
        _look(nodes[name], functions, entered)


def _starts(graph: Any) -> Iterator[str]:  # noqa: ANN401
    """The nodes that TensorFlow may run: ends of signatures, what collections of nodes name, and what restores."""
    for signature in graph.signature_def.values():
        yield from (info.name for info in signature.outputs.values())
    for collection in graph.collection_def.values():
        yield from collection.node_list.value
    yield graph.saver_def.restore_op_name


def _look(node: Any, functions: dict[str, Any], entered: set[str]) -> None:  # noqa: ANN401
    """Refuse the node, or what it calls; a function may bear the name of an operation, and TensorFlow then calls it."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        if found.op in _WRITES:
            raise FormatError(
                f"TensorFlow would run the operation {found.op} of node {found.name!r} by itself, which writes files; "
                "nothing was run"
            )
        for name in {found.op, *_called(found)} & functions.keys() - entered:
            entered.add(name)
            waiting += functions[name].node_def


def _called(node: Any) -> Iterable[str]:  # noqa: ANN401
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        elif attribute.HasField("list"):
            yield from (func.name for func in attribute.list.func)
