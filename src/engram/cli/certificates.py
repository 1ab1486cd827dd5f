"""A certificate as people read it: what was compared, how far it lies apart, and what it does not cover."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engram.cli.terminal import notice, say, show_json

if TYPE_CHECKING:
    from engram.records import Certificate

__all__ = ["proved", "verified"]


def proved(path: Path, certificate: Certificate, *, json: bool) -> None:
    """Say what a file that was just written is proven to do, and what was lost on the way."""
    from dataclasses import asdict

    from rich.markup import escape

    if json:
        show_json({**asdict(certificate), "path": str(path)})
        return
    say(f"[green]✓[/] {escape(str(path))}: {_measured(certificate)}")
    for sentence in certificate.lost:
        notice(sentence)
    for side, why in zip(("the original", path.name), certificate.served, strict=True):
        if why and certificate.rows:
            notice(f"{side} was served by onnxruntime from what was read: {why}")
    say(f"  certificate: {escape(str(path))}.certificate.json")


def verified(path: Path, *, json: bool) -> None:
    """Make the certificate that lies beside a file again, and say what came of it."""
    from dataclasses import asdict

    from rich.markup import escape

    from engram.formats._verification import verify

    found = verify(path)
    if json:
        show_json({**asdict(found.now), "path": str(path), "compared": found.compared, "changed": list(found.changed)})
        return
    say(f"[green]✓[/] {escape(str(path))} is the file that was certified: {found.now.converted}")
    if found.now.rows:
        say(f"[green]✓[/] {_measured(found.now)}; compared with {escape(found.compared)}")
    else:
        say(f"  compared: {escape(found.compared)}")
    for sentence in found.changed:
        notice(f"since then {sentence}")


def _measured(certificate: Certificate) -> str:
    largest = max((d.absolute for d in certificate.differences), default=0.0)
    allowed = f"largest difference {largest:.1e} (allowed {certificate.tolerance:.0e})"
    if not certificate.rows:
        return f"{len(certificate.differences):,} weights compared, {allowed}"
    labeled = any(d.output == "probabilities" for d in certificate.differences)
    agreed = f", same label on {certificate.agreement:.0%}" if labeled else ""
    real = f", {certificate.real} of them real" if certificate.real else ""
    return f"answers as the original on {certificate.rows} probe rows{real}, {allowed}{agreed}"
