"""Decision trees and what is made of many, as one ``TreeEnsemble`` node.

scikit-learn compares a float32 with a float64 threshold in its plain trees, so a threshold is rounded down to float32,
which changes no answer; its histogram trees compare in float64, and so does the node here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray
from onnx import numpy_helper

from engram.errors import ConversionError, FormatError
from engram.formats._sklearn.estimator import Estimator
from engram.graphs.build import DOMAIN_ML, Builder, element_type

__all__ = ["Tree", "ensemble", "of_histogram", "of_tree"]

_LESS_OR_EQUAL = 0
_SUM = 1
_MOST = 20_000_000
_HISTOGRAM = ("feature_idx", "is_leaf", "left", "right", "value")
_COLUMNS = (
    "features", "splits", "missing", "true_ids", "true_leaves", "false_ids", "false_leaves", "targets", "weights",
)  # fmt: skip
"""What is told of comparisons and, the last two, of leaves."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A tree with at least one comparison or one leaf, its nodes in arrays; the first is the root.

    Attributes:
        left, right: number of the node below, -1 in a leaf.
        feature: column that is compared.
        threshold: at most this goes left.
        missing_left: whether a gap goes left.
        values: what each node answers, (nodes, outputs).
    """

    left: ndarray
    right: ndarray
    feature: ndarray
    threshold: ndarray
    missing_left: ndarray
    values: ndarray


def of_tree(tree: Estimator, columns: int) -> Tree:
    """A plain tree, as it stands in a file.

    Raises:
        FormatError: its nodes do not make a tree.
    """
    nodes, values = tree.get("nodes"), tree.get("values")
    if not isinstance(nodes, ndarray) or nodes.dtype.names is None or not isinstance(values, ndarray):
        raise FormatError(f"{tree} has no nodes; it was kept before it was fitted, or is damaged")
    wanted = {"left_child", "right_child", "feature", "threshold"}
    if not wanted <= set(nodes.dtype.names) or values.ndim != 3 or len(values) != len(nodes):
        raise FormatError(f"{tree} has nodes that are not as scikit-learn writes them")
    if values.shape[1] != 1:
        raise ConversionError(f"{tree} answers for {values.shape[1]} targets at once, which is not read")
    missing = nodes["missing_go_to_left"] if "missing_go_to_left" in nodes.dtype.names else np.zeros(len(nodes))
    threshold = _rounded_down(nodes["threshold"])
    made = Tree(nodes["left_child"], nodes["right_child"], nodes["feature"], threshold, missing != 0, values[:, 0, :])
    return _checked(made, columns, str(tree))


def of_histogram(predictor: Estimator, columns: int) -> Tree:
    """A tree of histogram boosting.

    Raises:
        ConversionError: it compares categories.
        FormatError: its nodes do not make a tree.
    """
    nodes = predictor.get("nodes")
    fields = set(nodes.dtype.names or ()) if isinstance(nodes, ndarray) else set()
    threshold = "num_threshold" if "num_threshold" in fields else "threshold"  # as it was called before 0.23
    if not isinstance(nodes, ndarray) or not {threshold, *_HISTOGRAM} <= fields:
        raise FormatError(f"{predictor} has no nodes as scikit-learn writes them")
    if "is_categorical" in nodes.dtype.names and nodes["is_categorical"].any():
        raise ConversionError(f"{predictor} compares categories, which is not read; encode them before")
    leaf = nodes["is_leaf"] != 0
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    values = nodes["value"].reshape(-1, 1)
    missing = nodes["missing_go_to_left"] != 0 if "missing_go_to_left" in fields else np.zeros(len(nodes), bool)
    made = Tree(left, right, nodes["feature_idx"], nodes[threshold], missing, values)
    return _checked(made, columns, str(predictor))


def ensemble(builder: Builder, value: str, trees: Sequence[tuple[Tree, int]], outputs: int, *, double: bool) -> str:
    """The sum of what trees answer, (batch, outputs).

    Args:
        builder: of the graph.
        value: the columns, float32, or float64 if ``double``.
        trees: each with the output that its first column of values goes to.
        outputs: how many there are.
        double: whether thresholds and sums are float64.
    """
    kind = np.float64 if double else np.float32
    made = _Flat()
    for tree, target in trees:
        made.add(tree, target)
    if made.nodes > _MOST:
        raise ConversionError(f"the trees have {made.nodes:,} nodes, more than the {_MOST:,} that are read")
    splits = made.column("splits").astype(kind)
    attributes: dict[str, Any] = {
        "n_targets": outputs,
        "aggregate_function": _SUM,
        "post_transform": 0,
        "tree_roots": made.roots,
        "nodes_featureids": made.whole("features"),
        "nodes_splits": numpy_helper.from_array(splits, "splits"),
        "nodes_modes": numpy_helper.from_array(np.full(len(splits), _LESS_OR_EQUAL, np.uint8), "modes"),
        "nodes_truenodeids": made.whole("true_ids"),
        "nodes_trueleafs": made.whole("true_leaves"),
        "nodes_falsenodeids": made.whole("false_ids"),
        "nodes_falseleafs": made.whole("false_leaves"),
        "nodes_missing_value_tracks_true": made.whole("missing"),
        "leaf_targetids": made.whole("targets"),
        "leaf_weights": numpy_helper.from_array(made.column("weights").astype(kind), "weights"),
    }
    answer = builder.node("TreeEnsemble", value, domain=DOMAIN_ML, **attributes)
    return answer if double else builder.node("Cast", answer, to=element_type("float64"))


class _Flat:
    """The attributes of the node, tree after tree; a leaf answers one number, so one of many makes a tree of each."""

    def __init__(self) -> None:
        self.nodes = self._rows = self._leaves = 0
        self.roots: list[int] = []
        self._columns: dict[str, list[ndarray]] = {name: [] for name in _COLUMNS}

    def add(self, tree: Tree, target: int) -> None:
        """One more tree, for every column of its values."""
        inner = np.flatnonzero(tree.left >= 0)
        for column in range(tree.values.shape[1]):
            self.nodes += len(tree.left)
            self.roots.append(self._rows)
            values = tree.values[:, column].astype(np.float64)
            if len(inner):
                self._grown(tree, inner, values, target + column)
            else:  # a tree that is one leaf: a comparison whose both sides are this leaf
                self._keep(np.zeros(1, np.int64), np.zeros(1), np.zeros(1, bool), np.array([-1, -1]))
                self._answer(values[[0, 0]], target + column)

    def _grown(self, tree: Tree, inner: ndarray, values: ndarray, target: int) -> None:
        numbers = np.full(len(tree.left), -1, np.int64)
        numbers[inner] = self._rows + np.arange(len(inner))
        below = np.column_stack([tree.left[inner], tree.right[inner]]).reshape(-1)
        self._keep(tree.feature[inner], tree.threshold[inner], tree.missing_left[inner], numbers[below])
        self._answer(values[below[numbers[below] < 0]], target)

    def _keep(self, features: ndarray, splits: ndarray, missing: ndarray, below: ndarray) -> None:
        """Comparisons; ``below`` has the numbers of the two under each, -1 for a leaf, which is given the next one."""
        leaf = below < 0
        ids = np.where(leaf, self._leaves - 1 + np.cumsum(leaf), below)
        found = (features, splits, missing, ids[::2], leaf[::2], ids[1::2], leaf[1::2])
        for name, column in zip(_COLUMNS, found, strict=False):
            self._columns[name].append(column)
        self._rows += len(features)

    def _answer(self, weights: ndarray, target: int) -> None:
        self._columns["targets"].append(np.full(len(weights), target))
        self._columns["weights"].append(weights)
        self._leaves += len(weights)

    def column(self, name: str) -> ndarray:
        """Of all trees: one of ``_COLUMNS``."""
        found = self._columns[name]
        return np.concatenate(found) if found else np.zeros(0)

    def whole(self, name: str) -> list[int]:
        """As ``column``, of whole numbers, as a list."""
        numbers: list[int] = self.column(name).astype(np.int64).tolist()
        return numbers


def _checked(tree: Tree, columns: int, where: str) -> Tree:
    """A tree whose nodes lead only downwards and whose columns are there."""
    count = len(tree.left)
    inner = tree.left >= 0
    below = np.concatenate([tree.left[inner], tree.right[inner]]).astype(np.int64)
    above = np.concatenate([np.flatnonzero(inner)] * 2)
    sound = count > 0 and bool((below > above).all()) and bool((below < count).all())
    if not sound or len(np.unique(below)) != len(below):
        raise FormatError(f"{where} has nodes that do not make a tree")
    features = tree.feature[inner].astype(np.int64)
    if features.size and not (features.min() >= 0 and features.max() < columns):
        raise FormatError(f"{where} compares a column that is not among its {columns}")
    if not np.isfinite(tree.values.astype(np.float64)).all():
        raise FormatError(f"{where} answers with numbers that are not finite")
    return tree


def _rounded_down(threshold: ndarray) -> ndarray:
    """The largest float32 that is at most the threshold: a float32 is below the one exactly if below the other."""
    single = threshold.astype(np.float32)
    above = single.astype(np.float64) > threshold
    return np.where(above, np.nextafter(single, np.float32(-np.inf)), single)
