"""Faults at random moments of short scans: whatever happens, the same things hold.

Run ``python -m glidepath.faults.random_faults --scans 200 --seed 1 --json random_faults.json``.
The same seed gives the same faults at the same moments. The status ends with how many scans
broke a rule.
"""

import argparse
import json
import sys
import tempfile
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

from .by_hand import BY_HAND
from .laboratory import (
    AXES,
    EVERY_MODE,
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
from .matrix import LABORATORIES, fly

BEFORE = 3.0
"""Seconds before the flight in which a fault may strike, too: the way to the run-up."""

EARLIEST = 0.2
"""Seconds of flight after which a fault strikes that means nothing before a scan listens."""

SECOND = 0.2
"""Share of the scans in which a second fault follows the first."""

EXITS = ("abort", "stop", "halt")
"""How a user may end a scan: methods of the run engine."""


def _exit(how: str) -> Fault:
    return Fault(f"user: {how}", lambda lab, axis: lab.interrupt(how), modes=EVERY_MODE)


def faults() -> list[Fault]:
    """Return what can be drawn: what strikes in mid scan, what people do by hand, and a user."""
    chosen = [f for f in FAULTS if f.at is not None]
    return [*chosen, *BY_HAND, *map(_exit, EXITS)]


def drawn(scans: int, seed: int) -> Iterator[Case]:
    """Yield cases, always the same ones for a seed."""
    generator = np.random.default_rng(seed)
    everything = faults()
    for number in range(scans):
        axis = AXES[generator.integers(len(AXES))]
        modes = [mode for mode in MODES if mode is MODES[0] or axis.can_be_triggered]
        mode = modes[generator.integers(len(modes))]
        usable = [f for f in everything if f.applies_to(axis) and mode.name in f.modes]
        first = usable[generator.integers(len(usable))]
        second = usable[generator.integers(len(usable))]
        follows = generator.random() < SECOND
        # Before the flight in time, in it where the axis is.
        flight = (STOP - START) / VELOCITY
        when = generator.uniform(-BEFORE, flight)
        if first.in_flight or (follows and second.in_flight):
            when = max(when, EARLIEST)
        pause = generator.uniform(0.0, 1.5)
        name = f"{number:03d} {first.name}" + (f", then {second.name}" if follows else "")
        strike = _both(first.strike, second.strike, pause) if follows else first.strike
        lasting = [f.lasts for f in ([first, second] if follows else [first]) if f.lasts]
        leaving = [f.leaves for f in ([first, second] if follows else [first]) if f.leaves]
        if first.at is None:
            # Something that was left behind: it is there before the scan begins.
            name, at = f"{name} before the scan", None
        else:
            strike = _late(strike, -when) if when < 0 else strike
            name, at = f"{name} at {when:+.2f} s", None if when < 0 else START + VELOCITY * when
        yield Case(
            replace(
                first,
                name=name,
                strike=strike,
                at=at,
                status=("success", "fail", "abort"),
                says="",
                marks=type(first.marks)(0),
                lasts=max(lasting) if lasting else None,
                loses=(mode.name,),
                leaves=leaving[0] if leaving else "",
            ),
            axis,
            mode,
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
    parser = argparse.ArgumentParser(
        prog="python -m glidepath.faults.random_faults", description=__doc__
    )
    parser.add_argument("--scans", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--laboratories", type=int, default=LABORATORIES, help="scans that are flown at once"
    )
    parser.add_argument("--json", type=Path, default=Path("random_faults.json"))
    wanted = parser.parse_args()
    try:
        check_writable(wanted.json)
    except ValueError as error:
        parser.error(str(error))
    console = Console(highlight=False, soft_wrap=True, emoji=False)

    def told(case: Case, outcome: Outcome) -> None:
        verdict = "; ".join(outcome.broken) or "all holds"
        console.print(f"{case}: {outcome.status}; {verdict} ({outcome.reason})", markup=False)

    with tempfile.TemporaryDirectory() as place:
        cases = list(drawn(wanted.scans, wanted.seed))
        outcomes = fly(cases, Path(place), told, wanted.laboratories)
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
