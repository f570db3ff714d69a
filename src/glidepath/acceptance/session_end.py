"""What is done when all tests are made: stored as a run, written as a report."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .outcomes import Outcome
from .record import earlier_outcomes, record_outcomes
from .report import about_session, changes, write_html, write_junit
from .runner import Runner

__all__ = ["Written", "finish"]


@dataclass(frozen=True)
class Written:
    """Where the report of a session of tests is.

    Attributes
    ----------
    html, junit
        The files.
    run
        Uid of the run that holds the outcomes.
    changes
        What has changed since the last time, a sentence each.
    """

    html: Path
    junit: Path
    run: str
    changes: tuple[str, ...]


def finish(runner: Runner, folder: Path | None = None) -> Written | None:
    """Store the outcomes of all tests as a run and write their report.

    Parameters
    ----------
    runner
        That has made the tests.
    folder
        Where the report goes; None: a new folder in that of the runner.

    Returns
    -------
    Written or None
        None if no test was made.
    """
    runner.end()
    outcomes: Sequence[Outcome] = runner.outcomes
    if not outcomes:
        return None
    session, moved = runner.session, runner.asked.move
    devices = list(dict.fromkeys(outcome.device for outcome in outcomes))
    earlier = earlier_outcomes(session.root, devices)
    stop = session.run(record_outcomes(outcomes, moved, runner.flights))
    uid = str(stop["run_start"])
    place = folder or runner.folder / f"{time.strftime('%Y%m%d_%H%M%S')}_{uid[:8]}"
    place.mkdir(parents=True, exist_ok=True)
    html, junit = place / "report.html", place / "junit.xml"
    about = {**about_session(session, moved), "run": uid}
    write_html(html, outcomes, earlier, about)
    write_junit(junit, outcomes)
    return Written(html, junit, uid, tuple(changes(outcomes, earlier)))
