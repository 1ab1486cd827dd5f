"""Where kept versions live.

``open`` and ``Store`` are fetched when they are first asked for, because the database library behind them takes longer
to import than all that a user may want of this package otherwise.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engram.store.store import Store, open  # noqa: A004 - what one does with a store

__all__ = ["Store", "open"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a class or a function
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from engram.store import store

    return getattr(store, name)
