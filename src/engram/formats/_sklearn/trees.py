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
    if not isinstance(nodes, ndarray) or nodes.dtype.names is None or "num_threshold" not in nodes.dtype.names:
        raise FormatError(f"{predictor} has no nodes as scikit-learn writes them")
    if "is_categorical" in nodes.dtype.names and nodes["is_categorical"].any():
        raise ConversionError(f"{predictor} compares categories, which is not read; encode them before")
    leaf = nodes["is_leaf"] != 0
    left, right = (np.where(leaf, -1, nodes[side].astype(np.int64)) for side in ("left", "right"))
    values = nodes["value"].reshape(-1, 1)
    missing = nodes["missing_go_to_left"] != 0
    made = Tree(left, right, nodes["feature_idx"], nodes["num_threshold"], missing, values)
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
    attributes: dict[str, Any] = {
        "n_targets": outputs,
        "aggregate_function": _SUM,
        "post_transform": 0,
        "tree_roots": made.roots,
        "nodes_featureids": made.features,
        "nodes_splits": numpy_helper.from_array(np.asarray(made.splits, kind), "splits"),
        "nodes_modes": numpy_helper.from_array(np.full(len(made.splits), _LESS_OR_EQUAL, np.uint8), "modes"),
        "nodes_truenodeids": made.true_ids,
        "nodes_trueleafs": made.true_leaves,
        "nodes_falsenodeids": made.false_ids,
        "nodes_falseleafs": made.false_leaves,
        "nodes_missing_value_tracks_true": made.missing,
        "leaf_targetids": made.targets,
        "leaf_weights": numpy_helper.from_array(np.asarray(made.weights, kind), "weights"),
    }
    answer = builder.node("TreeEnsemble", value, domain=DOMAIN_ML, **attributes)
    return answer if double else builder.node("Cast", answer, to=element_type("float64"))


class _Flat:
    """The attributes of the node, tree after tree; a leaf answers one number, so one of many makes a tree of each."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.features: list[int] = []
        self.splits: list[float] = []
        self.true_ids: list[int] = []
        self.true_leaves: list[int] = []
        self.false_ids: list[int] = []
        self.false_leaves: list[int] = []
        self.missing: list[int] = []
        self.targets: list[int] = []
        self.weights: list[float] = []
        self.nodes = 0

    def add(self, tree: Tree, target: int) -> None:
        """One more tree, for every column of its values."""
        for column in range(tree.values.shape[1]):
            self._add(tree, tree.values[:, column], target + column)

    def _add(self, tree: Tree, values: ndarray, target: int) -> None:
        inner = np.flatnonzero(tree.left >= 0)
        self.nodes += len(tree.left)
        start = len(self.features)
        self.roots.append(start)
        if not len(inner):  # a tree that is one leaf: a comparison whose both sides are this leaf
            self._node(0, 0.0, (self._leaf(values[0], target), 1), (self._leaf(values[0], target), 1), missing=0)
            return
        numbers = {int(node): start + place for place, node in enumerate(inner)}
        for node in inner.tolist():
            sides = []
            for below in (int(tree.left[node]), int(tree.right[node])):
                known = numbers.get(below)
                sides.append((known, 0) if known is not None else (self._leaf(values[below], target), 1))
            self._node(
                int(tree.feature[node]), float(tree.threshold[node]), sides[0], sides[1],
                missing=int(tree.missing_left[node]),
            )  # fmt: skip

    def _leaf(self, weight: float, target: int) -> int:
        self.targets.append(target)
        self.weights.append(float(weight))
        return len(self.weights) - 1

    def _node(self, feature: int, split: float, yes: tuple[int, int], no: tuple[int, int], *, missing: int) -> None:
        self.features.append(feature)
        self.splits.append(split)
        self.true_ids.append(yes[0])
        self.true_leaves.append(yes[1])
        self.false_ids.append(no[0])
        self.false_leaves.append(no[1])
        self.missing.append(missing)


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
