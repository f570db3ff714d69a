"""Electrometers of the Keithley family, which integrate a photocurrent over power-line cycles.

Process variables: the BESSY II support for the Keithley 6514 and 6517
(``hz-b/bessyii_devices``, ``keithley.py``). The integration time is set in power-line cycles
("NPLC", 0.01 to 10, Keithley 6514 manual, section "Speed"), which last 1/50 s or 1/60 s, as the
mains do; and a moving average over several readings can be on: good for looking at a meter, ruinous
for a scan that moves meanwhile.
"""

from contextlib import suppress
from typing import Any

from ophyd_async.core import (
    AsyncStatus,
    DeviceMock,
    SignalR,
    StandardReadable,
    default_mock_class,
    derived_signal_r,
    set_mock_value,
    soft_signal_r_and_setter,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.timeline.channel import Channel, ChannelKind

from .sampled import SampledChannel
from .settings import Settings
from .signals import NoAnswerError, ask, signal_r, signal_rw, tell, watch
from .staging import Staging

__all__ = ["Electrometer"]

MAINS_FREQUENCY = 50.0
"""Frequency of the mains in Hz where nobody says otherwise: one power-line cycle lasts 20 ms."""

POSSIBLE_MAINS = (45.0, 65.0)
"""Hz; what a meter says outside of this is no frequency of mains."""

FILTER_OFF = 1
"""Number of averaged readings with which the filter does nothing."""

EVERY_READING = -1.0
"""Monitor deadband (``MDEL``) with which a reading is posted even if it equals the last one."""

ROUNDING = 1e-9
"""By how much, relatively, an exposure at the end of the range may be beyond it."""

SETTING_TIMEOUT = 5.0
"""Seconds within which the meter must confirm a setting."""


class _ElectrometerMock(DeviceMock["Electrometer"]):
    """Mock of a meter that integrates over five power-line cycles, without a filter."""

    async def connect(self, device: "Electrometer") -> None:
        set_mock_value(device.nplc, 5.0)
        set_mock_value(device.line_frequency, device.mains_frequency)
        set_mock_value(device.filter_count, FILTER_OFF)


@default_mock_class(_ElectrometerMock)
class Electrometer(StandardReadable):
    """One channel of current, with an exposure that is known.

    Staging makes the meter fit for a scan: every reading is posted, the moving average is off.
    Unstaging restores what was there.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"K64851MF102L:"``.
    name
        Name of the device and of its current in the data.
    nplc_range
        Range of the integration time in power-line cycles.
    latency
        Seconds between the end of an exposure and the timestamp of its reading.
    mains_frequency
        Frequency of the mains at the beamline in Hz, which is the meter's unit of time.
    frequency_pv
        What follows the prefix in the name of the process variable that tells which frequency the
        meter goes by (``SYST:LFR?``), if the support has one. What it tells is right then.

    Raises
    ------
    ValueError
        If the mains cannot have that frequency.

    Attributes
    ----------
    line_frequency
        What the meter tells, or the ``mains_frequency``, Hz.
    current
        ``rdCur``, A.
    range
        ``rbkRangeCur`` / ``setRangeCur``, A.
    nplc
        ``rbkIntegrTime`` / ``setIntegrTime``, power-line cycles.
    integration_time
        The same in seconds, read only; see :meth:`set_integration_time`.
    filter_count
        ``rbkFiltAverCnt`` / ``setFiltAverCnt``: readings in the moving average; 1 is off.
    function, arm_source, trigger_source, scan_rate
        ``rbkFunc``, ``rbkArmSrc``, ``rbkTrgSrc`` (with ``set...``) and ``fwdMeas.SCAN``.
    zero_check
        ``cmdZeroCheck``: 1 while the input is shorted.
    deadband
        ``rdCur.MDEL``, A.
    """

    def __init__(
        self,
        prefix: str,
        name: str = "",
        *,
        nplc_range: tuple[float, float] = (0.01, 10.0),
        latency: float = 0.0,
        mains_frequency: float = MAINS_FREQUENCY,
        frequency_pv: str | None = None,
    ) -> None:
        self.nplc_range = nplc_range
        self.latency = latency
        self.mains_frequency = _possible(mains_frequency, name or prefix)
        self._tells_frequency = frequency_pv is not None
        self._staged_settings = Settings(name or prefix, SETTING_TIMEOUT)
        self._staging = Staging()
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.current = signal_r(float, f"{prefix}rdCur", unit="A")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.range = signal_rw(float, f"{prefix}rbkRangeCur", f"{prefix}setRangeCur", "A")
            self.nplc = signal_rw(float, f"{prefix}rbkIntegrTime", f"{prefix}setIntegrTime")
            self.line_frequency: SignalR[float] = (
                soft_signal_r_and_setter(float, self.mains_frequency, units="Hz")[0]
                if frequency_pv is None
                else signal_r(float, f"{prefix}{frequency_pv}", unit="Hz")
            )
            self.integration_time = derived_signal_r(
                _seconds,
                derived_units="s",
                derived_precision=4,
                nplc=self.nplc,
                line_frequency=self.line_frequency,
            )
            self.filter_count = signal_rw(int, f"{prefix}rbkFiltAverCnt", f"{prefix}setFiltAverCnt")
            self.function = signal_rw(str, f"{prefix}rbkFunc", f"{prefix}setFunc")
            self.arm_source = signal_rw(str, f"{prefix}rbkArmSrc", f"{prefix}setArmSrc")
            self.trigger_source = signal_rw(str, f"{prefix}rbkTrgSrc", f"{prefix}setTrgSrc")
            self.zero_check = signal_rw(int, f"{prefix}cmdZeroCheck")
            self.scan_rate = signal_rw(str, f"{prefix}fwdMeas.SCAN")
        self.deadband = signal_rw(float, f"{prefix}rdCur.MDEL", unit="A")
        super().__init__(name)

    def set_name(self, name: str, *, child_name_separator: str | None = None) -> None:
        """Name the device, and its current like the device itself."""
        super().set_name(name, child_name_separator=child_name_separator)
        self.current.set_name(name)
        self._staged_settings.owner = name

    async def connect(self, *arguments: Any, **options: Any) -> None:
        """Connect, and learn from the meter which frequency it goes by, if it tells.

        Raises
        ------
        ValueError
            If what it tells is no frequency of mains.
        """
        await super().connect(*arguments, **options)
        await self._look_at_mains()

    async def _look_at_mains(self) -> None:
        if self._tells_frequency:
            told = await ask(self.line_frequency)
            self.mains_frequency = _possible(told, f"{self.name} ({self.line_frequency.source})")

    async def exposure(self) -> float:
        """Return how long in s a reading covers as the meter is set now, filter included."""
        await self._look_at_mains()
        readings = max(FILTER_OFF, await self.filter_count.get_value())
        return _seconds(await self.nplc.get_value(), self.mains_frequency) * readings

    def check_integration_time(self, seconds: float) -> None:
        """Refuse an integration time (ValueError) that the meter cannot do."""
        low, high = (_seconds(nplc, self.mains_frequency) for nplc in self.nplc_range)
        # A range that was computed back and forth is not left by a rounding.
        if not low * (1 - ROUNDING) <= seconds <= high * (1 + ROUNDING):
            raise ValueError(
                f"{self.name} cannot integrate for {seconds:g} s: it can for {low:g} to {high:g} s."
            )

    async def set_integration_time(self, seconds: float) -> None:
        """Set the integration time and wait until the meter confirms it.

        Raises
        ------
        ValueError
            If the meter cannot integrate for so long, or so briefly.
        NoAnswerError
            If its server does not answer.
        TimeoutError
            If the meter does not confirm it within five seconds.
        """
        with suppress(NoAnswerError):
            # What was known holds: an exposure can be put back at a server that is slow just now.
            await self._look_at_mains()
        self.check_integration_time(seconds)
        nplc = seconds * self.mains_frequency
        low, _ = self.nplc_range
        try:
            await tell(self.nplc, nplc)
        except NoAnswerError as error:
            raise NoAnswerError(
                f"{self.name} could not be set to integrate for {seconds:g} s: {error}"
            ) from error
        async with watch(self.nplc) as seen:
            # The meter rounds to its own steps.
            if not await seen.until(
                lambda: abs(seen.value(self.nplc) - nplc) <= max(0.01 * nplc, low / 2),
                SETTING_TIMEOUT,
            ):
                raise TimeoutError(
                    f"{self.name} did not take an integration time of {seconds:g} s within "
                    f"{SETTING_TIMEOUT:g} s: it is still "
                    f"{_seconds(seen.value(self.nplc), self.mains_frequency):g} s."
                )

    @AsyncStatus.wrap
    async def stage(self) -> None:
        """Make the meter fit for a scan.

        Raises
        ------
        ValueError
            If the zero check is on: such a meter measures nothing.
        SettingError, NoAnswerError
            If it does not take a setting, or its server does not answer.
        """
        await self._staging.run(self._stage())

    async def _stage(self) -> None:
        if await self.zero_check.get_value():
            raise ValueError(
                f"{self.name} has its zero check on and measures nothing; set "
                f"{self.zero_check.name} to 0 and let it settle before the scan."
            )
        await self._staged_settings.set_all(
            [(self.deadband, EVERY_READING), (self.filter_count, FILTER_OFF)]
        )
        await super().stage()

    @AsyncStatus.wrap
    async def unstage(self) -> None:
        """Restore what staging changed."""
        await self._staging.end()
        try:
            await super().unstage()
        finally:
            await self._staged_settings.restore()

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Wait for a reading whose exposure began after this call.

        The meter runs freely, and its clock may differ from ours. Its own timestamps decide: the
        reading in progress ends at the first new timestamp, and the first reading that began
        after that is taken.

        Raises
        ------
        TimeoutError
            If no such reading came within five seconds and ten exposures.
        """
        exposure = await self.exposure()
        bound = SETTING_TIMEOUT + 10 * exposure
        last = (await self.current.read(cached=False))[self.current.name]["timestamp"]
        in_progress: list[float] = []
        async with watch(self.current) as seen:

            def fresh() -> bool:
                timestamp = seen.timestamp(self.current)
                if timestamp <= last:
                    return False
                if not in_progress:
                    in_progress.append(timestamp)
                    return False
                # Timestamps jitter by less than a tenth of an exposure.
                return timestamp - self.latency - exposure >= in_progress[0] - exposure / 10

            if not await seen.until(fresh, bound):
                raise TimeoutError(
                    f"{self.name} delivered no new reading within {bound:g} s of its trigger: "
                    f"{self.current.source} does not update; is the meter running?"
                )

    async def channels(self) -> list[SampledChannel]:
        """Return the current as a detector whose aperture is the exposure as read back."""
        channel = Channel(
            self.name,
            ChannelKind.DETECTOR,
            "A",
            latency=self.latency,
            aperture=await self.exposure(),
        )
        settings = [self.nplc.source, self.filter_count.source]
        if self._tells_frequency:
            settings.append(self.line_frequency.source)
        return [SampledChannel(channel, self.current.source, settings=tuple(settings))]


def _seconds(nplc: float, line_frequency: float) -> float:
    return nplc / line_frequency


def _possible(frequency: float, whose: str) -> float:
    low, high = POSSIBLE_MAINS
    if not low <= frequency <= high:
        raise ValueError(
            f"{whose} cannot go by mains of {frequency!r} Hz; the frequency is about 50 or 60 Hz."
        )
    return float(frequency)
