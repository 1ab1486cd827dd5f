"""The table of operators, and what is said of one that is not in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engram.formats._aten import (
    arithmetic,
    attention,
    creation,
    elementwise,
    matrix,
    normalization,
    pooling,
    recurrent,
    reduction,
    selection,
    shape,
    sizes,
)
from engram.formats._aten.call import Call, Made, Rule, Sheet

__all__ = ["TABLE", "VIEWS", "translated"]

TABLE: Final[Mapping[str, Rule]] = {
    **arithmetic.TABLE,
    **attention.TABLE,
    **creation.TABLE,
    **elementwise.TABLE,
    **matrix.TABLE,
    **normalization.TABLE,
    **pooling.TABLE,
    **recurrent.TABLE,
    **reduction.TABLE,
    **selection.TABLE,
    **shape.TABLE,
    **sizes.TABLE,
}
VIEWS: Final = frozenset({
    "_reshape_alias", "alias", "chunk", "contiguous", "detach", "dropout", "expand", "expand_as", "flatten",
    "mH", "mT", "narrow", "permute", "reshape", "reshape_as", "select", "slice", "split", "split_with_sizes", "squeeze",
    "t", "to", "transpose", "type_as", "unbind", "unflatten", "unsqueeze", "view", "view_as",
})  # fmt: skip
"""Operators whose result may show the numbers of what they were given, so that writing into one changes the other."""


def translated(sheet: Sheet, call: Call) -> Made:
    """The values that a call makes.

    Raises:
        FormatError: the operator is not in the table, or is called in a way that is not.
    """
    rule = TABLE.get(call.operator)
    if rule is None:
        raise call.refused("is an operator that is not read; export the model to ONNX, or tell us of it")
    return rule(sheet, call)
