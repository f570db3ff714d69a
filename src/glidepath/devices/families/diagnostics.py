"""What a ring says of its beam: positions, tunes, sizes, the filling pattern, the top-up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from bluesky.protocols import Triggerable
from ophyd_async.core import (
    Array1D,
    AsyncStatus,
    StandardReadable,
    derived_signal_r,
)
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.accelerator import Ring
from glidepath.devices.generic import pv_names
from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import signal_r, signal_rw, watch

__all__ = [
    "BeamPositionMonitor",
    "BeamPositionMonitors",
    "BeamSizeMonitor",
    "BendingMagnet",
    "BunchFeedback",
    "FillPattern",
    "TopUpRing",
    "Tune",
]

BLOCK = 128
"""Values of one kind in ``bdata``: one for each monitor."""

COUNTS_PER_MM = 2**15 / 10
"""Raw counts of ``bdata`` in a mm, before the scale of a monitor."""

Floats = Array1D[np.float64]


class Tune(StandardReadable):
    """The tunes of the ring in kHz; a trigger waits for new ones.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"TUNEZRP:"``.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults: ``horizontal`` (``"{}rdH"``), ``vertical``
        (``"{}rdV"``).
    """

    def __init__(
        self, prefix: str, name: str = "", *, pvs: Mapping[str, str] | None = None
    ) -> None:
        names = pv_names(prefix, {"horizontal": "{}rdH", "vertical": "{}rdV"}, pvs)
        with self.add_children_as_readables(Format.HINTED_UNCACHED_SIGNAL):
            self.horizontal = signal_r(float, names["horizontal"], unit="kHz")
            self.vertical = signal_r(float, names["vertical"], unit="kHz")
        super().__init__(name)


class BunchFeedback(StandardReadable):
    """The bunch-by-bunch feedback: in each plane the frequency of the beam in kHz (``BBQR:``).

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"BBQR:"``.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults: ``x`` (``"{}X:SB:PEAKFREQ1"``), ``y``.
    """

    def __init__(
        self, prefix: str, name: str = "", *, pvs: Mapping[str, str] | None = None
    ) -> None:
        defaults = {"x": "{}X:SB:PEAKFREQ1", "y": "{}Y:SB:PEAKFREQ1"}
        names = pv_names(prefix, defaults, pvs)
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.x = signal_r(float, names["x"], unit="kHz")
            self.y = signal_r(float, names["y"], unit="kHz")
        super().__init__(name)


class FillPattern(StandardReadable):
    """The current of each bucket of the ring in mA, shape (buckets,).

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"CUMZR:"``.
    name
        Name of the device.
    pvs
        Another name for the PV ``current`` (``"{}MBcurrent"``).
    """

    def __init__(
        self, prefix: str, name: str = "", *, pvs: Mapping[str, str] | None = None
    ) -> None:
        names = pv_names(prefix, {"current": "{}MBcurrent"}, pvs)
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.current = signal_r(Floats, names["current"], unit="mA")
        super().__init__(name)


class BeamPositionMonitor(StandardReadable):
    """One beam position monitor: x and y in mm, as numbers.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"BPMZD1Q4R:"``.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults: ``x`` (``"{}rdX"``), ``y`` (``"{}rdY"``).
    """

    def __init__(
        self, prefix: str, name: str = "", *, pvs: Mapping[str, str] | None = None
    ) -> None:
        names = pv_names(prefix, {"x": "{}rdX", "y": "{}rdY"}, pvs)
        with self.add_children_as_readables(Format.HINTED_UNCACHED_SIGNAL):
            self.x = signal_r(float, names["x"], unit="mm")
            self.y = signal_r(float, names["y"], unit="mm")
        super().__init__(name)


class BeamPositionMonitors(StandardReadable, Triggerable):
    """All beam position monitors of the ring, which come in one array.

    ``bdata`` has blocks of 128 values: x, y, two intensities, status, gain, and the scatter of x
    and y. A trigger waits for `averages` arrays that were measured after it and averages them.

    Parameters
    ----------
    prefix
        Prefix of the process variables, for example ``"MDIZ2T5G:"``.
    monitors
        Names of the monitors, in the order of the array.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults: ``data`` (``"{}bdata"``), ``count``.
    scale
        Counts are divided by it too; one number for all, or one for each monitor.
    offset
        mm, subtracted after scaling.
    timeout
        Seconds within which an array must come.

    Attributes
    ----------
    x, y
        Positions in mm, shape (number of monitors,), of the newest array.
    """

    def __init__(
        self,
        prefix: str,
        monitors: Sequence[str],
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
        scale: float = 1.0,
        offset: float = 0.0,
        timeout: float = 3.0,
    ) -> None:
        names = pv_names(prefix, {"data": "{}bdata", "count": "{}count"}, pvs)
        self.monitors, self._scale, self._offset = tuple(monitors), scale, offset
        self._timeout = timeout
        self.data = signal_r(Floats, names["data"])
        self.count = signal_r(int, names["count"])
        with self.add_children_as_readables(Format.HINTED_UNCACHED_SIGNAL):
            self.x = derived_signal_r(self._x, derived_units="mm", data=self.data)
            self.y = derived_signal_r(self._y, derived_units="mm", data=self.data)
        super().__init__(name)

    def _block(self, data: Floats, number: int) -> Floats:
        counts = data[number * BLOCK : number * BLOCK + len(self.monitors)]
        return np.asarray(counts / COUNTS_PER_MM / self._scale - self._offset, np.float64)

    def _x(self, data: Floats) -> Floats:
        return self._block(data, 0)

    def _y(self, data: Floats) -> Floats:
        return self._block(data, 1)

    @AsyncStatus.wrap
    async def trigger(self) -> None:
        """Wait for the next array but one: the next may have been measured before the trigger.

        Raises
        ------
        MotionError
            If no new array comes in time.
        """
        async with watch(self.count) as seen:
            first = seen.value(self.count)
            if not await seen.until(lambda: seen.value(self.count) >= first + 2, 2 * self._timeout):
                raise MotionError(
                    f"{self.name} gave no new positions within {2 * self._timeout:g} s: "
                    f"{self.count.source} does not count."
                )


class BeamSizeMonitor(StandardReadable):
    """The size and the place of the beam in um, from the statistics of a camera.

    Parameters
    ----------
    prefix
        Prefix of the statistics, for example ``"BSM1:Stats1:"``.
    um_per_pixel
        Micrometres on the beam that one pixel shows, for x and y.
    name
        Name of the device.
    pvs
        PV names that differ from the defaults: ``sigma_x`` (``"{}SigmaX_RBV"``), ``sigma_y``,
        ``centroid_x`` (``"{}CentroidX_RBV"``), ``centroid_y``; all in pixels.

    Attributes
    ----------
    sigma_x, sigma_y, centroid_x, centroid_y
        um.
    """

    def __init__(
        self,
        prefix: str,
        um_per_pixel: tuple[float, float],
        name: str = "",
        *,
        pvs: Mapping[str, str] | None = None,
    ) -> None:
        defaults = {
            "sigma_x": "{}SigmaX_RBV",
            "sigma_y": "{}SigmaY_RBV",
            "centroid_x": "{}CentroidX_RBV",
            "centroid_y": "{}CentroidY_RBV",
        }
        names = pv_names(prefix, defaults, pvs)
        self._um = um_per_pixel
        raw = {key: signal_r(float, pv, unit="px") for key, pv in names.items()}
        self.raw_sigma_x, self.raw_sigma_y = raw["sigma_x"], raw["sigma_y"]
        self.raw_centroid_x, self.raw_centroid_y = raw["centroid_x"], raw["centroid_y"]
        with self.add_children_as_readables(Format.HINTED_UNCACHED_SIGNAL):
            self.sigma_x = derived_signal_r(self._x, derived_units="um", pixels=raw["sigma_x"])
            self.sigma_y = derived_signal_r(self._y, derived_units="um", pixels=raw["sigma_y"])
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.centroid_x = derived_signal_r(
                self._x, derived_units="um", pixels=raw["centroid_x"]
            )
            self.centroid_y = derived_signal_r(
                self._y, derived_units="um", pixels=raw["centroid_y"]
            )
        super().__init__(name)

    def _x(self, pixels: float) -> float:
        return pixels * self._um[0]

    def _y(self, pixels: float) -> float:
        return pixels * self._um[1]


class TopUpRing(Ring):
    """A ring that also says whether the top-up injects by itself, and at which state it is.

    Parameters
    ----------
    prefix, topup_prefix, name, lowest_current
        See `Ring`.

    Attributes
    ----------
    injection
        ``state``: whether the injection engine is on; can be set to ``"ON"`` and ``"OFF"``.
    message
        What the top-up says of itself.
    """

    def __init__(
        self, prefix: str, topup_prefix: str, name: str = "", *, lowest_current: float = 0.0
    ) -> None:
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.injection = signal_rw(str, f"{topup_prefix}state")
            self.message = signal_r(str, f"{topup_prefix}message")
        super().__init__(prefix, topup_prefix, name, lowest_current=lowest_current)


@dataclass(frozen=True)
class BendingMagnet:
    """A bending magnet as a source of light: numbers, no process variables.

    Attributes
    ----------
    name
        Name of the source.
    field
        Tesla.
    energy
        Energy of the electrons, GeV.
    """

    name: str
    field: float
    energy: float

    @property
    def radius(self) -> float:
        """Radius of the electrons' path in m: p / (e B)."""
        return self.energy * 1e9 / 299_792_458.0 / self.field

    @property
    def critical_energy(self) -> float:
        """Photon energy in eV that halves the radiated power: 665 eV x E^2[GeV] x B[T]."""
        return 665.0255 * self.energy**2 * self.field
