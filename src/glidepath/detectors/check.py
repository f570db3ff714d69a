"""Acceptance of a triggered detector: what it says of itself, measured on the live device."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from glidepath.devices import Pulses
from glidepath.devices.settings import SettingError
from glidepath.storage import open_to_read

from .frame_source import FrameFile, Frames, FrameSettings, FrameSource, TriggerMode, no_frames

Floats = NDArray[np.float64]

FEW: Final = 25
"""Triggers of a short try."""

MANY: Final = 400
"""Triggers at the highest rate."""

STALL: Final = 1.5
"""Seconds (and four periods) without a new frame after which none is expected any more."""

POLL: Final = 0.02
"""Seconds between two looks for frames."""

PUNCTUAL: Final = 0.05
"""Share of the exposure, or a tenth of a ms if that is more, that a begin may scatter."""

STEPS: Final = 7
"""Halvings of the interval in which the dead time is."""


class Result(StrEnum):
    """What a check says."""

    PASS = "pass"
    FAIL = "FAIL"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes
    ----------
    what
        Was looked at.
    result
        Pass, fail, or a note on what was found or could not be looked at.
    found
        The numbers.
    put_in
        What to write into the beamline module, if anything.
    figures
        The numbers by name, each with its unit.
    """

    what: str
    result: Result
    found: str
    put_in: str = ""
    figures: Mapping[str, tuple[float, str]] = field(default_factory=dict)


@dataclass
class _Shot:
    """What a train of pulses, or the detector's own clock, has brought."""

    times: Floats
    frames: Frames
    arming: float
    delay: float = np.nan
    dropped: int = 0
    images: int | None = None


