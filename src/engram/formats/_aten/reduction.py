"""One number out of many: sums, means, the largest and where it is."""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._aten.call import Call, Rule, Sheet

__all__ = ["TABLE"]


def _reduced(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value = call.tensor("self")
        given = sheet.cast(value, call.result.dtype)
        axes = call.axes(value.rank)
        if not value.rank:
            return sheet.node("Identity", given)
        return sheet.node(kind, given, sheet.wholes(*axes), keepdims=int(call.flag("keepdim")))

    return rule


def _extreme(kind: str) -> Rule:
    """The largest of all, along an axis with its place, or of two tensors."""

    def rule(sheet: Sheet, call: Call) -> str | tuple[str, ...]:
        value, other = call.tensor("self"), call.maybe("other")
        if other is not None:
            dtype = call.result.dtype
            return sheet.node(kind, sheet.cast(value, dtype), sheet.cast(other, dtype))
        if "dim" not in call.arguments:
            return sheet.node(f"Reduce{kind}", value.name, keepdims=0)
        axis, kept = call.axis(value.rank), int(call.flag("keepdim"))
        best = sheet.node(f"Reduce{kind}", value.name, sheet.wholes(axis), keepdims=kept)
        return best, sheet.node(f"Arg{kind}", value.name, axis=axis, keepdims=kept)

    return rule


def _place(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value, kept = call.tensor("self"), call.flag("keepdim")
        if call.arguments.get("dim") is not None:
            return sheet.node(kind, value.name, axis=call.axis(value.rank), keepdims=int(kept))
        if kept:
            raise call.refused("finds a place among all and keeps the axes, which is not read")
        flat = sheet.node("Reshape", value.name, sheet.wholes(-1))
        return sheet.node(kind, flat, axis=0, keepdims=0)

    return rule


def _variance(sheet: Sheet, call: Call) -> str:
    value, dtype = call.tensor("self"), call.result.dtype
    axes, kept = call.axes(value.rank), int(call.flag("keepdim"))
    lengths = [value.shape[axis] for axis in axes]
    correction = call.number("correction", 1) if call.flag("unbiased", default=True) else 0
    mean = sheet.node("ReduceMean", value.name, sheet.wholes(*axes), keepdims=1)
    apart = sheet.node("Sub", value.name, mean)
    square = sheet.node("ReduceMean", sheet.node("Mul", apart, apart), sheet.wholes(*axes), keepdims=kept)
    if correction:
        count = 1
        for length in lengths:
            if length is None:
                raise call.refused("takes a variance over a length that is not known")
            count *= length
        if count <= correction:
            raise call.refused(f"takes a variance of {count} numbers")
        square = sheet.node("Mul", square, sheet.scalar(count / (count - correction), dtype))
    return sheet.node("Sqrt", square) if call.operator == "std" else square


def _norm(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    order = call.number("ord" if call.operator == "linalg_vector_norm" else "p", 2)
    kind = {1: "ReduceL1", 2: "ReduceL2"}.get(int(order)) if order in {1, 2} else None
    if kind is None:
        raise call.refused(f"is a norm of order {order}, which is not read")
    return sheet.node(kind, value.name, sheet.wholes(*call.axes(value.rank)), keepdims=int(call.flag("keepdim")))


def _truth(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        value = call.tensor("self")
        given = sheet.cast(sheet.cast(value, "bool"), "int32")
        axes = sheet.wholes(*call.axes(value.rank))
        return sheet.cast(sheet.node(kind, given, axes, keepdims=int(call.flag("keepdim"))), "bool")

    return rule


def _cumulated(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axis = sheet.constant(call.axis(value.rank), "int64")
    return sheet.node("CumSum", sheet.cast(value, call.result.dtype), axis)


def _top(sheet: Sheet, call: Call) -> tuple[str, ...]:
    value = call.tensor("self")
    axis = call.axis(value.rank, default=-1)
    count = call.sizes("k")
    largest = int(call.flag("largest", default=True))
    return sheet.nodes("TopK", value.name, sheet.lengths(count), outputs=2, axis=axis, largest=largest)


def _sorted(sheet: Sheet, call: Call) -> tuple[str, ...]:
    value = call.tensor("self")
    axis = call.axis(value.rank, default=-1)
    count = sheet.lengths([sheet.length(value, axis)])
    falling = int(call.flag("descending"))
    return sheet.nodes("TopK", value.name, count, outputs=2, axis=axis, largest=falling)


TABLE: Mapping[str, Rule] = {
    "all": _truth("ReduceMin"),
    "amax": _reduced("ReduceMax"),
    "amin": _reduced("ReduceMin"),
    "any": _truth("ReduceMax"),
    "argmax": _place("ArgMax"),
    "argmin": _place("ArgMin"),
    "cumsum": _cumulated,
    "linalg_vector_norm": _norm,
    "logsumexp": _reduced("ReduceLogSumExp"),
    "max": _extreme("Max"),
    "mean": _reduced("ReduceMean"),
    "min": _extreme("Min"),
    "norm": _norm,
    "prod": _reduced("ReduceProd"),
    "sort": _sorted,
    "std": _variance,
    "sum": _reduced("ReduceSum"),
    "topk": _top,
    "var": _variance,
}
