"""Taking turns with peers, and the table of what came of it.

Sides take turns within each round, so that whoever else uses the machine disturbs all of them alike; a figure is the
median over the rounds of our time over theirs in the same round.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Taken:
    """Seconds of each round.

    Attributes:
        wall: by the clock.
        cpu: of all threads of this process.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def add(self, work: Callable[[], object]) -> None:
        """One round; what the work returns is let go after the clocks have stopped."""
        cpu, wall = time.process_time(), time.perf_counter()
        made = work()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)
        del made


def turns(
    sides: Mapping[str, Callable[[], object]], rounds: int, before: Callable[[], object] = lambda: None
) -> dict[str, Taken]:
    """Every side once a round, after one round that does not count; ``before`` runs before each, unmeasured."""
    taken = {name: Taken() for name in sides}
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for number in range(rounds + 1):
            for name, work in sides.items():
                before()
                (Taken() if number == 0 else taken[name]).add(work)
    finally:
        gc.enable()
        gc.unfreeze()
    return taken


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median over the rounds of ours ÷ theirs."""
    return median(a / b for a, b in zip(ours, theirs, strict=True))


def show(title: str, taken: Mapping[str, Taken], ours: str) -> None:
    """A table of medians in milliseconds, and how each side compares to ours."""
    print(f"\n{title}")
    print(f"  {'':<34} {'wall ms':>9} {'CPU ms':>9} {'ours ÷ it, wall':>16} {'CPU':>7}")
    for name, one in taken.items():
        against = (ratio(taken[ours].wall, one.wall), ratio(taken[ours].cpu, one.cpu))
        print(
            f"  {name:<34} {median(one.wall) * 1e3:>9.2f} {median(one.cpu) * 1e3:>9.2f} {against[0]:>16.3f} "
            f"{against[1]:>7.3f}",
            flush=True,
        )


def line(name: str, value: str) -> None:
    """One more line of a section."""
    print(f"  {name:<62} {value}", flush=True)
