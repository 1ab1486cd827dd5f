"""The stack, the memo and the marks of a pickle, and the loop over its operations.

A pickle is a program, and the only safe way to read a stranger's is to be the machine that runs it. This one knows no
import and no call: a name is looked up in the caller's table, by exactly its two parts, and what is not there ends the
reading. Counting is part of the machine: every operation has a price, so that a small file cannot take much memory.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from engram.errors import FormatError
from engram.formats._pickle import keys
from engram.formats._pickle.stream import Stream
from engram.formats._pickle.values import Allowed, Unfinished
from engram.records import Limits

__all__ = ["NAMES", "Machine", "shown"]

NAMES: Final = {ord(one.code): one.name for one in pickletools.opcodes}
_COSTLY: Final = {
    **dict.fromkeys(
        ("LONG1", "LONG4", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES"), 1
    ),
    **dict.fromkeys(("INT", "LONG", "FLOAT", "STRING", "UNICODE", "BINSTRING", "SHORT_BINSTRING", "MARK", "GLOBAL"), 1),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), 1),
    **dict.fromkeys(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "EMPTY_LIST", "BUILD", "STACK_GLOBAL"), 3),
    **dict.fromkeys(("DICT", "EMPTY_DICT"), 5),
    **dict.fromkeys(("EMPTY_SET", "FROZENSET"), 7),
    **dict.fromkeys(("REDUCE", "NEWOBJ", "NEWOBJ_EX", "INST", "OBJ", "PERSID", "BINPERSID"), 9),
}
_PRICES: Final = [1 + _COSTLY.get(NAMES.get(code, ""), 0) for code in range(256)]
"""Operations that each counts for: a container takes the memory of several numbers."""
_STOP: Final = ord(".")


class Machine:
    """A pickle while it is read.

    Attributes:
        stream: its bytes.
        allowed: what each name may mean.
        persistent: what a persistent id stands for; None where there may be none.
        limits: the largest of everything.
        start: the byte of the operation at hand.
        stack: of values, above the last mark.
        marks: the stacks below the marks.
        memo: values by number.
        operations: counted so far.
        waiting: the values that wait for their state, by identity, with the numbers they are remembered under.
    """

    __slots__ = (
        "_code", "allowed", "limits", "marks", "memo", "operations", "persistent", "stack", "start", "stream",
        "waiting",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        allowed: Mapping[tuple[str, str], Allowed],
        limits: Limits,
        persistent: Callable[[Any], Any] | None,
    ) -> None:
        self.stream = stream
        self.allowed = allowed
        self.persistent = persistent
        self.limits = limits
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.operations = 0
        self.waiting: dict[int, tuple[Unfinished, list[int]]] = {}
        self.start = 0
        self._code = 0

    def run(self, actions: Mapping[int, Callable[[Machine], None]]) -> Any:  # noqa: ANN401 - any value
        """The one value that the operations leave.

        Raises:
            FormatError: one of them is not allowed, takes what is not there, or they are too many.
        """
        stream, content, bound = self.stream, self.stream.content, self.limits.pickle_opcodes
        table = [actions.get(code) for code in range(256)]
        spent = 0
        try:
            while True:
                self.start = stream.at
                self._code = code = content[stream.at]
                stream.at += 1
                self.operations += 1
                spent += _PRICES[code]
                if spent > bound:
                    self.refuse(f"is one more than the limit of {bound:,} operations")
                if code == _STOP:
                    return self._result()
                action = table[code]
                if action is None:
                    self.refuse(f"{code:#04x}" if code not in NAMES else "")
                action(self)
        except IndexError:
            if stream.at >= len(content) and self.start >= len(content):
                raise FormatError(f"{stream.where} is cut off: it has no end after byte {len(content):,}") from None
            self.refuse("takes from an empty stack")

    def refuse(self, what: str) -> NoReturn:
        """End the reading because of the operation at hand.

        Raises:
            FormatError: always; it names the operation and its place.
        """
        name = NAMES.get(self._code, "unknown")
        told = f"opcode {name} {what}".rstrip()
        raise FormatError(f"{self.stream.where}: {told} at byte {self.start:,}; nothing was run")

    def push_mark(self) -> None:
        """Begin a new stack above the present one."""
        if len(self.marks) >= self.limits.nesting:
            self.refuse(f"is deeper than the limit of {self.limits.nesting}")
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """The values above the last mark; those below are at hand again."""
        if not self.marks:
            self.refuse("has no mark before it")
        found, self.stack = self.stack, self.marks.pop()
        return found

    def put(self, number: int) -> None:
        """Remember the value on top under a number."""
        if number < 0 or number > self.operations:
            self.refuse(f"of number {number:,}, where only {self.operations:,} operations came before,")
        value = self.memo[number] = self.stack[-1]
        if type(value) is Unfinished:
            self.waiting[id(value)][1].append(number)

    def get(self, number: int) -> None:
        """Push the value that was remembered under a number."""
        if number not in self.memo:
            self.refuse(f"of number {number:,}, which was never put,")
        self.push_again(self.memo[number])

    def push_again(self, value: Any) -> None:  # noqa: ANN401 - any value
        """Push a value that stands elsewhere already."""
        if type(value) is Unfinished:
            self.refuse("of a value that is not finished")
        self.stack.append(value)

    def key(self, value: Any) -> Any:  # noqa: ANN401 - any value
        """A value that may be a key.

        Raises:
            FormatError: it may not.
        """
        try:
            return keys.plain(value)
        except FormatError as wrong:
            self.refuse(f"with {wrong}")

    def _result(self) -> Any:  # noqa: ANN401 - any value
        if self.marks or len(self.stack) != 1:
            self.refuse("leaves more or less than one value on the stack")
        if self.waiting:
            self.refuse("leaves a value that is not finished")
        return self.stack[0]


def shown(name: str) -> str:
    """A name of a stranger's choosing, short and on one line."""
    plain = name if name.isprintable() and name.strip() else ascii(name)
    return plain if len(plain) <= 80 else f"{plain[:77]}..."
