"""Lengths that are known when the network is asked, and reckoning with them."""

from __future__ import annotations

from collections.abc import Mapping

from engram.formats._aten.call import Call, Rule, Sheet, Size

__all__ = ["TABLE"]


def _value(sheet: Sheet, call: Call, name: str) -> str:
    found = call.arguments.get(name)
    if isinstance(found, Size):
        return found.name
    return sheet.wholes(call.whole(name))


def _size(sheet: Sheet, call: Call) -> str:
    value = call.tensor("self")
    axis = call.axis(value.rank)
    return sheet.lengths([sheet.length(value, axis)])


def _count(sheet: Sheet, call: Call) -> str:
    return sheet.node("Unsqueeze", sheet.node("Size", call.tensor("self").name), sheet.wholes(0))


def _reckoned(kind: str) -> Rule:
    def rule(sheet: Sheet, call: Call) -> str:
        return sheet.node(kind, _value(sheet, call, "a"), _value(sheet, call, "b"))

    return rule


def _floor(sheet: Sheet, call: Call) -> str:
    """Lengths are not negative, so that to divide is to divide down, if the divisor is not."""
    one, other = _value(sheet, call, "a"), _value(sheet, call, "b")
    if type(call.arguments.get("b")) is int and call.whole("b") <= 0:
        raise call.refused("divides a length by what is not positive")
    return sheet.node("Div", one, other)


def _negative(sheet: Sheet, call: Call) -> str:
    return sheet.node("Neg", _value(sheet, call, "a"))


TABLE: Mapping[str, Rule] = {
    "operator.add": _reckoned("Add"),
    "operator.floordiv": _floor,
    "operator.mod": _reckoned("Mod"),
    "operator.mul": _reckoned("Mul"),
    "operator.neg": _negative,
    "operator.sub": _reckoned("Sub"),
    "sym_max": _reckoned("Max"),
    "sym_min": _reckoned("Min"),
    "sym_numel": _count,
    "sym_size": _size,
}
