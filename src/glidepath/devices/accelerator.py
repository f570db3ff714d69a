"""The storage ring: how much beam there is, and when injection disturbs it.

Process variables of BESSY II: ``current``, ``lt10`` and, from the top-up system,
``estCntDwnS`` and ``stBlankout2``, which is high during an injection
(``hz-b/bessyii_devices``, ``ring.py``).
"""

from ophyd_async.core import StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.timeline.channel import Channel, ChannelKind
from glidepath.timeline.quality import Quality
from glidepath.timeline.tracks import Mark

from .sampled import SampledChannel
from .signals import signal_r

__all__ = ["Ring"]


class Ring(StandardReadable):
    """Beam current, lifetime and the state of the top-up injection.

    Parameters
    ----------
    prefix
        Prefix of ring current and lifetime, for example ``"MDIZ3T5G:"``.
    topup_prefix
        Prefix of the top-up system, for example ``"TOPUPCC:"``.
    name
        Name of the device.
    lowest_current
        Current in mA below which there is no beam worth measuring with. 0: rows are never marked
        as without beam.

    Attributes
    ----------
    current
        ``current``, mA.
    lifetime
        ``lt10``, h.
    countdown
        ``estCntDwnS``: estimated time to the next injection, s.
    blankout
        ``stBlankout2``: 1 while an injection disturbs the beam.
    """

    def __init__(
        self, prefix: str, topup_prefix: str, name: str = "", *, lowest_current: float = 0.0
    ) -> None:
        self.lowest_current = lowest_current
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.current = signal_r(float, f"{prefix}current", unit="mA")
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.lifetime = signal_r(float, f"{prefix}lt10", unit="h")
            self.countdown = signal_r(float, f"{topup_prefix}estCntDwnS", unit="s")
            self.blankout = signal_r(int, f"{topup_prefix}stBlankout2")
        super().__init__(name)

    async def channels(self) -> list[SampledChannel]:
        """Return the current, which falls continuously, and the blank-out, which is a state."""
        unit = (await self.current.describe())[self.current.name].get("units") or "mA"
        current = Channel(f"{self.name}_current", ChannelKind.READBACK, unit)
        blankout = Channel(f"{self.name}_blankout", ChannelKind.STATE)
        return [
            SampledChannel(current, self.current.source),
            SampledChannel(blankout, self.blankout.source),
        ]

    def marks(self) -> list[Mark]:
        """Return what marks rows with injections, and rows without beam."""
        return [
            Mark(Quality.TOP_UP, f"{self.name}_blankout", high=0),
            Mark(Quality.BEAM_LOST, f"{self.name}_current", low=self.lowest_current),
        ]
