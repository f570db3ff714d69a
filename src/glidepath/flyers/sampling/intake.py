"""The intake takes what monitors have received into the memory from which rows are made."""

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glidepath.flyers.monitors.ingestion import Batch, Monitors
from glidepath.flyers.monitors.updates import INVALID
from glidepath.timeline import Aligner

from .annotations import Annotations, Setting

RawUpdates = tuple[int, NDArray[np.float64], NDArray[np.float64]]
"""Number of a channel; timestamps (POSIX s) and values of its updates, shape (n,) each."""


class Intake:
    """Drains the monitors of a scan into its aligner.

    Parameters
    ----------
    monitors
        Monitors of all channels, then of all settings.
    channels
        How many channels there are.
    settings
        The settings that must not change.
    aligner
        The aligner, which takes the updates of the channels.
    annotations
        The annotations, which look at the updates, too.
    """

    def __init__(
        self,
        monitors: Monitors,
        channels: int,
        settings: Sequence[Setting],
        aligner: Aligner,
        annotations: Annotations,
    ) -> None:
        self._monitors = monitors
        self._channels = channels
        self._settings = settings
        self._aligner = aligner
        self._annotations = annotations
        self._pending: list[RawUpdates] = []

    def take(self) -> None:
        """Take all that has arrived since the last call."""
        now = time.monotonic()
        for batch in self._monitors.drain():
            if batch.index >= self._channels:
                setting = self._settings[batch.index - self._channels]
                setting.look(batch.timestamps, batch.values)
            else:
                self._take(batch, now)

    def _take(self, batch: Batch, now: float) -> None:
        for part in split_at_losses(batch):
            if np.isnan(part.timestamps[0]):
                self._annotations.disconnected(part.index)
                kept = self._aligner.disconnect(part.index, float(part.arrivals[0]))
            else:
                self._annotations.updated(part, self._aligner.report(part.index))
                # A value with an invalid alarm is no value.
                values = np.where(part.severities < INVALID, part.values, np.nan)
                kept = self._aligner.add(part.index, part.timestamps, values, part.arrivals, now)
            if len(kept[0]):
                self._pending.append((part.index, *kept))
        if batch.lost:
            self._aligner.report(batch.index).lost += batch.lost
            self._annotations.lost(batch)

    def pending(self) -> list[RawUpdates]:
        """Return the updates that are to be written; each is returned once."""
        pending, self._pending = self._pending, []
        return pending

    def close(self) -> None:
        """End the subscriptions. Closing twice is harmless."""
        self._monitors.close()


def split_at_losses(batch: Batch) -> list[Batch]:
    """Split a batch into runs of updates and single losses of the connection."""
    lost = np.flatnonzero(np.isnan(batch.timestamps))
    if not len(lost):
        return [batch] if len(batch.timestamps) else []
    cuts = np.unique(np.concatenate([lost, lost + 1]))
    return [
        Batch(batch.index, t, v, a, s)
        for t, v, a, s in zip(
            np.split(batch.timestamps, cuts),
            np.split(batch.values, cuts),
            np.split(batch.arrivals, cuts),
            np.split(batch.severities, cuts),
            strict=True,
        )
        if len(t)
    ]


__all__ = ["Intake", "RawUpdates", "split_at_losses"]
