"""Records of areaDetector 3 drivers and plugins, as far as clients use them (ADCore/Db)."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from .channels import Database
from .spot import STATISTICS, statistics

__all__ = [
    "COLOR_MODES",
    "DATA_TYPES",
    "EPICS_EPOCH",
    "ArrayRecords",
    "Batch",
    "Plugin",
    "Region",
    "Statistics",
    "type_name",
]

EPICS_EPOCH: Final = 631152000
"""POSIX time of the begin of EPICS time, 1990-01-01, s."""

_NO_YES = ("No", "Yes")
_DISABLE_ENABLE = ("Disable", "Enable")
DATA_TYPES = (
    *("Int8", "UInt8", "Int16", "UInt16", "Int32", "UInt32"),
    *("Int64", "UInt64", "Float32", "Float64"),
)
COLOR_MODES = ("Mono", "Bayer", "RGB1", "RGB2", "RGB3", "YUV444", "YUV422", "YUV421")
_ATTRIBUTES_STATUS = ("Attributes file OK", "File not found", "XML syntax error", "Macro error")
_TIME_SERIES_POINTS = 2048
_QUEUE_SIZE = 20


def type_name(images: NDArray[Any]) -> str:
    """Return what areaDetector calls the type of an array, such as ``UInt16``."""
    return next(name for name in DATA_TYPES if name.lower() == images.dtype.name)


@dataclass(frozen=True)
class Batch:
    """Frames that go through the plugins together, in order.

    Attributes
    ----------
    images
        Shape (n, rows, columns), of any of the types of an NDArray.
    ids
        Shape (n,): unique ids.
    stamps
        Shape (n,): time of the server's clock at which each frame was complete, POSIX s.
    lost
        Shape (n,): whether a frame gets lost on its way to the file writer.
    attributes
        NDAttributes by name, each of shape (n,).
    color_mode
        What the pixels are.
    """

    images: NDArray[Any]
    ids: NDArray[np.int32]
    stamps: NDArray[np.float64]
    lost: NDArray[np.bool_]
    attributes: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    color_mode: str = "Mono"

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.ids)

    def part(self, which: Any) -> "Batch":
        """Return some of the frames, chosen by a slice or a mask."""
        return Batch(
            self.images[which],
            self.ids[which],
            self.stamps[which],
            self.lost[which],
            {name: values[which] for name, values in self.attributes.items()},
            self.color_mode,
        )


class ArrayRecords:
    """What drivers and plugins have in common (NDArrayBase.template).

    Parameters
    ----------
    database
        Where the process variables are added.
    prefix
        Prefix of the records, without that of the beamline, such as ``CAM1:cam1:``.
    port
        Name of its port, from which plugins take arrays.

    Notes
    -----
    What the records say of an array, its size and its type, is that of the last one that has
    passed: after a setting was changed they show the old values until the next frame.
    """

    names_arrays = True
    """Whether `UniqueId_RBV` follows the arrays."""

    @property
    def counts(self) -> bool:
        """Whether arrays are counted now."""
        return True

    def __init__(self, database: Database, prefix: str, port: str) -> None:
        self.port = port
        self.database, self.prefix = database, prefix
        self.read_only("text", "PortName_RBV", port)
        self.read_only("text", "ADCoreVersion_RBV", "3.14.0")
        self.read_only("text", "DriverVersion_RBV", "1.0.0")
        for axis in ("X", "Y", "Z"):
            self.read_only("integer", f"ArraySize{axis}_RBV", 0)
        for dimension in range(3):
            self.read_only("integer", f"ArraySize{dimension}", 0)
            self.read_only("integer", f"ArraySize{dimension}_RBV", 0)
        self.read_only("choice", "DataType_RBV", "UInt16", DATA_TYPES)
        self.read_only("choice", "ColorMode_RBV", "Mono", COLOR_MODES)
        self.read_only("integer", "UniqueId_RBV", 0)
        self.read_only("number", "TimeStamp_RBV", 0.0, "s", 6)
        self.read_only("integer", "EpicsTSSec_RBV", 0)
        self.read_only("integer", "EpicsTSNsec_RBV", 0)
        self.counter = self.setting("integer", "ArrayCounter", 0)
        self.array_callbacks = self.setting("choice", "ArrayCallbacks", "Enable", _DISABLE_ENABLE)
        self.attributes_status = self.read_only(
            "choice", "NDAttributesStatus", _ATTRIBUTES_STATUS[0], _ATTRIBUTES_STATUS
        )
        database.long_text(f"{prefix}NDAttributesFile", "", 1024, on_put=self.use_attributes)

    def read_only(self, kind: str, name: str, *arguments: Any, **handlers: Any) -> Any:
        """Add a record with this name behind the prefix; ``kind`` is a method of the database."""
        return getattr(self.database, kind)(f"{self.prefix}{name}", *arguments, **handlers)

    def channel(self, name: str) -> Any:
        """Return a record by its name behind the prefix."""
        return self.database[f"{self.database.prefix}{self.prefix}{name}"]

    def setting(
        self,
        kind: str,
        name: str,
        *arguments: Any,
        on_put: Callable[[Any], Awaitable[None]] | None = None,
        **handlers: Any,
    ) -> Any:
        """Add a setpoint and its readback with ``_RBV``, which follows; return the readback."""
        readback = self.read_only(kind, f"{name}_RBV", *arguments)

        async def follow(value: Any) -> None:
            await readback.post(value)
            if on_put is not None:
                await on_put(value)

        self.read_only(kind, name, *arguments, on_put=follow, **handlers)
        return readback

    async def passed_on(self, batch: Batch) -> None:
        """Count frames and describe the last of them."""
        rows, columns = batch.images.shape[1:]
        seconds = batch.stamps[-1] - EPICS_EPOCH
        whole = int(seconds)
        if self.counts:
            await self.counter.post(int(self.counter.value) + len(batch))
        if self.names_arrays:
            await self.channel("UniqueId_RBV").change(int(batch.ids[-1]))
        for name, value in (
            ("DataType_RBV", type_name(batch.images)),
            ("ColorMode_RBV", batch.color_mode),
            ("TimeStamp_RBV", float(seconds)),
            ("EpicsTSSec_RBV", whole),
            ("EpicsTSNsec_RBV", int((seconds - whole) * 1e9)),
            *((f"ArraySize{key}_RBV", columns) for key in ("X", "0")),
            *((f"ArraySize{key}_RBV", rows) for key in ("Y", "1")),
        ):
            await self.channel(name).change(value)

    async def use_attributes(self, text: str) -> None:
        """Take NDAttributes from XML, or from a file with it (areaDetector's attributes file)."""
        await self.attributes_status.change(_ATTRIBUTES_STATUS[self.read_attributes(text)])

    def read_attributes(self, text: str) -> int:
        """Return the status after reading the attributes that were asked for."""
        return 0


class Plugin(ArrayRecords):
    """A plugin (NDPluginBase.template).

    As on an IOC without autosave, it is disabled until somebody enables it, unless the database
    was loaded with ``ENABLED=1``.

    Parameters
    ----------
    database, prefix, port
        See :class:`ArrayRecords`.
    source
        Port from which it takes its arrays.
    kind
        Name of its class.
    enabled
        Whether it is enabled from the start.
    """

    def __init__(
        self,
        database: Database,
        prefix: str,
        port: str,
        source: str,
        kind: str = "NDPlugin",
        enabled: bool = False,
    ) -> None:
        super().__init__(database, prefix, port)
        self.read_only("text", "PluginType_RBV", kind)
        self.source = self.setting("text", "NDArrayPort", source)
        self.setting("integer", "NDArrayAddress", 0)
        self.setting("choice", "BlockingCallbacks", "No", _NO_YES)
        self._shortest = self.setting("number", "MinCallbackTime", 0.0, "s")
        self._last_taken = -np.inf
        self.enabled = self.setting(
            "choice", "EnableCallbacks", _DISABLE_ENABLE[enabled], _DISABLE_ENABLE
        )
        self.queue_size = self.setting(
            "integer", "QueueSize", _QUEUE_SIZE, accept=lambda size: max(int(size), 1)
        )
        self.queue_free = self.read_only("integer", "QueueFree", _QUEUE_SIZE)
        self.dropped = self.setting("integer", "DroppedArrays", 0)

    async def take(self, batch: Batch) -> Batch:
        """Process frames and return what goes to the plugins behind."""
        if self.enabled.value != "Enable" or not len(batch):
            return batch.part(slice(0))
        batch = self._throttled(batch)
        if not len(batch):
            return batch
        result = self.process(batch)
        await self.passed_on(result)
        await self.publish(result)
        return result if self.array_callbacks.value == "Enable" else batch.part(slice(0))

    def _throttled(self, batch: Batch) -> Batch:
        """Leave out what comes sooner after the last one than it may; nothing counts that."""
        apart = float(self._shortest.value)
        taken = []
        for stamp in batch.stamps:
            taken.append(bool(stamp - self._last_taken >= apart))
            if taken[-1]:
                self._last_taken = stamp
        return batch.part(np.array(taken, bool)) if apart > 0 else batch

    def process(self, batch: Batch) -> Batch:
        """Return the frames as this plugin passes them on."""
        return batch

    async def publish(self, batch: Batch) -> None:
        """Publish what was found in the frames."""


class Region(Plugin):
    """A region of the image (NDROI.template); a size of 0 reaches to the edge."""

    def __init__(self, database: Database, prefix: str, port: str, source: str) -> None:
        super().__init__(database, prefix, port, source, "NDPluginROI")
        self._begin = [self.setting("integer", f"Min{axis}", 0) for axis in "XYZ"]
        self._size = [self.setting("integer", f"Size{axis}", 0) for axis in "XYZ"]
        for axis in "XYZ":
            self.setting("integer", f"Bin{axis}", 1)

    def process(self, batch: Batch) -> Batch:
        """Cut the images."""
        columns, rows = (
            slice(int(begin.value), int(begin.value) + int(size.value) if size.value else None)
            for begin, size in zip(self._begin[:2], self._size[:2], strict=True)
        )
        return replace(batch, images=batch.images[:, rows, columns])


class Statistics(Plugin):
    """Total, centroid and width of each frame (NDStats.template), also as time series."""

    _RECORDS: Final = {
        "total": "Total",
        "centroid_x": "CentroidX",
        "centroid_y": "CentroidY",
        "sigma_x": "SigmaX",
        "sigma_y": "SigmaY",
        "orientation": "Orientation",
    }
    _PARAMETERS: Final = {
        "TOTAL": "total",
        "CENTROIDX_VALUE": "centroid_x",
        "CENTROIDY_VALUE": "centroid_y",
        "SIGMAX_VALUE": "sigma_x",
        "SIGMAY_VALUE": "sigma_y",
        "ORIENTATION_VALUE": "orientation",
    }

    def __init__(self, database: Database, prefix: str, port: str, source: str) -> None:
        super().__init__(database, prefix, port, source, "NDPluginStats")
        self._computes = {
            what: self.setting("choice", f"Compute{what}", "No", _NO_YES)
            for what in ("Statistics", "Centroid", "Profiles", "Histogram")
        }
        self._threshold = self.setting("number", "CentroidThreshold", 5.0)
        for name in ("BgdWidth", "CursorX", "CursorY", "HistSize"):
            self.setting("integer", name, 0)
        for name in ("HistMin", "HistMax"):
            self.setting("number", name, 0.0)
        for axis in "XY":
            self.read_only("integer", f"ProfileSize{axis}_RBV", 0)
        self._values = {
            name: self.read_only("number", f"{record}_RBV", 0.0)
            for name, record in self._RECORDS.items()
        }
        self._deadbands = {
            name: self.read_only("number", f"{record}_RBV.MDEL", 0.0, writable=True)
            for name, record in self._RECORDS.items()
        }
        self._attributes: dict[str, str] = {}
        self._found: Mapping[str, NDArray[np.float64]] = {}
        self._make_time_series()

    def _make_time_series(self) -> None:
        size = _TIME_SERIES_POINTS
        self._series = {
            name: self.read_only("array", f"TS{record}", size)
            for name, record in {**self._RECORDS, "time": "Timestamp"}.items()
        }
        self.read_only("choice", "TS:TSAcquire", "Done", ("Done", "Acquire"), on_put=self._collect)
        self._collecting = self.read_only("choice", "TS:TSAcquiring", "Done", ("Done", "Acquiring"))
        self._points = self.read_only("integer", "TS:TSNumPoints", size, writable=True)
        self._point = self.read_only("integer", "TS:TSCurrentPoint", 0)
        self.setting("choice", "TS:TSAcquireMode", "Fixed length", ("Fixed length", "Circ. buffer"))
        self.read_only("integer", "TS:TSNumAverage", 1)
        self.read_only("choice", "TS:TSRead", "Done", ("Done", "Read"), on_put=self._read)
        self._collected: list[NDArray[np.float64]] = []

    def read_attributes(self, text: str) -> int:
        """Take the statistics that go with each frame as NDAttributes."""
        self._attributes = {}
        if not text:
            return 0
        try:
            root = ElementTree.fromstring(
                text if "<Attributes>" in text else Path(text).read_text()
            )
        except OSError:
            return 1
        except ElementTree.ParseError:
            return 2
        for entry in root:
            statistic = self._PARAMETERS.get(entry.get("source", ""))
            if statistic is not None:
                self._attributes[entry.get("name", statistic)] = statistic
        return 0

    def process(self, batch: Batch) -> Batch:
        """Compute what is switched on and attach what was asked for."""
        found = dict(statistics(batch.images, float(self._threshold.value)))
        if self._computes["Statistics"].value == "No":
            found["total"] = np.zeros(len(batch))
        if self._computes["Centroid"].value == "No":
            found.update({name: np.zeros(len(batch)) for name in STATISTICS if name != "total"})
        self._found = found
        attached = {name: found[statistic] for name, statistic in self._attributes.items()}
        return replace(batch, attributes={**batch.attributes, **attached})

    async def publish(self, batch: Batch) -> None:
        """Publish each frame to those who look, else the last one only.

        A value that equals the one before is not published, whatever the deadband: asyn tells
        the record of a parameter only when it has changed.
        """
        await self._add_to_time_series(batch)
        offset = self.database.clock.offset
        for name, channel in self._values.items():
            deadband = float(self._deadbands[name].value)
            values, stamps = self._found[name], batch.stamps - offset
            if not channel.observed:
                values, stamps = values[-1:], stamps[-1:]
            for value, stamp in zip(values, stamps, strict=True):
                if value != channel.value and abs(value - channel.value) > deadband:
                    await channel.post(float(value), float(stamp))

    async def _collect(self, value: str) -> None:
        on = value == "Acquire"
        if on:
            self._collected.clear()
            await self._point.change(0)
        await self._collecting.change("Acquiring" if on else "Done")

    async def _add_to_time_series(self, batch: Batch) -> None:
        if self._collecting.value != "Acquiring":
            return
        rows = [self._found.get(name, batch.stamps - EPICS_EPOCH) for name in self._series]
        self._collected.append(np.stack(rows))
        if sum(block.shape[1] for block in self._collected) >= int(self._points.value):
            await self._read("Read")
            await self._collecting.change("Done")

    async def _read(self, _: str) -> None:
        if self._collected:
            block = np.concatenate(self._collected, axis=1)[:, : int(self._points.value)]
            self._collected[:] = [block]
            await self._point.change(block.shape[1])
            for channel, values in zip(self._series.values(), block, strict=True):
                await channel.post(values[:_TIME_SERIES_POINTS].copy())
        await self.channel("TS:TSRead").post("Done")
