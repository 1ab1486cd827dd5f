"""Losses that ONNX has as operators, for graphs that carry what they were trained for."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from engram.runtime._torch.call import Call, Operator

__all__ = ["OPERATORS"]

_NOBODY = -(2**62)
"""An ignored class that no target is."""


def _negative_log(call: Call, x: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    ignored = call.get("ignore_index", _NOBODY)
    return F.nll_loss(x, target.long(), weight, ignore_index=ignored, reduction=call.get("reduction", "mean"))


def _cross_entropy(
    call: Call, scores: Tensor, target: Tensor, weight: Tensor | None = None
) -> Tensor | tuple[Tensor, Tensor]:
    logarithms = F.log_softmax(scores, 1)
    loss = _negative_log(call, logarithms, target, weight)
    return (loss, logarithms) if call.wants(1) else loss


OPERATORS: dict[str, Operator] = {
    "NegativeLogLikelihoodLoss": _negative_log,
    "SoftmaxCrossEntropyLoss": _cross_entropy,
}
