"""Stores what came of acceptance tests as a run, and finds it again: the history of a device.

The run has a stream for each device, with one event: a column for each figure, and
``<device>_outcomes``, a text of JSON that `Outcome.from_json` reads.
"""

import json
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky.utils import MsgGenerator

from glidepath.lookback import RunIndex, StoredRun

from .outcomes import Outcome, Result

__all__ = ["PLAN", "counts", "earlier_outcomes", "record_outcomes"]

PLAN = "acceptance"
"""Name of the plan in the start documents of such runs."""

OUTCOMES = "_outcomes"
"""End of the name of the column that holds everything."""


def counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Return how many tests passed, failed and were left out."""
    found = [outcome.result for outcome in outcomes]
    return {
        "passed": found.count(Result.PASS),
        "failed": found.count(Result.FAIL),
        "left_out": found.count(Result.LEFT_OUT),
    }


def record_outcomes(
    outcomes: Sequence[Outcome], moved: Iterable[str] = (), flights: Sequence[str] = ()
) -> MsgGenerator:
    """Store outcomes as a run: a plan that moves nothing.

    Parameters
    ----------
    outcomes
        What came of the tests.
    moved
        Names of what was allowed to move.
    flights
        Uids of the runs that the tests have made.
    """
    devices = list(dict.fromkeys(outcome.device for outcome in outcomes))
    metadata = {
        "plan_name": PLAN,
        "devices": devices,
        "moved": sorted(moved),
        "flights": list(flights),
        "acceptance": counts(outcomes),
    }

    def events() -> MsgGenerator:
        for device in devices:
            mine = [outcome for outcome in outcomes if outcome.device == device]
            yield from bps.create(name=device)
            yield from bps.read(_Tested(device, mine))
            yield from bps.save()

    return (yield from bpp.run_wrapper(events(), md=metadata))


class _Tested:
    """The outcomes of a device, as something that can be read."""

    parent = None

    def __init__(self, device: str, outcomes: Sequence[Outcome]) -> None:
        self.name, self._device, self._outcomes = f"{device}_acceptance", device, outcomes
        self._now = time.time()

    def _columns(self) -> dict[str, tuple[Any, str]]:
        """Return what is stored, by the name of the column, and its unit."""
        whole = json.dumps([outcome.to_json() for outcome in self._outcomes])
        found: dict[str, tuple[Any, str]] = {f"{self._device}{OUTCOMES}": (whole, "")}
        for outcome in self._outcomes:
            for name, figure in outcome.figures.items():
                key = column_of(outcome, name)
                found[key] = (figure.value, figure.unit)
        return found

    def read(self) -> dict[str, Any]:
        """Return the readings."""
        return {
            key: {"value": value, "timestamp": self._now}
            for key, (value, _) in self._columns().items()
        }

    def describe(self) -> dict[str, Any]:
        """Return what the readings are."""
        return {
            key: {
                "source": "acceptance test",
                "dtype": "string" if isinstance(value, str) else "number",
                "shape": [],
                **({"units": unit} if unit else {}),
            }
            for key, (value, unit) in self._columns().items()
        }

    def read_configuration(self) -> dict[str, Any]:
        """Return no configuration."""
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        """Return no configuration."""
        return {}


def column_of(outcome: Outcome, figure: str) -> str:
    """Return the name of the column of a figure: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", f"{outcome.title} {figure}").strip("_")


def earlier_outcomes(root: Path, devices: Iterable[str], last: int = 30) -> list[list[Outcome]]:
    """Return the outcomes of earlier tests of some devices, the oldest first.

    Parameters
    ----------
    root
        The data directory.
    devices
        Names.
    last
        How many such runs are looked at.

    Returns
    -------
    list
        For each run that has one of the devices, what came of its tests.
    """
    wanted, index, found = set(devices), RunIndex(root), []
    runs = [run for run in index.runs(limit=None) if run.plan == PLAN]
    for run in runs[:last]:
        stored = StoredRun(index, run)
        outcomes = [one for one in _outcomes_of(stored) if one.device in wanted]
        if outcomes:
            found.append(outcomes)
    return found[::-1]


def _outcomes_of(run: StoredRun) -> list[Outcome]:
    found: list[Outcome] = []
    for name, document in run.documents:
        if name not in ("event", "event_page"):
            continue
        for key, value in document["data"].items():
            if key.endswith(OUTCOMES):
                for text in value if isinstance(value, list) else [value]:
                    found += [Outcome.from_json(one) for one in json.loads(text)]
    return found
