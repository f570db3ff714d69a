"""Records of areaDetector that ophyd-async's classes leave out (ADCore/Db, areaDetector 3)."""

from typing import Annotated

import numpy as np
from ophyd_async.core import Array1D, EnableDisable, SignalR, SignalRW, StrictEnum
from ophyd_async.epics.adcore import NDFileHDF5IO, NDStatsIO
from ophyd_async.epics.core import EpicsDevice, EpicsOptions, PvSuffix

Floats = Array1D[np.float64]

NO_CALLBACK: EpicsOptions = EpicsOptions(wait=False)
"""For busy records whose put would end only with what it began."""


class DriverExtrasIO(EpicsDevice):
    """More of NDArrayBase.template and ADBase.template, of a driver.

    Attributes
    ----------
    running
        ``Acquire``, put without waiting for the end of the acquisition.
    """

    running: Annotated[SignalRW[bool], PvSuffix.rbv("Acquire"), NO_CALLBACK]
    array_callbacks: Annotated[SignalRW[EnableDisable], PvSuffix.rbv("ArrayCallbacks")]
    status_message: Annotated[SignalR[str], PvSuffix("StatusMessage_RBV")]


class BurstIO(EpicsDevice):
    """Several frames for one trigger, as GenICam has it (SFNC: Acquisition Control).

    Records of ADGenICam for cameras that can do it, such as ``Basler-a2A2600-20gmBAS.template``
    and ``PGR_BlackflyS_13Y3M.template``.

    Attributes
    ----------
    selector
        ``FrameStart`` or ``FrameBurstStart``: which trigger the driver's trigger settings are of.
    frames
        Frames that a trigger of a burst begins.
    """

    selector: Annotated[SignalRW[str], PvSuffix.rbv("GC_TriggerSelector")]
    frames: Annotated[SignalRW[float], PvSuffix.rbv("GC_AcqBurFrameCount")]


class StatsIO(NDStatsIO):
    """NDStats.template, with what shows whether the plugin keeps up.

    Attributes
    ----------
    shortest_period
        ``MinCallbackTime``: what comes sooner after the last array is left out, uncounted; s.
    """

    array_callbacks: Annotated[SignalRW[EnableDisable], PvSuffix.rbv("ArrayCallbacks")]
    shortest_period: Annotated[SignalRW[float], PvSuffix.rbv("MinCallbackTime")]
    dropped_arrays: Annotated[SignalR[int], PvSuffix("DroppedArrays_RBV")]
    attributes_status: Annotated[SignalR[str], PvSuffix("NDAttributesStatus")]
    time_stamp: Annotated[SignalR[float], PvSuffix("TimeStamp_RBV")]
    epics_seconds: Annotated[SignalR[int], PvSuffix("EpicsTSSec_RBV")]
    epics_nanoseconds: Annotated[SignalR[int], PvSuffix("EpicsTSNsec_RBV")]


class TimeSeriesMode(StrictEnum):
    """What happens when a time series is full."""

    FIXED_LENGTH = "Fixed length"
    CIRCULAR = "Circ. buffer"


class TimeSeriesIO(EpicsDevice):
    """Time series of NDStats.template, with their NDTimeSeries.template (``TS:``).

    Attributes
    ----------
    total, centroid_x, centroid_y, sigma_x, sigma_y, orientation
        One element per frame; shape (m,), m growing up to the length of the waveforms.
    time
        NDArray.timeStamp of each frame, s; where it begins is up to the driver.
    averaged
        Frames that go into one element.
    """

    collecting: Annotated[SignalRW[bool], PvSuffix("TS:TSAcquiring", "TS:TSAcquire"), NO_CALLBACK]
    update: Annotated[SignalRW[bool], PvSuffix("TS:TSRead")]
    mode: Annotated[SignalRW[TimeSeriesMode], PvSuffix.rbv("TS:TSAcquireMode")]
    points: Annotated[SignalRW[int], PvSuffix("TS:TSNumPoints")]
    averaged: Annotated[SignalR[int], PvSuffix("TS:TSNumAverage")]
    total: Annotated[SignalR[Floats], PvSuffix("TSTotal")]
    centroid_x: Annotated[SignalR[Floats], PvSuffix("TSCentroidX")]
    centroid_y: Annotated[SignalR[Floats], PvSuffix("TSCentroidY")]
    sigma_x: Annotated[SignalR[Floats], PvSuffix("TSSigmaX")]
    sigma_y: Annotated[SignalR[Floats], PvSuffix("TSSigmaY")]
    orientation: Annotated[SignalR[Floats], PvSuffix("TSOrientation")]
    time: Annotated[SignalR[Floats], PvSuffix("TSTimestamp")]


class Hdf5IO(NDFileHDF5IO):
    """NDFileHDF5.template, with what shows whether the plugin keeps up.

    Attributes
    ----------
    array_size0, array_size1
        Size of the newest array that came in: ``ArraySize0`` without ``_RBV`` is something else.
    time_stamp, epics_nanoseconds
        Times of the newest array that came in, whether it is written or not.
    flush_now
        Put without waiting: a flush can take long (ADCore issue 593).
    write_error
        ``WriteStatus``: whether the newest write failed.
    shortest_period
        ``MinCallbackTime``: what comes sooner after the last array is left out, uncounted; s.
    frames_per_flush
        ``NumFramesFlush``: images between two flushes; 0, as after the server's start, for none.
        It cannot be set to less than ``NumFramesChunks``, and a file that is opened makes both 1
        at least.
    stores_attributes
        ``StoreAttr``: whether NDAttributes, with numbers and times of the frames, are written.
    attribute_chunk
        ``NDAttributeChunk``: values in a chunk of NDAttributes, which is flushed when it is full.
    """

    array_size0: Annotated[SignalR[int], PvSuffix("ArraySize0_RBV")]
    array_size1: Annotated[SignalR[int], PvSuffix("ArraySize1_RBV")]
    time_stamp: Annotated[SignalR[float], PvSuffix("TimeStamp_RBV")]
    epics_nanoseconds: Annotated[SignalR[int], PvSuffix("EpicsTSNsec_RBV")]
    flush_now: Annotated[SignalRW[bool], PvSuffix("FlushNow"), NO_CALLBACK]
    queue_free: Annotated[SignalR[int], PvSuffix("QueueFree")]
    dropped_arrays: Annotated[SignalR[int], PvSuffix("DroppedArrays_RBV")]
    write_error: Annotated[SignalR[bool], PvSuffix("WriteStatus")]
    write_message: Annotated[SignalR[str], PvSuffix("WriteMessage")]
    shortest_period: Annotated[SignalRW[float], PvSuffix.rbv("MinCallbackTime")]
    stores_attributes: Annotated[SignalRW[bool], PvSuffix.rbv("StoreAttr")]
    frames_per_flush: Annotated[SignalRW[int], PvSuffix.rbv("NumFramesFlush")]
    attribute_chunk: Annotated[SignalRW[int], PvSuffix.rbv("NDAttributeChunk")]


__all__ = ["BurstIO", "DriverExtrasIO", "Hdf5IO", "StatsIO", "TimeSeriesIO", "TimeSeriesMode"]
