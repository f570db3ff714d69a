"""Triggers from a PandA: its sequencer goes through a table of positions, or of times.

Each line of the table is one exposure that begins at a count of the axis's encoder, so steps are
equal in the axis's unit, not in counts. Position capture measures each exposure: its begin and its
end, the mean, the lowest and the highest count of every encoder while it was open.
"""

import asyncio
import re
import time
from contextlib import suppress
from itertools import count
from math import isfinite, nan
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd_async.core import Device, SignalR, SignalRW
from ophyd_async.fastcs.panda import HDFPanda, PandaBitMux, PandaCaptureMode, PandaTimeUnits

from glidepath.devices.panda import (
    NO_PV_ACCESS,
    Panda,
    PandaBox,
    PandaCapture,
    PandaEncoder,
    PandaSequencer,
    SequencerTable,
)
from glidepath.devices.settings import SettingError, confirm
from glidepath.devices.signals import ask, watch
from glidepath.sentences import sentence_of
from glidepath.storage import data_root
from glidepath.trajectory import Leg, PreflightError

from .capture_file import CaptureFile
from .claim import Claim
from .exposure import with_exposure
from .jumps import JumpWatch
from .panda_fields import neutral_settings
from .request import Triggers
from .sequence_parts import sequence_parts
from .sequence_plan import RECOVERY, TICK, SequencePlan, train_table
from .sources import make_trigger_source
from .trigger_box import TriggerBox
from .trigger_source import CapturedTriggers, TriggerError, TriggerPlan, TriggerSource

Floats = NDArray[np.float64]
SettingList = list[tuple[SignalRW[Any], Any]]

BOUND = 5.0
"""Seconds within which the box must do what it is told, or record something more."""

FLUSH_PERIOD = 0.1
"""Seconds after which its server writes what has come."""

QUIET = 0.4
"""Seconds without a new row after which nothing more is expected of a capture that has ended."""

NEWS = 1.0
"""Seconds within which its server has heard of counters that stand: it asks at 10 Hz."""

START_UNCERTAINTY = 0.001
"""Seconds by which the begin that the file tells may differ from the clock of the server."""

START_PATIENCE = 1.0
"""Seconds within which its server closes a file."""

RECENT = 1e9
"""POSIX s; a time stamp before that is none."""

START_BOUND = 1.0
"""Seconds that it may lie beside the arming: if more, the clock of the box is not set."""

EXCESS = 3
"""Ticks by which a captured pulse may be longer than it was asked for."""

MISSING = 2
"""Triggers that may be missing before that is looked into."""

MISSING_SHARE = 0.05
"""Share of the triggers that may be missing at the end."""

SLACK = 0.25
"""Share of a step by which a count may lie before that of its trigger: the encoder's jitter."""

START, END = "exposure_start", "exposure_end"
"""Datasets of the file; those of the encoders are ``encoder_n``, with ``-min`` and ``-max``."""


