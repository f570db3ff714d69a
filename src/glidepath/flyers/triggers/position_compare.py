"""Triggers from a Zebra: where the encoders of an axis have gone on by so many counts, or by time.

The box makes steps of equal counts. What they are in energy depends on where the axis is, so the
energies are computed, not assumed; and what was latched at each trigger is what counts in the end.
"""

import asyncio
import time
from collections.abc import Iterable
from math import isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import SignalRW

from glidepath.devices.settings import confirm
from glidepath.devices.signals import (
    GONE_TIMEOUT,
    NoAnswerError,
    Watch,
    ask,
    patience_with,
    tell,
    watch,
)
from glidepath.devices.zebra import (
    Zebra,
)
from glidepath.physics import EncoderGeometry
from glidepath.trajectory import Leg, PreflightError

from .compare_parts import compare_parts
from .compare_plan import RECOVERY, TICK, UNIT, ComparePlan
from .exposure import with_exposure
from .jumps import JumpWatch
from .request import Triggers
from .trigger_box import TriggerBox
from .trigger_source import CapturedTriggers, TriggerPlan
from .zebra_settings import TEST_GATE, compare_settings, output_settings, probe_settings

Floats = NDArray[np.float64]

MEMORY = 500_000
"""Numbers that the box can hold: a time and the encoders of each capture (2 MB)."""

BOUND = 5.0
"""Seconds within which the box must do what it is told, or hand over something more."""

FIRMWARE = 0x20
"""The oldest firmware that scans work with (``zebraHardwareTest.py`` of the EPICS support)."""


