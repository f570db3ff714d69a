"""What is known of rows beyond their numbers: lost updates, clocks, changed settings, columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glidepath.devices.sampled import Derived, SampledChannel
from glidepath.flyers.monitors.ingestion import Batch
from glidepath.flyers.monitors.updates import shown
from glidepath.timeline import ChannelReport, ClockWatch, Quality


@dataclass
class Setting:
    """A number on which exposures depend: it must not change while rows are made.

    Parameters
    ----------
    source
        Where its updates come from.
    names
        Whose exposures depend on it.
    valid_from
        When it must be what it is (server time, POSIX s); infinite: not yet, since a triggered
        detector sets it when it is armed.

    Attributes
    ----------
    since
        When it was changed (server time, POSIX s); infinite if it was not.
    remarks
        Sentences about changes.
    """

    source: str
    names: list[str]
    valid_from: float = -np.inf
    value: float = np.nan
    since: float = np.inf
    remarks: list[str] = field(default_factory=list)

    def follow(self, since: float) -> None:
        """From now on (POSIX s) it must stay as it is."""
        self.valid_from = since

    def release(self) -> None:
        """Let it change: no rows depend on it any more."""
        self.valid_from = self.since = np.inf

    def look(self, timestamps: NDArray, values: NDArray) -> None:
        """Take updates; note the first one that is another value than it must be."""
        for time_, value in zip(timestamps, values, strict=True):
            if np.isnan(time_) or self.since < np.inf:
                continue
            if time_ < self.valid_from or np.isnan(self.value):
                self.value = float(value)
            elif value != self.value:
                self.since = float(time_)
                self.remarks.append(
                    f"the exposure of {', '.join(self.names)} was changed during the scan "
                    f"({shown(self.source)} from {self.value:g} to {value:g})"
                )


def settings_of(channels: Sequence[SampledChannel], valid_from: float = -np.inf) -> list[Setting]:
    """Return the settings on which the exposures of channels depend, each once.

    Parameters
    ----------
    channels
        Channels of sampled devices, or of triggered ones, which are sampled in other scans.
    valid_from
        See `Setting`.
    """
    found: dict[str, Setting] = {}
    for sampled in channels:
        for source in sampled.settings:
            names = found.setdefault(source, Setting(source, [], valid_from)).names
            if sampled.channel.name not in names:
                names.append(sampled.channel.name)
    return list(found.values())


@dataclass
class _Gap:
    """Updates of a channel that were lost, some time between two that arrived (POSIX s)."""

    index: int
    begin: float
    end: float = np.inf


@dataclass
class Annotations:
    """Marks rows with what is known of them, and adds the columns that are computed from others.

    Parameters
    ----------
    channels
        What is sampled.
    settings
        What must not change meanwhile.
    derived
        Columns to be computed, in order.

    Attributes
    ----------
    worst
        Largest absolute value of each derived column that has a bound, in its unit.
    """

    channels: Sequence[SampledChannel]
    settings: Sequence[Setting]
    derived: Sequence[Derived]
    worst: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._watches = [ClockWatch() for _ in self.channels]
        self._clock_set = np.inf
        self._gaps: list[_Gap] = []

    # What arrives is looked at before rows are made of it.

    def disconnected(self, index: int) -> None:
        """Take note that a channel's server is gone: what comes after it may be a new clock."""
        self._watches[index].disconnect()

    def updated(self, updates: Batch, report: ChannelReport) -> None:
        """Look at updates of a channel: was the clock of its server set; does a gap end here?"""
        self._look_at_clock(updates, report)
        for gap in self._gaps:
            if gap.index == updates.index and gap.end == np.inf:
                gap.end = float(updates.timestamps[0])

    def _look_at_clock(self, updates: Batch, report: ChannelReport) -> None:
        step = self._watches[updates.index].look(updates.timestamps, updates.arrivals)
        if step is None:
            return
        report.clock_step = report.clock_step or step.seconds
        latency = self.channels[updates.index].channel.latency
        # No row since then is to be trusted.
        self._clock_set = min(self._clock_set, step.since - latency)

    def lost(self, batch: Batch) -> None:
        """Take note that updates were lost somewhere between this batch and the next one."""
        known = batch.timestamps[np.isfinite(batch.timestamps)]
        self._gaps.append(_Gap(batch.index, float(known[-1]) if len(known) else -np.inf))

    # Rows, in the order in which they become final.

    def annotate(self, rows: dict[str, NDArray]) -> None:
        """Mark rows in their column ``quality``, and add the derived columns; arrays of m rows."""
        self._mark_gaps(rows)
        self._mark_changes(rows)
        for derived in self.derived:
            self._derive(derived, rows)

    def _mark_gaps(self, rows: Mapping[str, NDArray]) -> None:
        half = 0.5 * rows["sample_duration"]
        begin, end = rows["sample_time"] - half, rows["sample_time"] + half
        for gap in self._gaps:
            inside = (end > gap.begin) & (begin < gap.end)
            rows["quality"][inside] |= np.uint16(Quality.LOST_UPDATES)
        self._gaps = [gap for gap in self._gaps if gap.end > end[-1]]

    def _mark_changes(self, rows: Mapping[str, NDArray]) -> None:
        end = rows["sample_time"] + 0.5 * rows["sample_duration"]
        changed = min((setting.since for setting in self.settings), default=np.inf)
        rows["quality"][end > self._clock_set] |= np.uint16(Quality.CLOCK)
        # A reading is made, averaged and sent after its exposure: what is changed in between acts
        # on the row that has just ended, too.
        rows["quality"][end + rows["sample_duration"] > changed] |= np.uint16(Quality.CHANGED)

    def _derive(self, derived: Derived, rows: dict[str, NDArray]) -> None:
        inputs = [rows[name] for name in derived.inputs]
        value = rows[derived.name] = derived.function(*inputs)
        if derived.bound is None:
            return
        known = np.abs(value[np.isfinite(value)])
        if len(known):
            largest = max(self.worst.get(derived.name, 0.0), float(known.max()))
            self.worst[derived.name] = largest
        with np.errstate(invalid="ignore"):
            beyond = np.abs(value) > derived.bound(*inputs)
        rows["quality"][beyond] |= np.uint16(Quality.TRACKING)

    @property
    def remarks(self) -> list[str]:
        """Sentences about settings that were changed."""
        return [remark for setting in self.settings for remark in setting.remarks]


__all__ = ["Annotations", "Setting", "settings_of"]
