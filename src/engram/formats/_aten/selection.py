"""Values picked out of others by numbers or by order, and written to places that numbers name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engram.formats._aten.call import Call, Operand, Rule, Sheet

__all__ = ["TABLE"]

_MODES = ("bilinear", "nearest", "bicubic")
_EDGES = ("zeros", "border", "reflection")


def _index(sheet: Sheet, call: Call) -> str:
    """Rows by their numbers along one axis or several.

    torch puts what several lists pick where the first of them stands if they stand side by side, else in front.
    """
    value, given = call.tensor("self"), call.arguments.get("indices")
    if not isinstance(given, list) or len(given) > value.rank:
        raise call.refused("has no list of indices")
    found = [(axis, one) for axis, one in enumerate(given) if isinstance(one, Operand)]
    if any(one.dtype in {"bool", "uint8"} for _, one in found):
        raise call.refused("looks up by a mask and finds nobody knows how much; multiply by the mask, or use where")
    if len(found) == 1:
        return sheet.node("Gather", value.name, found[0][1].name, axis=found[0][0])
    axes = [axis for axis, _ in found]
    if not axes:
        raise call.refused("has no list of indices")
    rest = [axis for axis in range(value.rank) if axis not in axes]
    turned = sheet.node("Transpose", value.name, perm=[*axes, *rest])
    picked = sheet.node("GatherND", turned, _together(sheet, [one for _, one in found]))
    rank = max(one.rank for _, one in found)
    return _moved(sheet, picked, rank, axes[0] if axes == list(range(axes[0], axes[-1] + 1)) else 0, len(rest))


def _together(sheet: Sheet, lists: Sequence[Operand]) -> str:
    """Numbers for several axes as one list of places, int64, each list as long as the longest."""
    names = [sheet.cast(one, "int64") for one in lists]
    zero = sheet.constant(0, "int64")
    whole = sheet.node("Mul", names[0], zero)
    for name in names[1:]:
        whole = sheet.node("Add", whole, sheet.node("Mul", name, zero))
    last = sheet.wholes(-1)
    return sheet.node("Concat", *[sheet.node("Unsqueeze", sheet.node("Add", n, whole), last) for n in names], axis=-1)


def _moved(sheet: Sheet, picked: str, rank: int, place: int, rest: int) -> str:
    """What was picked, whose first axes belong behind some of the others."""
    if not place:
        return picked
    others = [rank + axis for axis in range(rest)]
    return sheet.node("Transpose", picked, perm=[*others[:place], *range(rank), *others[place:]])


def _scatter(sheet: Sheet, call: Call) -> str:
    value, index = call.tensor("self"), call.tensor("index")
    way = {"add": "add", "multiply": "mul", "sum": "add", "prod": "mul", "amax": "max", "amin": "min"}
    said = call.text("reduce", "add" if call.operator == "scatter_add" else "")
    if (said and said not in way) or not call.flag("include_self", default=True):
        raise call.refused(f"brings together by {said or 'what is new alone'}, which is not read")
    given = call.maybe("src") if isinstance(call.arguments.get("src"), Operand) else None
    if given is not None and given.shape != index.shape:
        raise call.refused(f"writes values of shape {list(given.shape)} by numbers of shape {list(index.shape)}")
    if given is not None:
        update = sheet.cast(given, value.dtype)
    else:
        update = sheet.node(
            "Expand", sheet.scalar(call.arguments.get("value"), value.dtype), sheet.node("Shape", index.name)
        )
    axis = call.axis(value.rank)
    return sheet.node("ScatterElements", value.name, index.name, update, axis=axis, reduction=way.get(said))


def _ranked(sheet: Sheet, call: Call) -> tuple[str, ...]:
    """The k-th smallest value along an axis and where it stands; the median is the one in the middle."""
    value = call.tensor("self")
    if call.operator == "median" and "dim" not in call.arguments:
        raise call.refused("takes the median of everything, which is not read")
    axis = call.axis(value.rank, default=-1)
    if call.operator == "kthvalue":
        count = call.whole("k")
    elif value.shape[axis] is not None:
        count = (int(value.shape[axis] or 0) + 1) // 2
    else:
        raise call.refused("takes the median along an axis whose length is not known")
    first = sheet.nodes("TopK", value.name, sheet.wholes(count), outputs=2, axis=axis, largest=0)
    last = [sheet.node("Gather", one, sheet.constant(count - 1, "int64"), axis=axis) for one in first]
    if call.flag("keepdim"):
        last = [sheet.node("Unsqueeze", one, sheet.wholes(axis)) for one in last]
    return tuple(last)


def _sampled(sheet: Sheet, call: Call) -> str:
    mode, edge = call.whole("interpolation_mode"), call.whole("padding_mode")
    if not 0 <= mode < len(_MODES) or not 0 <= edge < len(_EDGES):
        raise call.refused("samples in a way that is not known")
    said = {"mode": {"bilinear": "linear", "bicubic": "cubic"}.get(_MODES[mode], _MODES[mode])}
    return sheet.node(
        "GridSample", call.tensor("input").name, call.tensor("grid").name, **said, padding_mode=_EDGES[edge],
        align_corners=int(call.flag("align_corners")),
    )  # fmt: skip


TABLE: Mapping[str, Rule] = {
    **dict.fromkeys(("grid_sampler", "grid_sampler_2d", "grid_sampler_3d"), _sampled),
    **dict.fromkeys(("kthvalue", "median"), _ranked),
    **dict.fromkeys(("scatter", "scatter_add", "scatter_reduce"), _scatter),
    "index": _index,
}