class PositionCompare(TriggerBox):
    """Position compare of a Zebra for one axis.

    Parameters
    ----------
    box
        The box, connected.
    axis
        The axis that is flown, one of those whose encoders the box has.

    Raises
    ------
    PreflightError
        If the box has no encoder of the axis.
    """

    recovery = RECOVERY

    def __init__(self, box: Zebra, axis: Any) -> None:
        super().__init__(box, axis)
        for number in self.encoders.inputs:
            if number not in box.encoder:
                known = ", ".join(str(n) for n in box.encoder)
                raise PreflightError(
                    f"{box.name} has no encoder input {number}: it has {known}; correct what the "
                    "beamline's module says is connected."
                )
        self.box = box
        self._plan: ComparePlan | None = None
        self._scales: list[tuple[float, float]] = []
        self._over = False
        self._gone = False
        self._seen = 0
        self._jumps: JumpWatch | None = None
        self._first_time = 0.0

    # -- planning ----------------------------------------------------------------------------

    async def plan(
        self, leg: Leg, request: Triggers, *, dead_time: float = 0.0, end_trigger: bool = False
    ) -> tuple[ComparePlan, ...]:
        """Return what it will do; see `TriggerSource.plan`.

        By position, steps are as many whole counts as come nearest to the step on the average of
        the leg. Exposures lie wholly inside the leg.
        """
        await self._check_firmware()
        await self._read_scales()
        geometry, capacity = await asyncio.gather(self.encoders.geometry(), self._capacity())

        def planned(exposure: float) -> list[ComparePlan]:
            return compare_parts(
                self.name,
                leg,
                geometry,
                request,
                exposure=exposure,
                capacity=capacity - end_trigger,
                end_trigger=end_trigger,
            )

        return with_exposure(leg, request, max(dead_time, self.recovery), planned)

    async def _check_firmware(self) -> None:
        """Refuse a box that is too old, or that its server has not heard of."""
        version = await ask(self.box.firmware)
        if version == 0:
            raise PreflightError(
                f"The server of {self.name} does not know its firmware ({self.box.firmware.source} "
                "is 0): look whether it reaches the box."
            )
        if version < FIRMWARE:
            raise PreflightError(
                f"{self.name} has the firmware 0x{version:X}, and scans need 0x{FIRMWARE:X} or "
                "later, in which the direction of the position compare (PC_DIR) can be set: update "
                "the box, or fly without triggers."
            )

    async def _read_scales(self) -> None:
        """Read the units of the support's positions; refuse encoders that have none."""
        scales = []
        for number in self.encoders.inputs:
            encoder = self.box.encoder[number]
            resolution, offset = await asyncio.gather(
                encoder.resolution.get_value(), encoder.offset.get_value()
            )
            if not isfinite(resolution) or resolution == 0:
                raise PreflightError(
                    f"Encoder {number} of {self.name} has a resolution of {resolution:g}; set "
                    f"{encoder.resolution.source} to the units of one count, or to 1."
                )
            scales.append((resolution, offset))
        self._scales = scales

    async def _capacity(self) -> int:
        """Return how many rows of one arming are kept."""
        kept = await self.box.capacity.get_value()
        return min(kept, MEMORY // (1 + len(self.encoders.inputs)))

    # -- settings ----------------------------------------------------------------------------

    async def _save(self) -> None:
        """Remember the settings in the reverse of the order in which they are put back.

        What chooses units is put back before what is in these units.
        """
        box, pulse = self.box, self.box.pulse
        await self.settings.save(
            *box.outputs.values(),
            *(pulse.input, pulse.polarity, pulse.width, pulse.delay, pulse.unit),
            *(box.pulses, box.pulse_delay, box.pulse_width, box.pulse_step, box.pulse_start),
            *(box.gate_step, box.gates, box.gate_width, box.gate_start),
            *(box.chosen, box.pulse_source, box.gate_source, box.time_unit, box.direction),
            *(box.compared, box.arm_source),
        )

    async def _apply(self, settings: Iterable[tuple[SignalRW[Any], Any]]) -> None:
        await self.settings.set_all(settings, within=BOUND)

    # -- arming ------------------------------------------------------------------------------

    async def arm(self, plan: TriggerPlan) -> None:
        """Set it up for a part of a leg and arm it; see `TriggerSource.arm`.

        Before that, one capture that no detector sees tells whether the counters agree with the
        axis's readback, and whether the axis is where it must be: before the first trigger.
        """
        assert isinstance(plan, ComparePlan)
        self._touched, self._over, self._plan = True, False, None
        self._gone = False
        await self._idle()
        if await ask(self.box.errors):
            await self.box.reset.set(1)
            # What is left of an earlier scan is no complaint about this one.
            await confirm(self.name, self.box.errors, 0, BOUND)
        await self._save()
        await self._read_scales()
        await self._check_position(plan)
        await self._apply(compare_settings(self.box, plan, self._scales[0]))
        box = self.box
        async with watch(box.armed, box.acquiring, box.downloaded) as seen:
            await self._start(seen)
            if not await seen.until(
                lambda: (
                    bool(seen.value(box.armed) and seen.value(box.acquiring))
                    and not seen.value(box.downloaded)
                ),
                BOUND,
            ):
                raise self._not_armed(seen)
        self._seen = 0
        self._jumps = JumpWatch(self.name, plan.leg, self.encoders.tolerance)
        self._plan = plan

    async def _start(self, seen: Watch) -> None:
        """Arm; know when the clock of the box began."""
        begin = time.monotonic()
        try:
            await self.box.arm.set(1, timeout=BOUND)
        except TimeoutError:
            raise self._not_armed(seen) from None
        taken = time.monotonic() - begin
        reading = await self.box.arm.read(cached=False)
        # It was armed between the command and its completion: its own time lies between them. The
        # quartz of the box is a clock of its own: a few 1e-5 off in rate.
        self._zero = reading[self.box.arm.name]["timestamp"], taken

    def _not_armed(self, seen: Watch) -> TimeoutError:
        shown = ", ".join(
            f"{signal.source} is {seen.value(signal)}"
            for signal in (self.box.armed, self.box.acquiring)
            if seen.has(signal)
        )
        return TimeoutError(f"{self.name} was not armed within {BOUND:g} s: {shown}.")

    async def _check_position(self, plan: ComparePlan) -> None:
        measured = await self._measure(plan.geometry)
        await self._check_readback(plan.leg, float(plan.positions[0]), lambda _: measured)

    async def position(self) -> float:
        """Return where the axis is by the encoders, from one capture that no detector sees.

        The axis should be at rest. Changes settings: call `restore` afterwards.
        """
        await self._idle()
        await self._save()
        await self._read_scales()
        return await self._measure(await self.encoders.geometry())

    async def _measure(self, geometry: EncoderGeometry) -> float:
        await self._apply(probe_settings(self.box, self.encoders.inputs))
        box = self.box
        self._touched = True
        async with watch(box.armed, box.acquiring, box.downloaded) as seen:
            started = seen.latch(lambda: bool(seen.value(box.acquiring)))
            await self._start(seen)

            def over() -> bool:
                return (
                    started() and not seen.value(box.acquiring) and bool(seen.value(box.downloaded))
                )

            if not await seen.until(over, BOUND):
                raise self._not_armed(seen)
        _, readings = await self._read(0, 1)
        return float(geometry.position(readings)[0])

    # -- for the acceptance of detectors -----------------------------------------------------

    async def send(self, number: int, period: float, width: float) -> float:
        """Send pulses by time, wherever the axis is; see `glidepath.devices.Pulses`.

        Changes settings, which `stop` puts back. Returns NaN: when the box begins is known to some
        ms only, which is too little to measure a detector's latency with.
        """
        self._touched, self._over, self._plan = True, False, None
        await self._idle()
        await self._save()
        box, step = self.box, period / UNIT.seconds
        train: list[tuple[SignalRW[Any], Any]] = [
            (box.gate_width, max(number * period, TEST_GATE) / UNIT.seconds),
            (box.pulse_step, round(step / TICK) * TICK),
            (box.pulses, number),
        ]
        settings = {**dict(probe_settings(self.box, self.encoders.inputs)), **dict(train)}
        await self._apply([*(settings | dict(output_settings(self.box, width))).items()])
        async with watch(box.armed, box.acquiring) as seen:
            await self._start(seen)
        return nan

    # -- running -----------------------------------------------------------------------------

    async def captured(self) -> CapturedTriggers:
        """Return the triggers made since the last call; see `TriggerSource.captured`."""
        plan = self._plan
        if plan is None:
            return _NONE
        if self._over:
            await self._idle()
        try:
            async with asyncio.timeout(BOUND):
                times, readings = await self._fresh()
        except TimeoutError:
            raise self._silent(BOUND, self._seen) from None
        if not len(times):
            return _NONE
        if self._seen == 0:
            self._first_time = float(times[0])
        self._seen += len(times)
        if plan.step is not None:
            beyond = plan.direction * (readings[0] - plan.first)
            numbers = np.floor(beyond / plan.step)
            # It was made when the counter changed, which is half a count before its middle.
            readings[0] -= np.where(beyond % plan.step == 0, 0.5 * plan.direction, 0.0)
        else:
            assert plan.period is not None
            numbers = np.rint((times - self._first_time) / plan.period)
        positions = plan.geometry.position(readings)
        if self._jumps is not None:
            self._jumps.check(times, positions)
        return CapturedTriggers(numbers.astype(np.int64), times, positions)

    async def _fresh(self) -> tuple[Floats, Floats]:
        """Return what was handed over since the last call."""
        box = self.box
        if not self._over:
            await box.update.set(1, timeout=BOUND)
        number = min(await box.downloaded.get_value(), await box.capacity.get_value())
        return await self._read(self._seen, max(number, self._seen))

    async def _read(self, begin: int, end: int) -> tuple[Floats, Floats]:
        """Return times (s) and encoder readings (counts, shape (k, n)) of some captures."""
        if begin == end:
            return np.empty(0), np.empty((len(self._scales), 0))
        arrays = await asyncio.gather(
            self.box.times.get_value(),
            *(self.box.encoder[number].captured.get_value() for number in self.encoders.inputs),
        )
        # They are published one after the other.
        end = min(end, *(len(array) for array in arrays))
        times, *encoders = (np.asarray(array[begin:end], np.float64) for array in arrays)
        readings = [
            np.rint((values - offset) / resolution)
            for values, (resolution, offset) in zip(encoders, self._scales, strict=True)
        ]
        return times * UNIT.seconds, np.stack(readings)

    async def complaint(self) -> str | None:
        """Return what the box says went wrong: overlapping pulses, captures lost on the way."""
        box = self.box
        errors = await box.errors.get_value()
        if errors >> (box.pulse_number - 1) & 1:
            return (
                f"{self.name} got triggers while the pulse before was not over, and made none of "
                "them; choose a shorter exposure."
            )
        if errors >> 4 & 1:
            return f"{self.name} lost captures because they came too fast; choose a larger step."
        if self._plan is not None and self._over:
            async with watch(box.captured, box.downloaded) as seen:
                if not await seen.until(
                    lambda: seen.value(box.captured) == seen.value(box.downloaded), BOUND
                ):
                    return (
                        f"{self.name} made {seen.value(box.captured)} triggers, but handed over "
                        f"{seen.value(box.downloaded)} of them."
                    )
        return None

    async def disarm(self) -> None:
        """Make no more triggers; see `TriggerSource.disarm`.

        Raises
        ------
        TimeoutError
            If the box still says that it is armed.
        """
        if not self._touched or self._over:
            return
        box = self.box
        await self._tell_to_disarm()
        async with watch(box.armed, within=patience_with(box.armed)) as seen:
            if not await seen.until(lambda: not seen.value(box.armed), BOUND):
                raise TimeoutError(
                    f"{self.name} was told to disarm and is still armed after {BOUND:g} s."
                )
        self._over = True

    async def _tell_to_disarm(self) -> None:
        try:
            await tell(self.box.disarm, 1, GONE_TIMEOUT if self._gone else None)
        except NoAnswerError:
            self._gone = True
            raise

    async def _idle(self) -> None:
        """Wait until it is disarmed and has handed over everything; settings are free then.

        Raises
        ------
        TimeoutError
            If nothing more comes.
        """
        box = self.box
        patience = GONE_TIMEOUT if self._gone else patience_with(box.armed)
        async with watch(box.armed, box.acquiring, box.downloaded, within=patience) as seen:

            def idle() -> bool:
                return not seen.value(box.armed) and not seen.value(box.acquiring)

            if seen.value(box.armed):
                await self._tell_to_disarm()
            before = None
            while not await seen.until(idle, BOUND):
                if seen.value(box.downloaded) == before:
                    raise TimeoutError(
                        f"{self.name} is not ready for settings: it hands over nothing more, but "
                        f"{box.acquiring.source} is {seen.value(box.acquiring)}."
                    )
                before = seen.value(box.downloaded)


_NONE = CapturedTriggers(np.empty(0, np.int64), np.empty(0), np.empty(0))


__all__ = ["PositionCompare"]
