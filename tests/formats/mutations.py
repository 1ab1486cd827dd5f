"""Spoiling files so that they are still almost what they were: inside their containers, field by field.

Bytes changed at random rarely come past a checksum or a parser. These look at what a file is made of, change one value,
length, name or order in it, and put it together again so that everything around it is right.
"""

import io
import json
import pickletools
import random
import struct
import warnings
import zipfile
from typing import Any

__all__ = ["mutated"]

NUMBERS = [0, 1, -1, 2, 127, 128, 255, 256, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**63 - 1]
WORDS = ["", "\0", "..", "../../etc/passwd", "/etc/passwd", "a" * 300, "é", "\u202e", "{}", "None", "float32", "weight"]
VALUES: list[Any] = [
    None, True, False, *NUMBERS, -(2**31), 0.5, -1.0, 1e308, *WORDS, [], {}, [[]], [0] * 40, {"a": {}}, "[" * 50,
]  # fmt: skip


def mutated(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    """The content of a file with one to a few faults, mostly inside its structure."""
    plain = chance.random() < 0.2 or depth > 3 or not data
    mutate = _bytes if plain else _kind(data)
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        try:
            data = mutate(data, chance, depth)
        except (ValueError, KeyError, IndexError, struct.error, zipfile.BadZipFile, RecursionError, OverflowError):
            data = _bytes(data, chance, depth)
    return data


def _kind(data: bytes) -> Any:
    if data[:4] == b"PK\3\4":
        return _zip
    if data[:2] == b"\x80\x02" or (data[:1] == b"\x80" and data[1:2] in b"\3\4\5"):
        return _pickle
    if data[8:9] == b"{" and int.from_bytes(data[:8], "little") < len(data):
        return _safetensors
    if data.lstrip()[:1] in {b"{", b"["}:
        return _json
    if data[:4] == b"\x89HDF" or data[4:8] == b"TFL3":
        return _words
    return _protobuf if list(_fields(data)) else _words


def _bytes(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    found = bytearray(data)
    at = chance.randrange(len(found)) if found else 0
    match chance.randrange(7):
        case 0 if found:
            found[at] ^= 1 << chance.randrange(8)
        case 1 if found:
            found[at] = chance.choice([0, 1, 0x7F, 0x80, 0xFF])
        case 2:
            del found[at : at + chance.choice([1, 2, 4, 8, 64])]
        case 3:
            found[at:at] = chance.randbytes(chance.choice([1, 3, 8]))
        case 4:
            found[at:at] = found[at : at + chance.choice([4, 16, 200])]
        case 5:
            del found[at:]
        case _:
            return _words(bytes(found), chance)
    return bytes(found)


def _words(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    """A number in place, as binary tables and offsets have them; near the beginning more often than not."""
    found = bytearray(data)
    width = chance.choice([1, 2, 4, 4, 8])
    if len(found) < width:
        return data + b"\0"
    within = len(found) - width + 1
    at = chance.randrange(min(within, chance.choice([64, 1024, within])))
    at -= at % width if chance.random() < 0.7 else 0
    before = int.from_bytes(found[at : at + width], "little")
    value = chance.choice([*NUMBERS, before + 1, before - 1, before * 2, len(found), len(found) - at])
    found[at : at + width] = (value % (1 << (8 * width))).to_bytes(width, "little")
    return bytes(found)


def _json(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    tree = json.loads(data)
    text = json.dumps(_changed(tree, chance))
    if chance.random() < 0.1:
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(["NaN", ",", "}", '"', "1e999", '"a":1,"a":2', "\\ud800"]) + text[at:]
    return text.encode("utf-8", "surrogatepass")


def _changed(tree: Any, chance: random.Random) -> Any:
    """The tree with one value, key or order changed, at a place that every level is equally likely to be."""
    if isinstance(tree, dict) and tree and chance.random() < 0.85:
        return _changed_object(tree, chance)
    if isinstance(tree, list) and tree and chance.random() < 0.85:
        at = chance.randrange(len(tree))
        inside = [*tree[:at], _changed(tree[at], chance), *tree[at + 1 :]]
        return chance.choice([tree[:at] + tree[at + 1 :], [*tree, tree[at]], tree[::-1], inside, inside, inside])
    if isinstance(tree, (int, float)) and not isinstance(tree, bool) and chance.random() < 0.5:
        return chance.choice([tree + 1, tree - 1, -tree, tree * 2, 0])
    if isinstance(tree, str) and chance.random() < 0.5:
        return chance.choice([tree + "x", tree[:-1], tree.upper(), tree * 2])
    return chance.choice(VALUES)


def _changed_object(tree: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    key, other = chance.choice(list(tree)), chance.choice(list(tree))
    match chance.randrange(8):
        case 0:
            return {name: value for name, value in tree.items() if name != key}
        case 1:
            return {**tree, chance.choice([*WORDS, f"{key}2"]): chance.choice([*VALUES, tree[key]])}
        case 2:
            return {**tree, key: tree[other], other: tree[key]}
        case _:
            return {**tree, key: _changed(tree[key], chance)}


def _safetensors(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header, rest = data[8 : 8 + length], data[8 + length :]
    if chance.random() < 0.3:
        rest = _bytes(rest, chance)
    else:
        header = _json(header, chance)
    said = len(header) if chance.random() < 0.9 else chance.choice(NUMBERS) % 2**64
    return said.to_bytes(8, "little") + header + rest


def _zip(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    at = chance.randrange(len(members))
    info, content = members[at]
    match chance.randrange(8):
        case 0:
            del members[at]
        case 1:
            members.append(members[at])
        case 2:
            info.filename = chance.choice([*WORDS[1:], info.filename + "x", info.filename.upper()]) or "x"
        case 3:
            info.compress_type = 8 - info.compress_type if info.compress_type in {0, 8} else 0
        case _:
            members[at] = (info, mutated(content, chance, depth + 1))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are meant
        for entry, inside in members:
            archive.writestr(entry, inside)
    return made.getvalue()


def _fields(data: bytes) -> list[tuple[int, int, bytes, bytes]]:
    """Number, wire type, head and content of each field of a message; nothing where it is none."""
    found, at = [], 0
    while at < len(data):
        start = at
        tag, at = _varint(data, at)
        kind = tag & 7
        if at < 0 or not tag >> 3 or kind not in {0, 1, 2, 5}:
            return []
        content = at
        if kind == 0:
            _, at = _varint(data, at)
        elif kind == 2:
            length, content = _varint(data, at)
            at = content + length
        else:
            at += 8 if kind == 1 else 4
        if at < 0 or at > len(data) or content < 0:
            return []
        found.append((tag >> 3, kind, data[start:content], data[content:at]))
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7
    return 0, -1


def _as_varint(value: int) -> bytes:
    made = bytearray()
    value %= 2**64
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


def _protobuf(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    fields = _fields(data)
    at = chance.randrange(len(fields))
    number, kind, _, content = fields[at]
    match chance.randrange(9):
        case 0:
            del fields[at]
        case 1:
            fields.append(fields[at])
        case 2:
            number = chance.choice([number + 1, max(number - 1, 1), chance.randrange(1, 30)])
        case 3:
            chance.shuffle(fields)
            return b"".join(_field(*field[:2], field[3]) for field in fields)
        case _ if kind == 0:
            content = _as_varint(chance.choice([*NUMBERS, _varint(content, 0)[0] + 1]))
        case _ if kind == 2 and len(_fields(content)) > 1 and chance.random() < 0.85:
            content = _protobuf(content, chance, depth + 1)
        case _:
            content = _text(content, chance) if kind == 2 else chance.randbytes(len(content))
    if at < len(fields):
        fields[at] = (number, kind, b"", content)
    return b"".join(_field(*field[:2], field[3]) for field in fields)


def _text(content: bytes, chance: random.Random) -> bytes:
    if content and content.isascii() and chance.random() < 0.7:
        return (
            chance.choice(WORDS).encode() if chance.random() < 0.5 else content + chance.choice([b"x", b"\xff", b"/"])
        )
    return mutated(content, chance, 4)


def _field(number: int, kind: int, content: bytes) -> bytes:
    head = _as_varint(number << 3 | kind)
    return head + (_as_varint(len(content)) if kind == 2 else b"") + content


def _pickle(data: bytes, chance: random.Random, depth: int = 0) -> bytes:
    """Operations of a pickle dropped, doubled, swapped, or given another argument."""
    starts = [place for _, _, place in pickletools.genops(data)]
    pieces = [data[one:other] for one, other in zip(starts, [*starts[1:], len(data)], strict=True)]
    at, other = chance.randrange(len(pieces)), chance.randrange(len(pieces))
    match chance.randrange(7):
        case 0:
            del pieces[at]
        case 1:
            pieces.insert(other, pieces[at])
        case 2:
            pieces[at], pieces[other] = pieces[other], pieces[at]
        case 3:
            pieces.insert(
                at, chance.choice([b"0", b"1", b"2", b"R", b"b", b"t", b"(", b"}", b"]", b"N", b"Q", b"\x81"])
            )
        case 4:
            pieces.insert(at, chance.choice([b"cos\nsystem\n", b"cbuiltins\neval\n", b"j\xff\xff\xff\x7f", b"I1\n"]))
        case _:
            pieces[at] = pieces[at][:1] + _bytes(pieces[at][1:], chance)
    return b"".join(pieces)
