"""How large and how deep a stranger's file may be before it is refused.

One record for every reader, so that a limit is tested once and means the same everywhere. The figures are far above
what honest models need and far below what hurts a laptop.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest of everything that is still accepted; one more is refused.

    Attributes:
        header_bytes: JSON header of a safetensors file.
        header_entries: tensors named in such a header.
        config_bytes: any other JSON document.
        config_depth: nesting of a JSON document.
        pickle_bytes: length of a pickle stream.
        pickle_opcodes: operations of a pickle stream; also the bound of its memo.
        zip_members: files in an archive.
        zip_ratio: unpacked over packed size of an archive's members that are read as a whole.
        tensors: arrays in one model.
        rank: axes of one array.
        dimension: length of one axis.
        protobuf_bytes: a serialized graph.
        nesting: graphs within graphs, and functions that call functions.
        nodes: nodes of a graph with all its functions inlined, counted before inlining.
        files: files that make up one model.
    """

    header_bytes: int = 100 * _MB
    header_entries: int = 1_000_000
    config_bytes: int = 64 * _MB
    config_depth: int = 512
    pickle_bytes: int = 64 * _MB
    pickle_opcodes: int = 5_000_000
    zip_members: int = 65_535
    zip_ratio: int = 100
    tensors: int = 1_000_000
    rank: int = 32
    dimension: int = 2**40
    protobuf_bytes: int = 2**31
    nesting: int = 100
    nodes: int = 2_000_000
    files: int = 10_000
