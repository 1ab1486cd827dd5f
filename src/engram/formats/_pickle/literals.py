"""Operations that push a number, a text, bytes, a list, a tuple, a dictionary or a set, or add to one."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Mapping, Sequence
from struct import Struct
from typing import Any, Final

from engram.formats._pickle.machine import Machine
from engram.formats._pickle.values import Inert, SpecialDict

__all__ = ["ACTIONS"]

_BYTE, _SHORT, _INT, _UINT, _LONG = (Struct(form) for form in ("<B", "<H", "<i", "<I", "<Q"))
_DOUBLE = Struct(">d")
_WIDEST = 256
"""Bytes of the largest whole number; a generator's state takes 16."""
_DECIMAL = re.compile(rb"[+-]?[0-9]{1,600}L?")
_FRACTION = re.compile(rb"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?(?:e[+-]?[0-9]{1,5})?|inf|nan)", re.IGNORECASE)

Action = Callable[[Machine], None]


def _constant(value: Any) -> Action:  # noqa: ANN401 - any value
    return lambda machine: machine.stack.append(value)


def _number(form: Struct) -> Action:
    return lambda machine: machine.stack.append(machine.stream.number(form))


def _float(machine: Machine) -> None:
    machine.stack.append(_DOUBLE.unpack(machine.stream.take(8))[0])


def _written_int(machine: Machine) -> None:
    line = machine.stream.line()
    if line in {b"00", b"01"}:
        machine.stack.append(line == b"01")
        return
    _written_long(machine, line)


def _written_long(machine: Machine, line: bytes | None = None) -> None:
    found = machine.stream.line() if line is None else line
    if not _DECIMAL.fullmatch(found):
        machine.refuse("of what is no number, or of too many digits,")
    machine.stack.append(int(found.removesuffix(b"L")))


def _written_float(machine: Machine) -> None:
    line = machine.stream.line()
    if not _FRACTION.fullmatch(line):
        machine.refuse("of what is no number, or of too many digits,")
    machine.stack.append(float(line))


def _long(form: Struct) -> Action:
    def push(machine: Machine) -> None:
        width = machine.stream.number(form)
        if width > _WIDEST or width < 0:
            machine.refuse(f"of {width:,} bytes, over the limit of {_WIDEST},")
        machine.stack.append(int.from_bytes(machine.stream.take(width), "little", signed=True))

    return push


