"""Made-up legs: a trigger box, and detectors that lose, double, delay and drop frames."""

from dataclasses import dataclass, field

import numpy as np

from glidepath.timeline import FollowingDetector, Quality, TriggerAccounting

EPOCH = 1.7e9
"""True POSIX time at which the clock of the triggers is zero."""


def intervals(kind: str, number: int, period: float, seed: int = 0) -> np.ndarray:
    """Return the time of each trigger (s, from 0): how steps of energy fall in time."""
    rng = np.random.default_rng(seed)
    k = np.arange(number - 1)
    shape = {
        "equal": np.ones(number - 1),
        "ripple": 1 + 0.04 * np.sin(0.37 * k) + 0.01 * np.sin(1.9 * k + 1),
        "chirp": np.linspace(1.0, 1.6, number - 1) + 0.1 * np.sin(np.pi * k / number),
        "random": rng.uniform(0.7, 1.3, number - 1),
    }[kind]
    return np.concatenate([[0.0], np.cumsum(period * shape)])


@dataclass
class Faults:
    """What goes wrong at one detector; all indices are of triggers (events, for n > 1)."""

    lost: tuple[int, ...] = ()
    double: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    late: dict[int, float] = field(default_factory=dict)
    """The exposure begins late, in intervals."""
    stamped_late: dict[int, float] = field(default_factory=dict)
    """The exposure is in time, the timestamp is late, in intervals."""
    extra: tuple[float, ...] = ()
    """At times in intervals from the first trigger; may be negative."""
    rate: float | None = None
    """Free running at that multiple of the usual rate."""


@dataclass
class Detector:
    """What a detector did, frame by frame, in its order."""

    follower: FollowingDetector
    numbers: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    arrivals: np.ndarray
    true_begins: np.ndarray
    """When the exposures really began (s, clock of the triggers): only the world knows."""
    events: np.ndarray
    """When they should have begun: once per event."""
    jitter: float
    """Standard deviation of the timestamps (s)."""


def make_detector(
    times: np.ndarray,
    faults: Faults = Faults(),  # noqa: B008
    *,
    seed: int = 0,
    offset: float = 0.0,
    width: float = 0.001,
    jitter: float = 0.0,
    drift: float = 0.0,
    latency: float = 0.0,
    batch: float = 0.0,
    n: int = 1,
    spacing: float | None = None,
    allowed_jitter: float | None = None,
    contiguous: bool = False,
    name: str = "camera",
) -> Detector:
    """Return a detector that follows ``times`` (s) with faults.

    ``offset`` is that of its clock; it is known to lie in a range of ``width`` around a wrong
    middle. ``jitter`` is the standard deviation of its timestamps (cut at 2.5 of them). If it is
    ``contiguous``, a frame ends where the next one begins, as the bins of a counter do.
    """
    rng = np.random.default_rng(seed)
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.01
    gaps = np.append(np.diff(times), period)
    step = np.full(len(times), spacing) if spacing else gaps / n
    events = (times[:, None] + step[:, None] * np.arange(n)).ravel()
    made = []  # (true begin, delay of the timestamp, dropped)
    if faults.rate is None:
        for k, t in enumerate(events):
            if k in faults.lost:
                continue
            delay = faults.late.get(k, 0.0) * period
            stamp = faults.stamped_late.get(k, 0.0) * period
            made.append((t + delay, stamp, k in faults.dropped))
            if k in faults.double:
                made.append((t + 0.3 * period / n, 0.0, False))
    else:
        free = np.arange(times[0] + 0.37 * period, times[-1], period / faults.rate)
        made += [(t, 0.0, False) for t in free]
    made += [(times[0] + x * period, 0.0, False) for x in faults.extra]
    made.sort()
    true = np.array([m[0] for m in made])
    dropped = np.array([m[2] for m in made], bool)
    scatter = jitter * np.clip(rng.normal(size=len(made)), -2.5, 2.5)
    stamps = true + np.array([m[1] for m in made]) + scatter
    begins = EPOCH + offset + latency + stamps * (1 + drift)
    arrivals = true + 0.01
    if batch:
        arrivals = np.ceil(arrivals / batch) * batch
    middle = EPOCH + offset + rng.uniform(-0.4, 0.4) * width
    follower = FollowingDetector(
        name, middle - width / 2, middle + width / 2, n, spacing, allowed_jitter
    )
    kept = ~dropped
    ends = begins + 0.5 * np.min(step)
    if contiguous:
        ends = np.append(begins[1:], begins[-1:] + period)
    return Detector(
        follower,
        np.arange(len(made))[kept],
        begins[kept],
        ends[kept],
        arrivals[kept],
        true[kept],
        events,
        jitter,
    )


