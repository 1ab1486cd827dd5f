"""The lengths that ``torch.export`` writes down as expressions, read by a grammar of a few lines.

torch hands them to ``sympify``, which evaluates Python. Here they are a name, a whole number, and sums and products of
these, in either of the two spellings of torch's releases; anything else is a length of which nothing is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from engram.errors import FormatError

__all__ = ["length"]

_TOKEN: Final = re.compile(r"\s*(?:(\d+)|([A-Za-z_]\w*)|'([^'\\]*)'|(//|\*\*|[-+*/(),=]))")
_FUNCTIONS: Final = frozenset({
    "Abs", "Add", "CeilDiv", "CleanDiv", "CeilToInt", "FloorDiv", "FloorToInt", "Integer", "IntTrueDiv", "Max", "Min",
    "Mod", "ModularIndexing", "Mul", "Pow", "PowByNatural", "PythonMod", "Rational", "Symbol", "TruncToInt", "Where",
})  # fmt: skip
"""What torch makes lengths with; that a length is one of these is all that is said of it."""
_LONGEST: Final = 10_000
_DEEPEST: Final = 50
_LEVELS: Final = (("+", "-"), ("*", "/", "//"))


def length(text: str) -> int | str:
    """A length: a number, or what to call an axis that is free.

    Args:
        text: ``s0``, ``2*s0``, ``Symbol('s0', integer=True)``, ``Mul(Integer(2), Symbol('s0'))``.

    Raises:
        FormatError: it is no expression.
    """
    if len(text) > _LONGEST:
        raise FormatError(f"a length is an expression of {len(text):,} letters, over the limit of {_LONGEST:,}")
    reader = _Reader(_tokens(text), text)
    found = reader.sum(0)
    if reader.place != len(reader.tokens):
        raise reader.refused()
    return found


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(text: str) -> list[_Token]:
    found, place = [], 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise FormatError(f"the length {text[:60]!r} is no expression of numbers and names")
        kind = ("number", "name", "text", "sign")[(match.lastindex or 1) - 1]
        found.append(_Token(kind, match[match.lastindex or 1]))
        place = match.end()
    return found


class _Reader:
    """Goes through the tokens once; a free length keeps its spelling, made short."""

    def __init__(self, tokens: list[_Token], text: str) -> None:
        self.tokens, self.place, self._text = tokens, 0, text

    def sum(self, depth: int, level: int = 0) -> int | str:
        """Terms, or factors one level below."""
        if depth > _DEEPEST:
            raise FormatError(f"the length {self._text[:60]!r} is nested deeper than {_DEEPEST} levels")
        if level == len(_LEVELS):
            return self._one(depth)
        found = self.sum(depth, level + 1)
        while self._sign() in _LEVELS[level]:
            sign = self.tokens[self.place].text
            self.place += 1
            found = _joined(sign, found, self.sum(depth, level + 1))
        return found

    def refused(self) -> FormatError:
        """The error that shows the expression."""
        return FormatError(f"the length {self._text[:60]!r} is no expression of numbers and names")

    def _one(self, depth: int) -> int | str:
        token = self._next()
        if token.kind == "number":
            return int(token.text) if len(token.text) < 20 else token.text
        if token.text == "(":
            found = self.sum(depth + 1)
            self._expect(")")
            return found if isinstance(found, int) else f"({found})"
        if token.text == "-" and token.kind == "sign":
            return _joined("-", 0, self._one(depth + 1))
        if token.kind != "name":
            raise self.refused()
        return self._called(token.text, depth) if self._sign() == "(" else token.text

    def _called(self, name: str, depth: int) -> int | str:
        self.place += 1
        given: list[int | str] = []
        while self._sign() != ")":
            found = self._argument(depth)
            if found is not None:
                given.append(found)
            if self._sign() == ",":
                self.place += 1
            elif self._sign() != ")":
                raise self.refused()
        self._expect(")")
        return self._meant(name, given)

    def _argument(self, depth: int) -> int | str | None:
        """An argument without a name; what has a name only says what kind of number it is."""
        token = self.tokens[self.place] if self.place < len(self.tokens) else None
        if token is not None and token.kind == "text":
            self.place += 1
            return token.text
        found = self.sum(depth + 1)
        if self._sign() != "=":
            return found
        self.place += 1
        self.sum(depth + 1)
        return None

    def _meant(self, name: str, given: list[int | str]) -> int | str:
        if name in {"Symbol", "Integer"} and len(given) == 1:
            return given[0]
        sign = {"Add": "+", "Mul": "*"}.get(name)
        if name not in _FUNCTIONS or not given:
            raise self.refused()
        if sign is None:
            return f"{name}({', '.join(map(str, given))})"
        found = given[0]
        for one in given[1:]:
            found = _joined(sign, found, one)
        return found

    def _sign(self) -> str:
        if self.place >= len(self.tokens) or self.tokens[self.place].kind != "sign":
            return ""
        return self.tokens[self.place].text

    def _next(self) -> _Token:
        if self.place >= len(self.tokens):
            raise self.refused()
        self.place += 1
        return self.tokens[self.place - 1]

    def _expect(self, sign: str) -> None:
        if self._next() != _Token("sign", sign):
            raise self.refused()


def _joined(sign: str, one: int | str, other: int | str) -> int | str:
    if isinstance(one, int) and isinstance(other, int) and sign in {"+", "-", "*"}:
        found = one + other if sign == "+" else one - other if sign == "-" else one * other
        return found if abs(found) < 2**63 else f"{one}{sign}{other}"
    return f"{one}{sign}{other}"