def _text(form: Struct) -> Action:
    def push(machine: Machine) -> None:
        found = bytes(machine.stream.take(machine.stream.number(form)))
        try:
            machine.stack.append(found.decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            machine.refuse("of what is not UTF-8")

    return push


def _written_text(machine: Machine) -> None:
    try:
        machine.stack.append(machine.stream.line().decode("raw-unicode-escape"))
    except UnicodeDecodeError:
        machine.refuse("of what is no text")


def _bytes(form: Struct) -> Action:
    return lambda machine: machine.stack.append(machine.stream.block(machine.stream.number(form)))


def _bytearray(machine: Machine) -> None:
    machine.stack.append(machine.stream.block(machine.stream.number(_LONG)))


def _old_text(form: Struct) -> Action:
    """A string of Python 2, which was text or bytes: text where it is ASCII."""

    def push(machine: Machine) -> None:
        width = machine.stream.number(form)
        if width < 0:
            machine.refuse("of less than no bytes")
        found = machine.stream.block(width)
        machine.stack.append(found.decode() if isinstance(found, bytes) and found.isascii() else found)

    return push


def _written_old_text(machine: Machine) -> None:
    line = machine.stream.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in {b"'", b'"'}:
        machine.refuse("of a string without quotes")
    try:
        found: bytes = codecs.escape_decode(line[1:-1])[0]  # as Python's own reader does
    except ValueError:
        machine.refuse("of what is no string")
    machine.stack.append(found.decode() if found.isascii() else found)


def _empty(kind: Callable[[], Any]) -> Action:
    return lambda machine: machine.stack.append(kind())


def _tuple(count: int) -> Action:
    def push(machine: Machine) -> None:
        if len(machine.stack) < count:
            machine.refuse("takes from an empty stack")
        made = tuple(machine.stack[-count:])
        machine.stack[-count:] = [made]

    return push


def _marked(kind: Callable[[Machine, list[Any]], Any]) -> Action:
    def push(machine: Machine) -> None:
        found = machine.pop_mark()
        machine.stack.append(kind(machine, found))

    return push


def _dict(machine: Machine, found: Sequence[Any]) -> dict[Any, Any]:
    if len(found) % 2:
        machine.refuse("has a key without a value")
    return {machine.key(key): value for key, value in zip(found[::2], found[1::2], strict=True)}


def _set(machine: Machine, found: Sequence[Any]) -> frozenset[Any]:
    return frozenset(machine.key(value) for value in found)


def _append(machine: Machine) -> None:
    value = machine.stack.pop()
    _list(machine).append(value)


def _appends(machine: Machine) -> None:
    found = machine.pop_mark()
    _list(machine).extend(found)


def _list(machine: Machine) -> list[Any]:
    target = machine.stack[-1]
    if type(target) is Inert:
        return target.elements
    if type(target) is list:
        return target
    return machine.refuse(f"to a {type(target).__name__}, which is no list,")


def _set_item(machine: Machine) -> None:
    value = machine.stack.pop()
    key = machine.stack.pop()
    _mapping(machine)[machine.key(key)] = value


def _set_items(machine: Machine) -> None:
    found = _dict(machine, machine.pop_mark())
    _mapping(machine).update(found)


def _mapping(machine: Machine) -> dict[Any, Any]:
    target = machine.stack[-1]
    if type(target) is Inert:
        return target.pairs
    if type(target) in {dict, SpecialDict}:
        assert isinstance(target, dict)
        return target
    return machine.refuse(f"to a {type(target).__name__}, which is no dictionary,")


def _add_items(machine: Machine) -> None:
    found = machine.pop_mark()
    target = machine.stack[-1]
    if type(target) is set:
        target.update(machine.key(value) for value in found)
    elif type(target) is Inert:
        target.elements.extend(found)
    else:
        machine.refuse(f"to a {type(target).__name__}, which is no set,")


ACTIONS: Final[Mapping[str, Action]] = {
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    "INT": _written_int,
    "LONG": _written_long,
    "FLOAT": _written_float,
    "BININT": _number(_INT),
    "BININT1": _number(_BYTE),
    "BININT2": _number(_SHORT),
    "LONG1": _long(_BYTE),
    "LONG4": _long(_INT),
    "BINFLOAT": _float,
    "UNICODE": _written_text,
    "SHORT_BINUNICODE": _text(_BYTE),
    "BINUNICODE": _text(_UINT),
    "BINUNICODE8": _text(_LONG),
    "SHORT_BINBYTES": _bytes(_BYTE),
    "BINBYTES": _bytes(_UINT),
    "BINBYTES8": _bytes(_LONG),
    "BYTEARRAY8": _bytearray,
    "STRING": _written_old_text,
    "SHORT_BINSTRING": _old_text(_BYTE),
    "BINSTRING": _old_text(_INT),
    "EMPTY_LIST": _empty(list),
    "EMPTY_DICT": _empty(dict),
    "EMPTY_SET": _empty(set),
    "EMPTY_TUPLE": _constant(()),
    "LIST": _marked(lambda _machine, found: found),
    "TUPLE": _marked(lambda _machine, found: tuple(found)),
    "DICT": _marked(_dict),
    "FROZENSET": _marked(_set),
    "TUPLE1": _tuple(1),
    "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3),
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEM": _set_item,
    "SETITEMS": _set_items,
    "ADDITEMS": _add_items,
}
