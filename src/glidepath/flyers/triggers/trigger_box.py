"""What trigger boxes have in common: the encoders of an axis, a clock, settings that go back."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from ophyd_async.core import SignalR

from glidepath.devices.encoders import AxisEncoders
from glidepath.devices.settings import Settings
from glidepath.devices.signals import NoAnswerError, comes_true
from glidepath.sentences import sentence_of
from glidepath.trajectory import Leg, PreflightError

from .trigger_source import TriggerError, TriggerSource

NEWS = 1.0
"""Seconds within which servers have heard of an axis that stands: they ask at 10 Hz, or more."""


class TriggerBox(TriggerSource):
    """A box that has the encoders of an axis.

    Parameters
    ----------
    box
        The device, connected; its ``axes`` are the encoders of each axis.
    axis
        The axis that is flown, one of those whose encoders the box has.

    Raises
    ------
    PreflightError
        If the box has no encoder of the axis.
    """

    def __init__(self, box: Any, axis: Any) -> None:
        if axis.name not in box.axes:
            known = ", ".join(box.axes) or "no axis"
            raise PreflightError(
                f"{box.name} cannot follow {axis.name}: it has the encoders of {known}; fly one "
                "of these, or tell it in the beamline's module which encoder is connected."
            )
        self.name = box.name
        self.encoders: AxisEncoders = box.axes[axis.name]
        self.settings = Settings(box.name)
        self._touched = False
        self._zero: tuple[float, float] | None = None

    def _check_place(self, leg: Leg, first: float, measured: float, shown: float) -> None:
        """Compare where the counters and the readback say that the axis is, before it is armed.

        Parameters
        ----------
        leg
            What is to be flown.
        first, measured, shown
            Positions, in the axis's unit: of the first trigger, by the counters, by the readback.

        Raises
        ------
        TriggerError
            If they do not agree, or the axis is beyond the first trigger.
        """
        if not abs(measured - shown) <= self.encoders.tolerance:
            numbers = " and ".join(str(number) for number in self.encoders.inputs)
            raise TriggerError(
                f"{self.name} counts {measured:.4f} where {self.encoders.readback.name} is "
                f"{shown:.4f}; set the counters of its encoders {numbers} to where the axis is."
            )
        if leg.direction * (first - measured) <= 0:
            raise TriggerError(
                f"{self.name} was to be armed before {first:.4f}, but the axis is "
                f"at {measured:.4f} already; arm it at the run-up."
            )

    async def _check_readback(
        self,
        leg: Leg,
        first: float,
        measured: Callable[[Callable[[SignalR[Any]], Any]], float],
        *counters: SignalR[Any],
    ) -> None:
        """Wait until the counters and the readback agree, or refuse to arm; see `_check_place`.

        Parameters
        ----------
        leg, first
            See `_check_place`.
        measured
            Returns where the counters say that the axis is, by a function that returns the value
            of a signal.
        counters
            Signals that it asks for.
        """
        readback = self.encoders.readback

        def agree(value: Callable[[SignalR[Any]], Any]) -> bool:
            return abs(measured(value) - value(readback)) <= self.encoders.tolerance

        _, found = await comes_true(agree, *counters, readback, within=NEWS)
        self._check_place(leg, first, measured(found.__getitem__), found[readback])

    def _silent(self, seconds: float, known: int) -> TimeoutError:
        """Return what is said when nothing can be read for so many seconds."""
        return TimeoutError(
            f"{self.name} did not answer within {seconds:g} s, so nothing is known of its "
            f"triggers after the first {known}; is its EPICS server alive, "
            "and does it reach the box?"
        )

    async def clock(self) -> tuple[float, float]:
        """Return when its times begin, as it was found out when it was armed."""
        if self._zero is None:
            raise TriggerError(f"{self.name} has no clock yet: it was not armed.")
        return self._zero

    async def stop(self) -> None:
        """Send no more pulses, and put the settings back."""
        await self.disarm()
        await self.restore()

    async def restore(self) -> None:
        """Put back the settings; see `TriggerSource.restore`.

        A box that was never begun with, because somebody else uses it, is left alone.
        """
        if not self._touched:
            return
        # Tried once: what a box that is gone does not take is said, and not waited for again.
        self._touched = False
        try:
            await self._idle()
            await self._put_back()
        except (NoAnswerError, TimeoutError) as error:
            raise TriggerError(
                f"The settings of {self.name} could not be put back: {sentence_of(error)}"
            ) from error
        finally:
            self._give_back()

    @abstractmethod
    async def _idle(self) -> None:
        """Let it come to rest: settings are free then. TimeoutError if it does not."""

    async def _put_back(self) -> None:
        """Write the settings that were there before."""
        await self.settings.restore()

    def _give_back(self) -> None:
        """Let others use it, once its settings are back."""
        return


__all__ = ["NEWS", "TriggerBox"]
