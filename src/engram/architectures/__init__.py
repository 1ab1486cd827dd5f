"""Networks: one plug-in a family, each built from its options and the tensors that go in and out."""

from engram.plugins import Shelf

__all__ = ["SHELF"]

SHELF = Shelf("engram.architectures", "architecture", ("Options", "found", "build"))
