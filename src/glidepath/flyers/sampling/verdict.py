"""What a scan says of itself when it is over."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from typing import Any

from glidepath.sentences import joined
from glidepath.timeline import ChannelReport

from .single_event import Item, SingleEvent

SLOW_WRITE = 2.0
"""Seconds for one flush of the file above which the verdict mentions it."""


@dataclass(eq=False)
class Verdict(SingleEvent):
    """The scan's own account, readable by the run engine as one event.

    The event has few keys, whatever the number of channels: describing a key costs the run
    engine a third of a millisecond. What is there per quality bit and per channel is JSON.

    Attributes
    ----------
    rows
        Rows in ``primary``.
    flagged
        Rows per quality bit, only bits that occurred.
    channels
        What each channel did.
    worst
        Largest absolute value of each derived column that has a bound (eV).
    slowest_write
        Longest time that one flush of the file took (s).
    interruptions
        Why the flight was interrupted, and where (in the axis's unit; None: before its first
        row) it went on.
    triggered
        What became of the triggers at each detector, as JSON knows it.
    remarks
        Sentences about what was not as it should be.
    """

    name = "verdict"

    rows: int = 0
    flagged: dict[str, int] = field(default_factory=dict)
    channels: dict[str, ChannelReport] = field(default_factory=dict)
    worst: dict[str, float] = field(default_factory=dict)
    slowest_write: float = 0.0
    interruptions: Sequence[tuple[str, float | None]] = ()
    triggered: Mapping[str, Any] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @property
    def lost_updates(self) -> int:
        """Updates that were thrown away because nobody took them in time, of all channels."""
        return sum(report.lost for report in self.channels.values())

    @property
    def late_updates(self) -> int:
        """Updates that came after their row was final, of all channels."""
        return sum(report.late for report in self.channels.values())

    def sentence(self) -> str:
        """Return the verdict in one line."""
        parts = [f"{self.rows} rows"]
        parts += [f"worst {key.replace('_', ' ')} {v:.3f} eV" for key, v in self.worst.items()]
        parts += [f"{count} rows {bit}" for bit, count in self.flagged.items()]
        for number, what in ((self.late_updates, "late"), (self.lost_updates, "lost")):
            if number:
                of = [n for n, r in self.channels.items() if getattr(r, what)]
                parts.append(f"{number} {what} updates of {', '.join(of)}")
        parts += [joined(remark) for remark in self.remarks]
        for why, times in Counter(why for why, _ in self.interruptions).items():
            parts.append(f"{why} {times} times" if times > 1 else why)
        if self.slowest_write > SLOW_WRITE:
            parts.append(f"the disk took up to {self.slowest_write:.1f} s for a flush")
        stepped = {n: r.clock_step for n, r in self.channels.items() if r.clock_step}
        if stepped:
            step = max(stepped.values(), key=abs)
            parts.append(
                f"the clock of the server of {', '.join(stepped)} was set during the scan, "
                f"by {step:+.2f} s or more"
            )
        lost = [name for name, report in self.channels.items() if report.disconnections]
        if lost:
            parts.append(f"connection lost: {', '.join(lost)}")
        return "; ".join(parts)

    @cached_property
    def items(self) -> Mapping[str, Item]:  # type: ignore[override]
        """Numbers and texts of the event, with their units."""
        channels = {
            name: {key: _json(value) for key, value in vars(report).items()}
            for name, report in self.channels.items()
        }
        return {
            "verdict": (self.sentence(), ""),
            "rows": (self.rows, ""),
            "late_updates": (self.late_updates, ""),
            "lost_updates": (self.lost_updates, ""),
            "slowest_write": (self.slowest_write, "s"),
            **{f"worst_{key}": (value, "eV") for key, value in self.worst.items()},
            "flagged": (json.dumps(self.flagged), ""),
            "channels": (json.dumps(channels), ""),
            "triggered": (json.dumps(self.triggered), ""),
            "interruptions": (json.dumps(list(self.interruptions)), ""),
        }


def _json(value: float | int) -> float | int | None:
    """JSON has no NaN."""
    return value if isfinite(value) else None


__all__ = ["Verdict"]
