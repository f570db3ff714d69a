"""Fields of a PandA that change what a scan measures or sends, and that anybody may have left set.

Source: ``modules/*/*.block.ini`` of PandABlocks-FPGA and the list of fields of PandABlocks-server.
The table of ``docs/trigger-boxes.md`` says of each block what is done with its fields.
"""

from dataclasses import dataclass
from typing import Any

from ophyd_async.core import Device, SignalRW


@dataclass(frozen=True)
class Neutral:
    """A field that must have no effect during a scan.

    Attributes
    ----------
    block, field
        Names as in the manual; OUTPUT is an output such as TTLOUT.
    why
        What it would do.
    """

    block: str
    field: str
    why: str

    @property
    def attribute(self) -> str:
        """Name of its signal in the block."""
        return self.field.lower().replace(".", "_")


NEUTRAL = (
    Neutral("SEQ", "ENABLE.DELAY", "begins the table later"),
    Neutral("PCAP", "ENABLE.DELAY", "begins the capture later"),
    Neutral("PCAP", "GATE.DELAY", "captures later than the pulse"),
    Neutral("PCAP", "TRIG.DELAY", "captures later than the pulse"),
    Neutral("PCAP", "SHIFT_SUM", "divides sums and numbers of samples, and means lose digits"),
    Neutral("INENC", "RST_ON_Z", "sets the counter to zero at a reference mark"),
    Neutral("OUTPUT", "VAL.DELAY", "sends the pulse later than it is captured"),
)
"""Set to zero for a scan where the box's EPICS server offers them, and put back afterwards."""


async def neutral_settings(blocks: dict[str, list[Device]]) -> list[tuple[SignalRW[Any], Any]]:
    """Return what must be set so that no field of `NEUTRAL` has an effect.

    Parameters
    ----------
    blocks
        Connected blocks of each kind that the scan uses.
    """
    settings = []
    for neutral in NEUTRAL:
        for block in blocks[neutral.block]:
            signal = getattr(block, neutral.attribute, None)
            if isinstance(signal, SignalRW):
                settings.append((signal, await _zero(signal)))
    return settings


async def _zero(signal: SignalRW[Any]) -> Any:
    """Return what is zero for a signal: a number, a truth value, or its first choice."""
    value = await signal.get_value()
    if not isinstance(value, str):
        return type(value)(0)
    described = await signal.describe()
    return next(iter(described[signal.name].get("choices") or ["0"]))


__all__ = ["NEUTRAL", "Neutral", "neutral_settings"]
