"""How often 20 000 triggers 2 ms apart are matched, refused, or matched wrongly: made-up legs.

Each scan has five parts, as many triggers as a box holds. Clocks are known to 20 ms, ten
intervals, in the first one, and handed on from part to part as a scan does. Run
``python -m benchmarks.matching --seeds 100``; the status is 1 if a single row is wrong.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from glidepath.timeline import FollowingDetector, Quality, TriggerAccounting
from glidepath.timeline.clocks import ClockFit

PERIOD = 0.002
"""Seconds from one trigger to the next."""

PARTS = (4096, 4096, 4096, 4096, 3616)
"""Triggers of each part: 20 000 in all."""

TOLERANCE = 0.02
"""Seconds by which the clocks may be apart: see `glidepath.flyers.sampling.triggering`."""

BETWEEN = 6.0
"""Seconds from one part to the next."""

KNOWN = 0.001
"""Seconds to which the box's clock is known when it begins a part."""

LOOKS = 8
"""How often rows are asked for while a part comes in."""

EPOCH = 1.75e9


@dataclass(frozen=True)
class World:
    """How the triggers fall in time, and how well the detector tells when its frames began.

    Parameters
    ----------
    name
        For people.
    ripple
        Share of the velocity by which the axis is slower and faster, 4 times a second.
    noise
        Share of an interval by which single triggers are off: the encoder's steps.
    scatter
        Standard deviation of the detector's times, s.
    lost
        Triggers of each part, counted from its end if negative, that make no frame.
    dropped
        Frames of each part that are made and do not arrive.
    """

    name: str
    ripple: float
    noise: float
    scatter: float
    lost: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()


WORLDS = (
    World("by time, equal intervals", 0.0, 0.0, 2e-5),
    World("by time, times that scatter", 0.0, 0.0, 2e-4),
    World("by position, smooth", 0.002, 0.001, 2e-5),
    World("by position, smooth, times that scatter", 0.002, 0.001, 2e-4),
    World("by position, with ripple", 0.02, 0.005, 2e-5),
    World("by position, with ripple, times that scatter", 0.02, 0.005, 2e-4),
)

FAULTS: dict[str, dict[str, tuple[int, ...]]] = {
    "none": {},
    "one dropped": {"dropped": (1700,)},
    "one lost inside": {"lost": (1700,)},
    "first one lost": {"lost": (0,)},
    "last one lost": {"lost": (-1,)},
}


@dataclass
class Tally:
    """What became of the rows of some scans."""

    scans: int = 0
    complete: int = 0
    rows: int = 0
    refused: int = 0
    refused_scans: int = 0
    wrong: int = 0

    def add(self, rows: int, refused: int, wrong: int, expected: int) -> None:
        """Take one scan; ``expected`` rows could have had a frame."""
        self.scans += 1
        self.rows += rows
        self.refused += refused
        self.refused_scans += bool(refused)
        self.complete += not refused and not wrong and rows >= expected
        self.wrong += wrong


def trigger_times(world: World, number: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return when a part's triggers came, s from the first one, shape (number,)."""
    at = np.arange(number) * PERIOD
    phase = rng.uniform(0, 2 * np.pi)
    turn = 2 * np.pi * 4.0
    at = at + world.ripple / turn * (np.sin(turn * at + phase) - np.sin(phase))
    at += world.noise * PERIOD * rng.uniform(-0.5, 0.5, number)
    # A PandA's clock ticks 125 times a microsecond.
    return np.round((at - at[0]) * 125e6) / 125e6


def fly(world: World, seed: int) -> tuple[int, int, int, int]:
    """Match one scan; return its rows with a frame, refused, and wrong ones, and those due."""
    rng = np.random.default_rng(seed)
    offset = EPOCH + rng.uniform(-0.8, 0.8) * TOLERANCE
    drift = rng.uniform(-5e-5, 5e-5)
    clock: ClockFit | None = None
    begin, totals = 0.0, np.zeros(4, int)
    for number in PARTS:
        times = begin + trigger_times(world, number, rng)
        low, high = EPOCH - TOLERANCE, EPOCH + TOLERANCE
        if clock is not None:
            least, most = clock.bounds(EPOCH + begin)
            low, high = max(low, least - KNOWN), min(high, most + KNOWN)
        counts, clock = match(
            world, times, FollowingDetector("quad", low, high), offset, drift, rng
        )
        totals += counts
        begin = float(times[-1]) + BETWEEN
    rows, refused, wrong, due = totals.tolist()
    return rows, refused, wrong, due


def match(
    world: World,
    times: NDArray[np.float64],
    follower: FollowingDetector,
    offset: float,
    drift: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], ClockFit | None]:
    """Match one part; return rows with a frame, refused, wrong, due, and the detector's clock."""
    number = len(times)
    lost = np.array(world.lost, int) % number
    made = np.delete(np.arange(number), lost)
    numbers = np.arange(len(made))
    kept = np.delete(numbers, np.array(world.dropped, int))
    of_trigger = made[kept]
    begins = offset + times[of_trigger] * (1 + drift)
    begins += world.scatter * np.clip(rng.normal(size=len(begins)), -2.5, 2.5)
    accounting = TriggerAccounting([follower])
    frames, bits = [], []
    ends = np.linspace(times[0], times[-1], LOOKS + 1)[1:] + PERIOD
    told = given = 0
    for now in ends:
        until, upto = np.searchsorted(times, now), np.searchsorted(times[of_trigger], now)
        new, got = slice(told, until), slice(given, upto)
        accounting.add_triggers(np.arange(told, until), times[new], times[new], now)
        accounting.add_frames("quad", kept[got], begins[got], begins[got] + 0.9 * PERIOD)
        told, given = int(until), int(upto)
        rows = accounting.final_rows(now, finish=now == ends[-1])
        frames.append(rows.frames["quad"][:, 0])
        bits.append(rows.quality)
    frame, quality = np.concatenate(frames), np.concatenate(bits)
    there = frame >= 0
    wrong = there.copy()
    wrong[there] = of_trigger[frame[there]] != np.flatnonzero(there)
    refused = int(np.sum(quality & Quality.AMBIGUOUS > 0))
    # A row without its frame says so, always.
    silent = int(np.sum(~there & (quality == 0)))
    counts = np.array([int(np.sum(there)), refused, int(np.sum(wrong)) + silent, len(kept)])
    return counts, accounting.accounts()["quad"].clock


def worlds() -> Iterator[tuple[str, World]]:
    """Yield each world with each fault, by the fault's name."""
    for world in WORLDS:
        for fault, changes in FAULTS.items():
            yield fault, replace(world, **changes)


def markdown(found: Sequence[tuple[str, str, Tally]]) -> str:
    """Return the results as a table in Markdown."""
    lines = [
        "| triggers | fault | scans | complete | refused in part | rows | rows refused | wrong |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {fault} | {t.scans} | {t.complete} | {t.refused_scans} | {t.rows} "
        f"| {t.refused} | {t.wrong} |"
        for name, fault, t in found
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matching", description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    wanted = parser.parse_args()
    found = []
    for fault, world in worlds():
        tally = Tally()
        for seed in range(wanted.seeds):
            tally.add(*fly(world, seed))
        found.append((world.name, fault, tally))
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    console.print(markdown(found), markup=False)
    sys.exit(1 if any(tally.wrong for *_, tally in found) else 0)


if __name__ == "__main__":
    main()
