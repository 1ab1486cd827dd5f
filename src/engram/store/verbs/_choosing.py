"""Which checkpoint a module is restored from where nobody names its run.

The newest of the name, as the next start of the same script wants it. But a program that trains two networks of one
shape leaves two runs that both fit, and nothing in them tells which module is which: between these nobody chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engram.errors import UsageError
from engram.store.training import runs
from engram.store.training.loops import Program, root
from engram.store.training.runs import Saved
from engram.store.verbs.runs import Runs

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Choosing"]

_NAMED = 8  # runs that an error lists; more would hide what it asks for


class Choosing(Runs):
    """What the verbs for a training loop of one's own ask about runs that are there."""

    def _chosen(self, name: str, run: str, step: int | None, module: nn.Module) -> Saved | None:
        """The newest checkpoint that is asked for and fits, or the newest at all where none does.

        Raises:
            UsageError: another run that the same program began fits as well.
        """
        if not self._place.exists():
            return None
        with self._reading() as connection:
            ids = [run] if run else runs.lately(connection, name)
        newest = None
        for saved in self._newest(ids, step):
            if run or self._fits(saved, module):
                if not run:
                    self._alone(name, saved, step, module)
                return saved
            newest = newest or saved
        return newest

    def _newest(self, ids: list[str], step: int | None) -> Iterator[Saved]:
        """The newest checkpoint of each run, or that of a step."""
        for one in ids:
            yield from [saved for saved in self.checkpoints(one) if step is None or saved.step == step][:1]

    def _fits(self, saved: Saved, module: nn.Module) -> bool:
        from engram.store.training import modules

        return modules.fits(module, self._files_of(saved))

    def _alone(self, name: str, saved: Saved, step: int | None, module: nn.Module) -> None:
        """Refuse to choose between runs that one program began.

        Raises:
            UsageError: another one fits as well and goes back to another beginning; all are named.
        """
        program = self._program_of(saved)
        if program is None:
            return
        with self._reading() as connection:
            known = {one.id: one for one in runs.every(connection, name) if one.name == name}
        mine = root(saved.run, known)
        others = [one.id for one in known.values() if one.started >= program.since and root(one.id, known) != mine]
        rivals = [
            other.run
            for other in self._newest(others, step)
            if self._began(program, other) and self._fits(other, module)
        ]
        if rivals:
            raise UsageError(_several(name, sorted([saved.run, *rivals], key=lambda one: known[one].started)))

    def _began(self, program: Program, saved: Saved) -> bool:
        """Whether a program began the run of a checkpoint."""
        other = self._program_of(saved)
        return other is not None and other.id == program.id

    def _program_of(self, saved: Saved) -> Program | None:
        """The program that began the run of a checkpoint; None where none wrote itself down."""
        from engram.store.weights import contents

        return Program.read(contents.outline(self._files_of(saved)).extra.get("program"))


def _several(name: str, ids: list[str]) -> str:
    listed = ", ".join(ids[:_NAMED]) + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
    return (
        f"one program began {len(ids)} runs of {name!r} that fit this module, the first one first: {listed}; say which "
        "with run=…, and save each network under a name of its own (name=…)"
    )
