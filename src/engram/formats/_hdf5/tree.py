"""An HDF5 file as a tree of groups and arrays, read without the library of that name.

libhdf5 was not written for files of strangers: one byte changed in a Keras file made it run for ever, and it opens
files of any name that a file tells it to. What keeps weights (h5py by its defaults, and so Keras and TensorFlow) uses a
small part of the format that has not changed since 1998. This part is read here, every address and length checked
against the file, and everything else is refused in words: links out of the tree, data in other files, virtual arrays,
filters other than gzip, shuffle and checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from numpy import ndarray

from engram.errors import FormatError
from engram.formats._files import Span
from engram.formats._hdf5 import chunks, messages
from engram.formats._hdf5.messages import Bytes, Kind, Layout
from engram.records import Limits

__all__ = ["MAGIC", "Node", "Tree", "opened"]

MAGIC = b"\x89HDF\r\n\x1a\n"

_SUPERBLOCK = struct.Struct("<8s8B2HL")
_ADDRESSES = struct.Struct("<4Q")
_ENTRY = struct.Struct("<2QLL16x")
_TREE = struct.Struct("<4s2BH2Q")
_SOFT = 2
_NOWHERE = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Node:
    """A group or an array.

    Attributes:
        path: from the root, with ``/`` between names; empty for the root.
        attributes: texts, numbers, or arrays of either.
        children: names; none for an array.
        kind, layout, shape: of an array; None for a group.
    """

    path: str
    attributes: Mapping[str, object]
    children: tuple[str, ...] = ()
    kind: Kind | None = None
    layout: Layout | None = None
    shape: tuple[int, ...] = ()


@dataclass(slots=True)
class Tree:
    """All groups and arrays of a file, by path.

    Attributes:
        where: what to call the file in an error.
        nodes: by path, in the order of names.
    """

    where: str
    nodes: dict[str, Node] = field(default_factory=dict)
    _content: Bytes | None = None
    _limits: Limits = field(default_factory=Limits)

    def __contains__(self, path: str) -> bool:
        return path in self.nodes

    def node(self, path: str) -> Node:
        """The group or array at a path.

        Raises:
            FormatError: there is none.
        """
        found = self.nodes.get(path)
        if found is None:
            raise FormatError(f"{self.where} has no {path or '/'!r}; it is not whole, or of another program")
        return found

    def arrays(self, group: str = "") -> Iterator[str]:
        """The paths of all arrays below a group."""
        start = f"{group}/" if group else ""
        return (path for path, node in self.nodes.items() if node.kind and path.startswith(start))

    def array(self, path: str) -> ndarray:
        """The numbers of an array, in memory of their own.

        Raises:
            FormatError: it is not there, no array of numbers, or its bytes are not all in the file.
        """
        node = self.node(path)
        if node.kind is None or node.layout is None or self._content is None:
            raise FormatError(f"{self.where}: {path!r} is a group, where an array is needed")
        dtype = node.kind.dtype
        if node.kind.text or dtype is None:
            raise FormatError(f"{self.where}: {path!r} holds {node.kind.name}, where numbers are needed")
        whole = chunks.numbers(self._content, node.layout, node.shape, dtype, self._limits)
        if node.attributes.get("dtype") == "bfloat16" and dtype.itemsize == 2:
            import ml_dtypes  # a dependency of onnx

            return whole.view(ml_dtypes.bfloat16)
        if dtype.kind == "V":
            raise FormatError(f"{self.where}: {path!r} holds bytes without a type, where numbers are needed")
        return whole.astype(bool) if node.kind.truth else whole


def opened(content: bytes | memoryview | Span, where: str, limits: Limits) -> Tree:
    """The tree in an HDF5 file.

    Args:
        content: of the whole file; of a span the numbers of an array are read when they are asked for.
        where: what to call it in an error.
        limits: the largest of everything that is accepted.

    Raises:
        FormatError: it is damaged, or uses what is not read here.
    """
    known = Bytes(content if isinstance(content, Span) else memoryview(content), where)
    tree = Tree(where, _content=known, _limits=limits)
    try:
        root = _root(known)
        _grow(tree, known, root)
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as wrong:
        raise known.refused(f"is damaged: {wrong}") from wrong
    return tree


def _root(known: Bytes) -> int:
    """The address of the root group; the file must end where it says."""
    if known[0:8] != MAGIC:
        raise known.refused("does not begin as HDF5 does")
    version = known[8:9][0]
    if version > 1:
        raise known.refused(
            "is in a newer layout of HDF5 than h5py writes by default; write it again with h5py.File(…)"
        )
    _, _, _, _, _, _, offsets, lengths, _, *_ = _SUPERBLOCK.unpack(known[0:24])
    if offsets != 8 or lengths != 8:
        raise known.refused(f"has addresses of {offsets} and lengths of {lengths} bytes, not of 8")
    place = 24 if version == 0 else 28
    base, _, end, driver = _ADDRESSES.unpack(known[place : place + 32])
    if base or driver != _NOWHERE:
        raise known.refused("begins with bytes of its own, or lies in several files; neither is read")
    if end != len(known):
        raise known.refused(f"says it has {end:,} bytes, but has {len(known):,}; it is cut off or has a tail")
    _, address, cache, _ = _ENTRY.unpack(known[place + 32 : place + 72])
    if cache == _SOFT:
        raise known.refused("has a root that is a link")
    return int(address)


def _grow(tree: Tree, known: Bytes, root: int) -> None:
    """Read all objects, without recursion; one that can be reached on two ways is refused."""
    seen, waiting = set(), [("", root, 0)]
    while waiting:
        path, address, depth = waiting.pop()
        if address in seen:
            raise known.refused(f"reaches {path!r} on two ways; it could be read in two ways")
        seen.add(address)
        if len(seen) > tree._limits.tensors or depth > tree._limits.nesting:  # noqa: SLF001 - its own module
            raise known.refused("has more groups and arrays than are accepted")
        found = messages.header(known, address)
        node, below = _node(known, path, found)
        tree.nodes[path] = node
        waiting += [(f"{path}/{name}" if path else name, place, depth + 1) for name, place in reversed(below)]


def _node(known: Bytes, path: str, found: list[messages.Message]) -> tuple[Node, list[tuple[str, int]]]:
    if any(message.kind == messages.EXTERNAL for message in found):
        raise known.refused(f"keeps {path!r} in another file, which is not opened")
    attributes = messages.attributes(known, found)
    table = next((message for message in found if message.kind == messages.SYMBOLS), None)
    if table is not None:
        below = _members(known, table)
        return Node(path, attributes, tuple(name for name, _ in below)), below
    if any(message.kind == messages.LINKS for message in found):
        below = _links(known, found)
        return Node(path, attributes, tuple(name for name, _ in below)), below
    kind, shape, layout = messages.array(known, path, found)
    return Node(path, attributes, (), kind, layout, shape), []


def _members(known: Bytes, table: messages.Message) -> list[tuple[str, int]]:
    """Names and addresses of what is in a group, by the leaves of its tree."""
    tree, heap = struct.unpack("<2Q", table.body[:16])
    if bytes(known[heap : heap + 4]) != b"HEAP":
        raise known.refused("has a group without its names")
    length, _, start = struct.unpack("<3Q", known[heap + 8 : heap + 32])
    names = known[start : start + length]
    found: dict[str, int] = {}
    for leaf in _leaves(known, tree):
        if bytes(known[leaf : leaf + 4]) != b"SNOD":
            raise known.refused("has a group that is damaged")
        count = struct.unpack("<H", known[leaf + 6 : leaf + 8])[0]
        for place in range(leaf + 8, leaf + 8 + 40 * count, 40):
            offset, address, cache, _ = _ENTRY.unpack(known[place : place + 40])
            name = _name(known, names, offset)
            if cache == _SOFT or address == _NOWHERE:
                raise known.refused(f"has the link {name!r}, which is not followed")
            if name in found:
                raise known.refused(f"has two {name!r} in one group; it could be read in two ways")
            found[name] = address
    return list(found.items())


def _links(known: Bytes, found: list[messages.Message]) -> list[tuple[str, int]]:
    """Names and addresses in the newer form of a group, which h5py uses for names beyond ASCII."""
    made: dict[str, int] = {}
    for message in found:
        if message.kind == messages.LINKS and messages.is_dense(message):
            raise known.refused("has a group in a newer form than h5py writes by default; write it again with h5py")
        if message.kind == messages.LINK:
            name, address = messages.link(known, message)
            if name in made:
                raise known.refused(f"has two {name!r} in one group; it could be read in two ways")
            made[_checked(known, name)] = address
    return list(made.items())


def _name(known: Bytes, names: memoryview, offset: int) -> str:
    end = bytes(names[offset : offset + 4096]).find(b"\0")
    if end < 1:
        raise known.refused("has a name that does not end, or is empty")
    return _checked(known, bytes(names[offset : offset + end]).decode("utf-8"))


def _checked(known: Bytes, name: str) -> str:
    if not name or "/" in name or name in {".", ".."}:
        raise known.refused(f"has the name {name!r}, which is none")
    return name


def _leaves(known: Bytes, root: int) -> Iterator[int]:
    """Addresses of the leaves of a tree of names, in order."""
    waiting, seen = [root], 0
    while waiting:
        address = waiting.pop()
        mark, kind, level, used, *_ = _TREE.unpack(known[address : address + 24])
        seen += 1
        if mark != b"TREE" or kind != 0 or seen > len(known) // 24:
            raise known.refused("has a tree of names that is damaged")
        places = range(address + 32, address + 32 + 16 * used, 16)
        below = [struct.unpack("<Q", known[place : place + 8])[0] for place in places]
        if level:
            waiting += reversed(below)
        else:
            yield from below
