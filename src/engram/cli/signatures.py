"""Commands about who vouches for a version: sign, trust."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from engram.cli.terminal import JSON, STORE, say, show_json, table
from engram.cli.versions import REFERENCE

if TYPE_CHECKING:
    from engram.store.store import Store
    from engram.store.verbs.signatures import Signed

__all__ = ["COMMANDS"]


def sign(
    reference: str = REFERENCE,
    key: str = typer.Option(
        "", "--key", help="The private key, a PEM file on P-256, P-384 or P-521.", metavar="KEY.pem", show_default=False
    ),
    signature: str = typer.Option(
        "",
        "--signature",
        help="A signature made elsewhere, to be kept instead of making one; --key is then the public key.",
        metavar="FILE",
        show_default=False,
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Sign a version offline; without a key, list who signed it."""
    from engram import settings
    from engram.errors import UsageError

    opened = _opened(store)
    if signature and not key:
        raise UsageError(f"--signature {signature} needs --key with the public key of its signer, a PEM file")
    if signature:
        _tell(opened.attach(reference, signature, key), json=json)
    elif key:
        _tell(opened.sign(reference, key, password=settings.read().password or _asked(key)), json=json)
    else:
        _signers(reference, opened, json=json)


def trust(
    key: str = typer.Argument("", help="A public key, a PEM file.", metavar="[KEY.pem]", show_default=False),
    remove: str = typer.Option(
        "", "--remove", help="Take a key back: the beginning of its id.", metavar="KEYID", show_default=False
    ),
    store: str = STORE,
    json: bool = JSON,
) -> None:
    """Load only versions that a trusted key has signed; without a key, list those that are trusted."""
    opened = _opened(store)
    if key:  # before another is taken back, so that at no moment nothing is demanded
        added = opened.trust(key)
        if not json:
            say(f"[green]✓[/] {added.id} ({added.curve}) is trusted: only what a trusted key has signed is loaded")
    if remove:
        gone = opened.distrust(remove)
        if not json:
            say(f"[green]✓[/] {gone} is no longer trusted")
    trusted = opened.trusted()
    if json:
        show_json([{"key": known.id, "curve": known.curve} for known in trusted])
    elif trusted and not (key or remove):
        table(("trusted key", "curve"), [(known.id, known.curve) for known in trusted], whole=("trusted key",))
    elif not trusted:
        say("no key is trusted, so versions are loaded unsigned; demand signatures with: engram trust KEY.pem")


def _tell(signed: Signed, *, json: bool) -> None:
    if json:
        show_json({"version": signed.reference, "digest": signed.digest, "key": signed.key.id})
        return
    say(f"[green]✓[/] [bold]{signed.reference}[/] is signed by {signed.key.id} ({signed.key.curve})")
    say(f"[dim]check it with:[/] engram verify {signed.reference} --key PUBLIC.pem")


def _signers(reference: str, opened: Store, *, json: bool) -> None:
    keys = opened.signatures(reference)
    if json:
        show_json(keys)
    elif keys:
        table(("signed by",), [(key,) for key in keys], whole=("signed by",))
    else:
        say(f"nobody has signed {reference}; sign it with: engram sign {reference} --key PRIVATE.pem")


def _asked(key: str) -> str:
    """The password of a key that has one, where somebody can be asked."""
    from engram.store.signatures import keys

    if not keys.protected(keys.read(key)) or not sys.stdin.isatty():
        return ""
    return str(typer.prompt(f"password of {key}", hide_input=True, err=True))


def _opened(store: str) -> Store:
    from engram import settings
    from engram.lifecycle.places import open_store

    return open_store(store, settings.read())


COMMANDS = (sign, trust)
