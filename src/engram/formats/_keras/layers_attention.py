"""Layers that let each step look at others.

Heads are ordinary matrix products here, not Einsum nodes, wherever the input is (batch, steps, numbers): more runtimes
have them, and they are what the matrices of a head are cut into anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from engram.formats._keras.kind import Drawn, Kind, Task, Variable

__all__ = ["KINDS"]

_LEAST = -1e9


def _heads(settings: Mapping[str, Any], private: str = "") -> tuple[Variable, ...]:
    """Query, key, value and output, each a kernel and perhaps a bias.

    Args:
        settings: of the layer.
        private: what Keras puts before the names of their attributes.
    """
    made = []
    parts = [("query", "query_dense"), ("key", "key_dense"), ("value", "value_dense")]
    for name, attribute in (*parts, ("attention_output", "output_dense")):
        place = f"{private}{attribute}"
        made.append(Variable(f"{name}/kernel", f"{place}/vars/0"))
        if settings.get("use_bias", True):
            made.append(Variable(f"{name}/bias", f"{place}/vars/1"))
    return tuple(made)


def _shared_heads(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    """As ``_heads``, where Keras has no public names for them and so keeps them under private ones."""
    return _heads(settings, "_")


def _multi_head(task: Task) -> Drawn:
    """Vaswani et al. 2017: softmax(q kᵀ / √d) v for each head, joined and projected."""
    sheet = task.sheet
    if task.truth("use_gate") or task.settings.get("sliding_window") is not None:
        raise task.refused("has a gate or a sliding window, which is not read")
    query, value, key = _three(task)
    told = _told(task, query, value, key)
    rank = sheet.rank(query)
    if rank != 3 or task.settings.get("attention_axes") not in (None, [1], 1, [-2]):
        return _by_axes(task, query, value, key, told)
    q, k, v = (_projected(task, name, one) for name, one in (("query", query), ("key", key), ("value", value)))
    scale = sheet.like(1 / float(np.sqrt(task.number("key_dim", 1))), q)
    scores = sheet.node("MatMul", sheet.node("Mul", q, scale), sheet.turned(k, [0, 1, 3, 2]))
    if told:
        wide = sheet.node("Unsqueeze", told, sheet.constant([1], "int64"))
        scores = sheet.node("Where", wide, scores, sheet.like(_LEAST, scores))
    shares = _dropped(task, sheet.node("Softmax", scores, axis=-1))
    joined = sheet.turned(sheet.node("MatMul", shares, v), [0, 2, 1, 3])
    made = _put_out(task, joined)
    return _ended(task, made, shares, query)


def _three(task: Task) -> tuple[str, str, str]:
    given = dict(zip(("query", "value", "key"), task.arguments, strict=False)) | dict(task.named)
    query, value, key = (given.get(name) for name in ("query", "value", "key"))
    key = value if key is None else key
    if not all(isinstance(one, str) for one in (query, value, key)):
        raise task.refused("is called in a way that is not known")
    return str(query), str(value), str(key)


def _ended(task: Task, made: str, shares: str, query: str) -> Drawn:
    if query in task.sheet.masks:
        task.sheet.masks[made] = task.sheet.masks[query]
    return (made, shares) if task.named.get("return_attention_scores") is True else made


def _dropped(task: Task, value: str) -> str:
    rate = task.number("dropout", 0.0)
    return task.sheet.node("Dropout", value, task.sheet.constant(np.float32(rate))) if rate else value


def _projected(task: Task, name: str, value: str) -> str:
    """(batch, steps, numbers) as (batch, heads, steps, numbers of a head)."""
    sheet, kernel = task.sheet, task.weights[f"{name}/kernel"]
    inputs, heads, size = _lengths(task, kernel, 3)
    made = sheet.node("MatMul", value, sheet.reshaped(kernel, [inputs, heads * size]))
    if f"{name}/bias" in task.weights:
        made = sheet.node("Add", made, sheet.reshaped(task.weights[f"{name}/bias"], [-1]))
    return sheet.turned(sheet.reshaped(made, [0, 0, heads, size]), [0, 2, 1, 3])


def _lengths(task: Task, kernel: str, rank: int) -> list[int]:
    found = task.sheet.shape(kernel)
    if len(found) != rank or None in found:
        raise task.refused(f"has a kernel of the shape {list(found)}, where {rank} axes are needed")
    return [length or 0 for length in found]


def _put_out(task: Task, joined: str) -> str:
    sheet, kernel = task.sheet, task.weights["attention_output/kernel"]
    lengths = [length or 0 for length in sheet.shape(kernel)]
    if len(lengths) < 3:
        raise task.refused(f"has an output kernel of the shape {lengths}")
    heads, size, *out = lengths
    flat = sheet.reshaped(joined, [0, 0, heads * size])
    made = sheet.node("MatMul", flat, sheet.reshaped(kernel, [heads * size, int(np.prod(out))]))
    if "attention_output/bias" in task.weights:
        made = sheet.node("Add", made, sheet.reshaped(task.weights["attention_output/bias"], [-1]))
    return made if len(out) == 1 else sheet.reshaped(made, [0, 0, *out])


def _told(task: Task, query: str, value: str, key: str) -> str:
    """Which step may look at which, (batch or 1, steps, steps looked at); empty for all."""
    sheet = task.sheet
    masks: list[str] = []
    explicit = task.named.get("attention_mask")
    for name, one, axis in (("query", query, 2), ("value", value, 1), ("key", key, 1)):
        given = task.named.get(f"{name}_mask")
        mask = given if isinstance(given, str) else sheet.masks.get(one, "")
        if mask and not (name == "key" and key == value and not isinstance(given, str)):
            masks.append(sheet.node("Unsqueeze", sheet.cast(mask, "bool"), sheet.constant([axis], "int64")))
    if isinstance(explicit, str):
        masks.append(sheet.cast(explicit, "bool"))
    if task.named.get("use_causal_mask") is True:
        masks.append(_causal(task, query, value))
    made = ""
    for mask in masks:
        made = sheet.node("And", made, mask) if made else mask
    return made


def _causal(task: Task, query: str, value: str) -> str:
    lengths = [task.sheet.shape(one)[-2] for one in (query, value)]
    if None in lengths:
        raise task.refused("hides what comes later in sequences of unknown length, which is not read")
    rows, columns = (np.arange(length or 0) for length in lengths)
    return task.sheet.constant((rows[:, None] >= columns[None, :])[None])


def _by_axes(task: Task, query: str, value: str, key: str, told: str) -> Drawn:
    """Attention along chosen axes of inputs with several, by letters for the axes as Keras has it."""
    sheet, rank = task.sheet, task.sheet.rank(query)
    found = task.settings.get("attention_axes")
    axes = list(range(1, rank - 1)) if found is None else task.counted(found, rank, "attention_axes")
    if any(sheet.rank(one) != rank for one in (value, key)):
        raise task.refused("takes tensors of different rank")
    free = "".join(chr(ord("a") + place) for place in range(rank - 1))
    far = "".join(letter.upper() if place in axes else letter for place, letter in enumerate(free))
    batch = "".join(letter for place, letter in enumerate(free) if place not in axes)
    mine, other = ("".join(one[place] for place in axes) for one in (free, far))
    q, k, v = (_wide(task, name, one, free) for name, one in (("query", query), ("key", key), ("value", value)))
    q = sheet.node("Mul", q, sheet.like(1 / float(np.sqrt(task.number("key_dim", 1))), q))
    scores = sheet.node("Einsum", q, k, equation=f"{free}yz,{far}yz->{batch}y{mine}{other}")
    shape = sheet.shape(scores)
    flat = scores if len(axes) == 1 else _flat(task, scores, shape, len(axes))
    if told:
        if len(axes) > 1 or sheet.rank(told) > sheet.rank(flat):
            raise task.refused("hides steps along several axes, which is not read")
        missing = sheet.rank(flat) - sheet.rank(told)
        if missing:
            told = sheet.node(
                "Unsqueeze", told, sheet.constant(list(range(sheet.rank(told) - 2, sheet.rank(flat) - 2)), "int64")
            )
        flat = sheet.node("Where", told, flat, sheet.like(_LEAST, flat))
    shares = sheet.node("Softmax", flat, axis=-1)
    shares = shares if len(axes) == 1 else sheet.reshaped(shares, [-1 if n is None else n for n in shape])
    shares = _dropped(task, shares)
    made = sheet.node("Einsum", shares, v, equation=f"{batch}y{mine}{other},{far}yz->{free}yz")
    kernel = task.weights["attention_output/kernel"]
    made = sheet.node("Einsum", made, kernel, equation=f"{free}yz,yzx->{free}x")
    if "attention_output/bias" in task.weights:
        made = sheet.node("Add", made, task.weights["attention_output/bias"])
    return _ended(task, made, shares, query)


def _wide(task: Task, name: str, value: str, free: str) -> str:
    made = task.sheet.node("Einsum", value, task.weights[f"{name}/kernel"], equation=f"{free}x,xyz->{free}yz")
    return task.sheet.node("Add", made, task.weights[f"{name}/bias"]) if f"{name}/bias" in task.weights else made


def _flat(task: Task, scores: str, shape: tuple[int | None, ...], count: int) -> str:
    if None in shape[1:]:
        raise task.refused("looks along several axes of unknown length, which is not read")
    kept = [length or 0 for length in shape[1 : len(shape) - count]]
    return task.sheet.reshaped(scores, [-1, *kept, int(np.prod([length or 0 for length in shape[-count:]]))])


def _grouped(task: Task) -> Drawn:
    """Ainslie et al. 2023: several heads of queries share one of keys and values."""
    sheet = task.sheet
    if task.truth("use_gate") or task.settings.get("sliding_window") is not None:
        raise task.refused("has a gate or a sliding window, which is not read")
    query, value, key = _three(task)
    told = _told(task, query, value, key)
    heads, shared = task.whole("num_query_heads", 1)[0], task.whole("num_key_value_heads", 1)[0]
    if not shared or heads % shared:
        raise task.refused(f"has {heads} heads of queries for {shared} of keys")
    q, k, v = (_projected(task, name, one) for name, one in (("query", query), ("key", key), ("value", value)))
    k, v = (_repeated(task, one, heads // shared) for one in (k, v))
    scale = sheet.like(1 / float(np.sqrt(task.number("head_dim", 1))), q)
    scores = sheet.node("MatMul", sheet.node("Mul", q, scale), sheet.turned(k, [0, 1, 3, 2]))
    if told:
        wide = sheet.node("Unsqueeze", told, sheet.constant([1], "int64"))
        scores = sheet.node("Where", wide, scores, sheet.like(_LEAST, scores))
    shares = _dropped(task, sheet.node("Softmax", scores, axis=-1))
    made = _put_out(task, sheet.turned(sheet.node("MatMul", shares, v), [0, 2, 1, 3]))
    return _ended(task, made, shares, query)


def _repeated(task: Task, value: str, many: int) -> str:
    """Each head so many times, one after the other."""
    sheet = task.sheet
    heads = sheet.shape(value)[1] or 0
    places = np.repeat(np.arange(heads), many)
    return sheet.node("Gather", value, sheet.constant(places, "int64"), axis=1)


def _scores_variables(settings: Mapping[str, Any]) -> tuple[Variable, ...]:
    keys = ["scale"] if settings.get("use_scale") else []
    keys += ["concat_score_weight"] if settings.get("score_mode") == "concat" else []
    return tuple(Variable(key, f"vars/{place}") for place, key in enumerate(keys))


def _attention(task: Task) -> Drawn:
    """Luong 2015: dot products, or the sum of tanh(q + k)."""
    sheet = task.sheet
    query, key = task.values[0], task.values[2] if len(task.values) > 2 else task.values[1]
    if task.text("score_mode", "dot", ("dot", "concat")) == "dot":
        scores = sheet.node("MatMul", query, sheet.turned(key, [0, 2, 1]))
        scores = sheet.node("Mul", scores, task.weights["scale"]) if "scale" in task.weights else scores
    else:
        total = _sums(task, query, key)
        total = sheet.node("Mul", total, task.weights["scale"]) if "scale" in task.weights else total
        scores = sheet.node("ReduceSum", sheet.node("Tanh", total), sheet.constant([-1], "int64"), keepdims=0)
        scores = sheet.node("Mul", scores, task.weights["concat_score_weight"])
    return _looked(task, scores)


def _additive(task: Task) -> Drawn:
    """Bahdanau 2014: a weighted sum of tanh(q + k)."""
    sheet = task.sheet
    query, key = task.values[0], task.values[2] if len(task.values) > 2 else task.values[1]
    total = sheet.node("Tanh", _sums(task, query, key))
    total = sheet.node("Mul", total, task.weights["scale"]) if "scale" in task.weights else total
    return _looked(task, sheet.node("ReduceSum", total, sheet.constant([-1], "int64"), keepdims=0))


def _sums(task: Task, query: str, key: str) -> str:
    """Each query with each key, (batch, queries, keys, numbers)."""
    sheet = task.sheet
    wide = (sheet.node("Unsqueeze", one, sheet.constant([axis], "int64")) for one, axis in ((query, 2), (key, 1)))
    return sheet.node("Add", *wide)


def _looked(task: Task, scores: str) -> Drawn:
    sheet = task.sheet
    query, value = task.values[:2]
    given = task.named.get("mask")
    masks = given if isinstance(given, list) else [sheet.masks.get(one, "") for one in (query, value)]
    told = ""
    if isinstance(masks[1], str) and masks[1]:
        told = sheet.node("Unsqueeze", sheet.cast(masks[1], "bool"), sheet.constant([1], "int64"))
    if task.named.get("use_causal_mask") is True:
        causal = _causal(task, query, value)
        told = sheet.node("And", told, causal) if told else causal
    if told:
        scores = sheet.node("Where", told, scores, sheet.node("Add", scores, sheet.like(_LEAST, scores)))
    shares = sheet.node("Softmax", scores, axis=-1)
    made = sheet.node("MatMul", _dropped(task, shares), value)
    if isinstance(masks[0], str) and masks[0]:
        shown = sheet.node("Unsqueeze", sheet.cast(masks[0], "bool"), sheet.constant([2], "int64"))
        made = sheet.node("Where", shown, made, sheet.like(0.0, made))
        sheet.masks[made] = masks[0]
    return (made, shares) if task.named.get("return_attention_scores") is True else made


KINDS: Mapping[str, Kind] = {
    "AdditiveAttention": Kind(
        _additive,
        lambda settings: (Variable("scale", "vars/0"),) if settings.get("use_scale", True) else (),
        masks="own",
    ),
    "Attention": Kind(_attention, _scores_variables, masks="own"),
    "GroupQueryAttention": Kind(_grouped, _shared_heads, masks="own"),
    "GroupedQueryAttention": Kind(_grouped, _shared_heads, masks="own"),
    "MultiHeadAttention": Kind(_multi_head, _heads, masks="own"),
}
