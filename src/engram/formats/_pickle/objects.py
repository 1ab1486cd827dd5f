"""Operations that name a class or a function, call it or give an object its state, and those that move the stack.

These are the operations by which a pickle runs code. Here a name that the caller did not allow ends the reading, a call
is the caller's own function over inert arguments, and state is kept and never set on anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct
from typing import Any, Final

from engram.errors import EngramError
from engram.formats._pickle.machine import Machine, shown
from engram.formats._pickle.values import Inert, Kept, Reference, Refused, SpecialDict, Unfinished, Word

__all__ = ["ACTIONS"]

_BYTE, _UINT, _LONG = (Struct(form) for form in ("<B", "<I", "<Q"))
_NEWEST = 5
_FAULTS = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError, MemoryError)

Action = Callable[[Machine], None]


def _global(machine: Machine) -> None:
    module, name = (_written(machine) for _ in range(2))
    machine.stack.append(_found(machine, module, name))


def _written(machine: Machine) -> str:
    try:
        return machine.stream.line().decode("utf-8")
    except UnicodeDecodeError:
        machine.refuse("of a name that is not UTF-8")


def _stack_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if type(name) is not str or type(module) is not str:
        machine.refuse("of a name that is no text")
    machine.stack.append(_found(machine, module, name))


def _found(machine: Machine, module: str, name: str) -> Any:  # noqa: ANN401 - any value
    """What a name means, by exactly its two parts."""
    entry = machine.allowed.get((module, name))
    if entry is None:
        machine.refuse(shown(f"{module}.{name}"))
    if isinstance(entry, Refused):
        machine.refuse(f"{shown(f'{module}.{name}')} ({entry.why})")
    return entry.value if isinstance(entry, Word) else Reference(module, name)


def _inst(machine: Machine) -> None:
    module, name = (_written(machine) for _ in range(2))
    called = _found(machine, module, name)
    arguments = tuple(machine.pop_mark())
    _push(machine, _called(machine, called, arguments))


def _object(machine: Machine) -> None:
    called, *arguments = machine.pop_mark()
    _push(machine, _called(machine, called, tuple(arguments)))


def _reduce(machine: Machine) -> None:
    arguments = machine.stack.pop()
    called = machine.stack.pop()
    _push(machine, _called(machine, called, arguments))


def _new_object_with_names(machine: Machine) -> None:
    named = machine.stack.pop()
    if named != {}:
        machine.refuse("with arguments by name")
    _reduce(machine)


def _called(machine: Machine, called: Any, arguments: Any) -> Any:  # noqa: ANN401 - any value
    """What the caller's own function makes of the arguments, or a record where the class is only kept."""
    if type(called) is not Reference:
        machine.refuse(f"of a {type(called).__name__}, which cannot be called,")
    if type(arguments) is not tuple:
        machine.refuse(f"of {shown(str(called))} with a {type(arguments).__name__} and no arguments")
    entry = machine.allowed[called.module, called.name]
    if isinstance(entry, Kept):
        return Inert(called.module, called.name, arguments)
    if isinstance(entry, (Word, Refused)):
        machine.refuse(f"of {shown(str(called))}, which is a name and cannot be called,")
    return _guarded(machine, lambda: entry(*arguments), f"of {shown(str(called))}")


def _guarded(machine: Machine, make: Callable[[], Any], what: str) -> Any:  # noqa: ANN401 - any value
    """What a rebuilder makes, its refusals named after the operation."""
    try:
        return make()
    except EngramError as wrong:
        machine.refuse(f"{what} is refused ({wrong})".lstrip())
    except _FAULTS:
        machine.refuse(f"{what} has arguments that do not belong to it".lstrip())


def _push(machine: Machine, value: Any) -> None:  # noqa: ANN401 - any value
    if type(value) is Unfinished:
        machine.waiting[id(value)] = (value, [])
    machine.stack.append(value)


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    target = machine.stack[-1]
    if type(target) is Unfinished:
        _, numbers = machine.waiting.pop(id(target), (target, None))
        if numbers is None:
            machine.refuse("of a value that is finished")
        value = _guarded(machine, lambda: target.finish(state, machine.stream), "")
        machine.stack[-1] = value
        machine.memo.update(dict.fromkeys(numbers, value))
    elif type(target) is Inert:
        if target.state is not None:
            machine.refuse("of a state where there is one")
        object.__setattr__(target, "state", state)  # the one time: it stood in the memo before its state was read
    elif type(target) is SpecialDict and type(state) is dict and all(type(key) is str for key in state):
        target.attributes.update(state)
    else:
        machine.refuse(f"of a {type(target).__name__}, which takes no state,")


def _written_id(machine: Machine) -> None:
    _persistent(machine, _written(machine))


def _stacked_id(machine: Machine) -> None:
    _persistent(machine, machine.stack.pop())


def _persistent(machine: Machine, number: Any) -> None:  # noqa: ANN401 - any value
    ask = machine.persistent
    if ask is None:
        machine.refuse("of what lies outside of the file")
    machine.stack.append(_guarded(machine, lambda: ask(number), "of something outside of the stream"))


def _refused(why: str) -> Action:
    return lambda machine: machine.refuse(why)


def _protocol(machine: Machine) -> None:
    number = machine.stream.number(_BYTE)
    if number > _NEWEST or machine.start != machine.stream.begin:
        machine.refuse(f"of version {number}, where 0 to {_NEWEST} are read and only at the beginning,")


def _frame(machine: Machine) -> None:
    length = machine.stream.number(_LONG)
    if length > len(machine.stream.content) - machine.stream.at:
        machine.refuse(f"of {length:,} bytes, more than follow,")


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


def _written_number(machine: Machine) -> int:
    line = machine.stream.line()
    if not line.isdigit() or len(line) > 9:
        machine.refuse("of what is no number")
    return int(line)


ACTIONS: Final[Mapping[str, Action]] = {
    "PROTO": _protocol,
    "FRAME": _frame,
    "MARK": Machine.push_mark,
    "POP": _pop,
    "POP_MARK": lambda machine: (machine.pop_mark(), None)[1],
    "DUP": lambda machine: machine.push_again(machine.stack[-1]),
    "PUT": lambda machine: machine.put(_written_number(machine)),
    "BINPUT": lambda machine: machine.put(machine.stream.number(_BYTE)),
    "LONG_BINPUT": lambda machine: machine.put(machine.stream.number(_UINT)),
    "MEMOIZE": lambda machine: machine.put(len(machine.memo)),
    "GET": lambda machine: machine.get(_written_number(machine)),
    "BINGET": lambda machine: machine.get(machine.stream.number(_BYTE)),
    "LONG_BINGET": lambda machine: machine.get(machine.stream.number(_UINT)),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "INST": _inst,
    "OBJ": _object,
    "REDUCE": _reduce,
    "NEWOBJ": _reduce,
    "NEWOBJ_EX": _new_object_with_names,
    "BUILD": _build,
    "PERSID": _written_id,
    "BINPERSID": _stacked_id,
    "EXT1": _refused("(a class by number)"),
    "EXT2": _refused("(a class by number)"),
    "EXT4": _refused("(a class by number)"),
    "NEXT_BUFFER": _refused("(bytes kept outside of the file)"),
    "READONLY_BUFFER": _refused("(bytes kept outside of the file)"),
}
