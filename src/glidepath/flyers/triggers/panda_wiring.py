"""The blocks of a PandA that a scan uses: whether they are there, and how they are set."""

import asyncio
import time
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from ophyd_async.core import Device, SignalR, SignalRW
from ophyd_async.fastcs.panda import PandaBitMux, PandaTimeUnits

from glidepath.devices.encoders import AxisEncoders
from glidepath.devices.panda import (
    Panda,
    PandaBlocks,
    PandaBox,
    PandaCapture,
    PandaEncoder,
    PandaSequencer,
    SequencerTable,
)
from glidepath.devices.settings import SettingError, confirm
from glidepath.devices.signals import ask
from glidepath.sentences import sentence_of

from .panda_fields import neutral_settings
from .trigger_source import TriggerError

SettingList = list[tuple[SignalRW[Any], Any]]

BOUND = 5.0
"""Seconds within which the box must do what it is told, or record something more."""

START, END = "exposure_start", "exposure_end"
"""Datasets of the file; those of the encoders are ``encoder_n``, with ``-min`` and ``-max``."""


@dataclass
class PandaWiring:
    """A sequencer, the position capture, the encoders of an axis and the outputs to detectors.

    Parameters
    ----------
    box
        The box, connected.
    blocks
        Its blocks.
    encoders
        The encoders of the axis on the box's inputs.
    bound
        Seconds within which the box must do what it is told.
    """

    box: Panda | PandaBox
    blocks: PandaBlocks
    encoders: AxisEncoders
    bound: float = BOUND

    @property
    def name(self) -> str:
        """Name of the box, for messages."""
        return self.box.name

    @property
    def sequencer(self) -> PandaSequencer:
        """The sequencer that is left to scans."""
        return self.blocks.seq[self.box.sequencer]

    @property
    def inputs(self) -> list[PandaEncoder]:
        """The encoder inputs of the axis, the one to compare first."""
        return [self.blocks.inenc[number] for number in self.encoders.inputs]

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets that a capture writes, in the order in which they are read."""
        names = [f"encoder_{number}" for number in self.encoders.inputs]
        return [START, END, *(f"{name}{end}" for name in names for end in ("", "-min", "-max"))]

    # -- what is there -----------------------------------------------------------------------

    def check(self) -> None:
        """Refuse blocks that the box does not have, and a server that offers too little.

        Raises
        ------
        TriggerError
            Naming what the beamline's module says is connected and is not there, or the fields
            that are missing.
        """
        inputs = [("inenc", number) for number in self.encoders.inputs]
        named = [("seq", self.box.sequencer), *inputs, *self.box.output_names()]
        for kind, number in named:
            there = getattr(self.blocks, kind, {})
            if number not in there:
                known = ", ".join(f"{kind.upper()}{n}" for n in there) or "none of its kind"
                raise TriggerError(
                    f"{self.name} has no {kind.upper()}{number}: it has {known}; correct what the "
                    "beamline's module says is connected."
                )
        self._check_fields()

    def _check_fields(self) -> None:
        """Refuse a box whose server does not offer what a scan sets.

        Ours does not connect then; that of somebody else may have fewer fields.
        """
        needed: list[tuple[str, Device, type]] = [
            (f"SEQ{self.box.sequencer}", self.sequencer, PandaSequencer),
            ("PCAP", self.blocks.pcap, PandaCapture),
        ]
        for number, encoder in zip(self.encoders.inputs, self.inputs, strict=True):
            needed.append((f"INENC{number}", encoder, PandaEncoder))
        for name, block, kind in needed:
            missing = [field for field in kind.__annotations__ if not hasattr(block, field)]
            if missing:
                raise TriggerError(
                    f"The server of {self.name} does not offer {', '.join(missing)} of {name}, "
                    "which a triggered scan sets; update it (PandABlocks-ioc 0.11.4 or later)."
                )

    async def scales(self) -> list[tuple[float, float]]:
        """Return scale and offset of the captured positions of each encoder.

        Raises
        ------
        TriggerError
            If a scale is zero or no number.
        """
        scales = []
        for number, encoder in zip(self.encoders.inputs, self.inputs, strict=True):
            scale, offset = await asyncio.gather(
                encoder.val_scale.get_value(), encoder.val_offset.get_value()
            )
            if not isfinite(scale) or scale == 0:
                raise TriggerError(
                    f"Encoder {number} of {self.name} has a scale of {scale:g}; set "
                    f"{encoder.val_scale.source} to the units of one count, or to 1."
                )
            scales.append((scale, offset))
        return scales

    # -- how they are set --------------------------------------------------------------------

    @property
    def _gate(self) -> str:
        return f"SEQ{self.box.sequencer}.OUTA"

    def output_settings(self) -> SettingList:
        """Return what lets the sequencer's pulses go to the detectors."""
        seq = self.sequencer
        return [
            # A change of units changes what the present number means.
            (seq.prescale_units, PandaTimeUnits.US),
            (seq.prescale, 1.0),
            (seq.repeats, 1),
            *((signal, self._gate) for signal in self.box.output_signals()),
        ]

    def capture_settings(self) -> SettingList:
        """Return the same, and what lets the position capture measure each pulse."""
        pcap = self.blocks.pcap
        captured: SettingList = [
            setting
            for number, encoder in zip(self.encoders.inputs, self.inputs, strict=True)
            for setting in (
                (encoder.val_capture, "Min Max Mean"),
                (encoder.val_dataset, f"encoder_{number}"),
            )
        ]
        return [
            *self.output_settings(),
            (self.sequencer.posa, f"INENC{self.encoders.inputs[0]}.VAL"),
            (pcap.enable, PandaBitMux.ONE),
            (pcap.gate, self._gate),
            (pcap.trig, self._gate),
            (pcap.trig_edge, "Falling"),
            (pcap.ts_start_capture, "Value"),
            (pcap.ts_start_dataset, START),
            (pcap.ts_end_capture, "Value"),
            (pcap.ts_end_dataset, END),
            *captured,
        ]

    async def neutral_settings(self) -> SettingList:
        """Return the settings by which no field that somebody has left set has an effect."""
        outputs = {name: getattr(self.blocks, name[0])[name[1]] for name in self.box.output_names()}
        return await neutral_settings(
            {
                "SEQ": [self.sequencer],
                "PCAP": [self.blocks.pcap],
                "INENC": list(self.inputs),
                "OUTPUT": list(outputs.values()),
            }
        )

    # -- the table ---------------------------------------------------------------------------

    async def table(self) -> SequencerTable:
        """Return the sequencer's table; an empty one cannot be read as it is (p4p gives None)."""
        try:
            return await self.sequencer.table.get_value()
        except (TypeError, ValueError):
            return SequencerTable.empty()

    async def load(self, table: SequencerTable) -> None:
        """Write the table, and wait until the box shows it: a put may be answered before.

        Raises
        ------
        TriggerError
            If the box does not show it in time.
        """
        signal = self.sequencer.table
        await signal.set(table, timeout=self.bound)
        deadline = time.monotonic() + self.bound
        while not _equal(await self.table(), table):
            if time.monotonic() > deadline:
                raise TriggerError(
                    f"{self.name} did not take a table of {len(table)} lines for {signal.source} "
                    f"within {self.bound:g} s."
                )
            await asyncio.sleep(0.01)

    # -- switching ---------------------------------------------------------------------------

    async def switch_sequencer(self, on: bool) -> None:
        """Enable the sequencer, or disable it; see `switch_capture`."""
        seq = self.sequencer
        what = "begin its table" if on else "stop its sequencer"
        wanted = PandaBitMux.ONE if on else PandaBitMux.ZERO
        await self._switch(seq.enable, wanted, seq.active, on, what)

    async def switch_capture(self, on: bool) -> None:
        """Arm the position capture, or disarm it; return when the box says that it has.

        Raises
        ------
        TimeoutError
            If the box, or its server, does not do it in time.
        TriggerError
            If the server refuses it.
        """
        pcap = self.blocks.pcap
        what = f"{'arm' if on else 'disarm'} its position capture"
        await self._switch(pcap.arm, on, pcap.active, on, what)

    async def _switch(
        self, signal: SignalRW[Any], value: Any, active: SignalR[bool], wanted: bool, what: str
    ) -> None:
        try:
            await signal.set(value, timeout=self.bound)
        except TimeoutError:
            raise TimeoutError(
                f"{self.name} did not {what} within {self.bound:g} s: {signal.source} does not "
                "answer; is its EPICS server alive, and does it reach the box?"
            ) from None
        except Exception as error:
            raise TriggerError(
                f"{self.name} refuses to {what}: {sentence_of(error).rstrip('.')}; look whether "
                "what its EPICS server shows has reached the box."
            ) from error
        try:
            await confirm(self.name, active, wanted, self.bound)
        except SettingError:
            raise TimeoutError(
                f"{self.name} did not {what} within {self.bound:g} s: {active.source} is "
                f"{await ask(active)}."
            ) from None


def _equal(one: SequencerTable, other: SequencerTable) -> bool:
    if len(one) != len(other):
        return False
    return all(
        np.array_equal(np.asarray(value), np.asarray(getattr(other, name))) for name, value in one
    )


__all__ = ["PandaWiring"]
