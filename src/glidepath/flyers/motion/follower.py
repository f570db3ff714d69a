"""Follows a motion to its end, and tells a stall, an early end and a lost server apart."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from ophyd_async.core import SignalR

from glidepath.devices.signals import Watch, silent

from .back_end import FlightError, MotionPlan
from .stall import why_stalled

ARRIVAL = 1.0
"""Seconds by which the readback's newest update may be later than the end of the motion."""


@dataclass(frozen=True)
class MotionFollower:
    """Follows one axis through its leg.

    Parameters
    ----------
    name
        Name of the axis, for messages.
    readback
        Signal of the axis's position.
    plan
        What is flown.
    what
        What the flight is called at its controller, for messages.
    stalled
        Seconds without the progress that is due after which the axis is taken as stalled.
    ending
        Seconds that the flight may take on top of its computed duration.
    tolerance
        How far before the stop the readback may stay, units of the axis.
    """

    name: str
    readback: SignalR[float]
    plan: MotionPlan
    what: str = "flight"
    stalled: float = 2.0
    ending: float = 10.0
    tolerance: float = 0.0

    async def follow(
        self, seen: Watch, finished: Callable[[], bool], where: Callable[[], str]
    ) -> None:
        """Return when the motion has finished and the readback is behind the stop.

        See `finish` for the parameters.
        """
        await self.finish(seen, finished, where)
        await self.arrive(seen, where)

    async def finish(
        self, seen: Watch, finished: Callable[[], bool], where: Callable[[], str]
    ) -> None:
        """Return when the controller says that the motion is over.

        Parameters
        ----------
        seen
            Watches the readback and whatever the conditions look at.
        finished
            Whether the controller says so.
        where
            Says where the axis is and what its controller shows, as a part of a sentence.

        Raises
        ------
        FlightError
            If the axis stalls, or does not finish in time.
        """
        now = asyncio.get_running_loop().time
        begun = now()
        while not finished():
            ahead, since = self.ahead(seen), now() - begun
            if await seen.until(finished, self.stalled):
                return
            elapsed = now() - begun
            await self._check_progress(seen, ahead, self.due(since, elapsed))
            if elapsed > self.plan.motion.duration + self.ending:
                raise FlightError(f"{self.name} did not finish its {self.what} in time: {where()}.")

    async def arrive(self, seen: Watch, where: Callable[[], str]) -> None:
        """Return when the readback is behind the stop: its newest update may be a moment late.

        Raises
        ------
        FlightError
            If it is not.
        """
        if not await seen.until(lambda: self.ahead(seen) >= -self.tolerance, ARRIVAL):
            cause = await silent(self.readback)
            raise FlightError(
                f"{self.name} ended its {self.what} early, before {self.plan.leg.stop:g}, or its "
                f"readback does not follow: {where()}{cause and f'; {cause}'}."
            )

    def ahead(self, seen: Watch) -> float:
        """Return how far the readback is beyond the stop, negative before it."""
        leg = self.plan.leg
        return leg.direction * (seen.value(self.readback) - leg.stop)

    def due(self, since: float, until: float) -> float:
        """Return how far the axis should travel between two times in s after the start."""
        motion = self.plan.motion
        begin, end = motion.position([since, until])
        # An axis that is late has still to come to its stop.
        late = max(until - max(since, motion.duration), 0.0)
        return float(abs(end - begin)) + late * self.plan.leg.slowest

    async def _check_progress(self, seen: Watch, ahead: float, due: float) -> None:
        def travelled() -> float:
            # Behind the stop nothing more is due.
            return inf if self.ahead(seen) >= 0 else self.ahead(seen) - ahead

        cause = await why_stalled(
            travelled, due, self.readback, otherwise=f"no progress for {self.stalled:g} s"
        )
        if cause:
            raise FlightError(
                f"{self.name} stalled at {seen.value(self.readback):.7g} on its way to "
                f"{self.plan.leg.stop:g}: {cause}."
            )


__all__ = ["MotionFollower"]
