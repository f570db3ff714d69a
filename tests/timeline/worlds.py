"""Made-up beamlines whose updates arrive late, in batches, twice, or not at all."""

from dataclasses import dataclass, field

import numpy as np

from glidepath.timeline import Aligner, Channel, ChannelKind, Span

EPOCH = 1.7e9
CLOCK = 7.25
"""Local clock minus the servers' clock (s)."""
MONOTONIC = 1.69e9
"""Local clock minus the monotonic clock (s)."""

AXIS = Channel("energy", ChannelKind.READBACK, "eV", latency=0.01)


@dataclass
class Stream:
    """Updates in the order in which they leave; ``lost`` are (time, reconnection) pairs."""

    channel: Channel
    timestamps: np.ndarray
    values: np.ndarray
    lost: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class World:
    streams: list[Stream]
    start: float
    stop: float
    arm_at: float
    end: float


def make_world(
    seed: int,
    *,
    direction: int = 1,
    velocity: float = 1.0,
    span: float = 4.0,
    noise: float = 0.0,
    jitter: float = 0.0,
    standing: float = 3.0,
    posted_on_change: bool = False,
    losses: bool = False,
    backwards: bool = False,
    with_detectors: bool = True,
) -> World:
    """Return an axis that stands, flies over ``span`` and stands; and what else is sampled."""
    rng = np.random.default_rng(seed)
    run_up = 0.3 * velocity + 20 * noise
    start = 400.0
    stop = start + direction * span
    begin = EPOCH + standing
    flown = (span + 2 * run_up) / velocity
    end = begin + flown + 4.0

    def energy(t):
        progress = np.clip((t - begin) / flown, 0, 1) * (span + 2 * run_up)
        return start + direction * (progress - run_up)

    def times(rate, offset=0.0):
        t = EPOCH + offset + np.arange(0, end - EPOCH - offset, 1 / rate)
        return t + jitter * rng.uniform(0, 1, len(t)) / rate

    def old(t, value, v):
        age = rng.choice([0.0, 0.4, 30.0, 1e6, EPOCH - 631152000.0])
        return np.append(EPOCH - 0.001 - age, t), np.append(value, v)

    t = times(rng.choice([10.0, 25.0]), rng.uniform(0, 0.1))
    x = energy(t - AXIS.latency)
    if posted_on_change:
        changed = np.append(True, np.diff(x) != 0)
        t, x = t[changed], x[changed]
    x = x + noise * rng.uniform(-1, 1, len(x))
    t, x = old(t, energy(EPOCH), x)
    streams = [Stream(AXIS, t, x)]

    gap = Channel("gap", ChannelKind.READBACK, "mm", latency=float(rng.choice([0.0, 0.05])))
    t = times(10.0, 0.03)
    if rng.integers(2):
        # A gap that moves in steps and is silent in between.
        keep = rng.uniform(size=len(t)) < rng.choice([0.03, 0.2])
        t = t[keep | (np.arange(len(t)) == 0)]
    streams.append(Stream(gap, *old(t, 30.0, 30 + rng.normal(size=len(t)))))

    if with_detectors:
        for name, aperture in (("mesh", 0.2), ("sample", float(rng.choice([0.1, 0.5])))):
            latency = float(rng.choice([0.0, 0.1]))
            channel = Channel(name, ChannelKind.DETECTOR, "A", latency, aperture)
            t = times(1 / aperture * rng.choice([0.9, 1.0]), rng.uniform(0, 0.2))
            if name == "sample" and rng.integers(3) == 0:
                quiet = rng.uniform(EPOCH, end, 2)
                t = t[(t < min(quiet)) | (t > max(quiet))]
            v = rng.normal(size=len(t)) + 5
            v[rng.uniform(size=len(v)) < 0.03] = 9.9e37
            streams.append(Stream(channel, *old(t, 5.0, v)))

    shutter = Channel("shutter", ChannelKind.STATE)
    t = np.sort(rng.uniform(EPOCH + 1, end, rng.integers(0, 5)))
    t = t[np.append(True, np.diff(t) > 0.01)[: len(t)]]
    v = np.arange(len(t)) % 2.0
    streams.append(Stream(shutter, np.append(EPOCH - 3600, t), np.append(1.0, v)))

    if backwards:
        for stream in streams:
            n = len(stream.timestamps)
            for k in rng.integers(2, n, 3 if n > 10 else 0):
                stream.timestamps[k] -= rng.choice([0.0, 0.3, 3.0]) + 1e-9
    if losses:
        for stream in streams[1:]:
            if rng.integers(2):
                at = rng.uniform(EPOCH + 1, end - 3)
                stream.lost.append((at, at + float(rng.choice([0.05, 0.3, 1.0, 2.5]))))
    return World(streams, start, stop, begin - 1.3, end)