@dataclass
class Outcome:
    accounting: TriggerAccounting
    frames: dict[str, np.ndarray]
    quality: np.ndarray
    numbers: np.ndarray
    times: np.ndarray
    positions: np.ndarray
    durations: dict[str, np.ndarray]
    final_at: np.ndarray
    """When each row was handed out (s, true time from the first trigger)."""


def count(
    times: np.ndarray,
    detectors: list[Detector],
    *,
    trigger_batch: float = 0.0,
    tick: float = 0.1,
    patience: float = 2.0,
    seed: int = 0,
    closed: float | None = None,
) -> Outcome:
    """Feed an account as a scan does, tick by tick, and end it; ``closed``: a last trigger."""
    rng = np.random.default_rng(seed)
    accounting = TriggerAccounting([d.follower for d in detectors], patience)
    known = times + 0.005
    if trigger_batch:
        known = np.ceil(known / trigger_batch) * trigger_batch
    positions = 400 + 0.05 * np.arange(len(times))
    end = (
        max(
            known[-1],
            closed or 0.0,
            *(d.arrivals[-1] if len(d.arrivals) else 0.0 for d in detectors),
        )
        + 0.2
    )
    now, told, given, parts, final_at = times[0], 0, [0] * len(detectors), [], []
    while now < end:
        now += tick * rng.uniform(0.3, 1.7)
        until = int(np.searchsorted(known, now))
        part = slice(told, until)
        order = rng.permutation(len(detectors) + 1)
        for which in order:
            if which == len(detectors):
                accounting.add_triggers(np.arange(told, until), times[part], positions[part], now)
                told = until
                if closed is not None and now >= closed + 0.005:
                    accounting.close(closed)
                continue
            d = detectors[which]
            stop = int(np.searchsorted(d.arrivals, now))
            new = slice(given[which], max(stop, given[which]))
            accounting.add_frames(d.follower.name, d.numbers[new], d.begins[new], d.ends[new])
            given[which] = new.stop
        rows = accounting.final_rows(now, finish=now >= end)
        parts.append(rows)
        final_at += [now] * len(rows)

    def joined(get):
        return np.concatenate([get(part) for part in parts])

    names = [d.follower.name for d in detectors]
    return Outcome(
        accounting,
        {name: joined(lambda part, name=name: part.frames[name]) for name in names},
        joined(lambda part: part.quality),
        joined(lambda part: part.numbers),
        joined(lambda part: part.times),
        joined(lambda part: part.positions),
        {name: joined(lambda part, name=name: part.durations[name]) for name in names},
        np.array(final_at),
    )


def assert_nothing_is_wrong_unsaid(
    outcome: Outcome, detectors: list[Detector], times: np.ndarray
) -> None:
    """Check what must hold in every world."""
    assert outcome.numbers.tolist() == list(range(len(times)))
    assert np.array_equal(outcome.times, times)
    said = outcome.quality != 0
    for d in detectors:
        n = d.follower.frames_per_trigger
        frames = outcome.frames[d.follower.name]
        assert frames.shape == (len(times), n)
        there = frames >= 0
        # No frame is in two rows.
        used = frames[there]
        assert len(np.unique(used)) == len(used)
        right = there.copy()
        interval = np.median(np.diff(d.events)) if len(d.events) > 1 else 0.01
        away = d.true_begins[used] - d.events.reshape(-1, n)[there]
        right[there] = np.abs(away) <= max(0.06 * interval, 8 * d.jitter)
        wrong_or_missing = ~np.all(right, axis=1)
        assert np.all(said[wrong_or_missing]), np.flatnonzero(wrong_or_missing & ~said)
        nothing = ~np.any(there, axis=1)
        assert np.all(outcome.quality[nothing] & Quality.NO_DATA != 0)
