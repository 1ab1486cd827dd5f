"""A process that keeps tiny versions as fast as it can, all writers under one name, which is the hardest case.

Called by ``_scale.py`` as ``_writer.py PLACE CATALOG COUNT SEED``; it says that it is ready, and begins when a line
comes in.
"""

import sys

import numpy as np

from engram.records import Model, Signature
from engram.store.store import open as open_store


def main() -> None:
    """Keep the first version, wait for the word, keep the others."""
    place, catalog, count, seed = sys.argv[1:]
    store = open_store(place, who="bench", catalog=catalog)
    draw = np.random.default_rng(int(seed))

    def keep() -> None:
        store.keep("network", Model(b"graph", {"a": draw.standard_normal(256, np.float32)}, Signature((), ())))

    keep()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(int(count)):
        keep()
    print("done", flush=True)


if __name__ == "__main__":
    main()
