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
from glidepath.flyers.triggers.request import Triggers
from glidepath.flyers.triggers.trigger_source import TriggerPlan, TriggerSource
from glidepath.trajectory import Leg, PreflightError

from .leg_plan import LegPlan


class FramePlanning:
    """Plans flights for a source of triggers and the detectors that follow it.

    Parameters
    ----------
    source
        The source that makes the triggers.
    detectors
        Follow them.
    request
        How often, and for how long they are to expose.

    Attributes
    ----------
    frames_per_row
        Detector -> frames that make a row.
    mode
        What begins an exposure.
    """

    def __init__(
        self, source: TriggerSource, detectors: Sequence[FrameSource], request: Triggers
    ) -> None:
        self.source, self.detectors = source, list(detectors)
        self._request = request
        self._end_trigger = any(ends_with_next(detector) for detector in detectors)
        self.frames_per_row = {
            d.name: d.frames_per_row if isinstance(d, MakesSeveralFrames) else 1 for d in detectors
        }
        internal = isinstance(source, InternalClock)
        self.mode = TriggerMode.INTERNAL if internal else TriggerMode.EDGE
        if internal:
            self._check_leader()
        elif not detectors and request.exposure is None:
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
            The legs in the order in which they are flown. Passes over the same regions are planned
            once.

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
        for triggers in await self.source.plan(
            leg,
            self._request,
            dead_time=max(dead.values(), default=0.0),
            end_trigger=self._end_trigger,
        ):
            frames = {d.name: self._settings(d, triggers, dead[d.name]) for d in self.detectors}
            await self.check(frames)
            rows = len(triggers.positions)
            # One at each end: nobody tells it when to begin.
            spare = 2 * len(leg.regions) if self.mode is TriggerMode.INTERNAL else 0
            plans.append(LegPlan(triggers.leg, rows, spare, triggers=triggers, frames=frames))
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
        # The end trigger is one like any other for those whose exposures it does not end.
        triggers = len(plan.positions) + (plan.end_trigger and not ends_with_next(detector))
        # One that triggers itself runs through run-up and run-down too.
        number = 0 if self.mode is TriggerMode.INTERNAL else n * triggers
        return FrameSettings(
            number, exposure, plan.shortest_period, self.mode, Path(), n, plan.end_trigger
        )


def ends_with_next(detector: FrameSource) -> bool:
    """Tell whether a detector's exposures last until the next trigger, whatever is asked for."""
    return isinstance(detector, EndsWithNext) and detector.ends_with_next


__all__ = ["FramePlanning", "ends_with_next"]
