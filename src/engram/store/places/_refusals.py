"""What obstore reports, as sentences that say what to do next.

Its errors are of few kinds and tell the rest in words meant for developers: the status and the code that the server
sent, and in the details below them what became of the connection. Those are read here, and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from obstore.exceptions import BaseError, NotSupportedError, PermissionDeniedError, UnauthenticatedError

from engram.errors import StoreError

__all__ = ["Kind", "absent", "passes", "sentence", "unsatisfiable"]


@dataclass(frozen=True, slots=True)
class Kind:
    """The words of one provider.

    Attributes:
        bucket: what it calls what holds objects.
        keys: the environment variables that hold the usual credentials.
        endpoint: the variable that leads to another server.
        region: what to do where the bucket is elsewhere.
    """

    bucket: str
    keys: str
    endpoint: str
    region: str


_MAKE = "make it, or correct the address with --store"
_OTHER = "choose another server, or keep the catalog in PostgreSQL: ENGRAM_CATALOG=postgresql://…"
_STATUS = re.compile(r"non-2xx status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_CAUSE = re.compile(r'(?:message|error): "([^"]+)"')
_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|specified (?:bucket|container) does not exist")
_NO_KEYS = re.compile(
    r"169\.254\.|/latest/api/token|metadata\.google\.internal|Missing(?:SecretAccessKey|AccessKeyId|Account)|"
    r"TokenRequest|Credential \{"
)
_WRONG_KEYS = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|AuthorizationFailure|AuthenticationFailed|ExpiredToken|InvalidToken|"
    r"InvalidAccessKey|InvalidAuthenticationInfo"
)
_REGION = re.compile(r"PermanentRedirect|AuthorizationHeaderMalformed|BareRedirect|IllegalLocationConstraint")
_SLOW = re.compile(r"kind: Timeout|TimedOut")
_UNREACHED = re.compile(r"kind: Connect\b|InvalidUri")
_BROKEN = re.compile(r"kind: (?:Interrupted|Request|Unknown|Decode|Body)|IncompleteBody|InvalidListResponse")


def sentence(kind: Kind, verb: str, where: str, refused: BaseException) -> StoreError:
    """The error for what a server, or the way to it, refused.

    Args:
        kind: the provider's words.
        verb: what was tried.
        where: the object, as an address.
        refused: obstore's exception.
    """
    reason, advice = _reason(kind, verb, refused)
    return StoreError(f"the store cannot {verb} {where}: {reason}; {advice}")


def passes(refused: BaseException) -> bool:
    """Whether the same request may well succeed when it is made again."""
    text, status = str(refused), _status(refused)
    if status:
        return status in {408, 429} or (status >= 500 and status != 501)
    return any(at.search(text) for at in (_SLOW, _UNREACHED, _BROKEN))


def absent(refused: BaseException) -> bool:
    """Whether there is no object of this name, or no bucket."""
    return isinstance(refused, FileNotFoundError) and str(refused).startswith("Object at location")


def unsatisfiable(refused: BaseException) -> bool:
    """Whether a range was asked for that begins at or after the end of the object."""
    return _status(refused) == 416 or "StartTooLarge" in str(refused)


def _reason(kind: Kind, verb: str, refused: BaseException) -> tuple[str, str]:
    text, gone = str(refused), absent(refused)
    rules = (
        (_BUCKET.search(text) or (gone and verb == "write"), f"the {kind.bucket} does not exist", _MAKE),
        (gone, "it is not there", "run engram verify"),
        (
            _WRONG_KEYS.search(text) or isinstance(refused, UnauthenticatedError),
            "the server does not accept the credentials",
            f"check {kind.keys}",
        ),
        (_NO_KEYS.search(text), "there are no credentials", f"set {kind.keys}"),
        (_REGION.search(text), f"the {kind.bucket} is in another region", kind.region),
        (
            isinstance(refused, PermissionDeniedError),
            "access is denied",
            f"check {kind.keys}, or ask for the right to list, read, write and delete there",
        ),
        (_status(refused) == 501 or isinstance(refused, NotSupportedError), "the server does not know how to", _OTHER),
    )
    told = [(reason, advice) for applies, reason, advice in rules if applies]
    return told[0] if told else _passing(kind, refused) or _rest(kind, refused)


def _passing(kind: Kind, refused: BaseException) -> tuple[str, str] | None:
    text, status = str(refused), _status(refused)
    if status >= 500 or status in {408, 429}:
        return f"the server answers {_answer(text, status)} again and again", "try again when it has recovered"
    if status:
        return None
    if _SLOW.search(text):
        return "the server does not answer in time", "check the network, and try again"
    if _UNREACHED.search(text):
        cause = _CAUSE.search(text)
        told = f" ({cause[1].lower()})" if cause else ""
        return f"the server cannot be reached{told}", f"check the network and {kind.endpoint}"
    if _BROKEN.search(text):
        return "the connection breaks again and again", "check the network, and try again"
    return None


def _rest(kind: Kind, refused: BaseException) -> tuple[str, str]:
    text, status = str(refused), _status(refused)
    if status:
        return f"the server answers {_answer(text, status)}", f"check the address and {kind.endpoint}"
    said = text.partition("\n")[0].rpartition("error: ")[2].rstrip(".")
    return said[:1].lower() + said[1:], f"check {kind.keys} and {kind.endpoint}"


def _status(refused: BaseException) -> int:
    found = _STATUS.search(str(refused)) if isinstance(refused, BaseError) else None
    return int(found[1]) if found else 0


def _answer(text: str, status: int) -> str:
    code = _CODE.search(text)
    return f"{status} {code[1]}" if code else str(status)
