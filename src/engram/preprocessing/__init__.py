"""From raw columns to tensors: each step is fitted on the training rows and emitted as graph nodes.

A step is a module with an ``Options`` record and four functions: ``fit(values, options)`` learns,
``transform(values, fitted)`` applies with numpy what was learned, ``nodes(fitted, builder, value)`` writes the same
into a graph, and ``names(fitted, names)`` says what the columns are called afterwards. It may have two more:
``wrong(options)``, a sentence on options that contradict each other, and ``MAIN``, the option that a bare value in a
pipeline file stands for (``scale = "log"``).
"""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.preprocessing", "preprocessing step", ("Options", "fit", "transform", "nodes", "names"))