class Sequencer(TriggerBox):
    """A PandA's sequencer and position capture for one axis.

    Parameters
    ----------
    box
        The box, connected.
    axis
        The axis that is flown, one of those whose encoders the box has.

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
        self.box, self.blocks = box, box.blocks
        self._plan: SequencePlan | None = None
        self._folder: Path | None = None
        self._file: CaptureFile | None = None
        self._jumps: JumpWatch | None = None
        self._scales: list[tuple[float, float]] = []
        self._directions: list[int] = []
        self._saved_table: SequencerTable | None = None
        self._claim: Claim | None = None
        self._touched = self._over = self._drained = False
        self._first_time: float | None = None
        self._due = 0
        self._grown = (0.0, 0)

    # -- planning ----------------------------------------------------------------------------

    async def plan(
        self, leg: Leg, request: Triggers, *, dead_time: float = 0.0, end_trigger: bool = False
    ) -> tuple[SequencePlan, ...]:
        """Return what it will do; see `TriggerSource.plan` and `sequence_plan`."""
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

    # -- settings ----------------------------------------------------------------------------

    @property
    def _inputs(self) -> list[PandaEncoder]:
        return [self.blocks.inenc[number] for number in self.encoders.inputs]

    @property
    def _gate(self) -> str:
        return f"SEQ{self.box.sequencer}.OUTA"

    def _output_settings(self) -> SettingList:
        seq = self.blocks.seq[self.box.sequencer]
        return [
            # A change of units changes what the present number means.
            (seq.prescale_units, PandaTimeUnits.US),
            (seq.prescale, 1.0),
            (seq.repeats, 1),
            *((signal, self._gate) for signal in self.box.output_signals()),
        ]

    def _capture_settings(self) -> SettingList:
        seq, pcap = self.blocks.seq[self.box.sequencer], self.blocks.pcap
        captured: SettingList = [
            setting
            for number, encoder in zip(self.encoders.inputs, self._inputs, strict=True)
            for setting in (
                (encoder.val_capture, "Min Max Mean"),
                (encoder.val_dataset, f"encoder_{number}"),
            )
        ]
        return [
            *self._output_settings(),
            (seq.posa, f"INENC{self.encoders.inputs[0]}.VAL"),
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

    def _datasets(self) -> list[str]:
        names = [f"encoder_{number}" for number in self.encoders.inputs]
        return [START, END, *(f"{name}{end}" for name in names for end in ("", "-min", "-max"))]

    async def _neutral(self) -> SettingList:
        """Return the settings by which no field that somebody has left set has an effect."""
        outputs = {name: getattr(self.blocks, name[0])[name[1]] for name in self.box.output_names()}
        return await neutral_settings(
            {
                "SEQ": [self.blocks.seq[self.box.sequencer]],
                "PCAP": [self.blocks.pcap],
                "INENC": list(self._inputs),
                "OUTPUT": list(outputs.values()),
            }
        )

    async def _save(self) -> None:
        """Remember what `Settings` would put back in an order that is not the right one."""
        if self._saved_table is not None:
            return
        seq = self.blocks.seq[self.box.sequencer]
        if await ask(seq.enable) != PandaBitMux.ONE:
            # Put back last. One that was enabled by a constant would begin to run: it is left
            # disabled.
            await self.settings.lend(seq.enable)
        # A change of units changes what the present number means: units are put back first.
        await self.settings.save(seq.prescale, seq.prescale_units)
        self._saved_table = await self._table()

    # -- whose it is -------------------------------------------------------------------------

    async def _take(self) -> None:
        """Make sure that nobody else uses the box, before anything is changed.

        What a scan of this data directory has left behind, because it was killed, is taken over.

        Raises
        ------
        TriggerError
            If somebody else does.
        """
        if self._touched:
            return
        self._check_wiring()
        claim = Claim(data_root(), self.name)
        if not (claim.take() or await self._idle_already()):
            raise TriggerError(
                f"{self.name} is used by another session of this data directory; end its scan "
                "first."
            )
        busy = await self._busy_with()
        if busy is not None and not await self._is_left_over():
            claim.release()
            raise TriggerError(
                f"{self.name} is {busy} for somebody else; end that first, nothing was changed."
            )
        self._claim, self._touched = claim, True

    def _check_wiring(self) -> None:
        """Refuse blocks that the beamline's module names and the box does not have."""
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
        seq, pcap = self.blocks.seq[self.box.sequencer], self.blocks.pcap
        needed: list[tuple[str, Device, type]] = [
            (f"SEQ{self.box.sequencer}", seq, PandaSequencer),
            ("PCAP", pcap, PandaCapture),
        ]
        for number, encoder in zip(self.encoders.inputs, self._inputs, strict=True):
            needed.append((f"INENC{number}", encoder, PandaEncoder))
        for name, block, kind in needed:
            missing = [field for field in kind.__annotations__ if not hasattr(block, field)]
            if missing:
                raise TriggerError(
                    f"The server of {self.name} does not offer {', '.join(missing)} of {name}, "
                    "which a triggered scan sets; update it (PandABlocks-ioc 0.11.4 or later)."
                )

    async def _idle_already(self) -> bool:
        return await self._busy_with() is None

    async def _busy_with(self) -> str | None:
        """Return what the box is doing, if anything."""
        data, seq = self.blocks.data, self.blocks.seq[self.box.sequencer]
        if await ask(data.capture):
            folder, name = await ask(data.hdf_directory), await ask(data.hdf_file_name)
            return f"writing {folder}/{name}"
        if await ask(self.blocks.pcap.active):
            return "capturing positions"
        if await ask(seq.active):
            return f"running its sequencer {self.box.sequencer}"
        return None

    async def _is_left_over(self) -> bool:
        """Tell whether what it writes is a file of a scan of this data directory."""
        data = self.blocks.data
        folder, name = await ask(data.hdf_directory), await ask(data.hdf_file_name)
        root = PurePath(self.box.at_server(data_root()))
        ours = re.fullmatch(rf"{re.escape(self.name)}_\d{{3,}}(_start)?\.h5", name) is not None
        return ours and PurePath(folder).is_relative_to(root)

    # -- the table ---------------------------------------------------------------------------

    async def _table(self) -> SequencerTable:
        """Return the sequencer's table; an empty one cannot be read as it is (p4p gives None)."""
        try:
            return await self.blocks.seq[self.box.sequencer].table.get_value()
        except (TypeError, ValueError):
            return SequencerTable.empty()

    async def _load(self, table: SequencerTable) -> None:
        """Write the table, and wait until the box shows it: a put may be answered before."""
        signal = self.blocks.seq[self.box.sequencer].table
        await signal.set(table, timeout=BOUND)
        deadline = time.monotonic() + BOUND
        while not _equal(await self._table(), table):
            if time.monotonic() > deadline:
                raise TriggerError(
                    f"{self.name} did not take a table of {len(table)} lines for {signal.source} "
                    f"within {BOUND:g} s."
                )
            await asyncio.sleep(0.01)

    # -- arming ------------------------------------------------------------------------------

    def use_folder(self, folder: Path) -> None:
        """Let the box's server write into the run's folder."""
        self._folder = folder

    async def arm(self, plan: TriggerPlan) -> None:
        """Set it up for a part of a leg, begin to capture and enable it; see `TriggerSource.arm`.

        Before that, its counters are compared with the axis's readback: the axis must be at rest,
        before the first trigger.
        """
        assert isinstance(plan, SequencePlan)
        await self._begin()
        await self._read_scales()
        await self.settings.set_all(await self._neutral(), within=BOUND)
        await self._check_position(plan)
        await self.settings.set_all(self._capture_settings(), within=BOUND)
        await self._load(plan.table)
        await self._arm_capture()
        seq = self.blocks.seq[self.box.sequencer]
        await self._switch(seq.enable, PandaBitMux.ONE, seq.active, "begin its table")
        readings = plan.geometry.readings([plan.leg.start, plan.leg.stop])
        self._directions = [-1 if end < begin else 1 for begin, end in readings]
        self._due, self._grown = 0, (time.monotonic(), 0)
        self._jumps = JumpWatch(self.name, plan.leg, self.encoders.tolerance)
        self._plan = plan

    async def _begin(self) -> None:
        """Let everything stand, and remember how it was."""
        await self._take()
        self._plan = None
        self._over = self._drained = False
        await self._save()
        await self._idle()

    async def _switch(
        self, signal: SignalRW[Any], value: Any, active: SignalR[bool], what: str
    ) -> None:
        """Set a signal; wait until the box says that it is active, or not, as it was told."""
        wanted = value in (True, PandaBitMux.ONE)
        try:
            await signal.set(value, timeout=BOUND)
        except TimeoutError:
            raise TimeoutError(
                f"{self.name} did not {what} within {BOUND:g} s: {signal.source} does not answer; "
                "is its EPICS server alive, and does it reach the box?"
            ) from None
        except Exception as error:
            raise TriggerError(
                f"{self.name} refuses to {what}: {sentence_of(error).rstrip('.')}; look whether "
                "what its EPICS server shows has reached the box."
            ) from error
        try:
            await confirm(self.name, active, wanted, BOUND)
        except SettingError:
            raise TimeoutError(
                f"{self.name} did not {what} within {BOUND:g} s: {active.source} is "
                f"{await ask(active)}."
            ) from None

    async def _read_scales(self) -> None:
        """Read the units of captured positions; refuse encoders that have none."""
        scales = []
        for number, encoder in zip(self.encoders.inputs, self._inputs, strict=True):
            scale, offset = await asyncio.gather(
                encoder.val_scale.get_value(), encoder.val_offset.get_value()
            )
            if not isfinite(scale) or scale == 0:
                raise TriggerError(
                    f"Encoder {number} of {self.name} has a scale of {scale:g}; set "
                    f"{encoder.val_scale.source} to the units of one count, or to 1."
                )
            scales.append((scale, offset))
        self._scales = scales

    async def _check_position(self, plan: SequencePlan) -> None:
        counters = [encoder.val for encoder in self._inputs]
        readback = self.encoders.readback
        async with watch(*counters, readback) as seen:

            def measured() -> float:
                counts = [[float(seen.value(counter))] for counter in counters]
                return float(plan.geometry.position(np.array(counts))[0])

            def agree() -> bool:
                return abs(measured() - seen.value(readback)) <= self.encoders.tolerance

            await seen.until(agree, NEWS)
            position, shown = measured(), seen.value(readback)
        self._check_place(plan.leg, float(plan.positions[0]), position, shown)

    async def _new_path(self) -> Path:
        """Let its server write into the folder; return the next file, as this machine sees it."""
        data, folder = self.blocks.data, self._folder or data_root()
        names = (f"{self.name}_{number:03d}.h5" for number in count(1))
        path = next(folder / name for name in names if not (folder / name).exists())
        await self.settings.set_all(
            [
                (data.create_directory, 0),
                (data.hdf_directory, str(self.box.at_server(folder))),
                (data.capture_mode, PandaCaptureMode.FOREVER),
                (data.num_capture, 0),
                (data.flush_period, FLUSH_PERIOD),
            ],
            within=BOUND,
        )
        try:
            await confirm(self.name, data.directory_exists, True, BOUND)
        except SettingError:
            raise TriggerError(
                f"The server of {self.name} cannot write to {folder}: let it see this folder, "
                "or give the box at_server=..."
            ) from None
        return path

    async def _write_to(self, path: Path) -> None:
        data = self.blocks.data
        await self.settings.set(data.hdf_file_name, path.name, within=BOUND)
        await self._write(True)

    async def _write(self, on: bool) -> None:
        """Let its server begin or end a file; not one of the settings that are put back."""
        data = self.blocks.data
        await data.capture.set(on, timeout=BOUND)
        await confirm(self.name, data.capture, on, BOUND)

    async def _arm_capture(self) -> None:
        """Begin to capture; know when the clock of the box began, and that there is a file.

        The file says exactly when, but its server writes that where a reader sees it only when the
        file is closed. So a first file is begun and closed; a server that connects again while the
        box is armed gets all that has been captured since, and writes the second one.
        """
        path = await self._new_path()
        first = CaptureFile(path.with_name(f"{path.stem}_start.h5"), self._datasets())
        pcap = self.blocks.pcap
        await self._write_to(first.path)
        begin = time.monotonic()
        await self._switch(pcap.arm, True, pcap.active, "arm its position capture")
        taken = time.monotonic() - begin
        zero = await self._armed_at()
        await self._until_there(first)
        await self._write(False)
        start = await self._start_of(first)
        self._file = file = CaptureFile(path, self._datasets())
        await self._write_to(path)
        await self._until_there(file)
        # It was armed between the command and its completion: its own time lies between them. If
        # its clock is set (PTP, NTP), the file knows it better.
        self._zero = zero, taken
        if start is not None and abs(start - zero) <= taken + START_BOUND:
            self._zero = start, START_UNCERTAINTY

    async def _armed_at(self) -> float:
        """Return when it was armed by the clock of its EPICS server, or else by ours (POSIX s)."""
        arm = self.blocks.pcap.arm
        stamp = float((await arm.read(cached=False))[arm.name]["timestamp"])
        # Some servers give their choices no time.
        return stamp if stamp > RECENT else time.time()

    async def _until_there(self, file: CaptureFile) -> None:
        deadline = time.monotonic() + BOUND
        try:
            while not await asyncio.to_thread(file.is_there):
                if time.monotonic() > deadline:
                    raise TriggerError(
                        f"{self.name} is armed, but its server has not made the file {file.path} "
                        f"within {BOUND:g} s; look at its log."
                    )
                await asyncio.sleep(0.02)
        except KeyError as error:
            raise TriggerError(
                f"{self.name} does not capture what it should: {error.args[0]}; look whether the "
                "capture settings that its EPICS server shows have reached the box."
            ) from error

    async def _start_of(self, file: CaptureFile) -> float | None:
        """Return when the times of a file begin, once its server has closed it; then remove it."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            await asyncio.to_thread(file.close)
            start = await asyncio.to_thread(file.start)
            if start is not None or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        await asyncio.to_thread(file.close)
        with suppress(OSError):
            file.path.unlink()
        return start

    # -- for the acceptance of detectors -----------------------------------------------------

    async def send(self, number: int, period: float, width: float) -> float:
        """Send pulses by time, wherever the axis is; see `glidepath.devices.Pulses`.

        Changes settings, which `stop` puts back. Returns NaN: when it begins is not known well
        enough to measure a detector's latency with.
        """
        await self._begin()
        settings = [*self._output_settings(), *await self._neutral()]
        await self.settings.set_all(settings, within=BOUND)
        await self._load(train_table(number, period, width))
        seq = self.blocks.seq[self.box.sequencer]
        await seq.enable.set(PandaBitMux.ONE, timeout=BOUND)
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
        plan, file = self._plan, self._file
        if plan is None or file is None:
            return _NONE
        try:
            async with asyncio.timeout(BOUND):
                if not self._over:
                    self._due = await self._passed(plan)
                rows = await asyncio.to_thread(file.read)
        except TimeoutError:
            raise self._silent(BOUND, file.rows) from None
        if self._over and not self._drained and file.rows < len(plan.counts):
            self._drained = True
            rows = np.concatenate([rows, await self._rest(file, self._due)], axis=1)
        elif rows.shape[1]:
            self._grown = time.monotonic(), self._due
        elif self._due - self._grown[1] > MISSING and time.monotonic() - self._grown[0] > BOUND:
            raise self._missing(file, f" and has not grown for {BOUND:g} s")
        return self._triggers(plan, rows) if rows.shape[1] else _NONE

    async def _passed(self, plan: SequencePlan) -> int:
        """Return how many triggers the axis has passed, by what the server says of the counter."""
        count = await self._inputs[0].val.get_value()
        return int(np.searchsorted(plan.direction * plan.counts, plan.direction * count, "right"))

    async def _rest(self, file: CaptureFile, due: int) -> Floats:
        """Return what is still on its way after the end of the capture."""
        blocks = [np.empty((len(self._datasets()), 0))]
        grown = time.monotonic()
        written = self.blocks.data.num_captured
        while file.rows < due or time.monotonic() - grown < QUIET:
            blocks.append(await asyncio.to_thread(file.read))
            if blocks[-1].shape[1]:
                grown = time.monotonic()
            quiet = time.monotonic() - grown
            if quiet > BOUND or (quiet > QUIET and file.rows >= await written.get_value()):
                break
            await asyncio.sleep(0.02)
        if due - file.rows > max(MISSING, MISSING_SHARE * due):
            raise self._missing(file, "")
        return np.concatenate(blocks, axis=1)

    def _missing(self, file: CaptureFile, how_long: str) -> TriggerError:
        # Said once: nothing more is expected of this capture.
        self._plan = None
        return TriggerError(
            f"{self.name} was passed by the axis at {self._due} triggers, but its file {file.path} "
            f"holds {file.rows}{how_long}; check its encoder inputs and the log of its server."
        )

    def _triggers(self, plan: SequencePlan, rows: Floats) -> CapturedTriggers:
        begins, ends, *captured = rows
        self._check_pulses(plan, begins, ends)
        first, last, mean = [], [], []
        for k, (scale, offset) in enumerate(self._scales):
            average, low, high = (
                (values - offset) / scale for values in captured[3 * k : 3 * k + 3]
            )
            low, high = np.sort(np.rint([low, high]), axis=0)
            self._check_mean(k, average, low, high)
            rising = self._directions[k] > 0
            first.append(low if rising else high)
            last.append(high if rising else low)
            mean.append(average)
        if plan.times is None:
            along = plan.direction * plan.counts
            slack = SLACK * float(np.diff(along).min()) if len(along) > 1 else 0.0
            at = plan.direction * first[0]
            numbers = np.searchsorted(along, at + slack, "right") - 1
            numbers = np.maximum(numbers, 0)
            # It was made when the counter changed, which is half a count before its middle.
            first[0] = first[0] - np.where(at == along[numbers], 0.5 * plan.direction, 0.0)
        else:
            if self._first_time is None:
                self._first_time = float(begins[0])
            between = (plan.times[1:] + plan.times[:-1]) / 2
            numbers = np.searchsorted(between, begins - self._first_time, "right")
        position = plan.geometry.position
        positions = position(np.stack(first))
        if self._jumps is not None:
            self._jumps.check(begins, positions)
        # Disarmed while it was open: the detectors, which a rising edge triggers, went on.
        cut = ends - begins < plan.exposure - 2 * TICK
        return CapturedTriggers(
            numbers.astype(np.int64),
            begins,
            positions,
            np.where(cut, begins + plan.exposure, ends),
            np.where(cut, np.nan, position(np.stack(last))),
            np.where(cut, np.nan, position(np.stack(mean))),
        )

    def _check_pulses(self, plan: SequencePlan, begins: Floats, ends: Floats) -> None:
        """Refuse pulses that are longer than they were asked for: something was changed."""
        longest = float(np.max(ends - begins))
        if longest > plan.exposure + EXCESS * TICK:
            raise TriggerError(
                f"{self.name} made a pulse of {longest:.6g} s where {plan.exposure:.6g} s were "
                f"asked for; somebody has changed its sequencer {self.box.sequencer} meanwhile."
            )

    def _check_mean(self, k: int, average: Floats, low: Floats, high: Floats) -> None:
        """Refuse a mean that lies outside of its own lowest and highest count."""
        wrong = (average < low - 1) | (average > high + 1)
        if wrong.any():
            at = int(np.argmax(wrong))
            raise TriggerError(
                f"{self.name} captured a mean of {average[at]:.1f} counts of encoder "
                f"{self.encoders.inputs[k]} between {low[at]:.0f} and {high[at]:.0f}, which cannot "
                "be; set PCAP.SHIFT_SUM of the box to 0."
            )

    async def complaint(self) -> str | None:
        """Return what the box says went wrong in its sequencer or its position capture."""
        seq, pcap = self.blocks.seq[self.box.sequencer], self.blocks.pcap
        for block, health in (("sequencer", seq.health), ("position capture", pcap.health)):
            # Some servers write "Ok".
            if (said := await ask(health)).upper() != "OK":
                return f"the {block} of {self.name} says {said!r}"
        return None

    async def disarm(self) -> None:
        """Make no more triggers; see `TriggerSource.disarm`.

        Raises
        ------
        TimeoutError
            If the box still says that it is active.
        """
        if not self._touched or self._over:
            return
        if self._plan is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(NEWS):
                    self._due = await self._passed(self._plan)
        await self._stand()
        self._over = True

    async def _stand(self) -> None:
        seq, pcap = self.blocks.seq[self.box.sequencer], self.blocks.pcap
        await self._switch(seq.enable, PandaBitMux.ZERO, seq.active, "stop its sequencer")
        await self._switch(pcap.arm, False, pcap.active, "disarm its position capture")

    async def _idle(self) -> None:
        """Let everything stand, and close the file; settings are free then."""
        self._first_time = None
        if self._file is not None:
            await asyncio.to_thread(self._file.close)
            self._file = None
        await self._stand()
        await self._write(False)

    async def _put_back(self) -> None:
        if self._saved_table is not None:
            table, self._saved_table = self._saved_table, None
            await self._load(table)
        await self.settings.restore()

    def _give_back(self) -> None:
        self._touched = False
        if self._claim is not None:
            self._claim.release()
            self._claim = None


_NONE = CapturedTriggers(np.empty(0, np.int64), np.empty(0), np.empty(0))


def _equal(one: SequencerTable, other: SequencerTable) -> bool:
    if len(one) != len(other):
        return False
    return all(
        np.array_equal(np.asarray(value), np.asarray(getattr(other, name))) for name, value in one
    )


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
