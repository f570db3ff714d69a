"""What became of the triggers at each detector, added up over the legs of a run."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import ceil
from typing import Any, NamedTuple

import numpy as np

from glidepath.flyers.motion.back_end import FlightError
from glidepath.timeline import ClockFit, DetectorAccount, TriggerAccounting

TOLERATED = 0.05
"""Share of the triggers that may go wrong at a detector before the scan ends as failed."""

ENOUGH = 20
"""Triggers before which a scan is not ended for that."""

OF_AT_LEAST = 50
"""Triggers of which it is a share at least, where so many are planned."""


class KnownClock(NamedTuple):
    """How the clock of a detector ran in a leg.

    Parameters
    ----------
    fit
        Of its times to those of the triggers.
    zero, uncertainty
        When the clock of the triggers began in that leg (POSIX s), and how well that is known (s).
    """

    fit: ClockFit
    zero: float
    uncertainty: float


class RunAccounts:
    """Keeps the accounts of the legs before, and asks for those of the present one.

    Parameters
    ----------
    frames_per_row
        Detector -> frames that each of its rows has.

    Attributes
    ----------
    present
        Matches the triggers and frames of the present leg.
    planned
        Triggers that are planned for it; None where nobody plans them.
    clocks
        Detector -> how its clock ran when it was last known.
    """

    def __init__(self, frames_per_row: Mapping[str, int]) -> None:
        self._frames = frames_per_row
        self._past: dict[str, DetectorAccount] = {}
        self.present = TriggerAccounting([])
        self.planned: int | None = None
        self.clocks: dict[str, KnownClock] = {}

    def begin_leg(self, planned: int | None, zero: float, uncertainty: float) -> None:
        """Add the present leg to those before; nothing is known of the next one.

        Parameters
        ----------
        planned
            Triggers that are planned for the next leg; None where nobody plans them.
        zero, uncertainty
            See `KnownClock`, of the leg that has ended.
        """
        self._past = self.so_far()
        for name, account in self.present.accounts().items():
            if account.clock is not None:
                self.clocks[name] = KnownClock(account.clock, zero, uncertainty)
        self.present = TriggerAccounting([])
        self.planned = planned

    def so_far(self) -> dict[str, DetectorAccount]:
        """Return what became of all triggers so far, by detector."""
        return {
            name: _sum(self._past[name], account) if name in self._past else account
            for name, account in self.present.accounts().items()
        } or dict(self._past)

    @property
    def with_frames(self) -> dict[str, int]:
        """Detector -> rows of which it has frames; none of one that was never armed."""
        # A row that misses one of several frames has frames.
        return {
            name: ceil(account.matched / self._frames[name])
            for name, account in self.so_far().items()
        }

    def check(self) -> None:
        """Raise `FlightError` when more has gone wrong than can be tolerated."""
        for name, account in self.so_far().items():
            wrong = account.lost + account.dropped + account.extra + account.double
            wrong += account.late + account.ambiguous
            if account.triggers >= ENOUGH * self._frames[name] and (
                wrong > TOLERATED * self._all_of(name, account) or account.wrong_rate
            ):
                raise FlightError(
                    f"{account.sentence()}; more than {100 * TOLERATED:g} % of the triggers "
                    "went wrong, so the scan was ended."
                )

    def _all_of(self, name: str, account: DetectorAccount) -> int:
        """Return of how many triggers a detector's share of wrong ones is to be taken.

        Of those made so far; early in a flight of those that are planned, up to `OF_AT_LEAST`:
        two of the first twenty are few if many more follow.
        """
        if self.planned is None:
            return account.triggers
        before = self._past[name].triggers if name in self._past else 0
        planned = before + self.planned * self._frames[name]
        # A detector that misses every fourth trigger need not fly to the end to be found out.
        return max(account.triggers, min(planned, OF_AT_LEAST * self._frames[name]))

    def to_verdict(self) -> dict[str, Any]:
        """Return the accounts for the verdict, as JSON knows them."""
        found: dict[str, Any] = {}
        for name, account in self.so_far().items():
            found[name] = {
                key: value
                for key, value in asdict(account).items()
                if key not in ("name", "lost_at", "clock")
            }
            found[name]["rate"] = account.rate if np.isfinite(account.rate) else None
            found[name]["missing_at"] = [x for x in account.lost_at if np.isfinite(x)]
        return found

    def sentences(self) -> list[str]:
        """Return what is to be said of detectors that did not follow perfectly."""
        return [a.sentence() for a in self.so_far().values() if not a.perfect]


def _sum(one: DetectorAccount, other: DetectorAccount) -> DetectorAccount:
    counts = ("triggers", "frames", "matched", "lost", "dropped", "late", "extra", "double")
    return replace(
        other,
        lost_at=one.lost_at + other.lost_at,
        **{name: getattr(one, name) + getattr(other, name) for name in (*counts, "ambiguous")},
    )


__all__ = ["KnownClock", "RunAccounts"]
