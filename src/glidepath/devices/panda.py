"""The PandA: a box whose sequencer goes through a table of positions or times, and captures.

The blocks are ophyd-async's (`ophyd_async.fastcs.panda.HDFPanda`), with the fields of position
capture beside them; process variables are found by the box's PVI tree over PV Access. Fields:
``modules/*/*.block.ini`` of PandABlocks-FPGA, as fastcs-PandABlocks serves them.
"""

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import cast
from urllib.parse import quote
from uuid import uuid4

from ophyd_async.core import (
    DEFAULT_TIMEOUT,
    Device,
    DeviceVector,
    LazyMock,
    PathInfo,
    SignalR,
    SignalRW,
)
from ophyd_async.fastcs.panda import HDFPanda, InencBlock, PcapBlock, SeqBlock, SeqTable
from pydantic import model_validator

from glidepath.storage import data_root

from .encoders import AxisEncoders
from .pv_access import NO_PV_ACCESS

__all__ = [
    "LINES",
    "Panda",
    "PandaBlocks",
    "PandaBox",
    "PandaCapture",
    "PandaEncoder",
    "PandaSequencer",
    "SequencerTable",
    "panda_box",
]

LINES = 4096
"""Lines that the table of every PandA's sequencer takes; ophyd-async's own takes no more."""


class PandaEncoder(InencBlock):
    """An encoder input.

    Attributes
    ----------
    val
        ``VAL``: counts, as the server last heard of them (10 Hz).
    val_capture
        ``VAL.CAPTURE``: what is captured of it, such as ``Min Max Mean``.
    val_dataset
        Name in the file; those of minimum and maximum end in ``-min`` and ``-max``.
    """

    val: SignalR[int]
    val_capture: SignalRW[str]
    val_dataset: SignalRW[str]


class SequencerTable(SeqTable):
    """Lines of a sequencer, as many as its box takes: some take more than 4096."""

    @model_validator(mode="after")
    def _validate_max_length(self) -> "SequencerTable":
        # In place of the limit of ophyd-async's table, which is that of the smallest box.
        return self


class PandaSequencer(SeqBlock):
    """A sequencer; ``health`` is OK or what went wrong since it was enabled."""

    table: SignalRW[SequencerTable]  # type: ignore[assignment]
    health: SignalR[str]


class PandaCapture(PcapBlock):
    """Position capture.

    Attributes
    ----------
    enable, gate, trig, trig_edge
        ``PCAP.ENABLE``, ``GATE``, ``TRIG``: signals; ``TRIG_EDGE``: Rising, Falling or Either.
    ts_start_capture, ts_end_capture
        ``TS_START.CAPTURE``, ``TS_END.CAPTURE``: whether first and last moment of the gate are
        captured, in s from the moment of enabling.
    ts_start_dataset, ts_end_dataset
        Names of both in the file.
    health
        OK or what went wrong since arming.
    """

    enable: SignalRW[str]
    gate: SignalRW[str]
    trig: SignalRW[str]
    trig_edge: SignalRW[str]
    ts_start_capture: SignalRW[str]
    ts_start_dataset: SignalRW[str]
    ts_end_capture: SignalRW[str]
    ts_end_dataset: SignalRW[str]
    health: SignalR[str]


class PandaBlocks(HDFPanda):
    """The blocks of a PandA, as far as triggered scans need them."""

    seq: DeviceVector[PandaSequencer]  # type: ignore[assignment]
    inenc: DeviceVector[PandaEncoder]
    pcap: PandaCapture


