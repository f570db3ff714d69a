"""Triggers from a PandA: its sequencer goes through a table of positions, or of times.

Each line of the table is one exposure that begins at a count of the axis's encoder, so steps are
equal in the axis's unit, not in counts. Position capture measures each exposure: its begin and its
end, the mean, the lowest and the highest count of every encoder while it was open.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import SignalR
from ophyd_async.fastcs.panda import HDFPanda, PandaBitMux

from glidepath.devices.panda import NO_PV_ACCESS, Panda, PandaBox, SequencerTable
from glidepath.devices.signals import ask, holds_twice
from glidepath.trajectory import Leg, PreflightError

from .captured_pulses import NO_TRIGGERS, CapturedPulses
from .claim import Claim
from .exposure import with_exposure
from .panda_recording import PandaRecording
from .panda_use import claim_panda
from .panda_wiring import PandaWiring
from .request import Triggers
from .sequence_parts import sequence_parts
from .sequence_plan import RECOVERY, SequencePlan, train_table
from .sources import make_trigger_source
from .trigger_box import NEWS, TriggerBox
from .trigger_source import CapturedTriggers, TriggerError, TriggerPlan, TriggerSource

Floats = NDArray[np.float64]

POLL = 0.2
"""Seconds after which its server has asked the box again."""

MISSING = 2
"""Triggers that may be missing before that is looked into."""

MISSING_SHARE = 0.05
"""Share of the triggers that may be missing at the end."""


class Sequencer(TriggerBox):
    """A PandA's sequencer and position capture for one axis.

    Parameters
    ----------
    box
        The box, connected.
    axis
        The axis that is flown, one of those whose encoders the box has.

    Attributes
    ----------
    wiring
        The blocks that are used.
    recording
        What the position capture writes.

    Raises
    ------
    PreflightError
        If the box has no encoder of the axis, or PV Access is not installed.
    """

    recovery = RECOVERY

    def __init__(self, box: Panda | PandaBox, axis: Any) -> None:
        if box.blocks is None:
            raise PreflightError(NO_PV_ACCESS.format(name=box.name))
        super().__init__(box, axis)
        self.box = box
        self.wiring = PandaWiring(box, box.blocks, self.encoders)
        self.recording = PandaRecording(self.wiring, self.settings)
        self._plan: SequencePlan | None = None
        self._pulses: CapturedPulses | None = None
        self._saved_table: SequencerTable | None = None
        self._claim: Claim | None = None
        self._touched = self._over = self._drained = False
        self._due = 0
        self._grown = (0.0, 0)

    # -- planning ----------------------------------------------------------------------------

    async def plan(
        self, leg: Leg, request: Triggers, *, dead_time: float = 0.0, end_trigger: bool = False
    ) -> tuple[SequencePlan, ...]:
        """Return what it will do; see `TriggerSource.plan` and `sequence_plan`."""
        try:
            self.wiring.check()
            await self.wiring.scales()
        except TriggerError as error:
            raise PreflightError(str(error)) from error
        geometry = await self.encoders.geometry()

        def planned(exposure: float) -> list[SequencePlan]:
            return sequence_parts(
                self.name,
                leg,
                geometry,
                request,
                exposure=exposure,
                lines=self.box.lines,
                end_trigger=end_trigger,
            )

        return with_exposure(leg, request, max(dead_time, self.recovery), planned)

    # -- arming ------------------------------------------------------------------------------

    def use_folder(self, folder: Path) -> None:
        """Let the box's server write into the run's folder."""
        self.recording.folder = folder

    async def arm(self, plan: TriggerPlan) -> None:
        """Set it up for a part of a leg, begin to capture and enable it; see `TriggerSource.arm`.

        Before that, its counters are compared with the axis's readback: the axis must be at rest,
        before the first trigger.
        """
        assert isinstance(plan, SequencePlan)
        wiring, within = self.wiring, self.wiring.bound
        await self._begin()
        scales = await wiring.scales()
        await self.settings.set_all(await wiring.neutral_settings(), within=within)
        await self._check_position(plan)
        await self.settings.set_all(wiring.capture_settings(), within=within)
        await wiring.load(plan.table)
        self._zero = await self.recording.begin()
        await wiring.switch_sequencer(True)
        self._pulses = CapturedPulses(wiring, plan, scales)
        self._due, self._grown = 0, (time.monotonic(), 0)
        self._plan = plan

    async def _begin(self) -> None:
        """Let everything stand, and remember how it was."""
        if not self._touched:
            self.wiring.check()
            self._claim = await claim_panda(self.wiring)
            self._touched = True
        self._plan = None
        self._over = self._drained = False
        await self._save()
        await self._idle()

    async def _save(self) -> None:
        """Remember what `Settings` would put back in an order that is not the right one."""
        if self._saved_table is not None:
            return
        seq = self.wiring.sequencer
        if await ask(seq.enable) != PandaBitMux.ONE:
            # Put back last. One that was enabled by a constant would begin to run: it is left
            # disabled.
            await self.settings.lend(seq.enable)
        # A change of units changes what the present number means: units are put back first.
        await self.settings.save(seq.prescale, seq.prescale_units)
        self._saved_table = await self.wiring.table()

    async def _check_position(self, plan: SequencePlan) -> None:
        counters = [encoder.val for encoder in self.wiring.inputs]

        def measured(value: Callable[[SignalR[Any]], Any]) -> float:
            counts = [[float(value(counter))] for counter in counters]
            return float(plan.geometry.position(np.array(counts))[0])

        await self._check_readback(plan.leg, float(plan.positions[0]), measured, *counters)

    # -- for the acceptance of detectors -----------------------------------------------------

    async def send(self, number: int, period: float, width: float) -> float:
        """Send pulses by time, wherever the axis is; see `glidepath.devices.Pulses`.

        Changes settings, which `stop` puts back. Returns NaN: when it begins is not known well
        enough to measure a detector's latency with.
        """
        await self._begin()
        wiring = self.wiring
        settings = [*wiring.output_settings(), *await wiring.neutral_settings()]
        await self.settings.set_all(settings, within=wiring.bound)
        await wiring.load(train_table(number, period, width))
        await wiring.sequencer.enable.set(PandaBitMux.ONE, timeout=wiring.bound)
        return nan

    # -- running -----------------------------------------------------------------------------

    async def captured(self) -> CapturedTriggers:
        """Return the triggers made since the last call; see `TriggerSource.captured`.

        Raises
        ------
        TriggerError
            If the axis has passed where triggers are made, but the file does not grow.
        TimeoutError
            If the box's server does not answer.
        """
        plan, pulses = self._plan, self._pulses
        if plan is None or pulses is None or not self.recording.is_open:
            return NO_TRIGGERS
        bound = self.wiring.bound
        try:
            async with asyncio.timeout(bound):
                if not self._over:
                    self._due = await self._passed(plan)
                rows = await self.recording.read()
        except TimeoutError:
            raise self._silent(bound, self.recording.rows) from None
        if self._over and not self._drained and self.recording.rows < len(plan.counts):
            self._drained = True
            rows = np.concatenate([rows, await self._read_to_end(self._due)], axis=1)
        elif rows.shape[1]:
            self._grown = time.monotonic(), self._due
        elif self._is_late() and time.monotonic() - self._grown[0] > bound:
            # One look may get a counter as it was before the way to the run-up.
            await asyncio.sleep(POLL)
            self._due = min(self._due, await self._passed(plan))
            if self._is_late():
                raise self._missing(f" and has not grown for {bound:g} s")
        return pulses.triggers(rows)

    def _is_late(self) -> bool:
        return self._due - self._grown[1] > MISSING

    async def _passed(self, plan: SequencePlan) -> int:
        """Return how many triggers the axis has passed, by what the server says of the counter."""
        count = await self.wiring.inputs[0].val.get_value()
        return int(np.searchsorted(plan.direction * plan.counts, plan.direction * count, "right"))

    async def _read_to_end(self, due: int) -> Floats:
        """Return what is still on its way after the end of the capture."""
        enough = due - max(MISSING, int(MISSING_SHARE * due))
        rows = await self.recording.read_to_end(due, enough)
        if self.recording.rows < enough:
            raise self._missing("")
        return rows

    def _missing(self, how_long: str) -> TriggerError:
        # Said once: nothing more is expected of this capture.
        self._plan = None
        return TriggerError(
            f"{self.name} was passed by the axis at {self._due} triggers, but its file "
            f"{self.recording.path} holds {self.recording.rows}{how_long}; check its encoder "
            "inputs and the log of its server."
        )

    async def complaint(self) -> str | None:
        """Return what the box says went wrong in its sequencer or its position capture."""
        seq, pcap = self.wiring.sequencer, self.wiring.blocks.pcap
        for block, health in (("sequencer", seq.health), ("position capture", pcap.health)):
            if await holds_twice(partial(_is_ill, health)):
                return f"the {block} of {self.name} says {await ask(health)!r}"
        return None

    # -- ending ------------------------------------------------------------------------------

    async def disarm(self) -> None:
        """Make no more triggers; see `TriggerSource.disarm`.

        Raises
        ------
        TimeoutError
            If the box still says that it is active.
        """
        if not self._touched or self._over:
            return
        before = await self._passed_so_far()
        await self._stand()
        # The axis may have gone on; what one look gets may also be a counter as it was long ago.
        self._due = min(before, await self._passed_so_far())
        self._over = True

    async def _passed_so_far(self) -> int:
        """Return how many triggers the axis has passed, or what was known if nobody says."""
        if self._plan is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(NEWS):
                    return await self._passed(self._plan)
        return self._due

    async def _stand(self) -> None:
        await self.wiring.switch_sequencer(False)
        await self.wiring.switch_capture(False)

    async def _idle(self) -> None:
        """Let everything stand, and close the file; settings are free then."""
        await self.recording.close()
        await self._stand()
        await self.recording.end()

    async def _put_back(self) -> None:
        if self._saved_table is not None:
            table, self._saved_table = self._saved_table, None
            await self.wiring.load(table)
        await self.settings.restore()

    def _give_back(self) -> None:
        self._touched = False
        if self._claim is not None:
            self._claim.release()
            self._claim = None


async def _is_ill(health: SignalR[str]) -> bool:
    # Some servers write "Ok".
    return (await ask(health)).upper() != "OK"


@make_trigger_source.register
def _(trigger: Panda | PandaBox, axis: Any) -> TriggerSource:
    return Sequencer(trigger, axis)


@make_trigger_source.register
def _(trigger: HDFPanda, axis: Any) -> TriggerSource:
    raise PreflightError(
        f"{trigger.name} does not say which encoders and detectors are connected to it; give "
        "panda_box(panda, axes=..., outputs=...) in its place."
    )


__all__ = ["Sequencer"]