def arrivals_of(world: World, seed: int, delay: float) -> list[tuple[float, int, float, float]]:
    """Return (arrival, channel, timestamp, value), sorted; a NaN timestamp is a loss."""
    rng = np.random.default_rng(seed)
    events = []
    for index, stream in enumerate(world.streams):
        t, v = stream.timestamps, stream.values
        sent = np.maximum.accumulate(np.maximum(t, EPOCH - 0.5))
        own = delay * rng.uniform()
        arrived = np.maximum.accumulate(sent + own + delay * rng.uniform(0, 1, len(t)) ** 4)
        connected = np.ones(len(t), bool)
        for lost, back in stream.lost:
            connected &= (arrived < lost) | (arrived >= back)
            events.append((lost + CLOCK, index, np.nan, np.nan))
            # The server sends its newest value again.
            newest = np.searchsorted(sent, back, "right") - 1
            events.append((back + CLOCK - 1e-4, index, t[newest], v[newest]))
        events += [
            (a + CLOCK, index, time, value)
            for a, time, value in zip(arrived[connected], t[connected], v[connected], strict=True)
        ]
    return sorted(events, key=lambda event: event[0])


@dataclass
class Outcome:
    aligner: Aligner
    columns: dict[str, np.ndarray]
    raw: dict[Channel, tuple[np.ndarray, np.ndarray]]
    finished_at: float
    largest: int


def fly(
    world: World,
    *,
    seed: int = 0,
    delay: float = 0.0,
    drain: float = 0.1,
    period: float | None = None,
) -> Outcome:
    """Feed an aligner as the sampler does; drain times vary around ``drain``."""
    rng = np.random.default_rng(seed + 1000)
    channels = [stream.channel for stream in world.streams]
    aligner = Aligner(channels, "energy", period)
    events = arrivals_of(world, seed, delay)
    raw = [([], []) for _ in channels]
    parts = []
    local = EPOCH + CLOCK - 1
    done, armed, largest, finished_at = 0, False, 0, np.inf
    while local < world.end + CLOCK + 4 and finished_at == np.inf:
        local += drain * rng.uniform(0.2, 1.8)
        now = local - MONOTONIC
        batch = []
        while done < len(events) and events[done][0] <= local:
            batch.append(events[done])
            done += 1
        for index in rng.permutation(len(channels)):
            mine = [event for event in batch if event[1] == index]
            while mine:
                if np.isnan(mine[0][2]):
                    kept = aligner.disconnect(int(index), mine.pop(0)[0])
                else:
                    n = next((k for k, e in enumerate(mine) if np.isnan(e[2])), len(mine))
                    table = np.array([[e[2], e[3], e[0]] for e in mine[:n]])
                    del mine[:n]
                    kept = aligner.add(int(index), *table.T, now)
                raw[index][0].append(kept[0].copy())
                raw[index][1].append(kept[1].copy())
        if not armed and local - CLOCK >= world.arm_at:
            aligner.arm(Span(world.start, world.stop))
            armed = True
        rows = aligner.final_rows(now)
        if rows:
            parts.append(rows)
        largest = max(largest, *(len(t.series) for t in aligner._tracks))
        if aligner.finished(now):
            finished_at = local - CLOCK
    columns = (
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
    )
    streams = {
        channel: (np.concatenate(t), np.concatenate(v))
        for channel, (t, v) in zip(channels, raw, strict=True)
    }
    return Outcome(aligner, columns, streams, finished_at, largest)
