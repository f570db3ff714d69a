"""Plans the triggers of a flight, and what each detector is told that follows them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from glidepath.detectors import (
    EndsWithNext,
    FrameSettings,
    FrameSource,
    MakesSeveralFrames,
    TriggerMode,
)
from glidepath.flyers.triggers.internal_clock import InternalClock
from glidepath.flyers.triggers.trigger_source import TriggerPlan, TriggerSource
from glidepath.trajectory import Leg, PreflightError

from .leg_plan import LegPlan

SHORTER = 0.998
"""By how much an exposure is shortened until a source can make it."""

PROBE = 1e-6
"""Shortest exposure in s that is asked for to learn how far triggers are apart."""

UNEVEN = 0.04
"""Units of the axis per second by which its velocity may vary: a servo's ripple of 2 meV at some
hertz. Slower flights are that much more uneven, and their exposures that much shorter."""

LEAST_UNEVEN, MOST_UNEVEN = 0.005, 0.2
"""Smallest and largest share of a step's time that is left for that."""


class FramePlanning:
    """Plans flights for a source of triggers and the detectors that follow it.

    Parameters
    ----------
    source
        Makes the triggers.
    detectors
        Follow them.
    step, period, exposure
        See `Triggering`.

    Attributes
    ----------
    frames_per_row
        Detector -> frames that make a row.
    mode
        What begins an exposure.
    """

    def __init__(
        self,
        source: TriggerSource,
        detectors: Sequence[FrameSource],
        *,
        step: float | None,
        period: float | None,
        exposure: float | None,
    ) -> None:
        if (step is None) == (period is None):
            raise PreflightError(
                "A triggered scan needs either a step (units of the axis) or a period (s)."
            )
        self.source, self.detectors = source, list(detectors)
        self._step, self._period, self._exposure = step, period, exposure
        self.frames_per_row = {
            d.name: d.frames_per_row if isinstance(d, MakesSeveralFrames) else 1 for d in detectors
        }
        internal = isinstance(source, InternalClock)
        self.mode = TriggerMode.INTERNAL if internal else TriggerMode.EDGE
        if internal:
            self._check_leader()
        elif not detectors and exposure is None:
            raise PreflightError(
                f"None of the detectors can be triggered by {source.name}, so that nothing says "
                "how long an exposure is; add a detector that follows triggers, or give the "
                "exposure."
            )

    def _check_leader(self) -> None:
        name = self.source.name
        if [detector.name for detector in self.detectors] != [name]:
            raise PreflightError(
                f"{name} goes by its own clock and triggers nobody: it must be the one "
                "triggered detector of the scan."
            )
        if self.frames_per_row[name] > 1:
            raise PreflightError(
                f"{name} goes by its own clock, so that each frame is a row, but "
                f"{self.frames_per_row[name]} frames a row are asked of it; set its "
                "frames_per_row to 1, or let a trigger box trigger it."
            )

    async def plan(self, legs: Sequence[Leg]) -> list[LegPlan]:
        """Return what will be done in each part of some legs. Nothing is changed.

        Parameters
        ----------
        legs
            In the order in which they are flown. Passes over the same regions are planned once.

        Raises
        ------
        PreflightError
            If the source or a detector cannot; in one sentence.
        """
        dead = await self.dead_times()
        planned: dict[object, list[LegPlan]] = {}
        for leg in legs:
            if leg.regions not in planned:
                planned[leg.regions] = await self._plan(leg, dead)
        return [
            replace(part, leg=replace(part.leg, pass_number=leg.pass_number))
            for leg in legs
            for part in planned[leg.regions]
        ]

    async def _plan(self, leg: Leg, dead: Mapping[str, float]) -> list[LegPlan]:
        plans = []
        for part, triggers in await self._triggers(leg, dead):
            frames = {d.name: self._settings(d, triggers, dead[d.name]) for d in self.detectors}
            await self.check(frames)
            plans.append(LegPlan(part, len(triggers.positions), triggers=triggers, frames=frames))
        return plans

    async def check(self, frames: Mapping[str, FrameSettings]) -> None:
        """Refuse (PreflightError) what a detector, as it is set up now, cannot do."""
        for detector in self.detectors:
            try:
                await detector.check_frames(frames[detector.name])
            except ValueError as error:
                raise PreflightError(str(error)) from error

    async def dead_times(self) -> dict[str, float]:
        """Return each detector's dead time (s); PreflightError if one is not known."""
        try:
            return {d.name: await d.dead_time() for d in self.detectors}
        except ValueError as error:
            raise PreflightError(str(error)) from error

    async def _triggers(self, leg: Leg, dead: Mapping[str, float]) -> list[tuple[Leg, TriggerPlan]]:
        exposure = self._exposure
        if exposure is None:
            exposure = await self._longest_exposure(leg, max(self.source.rest, *dead.values()))
        asked = {"step": self._step, "period": self._period, "exposure": exposure}
        parts = await self.source.parts(leg, **asked)  # type: ignore[arg-type]
        return [(part, await self.source.plan(part, **asked)) for part in parts]  # type: ignore[arg-type]

    async def _longest_exposure(self, leg: Leg, dead: float) -> float:
        """Return the longest exposure (s) that leaves the detectors their dead time (s)."""
        # Of an exposure that always fits only the triggers' distance is wanted.
        step, period = self._step, self._period
        apart = step / leg.velocity if step is not None else period
        assert apart is not None
        probe = max(1e-3 * apart, PROBE)
        parts = await self.source.parts(leg, step=step, period=period, exposure=probe)
        plans = [
            await self.source.plan(part, step=step, period=period, exposure=probe) for part in parts
        ]
        shortest = min(plan.shortest_period for plan in plans)
        uneven = 0.0
        if period is None:
            uneven = min(max(UNEVEN / leg.slowest, LEAST_UNEVEN), MOST_UNEVEN)
        longest = shortest * (1 - uneven) - dead
        if not longest > 0:
            raise PreflightError(
                f"A trigger would come each {1e3 * shortest:.4g} ms, but the detectors need "
                f"{1e3 * dead:.4g} ms between two exposures; fly slower or choose larger steps."
            )
        exposure = longest
        while True:
            plan = await self.source.plan(parts[0], step=step, period=period, exposure=exposure)
            if plan.exposure <= longest:
                return plan.exposure
            # A source makes pulses of whole ticks of its clock: the next shorter one.
            exposure *= SHORTER

    def _settings(self, detector: FrameSource, plan: TriggerPlan, dead: float) -> FrameSettings:
        """Return what a detector with this dead time (s) is told, except for the run's folder."""
        n = self.frames_per_row[detector.name]
        exposure = plan.exposure
        if n > 1:
            # Together they last as long as the one exposure of another detector.
            exposure = (plan.exposure - (n - 1) * dead) / n
            if not exposure > 0:
                raise PreflightError(
                    f"{detector.name} cannot make {n} frames within {1e3 * plan.exposure:.4g} ms, "
                    f"since it needs {1e3 * dead:.4g} ms between two of them; make fewer frames a "
                    "row, fly slower or choose larger steps."
                )
        # The closing trigger is one like any other for those whose exposures it does not end.
        triggers = len(plan.positions) + (plan.closing and not ends_with_next(detector))
        # One that triggers itself runs through run-up and run-down too.
        number = 0 if self.mode is TriggerMode.INTERNAL else n * triggers
        return FrameSettings(
            number, exposure, plan.shortest_period, self.mode, Path(), n, plan.closing
        )


def ends_with_next(detector: FrameSource) -> bool:
    """Tell whether a detector's exposures last until the next trigger, whatever is asked for."""
    return isinstance(detector, EndsWithNext) and detector.ends_with_next


__all__ = ["FramePlanning", "ends_with_next"]
