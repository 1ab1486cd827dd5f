"""Every error Engram raises on purpose, so that a caller can catch what it can act on.

    EngramError
    ├── UsageError        (ValueError)     a setting, option or argument is wrong
    │   └── UnknownName   (LookupError)    no plug-in, key or column has this name; the nearest is suggested
    ├── DataError         (ValueError)     the data cannot be used as they are
    ├── ShapeError        (ValueError)     an array or a request does not fit the signature
    ├── FormatError       (ValueError)     a file is damaged, hostile or not what it says it is
    ├── ConversionError   (ValueError)     the converted model answers differently, or cannot be written
    ├── VersionNotFound   (LookupError)    no kept version, alias or run answers to this reference
    ├── StoreError        (OSError)        the store cannot be read or written
    ├── MissingLibrary    (ImportError)    an extra is not installed
    ├── ConditionNotMet   (RuntimeError)   a version does not meet what was asked of it
    └── Interrupted       (RuntimeError)   the work was stopped and can be resumed

A message names the offender, the limit, the given value and the next step, in one sentence. Only the command
line turns an error into an exit code, and only a protocol door turns one into a status code.
"""

from __future__ import annotations

__all__ = [
    "ConditionNotMet",
    "ConversionError",
    "DataError",
    "EngramError",
    "FormatError",
    "Interrupted",
    "MissingLibrary",
    "ShapeError",
    "StoreError",
    "UnknownName",
    "UsageError",
    "VersionNotFound",
]


class EngramError(Exception):
    """Something was refused, with its reason."""


class UsageError(EngramError, ValueError):
    """A setting, option or argument is wrong.

    Attributes:
        place: the key of a pipeline file that is to blame (``train.epochs``), so that whoever knows the file can add
            its name and line; empty where no file is.
    """

    def __init__(self, message: str, *, place: str = "") -> None:
        super().__init__(message)
        self.place = place


class UnknownName(UsageError, LookupError):
    """No plug-in, key or column has this name; the message suggests the nearest."""


class DataError(EngramError, ValueError):
    """The data cannot be used as they are."""


class ShapeError(EngramError, ValueError):
    """An array or a request does not fit the signature."""


class FormatError(EngramError, ValueError):
    """A file is damaged, hostile or not what it says it is."""


class ConversionError(EngramError, ValueError):
    """The converted model answers differently, or the target cannot hold it."""


class VersionNotFound(EngramError, LookupError):
    """No kept version, alias or run answers to this reference."""


class StoreError(EngramError, OSError):
    """The store cannot be read or written."""


class MissingLibrary(EngramError, ImportError):
    """A library of an extra is not installed; the message is the command that installs it."""


class ConditionNotMet(EngramError, RuntimeError):
    """A version does not meet what was asked of it, and was not kept or not moved to."""


class Interrupted(EngramError, RuntimeError):
    """The work was stopped and can be resumed; the message says how."""