class Panda(Device):
    """A PandA, and what is connected to it.

    It can be made without p4p; connecting it then says what is missing.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"BL01-EA-PANDA-01:"``.
    name
        Name of the device.
    axes
        Name of an axis -> its encoders on the box's encoder inputs (INENC).
    outputs
        Connectors that go to detectors: they carry the sequencer's output during a scan.
    sequencer
        Which of its sequencers is left to scans.
    at_server
        Turns a folder of this machine into the same folder as the box's EPICS server sees it.
    lines
        Lines that a table of the sequencer takes: what the box answers to
        ``SEQ1.TABLE.MAX_LENGTH?``, divided by 4. Its EPICS server does not tell it. A leg that
        needs more is flown in parts.

    Attributes
    ----------
    blocks
        All that its PVI tree tells of, an ophyd-async ``HDFPanda``; None without p4p.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        axes: Mapping[str, AxisEncoders] | None = None,
        outputs: Sequence[str] = ("TTLOUT1",),
        sequencer: int = 1,
        at_server: Callable[[Path], PurePath] = Path.absolute,
        lines: int = LINES,
    ) -> None:
        if lines < 2:
            raise ValueError(
                f"{name or prefix} cannot have tables of {lines!r} lines; give 2 or more."
            )
        for output in outputs:
            _split(output)
        self.axes = dict(axes or {})
        self.outputs = tuple(outputs)
        self.sequencer = sequencer
        self.at_server = at_server
        self.lines = lines
        # Set once: ophyd-async goes by the first value whether an attribute is a child.
        there = importlib.util.find_spec("p4p") is not None
        self.blocks = PandaBlocks(prefix, self._path) if there else None
        super().__init__(name)

    def _path(self, datakey_name: str | None = None) -> PathInfo:
        """Name a file for stock plans, which use it as a detector."""
        now = datetime.now()
        folder = data_root() / f"{now:%Y/%m/%d}"
        folder.mkdir(parents=True, exist_ok=True)
        return PathInfo(
            directory_path=self.at_server(folder),
            filename=f"{datakey_name or self.name}_{now:%H%M%S}_{uuid4().hex[:8]}",
            directory_uri=f"file://localhost{quote(folder.absolute().as_posix())}/",
        )

    async def connect(
        self,
        mock: bool | LazyMock = False,
        timeout: float = DEFAULT_TIMEOUT,
        force_reconnect: bool = False,
    ) -> None:
        """Connect all blocks.

        Raises
        ------
        ConnectionError
            Without p4p.
        """
        if self.blocks is None:
            raise ConnectionError(NO_PV_ACCESS.format(name=self.name))
        await super().connect(mock=mock, timeout=timeout, force_reconnect=force_reconnect)

    def output_names(self) -> list[tuple[str, int]]:
        """Return block and number of each of the outputs, such as ``("ttlout", 1)``."""
        return [_split(output) for output in self.outputs]

    def output_signals(self) -> list[SignalRW[str]]:
        """Return what decides which signal each of the outputs carries; once connected."""
        return _signals_of(self.blocks, self.output_names())


@dataclass(frozen=True)
class PandaBox:
    """An ophyd-async ``HDFPanda`` that triggers scans, and what is connected to it.

    It is not a device: whoever made the ``HDFPanda`` connects it, and may use it in other plans.

    Attributes
    ----------
    panda
        The device.
    axes, outputs, sequencer, at_server
        See `Panda`.
    """

    panda: HDFPanda
    axes: Mapping[str, AxisEncoders]
    outputs: Sequence[str]
    sequencer: int
    at_server: Callable[[Path], PurePath]

    @property
    def name(self) -> str:
        """Name of the device."""
        return self.panda.name

    @property
    def lines(self) -> int:
        """Lines that a table of its sequencer takes: what ophyd-async's table does."""
        return LINES

    @property
    def blocks(self) -> PandaBlocks:
        """Its blocks: once connected, those that its PVI tree tells of beside the stock ones."""
        return cast(PandaBlocks, self.panda)

    def output_names(self) -> list[tuple[str, int]]:
        """Return block and number of each of the outputs, such as ``("ttlout", 1)``."""
        return [_split(output) for output in self.outputs]

    def output_signals(self) -> list[SignalRW[str]]:
        """Return what decides which signal each of the outputs carries; once connected."""
        return _signals_of(self.panda, self.output_names())


def panda_box(
    panda: HDFPanda,
    *,
    axes: Mapping[str, AxisEncoders],
    outputs: Sequence[str] = ("TTLOUT1",),
    sequencer: int = 1,
    at_server: Callable[[Path], PurePath] = Path.absolute,
) -> PandaBox:
    """Return what lets an ophyd-async ``HDFPanda`` trigger the detectors of a scan.

    Parameters
    ----------
    panda
        The device; it may be connected later, but before a scan.
    axes, outputs, sequencer, at_server
        See `Panda`.

    Raises
    ------
    ValueError
        If an output is not named like a connector of a PandA.

    Examples
    --------
    ::

        box = panda_box(panda, axes={"energy": angles})
        RE(flyscan([camera], energy, 395, 405, 1.0, triggers=Triggers(box, step=0.05)))
    """
    box = PandaBox(panda, dict(axes), tuple(outputs), sequencer, at_server)
    # Said where the mistake is, not by the first scan.
    box.output_names()
    return box


def _signals_of(blocks: Device | None, outputs: Sequence[tuple[str, int]]) -> list[SignalRW[str]]:
    return [getattr(blocks, kind)[number].val for kind, number in outputs]


def _split(output: str) -> tuple[str, int]:
    match = re.fullmatch(r"([A-Z]+OUT)([0-9]+)", output)
    if match is None:
        raise ValueError(
            f"{output!r} is no output of a PandA; name connectors such as TTLOUT1 or LVDSOUT1."
        )
    return match[1].lower(), int(match[2])
