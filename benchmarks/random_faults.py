"""Faults at random moments of short scans: whatever happens, the same things hold.

Run ``python -m benchmarks.random_faults --scans 200 --seed 1 --json random_faults.json``. The same
seed gives the same faults at the same moments. The status ends with how many scans broke a rule.
"""

import argparse
import json
import queue
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from glidepath.cli.bench import check_writable, environment

from .fault_scans import (
    AXES,
    FAULTS,
    MODES,
    START,
    STOP,
    VELOCITY,
    Axis,
    Case,
    Fault,
    Laboratory,
    Outcome,
    record,
)

BEFORE = 3.0
"""Seconds before the flight in which a fault may strike, too: the way to the run-up."""

SECOND = 0.2
"""Share of the scans in which a second fault follows the first."""

LABORATORIES = 3

KNOWN_OPEN = tuple(fault.name for fault in FAULTS if fault.open_issues)
"""What the matrix knows not to hold yet is not drawn."""

EXITS = ("abort", "stop", "halt")
"""How a user may end a scan: methods of the run engine."""


def _exit(how: str) -> Fault:
    return Fault(f"user: {how}", lambda lab, axis: lab.interrupt(how))


def faults() -> list[Fault]:
    """Return what can be drawn: the faults of the matrix that strike in mid scan, and a user."""
    chosen = [f for f in FAULTS if f.at is not None and f.name not in KNOWN_OPEN]
    return [*chosen, *map(_exit, EXITS)]


def drawn(scans: int, seed: int) -> Iterator[Case]:
    """Yield cases, always the same ones for a seed."""
    generator = np.random.default_rng(seed)
    everything = faults()
    for number in range(scans):
        axis = AXES[generator.integers(len(AXES))]
        usable = [f for f in everything if f.applies_to(axis) and "sampled" in f.modes]
        first = usable[generator.integers(len(usable))]
        second = usable[generator.integers(len(usable))]
        follows = generator.random() < SECOND
        # Before the flight in time, in it where the axis is.
        flight = (STOP - START) / VELOCITY
        when = generator.uniform(-BEFORE, flight)
        pause = generator.uniform(0.0, 1.5)
        name = f"{number:03d} {first.name}" + (f", then {second.name}" if follows else "")
        strike = _both(first.strike, second.strike, pause) if follows else first.strike
        lasting = [f.lasts for f in ([first, second] if follows else [first]) if f.lasts]
        yield Case(
            replace(
                first,
                name=f"{name} at {when:+.2f} s",
                strike=_late(strike, -when) if when < 0 else strike,
                at=None if when < 0 else START + VELOCITY * when,
                status=("success", "fail", "abort"),
                says="",
                marks=type(first.marks)(0),
                lasts=max(lasting) if lasting else None,
                loses=True,
            ),
            axis,
            MODES[0],
        )


Strike = Callable[[Laboratory, Axis], Any]


def _tried(strike: Strike) -> Strike:
    """Do without what cannot be done any more: the server of a fault may be dead by another one."""

    def work(laboratory: Laboratory, axis: Axis) -> None:
        with suppress(RuntimeError):
            strike(laboratory, axis)

    return work


def _both(first: Strike, second: Strike, pause: float) -> Strike:
    def strike(laboratory: Laboratory, axis: Axis) -> None:
        first(laboratory, axis)
        laboratory.later(pause, lambda: _tried(second)(laboratory, axis))

    return strike


def _late(strike: Strike, before: float) -> Strike:
    def later(laboratory: Laboratory, axis: Axis) -> None:
        laboratory.later(BEFORE - before, lambda: strike(laboratory, axis))

    return later


def fly(cases: Sequence[Case], folder: Path, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Fly cases in several laboratories; return their outcomes, in order.

    A laboratory that breaks down is an outcome, too: nothing may make the client hang.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(cases)):
        waiting.put(number)
    outcomes: dict[int, Outcome] = {}

    def work(own: int) -> None:
        place = folder / str(own)
        place.mkdir()
        while not waiting.empty():
            with Laboratory(place, seed=own) as laboratory:
                while True:
                    try:
                        number = waiting.get_nowait()
                    except queue.Empty:
                        return
                    case = cases[number]
                    try:
                        outcomes[number] = laboratory.fly(case)
                    except Exception as error:
                        outcomes[number] = Outcome(
                            case.fault.name, case.axis.back_end, case.mode.name
                        )
                        outcomes[number].broken.append(f"{type(error).__name__}: {error}")
                        told(outcomes[number])
                        break
                    told(outcomes[number])

    threads = [
        threading.Thread(target=work, args=(number,))
        for number in range(min(LABORATORIES, len(cases)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcomes[number] for number in sorted(outcomes)]


def table(outcomes: Sequence[Outcome]) -> Table:
    """Show how the scans ended, and what did not hold."""
    result = Table("ended", "scans", "rows kept", "broken rules", title="random faults")
    for status, count in Counter(outcome.status for outcome in outcomes).most_common():
        chosen = [outcome for outcome in outcomes if outcome.status == status]
        rows = sum(outcome.rows for outcome in chosen)
        broken = sum(bool(outcome.broken) for outcome in chosen)
        result.add_row(status, str(count), str(rows), str(broken))
    return result


def main() -> None:
    """Fly from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_faults", description=__doc__)
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=Path("random_faults.json"))
    wanted = parser.parse_args()
    try:
        check_writable(wanted.json)
    except ValueError as error:
        parser.error(str(error))
    console = Console(highlight=False, soft_wrap=True)

    def told(outcome: Outcome) -> None:
        verdict = "; ".join(outcome.broken) or "all holds"
        console.print(f"{outcome.fault} ({outcome.back_end}): {outcome.status}; {verdict}")

    with tempfile.TemporaryDirectory() as place:
        outcomes = fly(list(drawn(wanted.scans, wanted.seed)), Path(place), told)
    broken = sum(bool(outcome.broken) for outcome in outcomes)
    result = {
        "environment": environment(),
        "seed": wanted.seed,
        "scans": len(outcomes),
        "broken": broken,
        "outcomes": record(outcomes),
    }
    wanted.json.write_text(json.dumps(result, indent=1) + "\n")
    console.print(table(outcomes))
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