@dataclass
class DetectorCheck:
    """Measures a detector.

    Parameters
    ----------
    detector
        Connected.
    pulses
        What triggers it, on the same cable as the trigger box will; None: only its own clock is
        tried.
    exposure
        Exposure of the frames, in s.
    folder
        Where it may write files.
    """

    detector: FrameSource
    pulses: Pulses | None
    exposure: float
    folder: Path
    _dead_time: float = field(default=0.0, init=False)

    async def findings(self) -> AsyncIterator[Finding]:
        """Yield findings as they are made. Whatever happens, the detector is put back at last.

        Raises
        ------
        ValueError
            If the detector cannot expose for so long.
        """
        before = await _configuration(self.detector)
        modes = await self.detector.trigger_modes()
        yield Finding("trigger modes", Result.NOTE, ", ".join(sorted(m.value for m in modes)))
        columns = ", ".join(f"{n} ({u})" for n, u in self.detector.columns().items())
        yield Finding("columns", Result.NOTE, columns)
        self._dead_time = await self.detector.dead_time()
        try:
            if TriggerMode.INTERNAL in modes:
                yield await self._own_clock()
            if self.pulses is None:
                yield Finding(
                    "triggers", Result.NOTE, "not tried: there is no pulse generator to send them"
                )
            else:
                if TriggerMode.EDGE in modes:
                    async for finding in self._edges():
                        yield finding
                if TriggerMode.LEVEL in modes:
                    yield await self._levels()
        except (TimeoutError, SettingError) as error:
            yield Finding("readiness", Result.FAIL, str(error))
        finally:
            problem = await self._put_back()
        after = await _configuration(self.detector)
        changed = sorted(name for name in before if after.get(name) != before[name])
        if changed:
            problem = f"{problem} changed: {', '.join(changed)}".strip()
        yield Finding(
            "settings afterwards", Result.FAIL if problem else Result.PASS, problem or "as before"
        )

    async def _put_back(self) -> str:
        """Stop the pulses, put the detector back; return what of that did not work."""
        problems = []
        stop = [] if self.pulses is None else [self.pulses.stop]
        for action in (*stop, self.detector.disarm, self.detector.restore):
            try:
                await action()
            except (TimeoutError, RuntimeError) as error:
                problems.append(str(error))
        return " ".join(problems)

    async def _own_clock(self) -> Finding:
        period = 2 * (self.exposure + self._dead_time)
        shot = await self._shoot(TriggerMode.INTERNAL, FEW, period)
        distance = float(np.median(np.diff(shot.frames.begins))) if len(shot.frames.begins) else 0.0
        good = len(shot.frames.begins) >= FEW and distance > 0
        return Finding(
            "own clock",
            Result.PASS if good else Result.FAIL,
            f"{len(shot.frames.begins)} frames, one each {_ms(distance)}",
        )

    async def _edges(self) -> AsyncIterator[Finding]:
        slow = 2 * (self.exposure + self._dead_time) + 0.01
        shot = await self._shoot(TriggerMode.EDGE, FEW, slow)
        frames = shot.frames
        yield Finding(
            "frames for triggers",
            Result.PASS if len(frames.begins) == FEW and not shot.dropped else Result.FAIL,
            f"{len(frames.begins)} for {FEW}, one each {_ms(slow)}; it dropped {shot.dropped}",
        )
        if len(frames.begins):
            for finding in self._timing(shot):
                yield finding
        if shot.images is not None:
            yield Finding(
                "file",
                Result.PASS if shot.images == len(frames.begins) else Result.FAIL,
                f"{shot.images} images for {len(frames.begins)} frames",
            )
        if len(frames.begins) != FEW:
            yield Finding("dead time", Result.NOTE, "not tried: it loses triggers anyway")
            return
        dead = await self._measured_dead_time()
        yield self._dead_time_finding(dead)
        if np.isfinite(dead):
            yield await self._highest_rate(dead)

    def _timing(self, shot: _Shot) -> list[Finding]:
        frames = shot.frames
        lengths = frames.ends - frames.begins
        allowed = max(PUNCTUAL * self.exposure, 1e-4)
        found = [
            Finding(
                "exposure",
                Result.NOTE,
                f"{_ms(float(np.median(lengths)))} for {_ms(self.exposure)}",
            ),
            Finding("ready", Result.NOTE, f"{shot.arming:.2f} s after it was armed"),
            Finding("delivery", Result.NOTE, f"last frame {_ms(shot.delay)} after its end"),
        ]
        if not np.isfinite(shot.times[0]):
            return [*found, Finding("latency", Result.NOTE, "not known: pulses without a time")]
        distance = float(np.diff(shot.times)[0])
        if len(frames.begins) == len(shot.times):
            away, missed = frames.begins - shot.times, 0
        else:
            # Which of the triggers they belong to is known up to half a period.
            periods = (frames.begins - shot.times[0]) / distance
            away, missed = distance * (periods - np.round(periods)), round(float(periods[0]))
        found.append(
            Finding(
                "ready signal",
                Result.FAIL if missed else Result.PASS,
                f"the first {missed} triggers after it were not seen: it says too early that it is "
                "ready"
                if missed
                else "the first trigger after it was seen",
            )
        )
        late, scatter = float(np.median(away)), float(np.std(away))
        found.append(
            Finding(
                "latency",
                Result.PASS if scatter <= allowed and abs(late) <= allowed else Result.FAIL,
                f"frames begin {1e3 * late:+.3f} ms from their trigger, scatter {_ms(scatter)}",
                "" if abs(late) <= allowed else f"latency: {1e3 * late:+.3f} ms more",
                {"latency": (1e3 * late, "ms"), "scatter of the latency": (1e3 * scatter, "ms")},
            )
        )
        return found

    async def _measured_dead_time(self) -> float:
        """Return the smallest dead time (s) with which nothing is lost; NaN if there is none."""
        low, high = 0.0, max(1.5 * self._dead_time, 1e-3)
        if await self._keeps_up(0.0):
            return 0.0
        while not await self._keeps_up(high):
            low, high = high, 2 * high
            if high > self.exposure + 1.0:
                return np.nan
        for _ in range(STEPS):
            middle = 0.5 * (low + high)
            if await self._keeps_up(middle):
                high = middle
            else:
                low = middle
        return high

    async def _keeps_up(self, dead: float, number: int = FEW) -> bool:
        shot = await self._shoot(TriggerMode.EDGE, number, self.exposure + dead)
        return len(shot.frames.begins) == number and not shot.dropped

    def _dead_time_finding(self, dead: float) -> Finding:
        if not np.isfinite(dead):
            return Finding("dead time", Result.FAIL, "it loses triggers at any rate that was tried")
        # A bisection knows no better than its last step.
        resolution = max(1.5 * self._dead_time, 1e-3) / 2**STEPS
        good = dead <= self._dead_time + resolution
        return Finding(
            "dead time",
            Result.PASS if good else Result.FAIL,
            f"{_ms(dead)}; it says {_ms(self._dead_time)}",
            "" if good and dead >= 0.5 * self._dead_time else f"dead_time={dead:.3g}",
            {"dead time": (1e3 * dead, "ms")},
        )

    async def _highest_rate(self, dead: float) -> Finding:
        period = self.exposure + 1.05 * max(dead, self._dead_time)
        shot = await self._shoot(TriggerMode.EDGE, MANY, period)
        lost = MANY - len(shot.frames.begins)
        return Finding(
            "highest rate",
            Result.FAIL if lost or shot.dropped else Result.PASS,
            f"{1 / period:.1f} Hz: {lost} of {MANY} lost, {shot.dropped} dropped",
            figures={"highest rate": (1 / period, "Hz")},
        )

    async def _levels(self) -> Finding:
        period = 2 * (self.exposure + self._dead_time) + 0.01
        shot = await self._shoot(TriggerMode.LEVEL, FEW, period, width=self.exposure)
        lengths = shot.frames.ends - shot.frames.begins
        length = float(np.median(lengths)) if len(lengths) else 0.0
        good = len(lengths) == FEW and abs(length - self.exposure) < max(0.05 * self.exposure, 1e-4)
        return Finding(
            "exposure by the pulse",
            Result.PASS if good else Result.FAIL,
            f"{len(lengths)} frames of {_ms(length)} for {FEW} pulses of {_ms(self.exposure)}",
        )

    async def _shoot(
        self, mode: TriggerMode, number: int, period: float, width: float | None = None
    ) -> _Shot:
        """Arm, trigger, collect, disarm."""
        detector = self.detector
        # What it says that it cannot do is what is to be found out: it is told of no such period.
        told = max(period, 1.001 * (self.exposure + self._dead_time))
        settings = FrameSettings(number, self.exposure, told, mode, self.folder)
        begun = time.monotonic()
        await detector.arm(settings)
        arming = time.monotonic() - begun
        first = np.nan
        if mode is not TriggerMode.INTERNAL:
            assert self.pulses is not None
            first = await self.pulses.send(number, period, width or min(1e-3, 0.5 * period))
        parts = [no_frames(detector.columns())]
        last, seen = time.monotonic(), 0
        over = last + number * period
        while seen < number and time.monotonic() < max(last, over) + STALL + 4 * period:
            parts.append(await detector.frames())
            if len(parts[-1].numbers):
                last, seen = time.monotonic(), seen + len(parts[-1].numbers)
            else:
                await asyncio.sleep(POLL)
        arrived, file = time.time(), detector.file()
        await detector.disarm()
        parts.append(await detector.frames())
        frames = _joined(parts)
        return _Shot(
            np.asarray(first + period * np.arange(number), np.float64),
            frames,
            arming,
            delay=arrived - float(frames.ends[-1]) if len(frames.ends) else np.nan,
            dropped=await detector.dropped(),
            images=None if file is None else _images(file),
        )


def _images(file: FrameFile) -> int:
    with open_to_read(file.path) as opened:
        return len(opened[file.dataset])


def _joined(parts: Sequence[Frames]) -> Frames:
    return Frames(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.begins for part in parts]),
        np.concatenate([part.ends for part in parts]),
        {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values},
    )


async def _configuration(detector: Any) -> dict[str, Any]:
    if not hasattr(detector, "read_configuration"):
        return {}
    found = await detector.read_configuration()
    return {name: str(reading["value"]) for name, reading in found.items()}


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.4g} ms"


__all__ = ["DetectorCheck", "Finding", "Result"]
