"""Faults put into short scans over real Channel Access, and what must hold after each of them.

A case of the matrix is a fault, an axis (a motion back end) and a mode. It is flown in a
*laboratory* (`benchmarks/fault_scans.py`): a simulated beamline of its own, a client process with
a session as a user has it, a wire to each server that can be cut, held or slowed, and a witness
who knows where the axes truly are and what the light truly gave. After each scan it is looked at:
the axis stands, settings are as they were, the run is closed with a reason of one line, documents
are contiguous, no row is off the truth without a bit, and the client holds nothing more than
before.

To add an axis or a mode, add it to `AXES` or `MODES` there; to add a fault, add it to `FAULTS`.

Several laboratories fly cases at the same time, since most of the time goes by waiting. What
became of them is a table of Markdown in the file that the environment's ``GLIDEPATH_FAULT_REPORT``
names. ``GLIDEPATH_FAULTS=all`` flies every fault with every axis and mode; without it as many as
fit into some two minutes.
"""

import os
import queue
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from glidepath.cli.bench import benchmarks_folder

sys.path.insert(0, str(benchmarks_folder().parent))

LABORATORIES = 5

BOUND = 580.0
"""Seconds in which a case must have been flown: all laboratories may be busy with others."""


class Matrix:
    """Flies cases in several laboratories; each outcome can be waited for."""

    def __init__(self, cases, folder: Path) -> None:
        self.outcomes = {case: Future() for case in cases}
        self._waiting = queue.SimpleQueue()
        for case in cases:
            self._waiting.put(case)
        self._folder = folder
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"laboratory {number}")
            for number in range(min(LABORATORIES, len(cases)))
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, number: int) -> None:
        from benchmarks.fault_scans import Laboratory

        while not self._waiting.empty():
            folder = self._folder / f"{number}"
            folder.mkdir(exist_ok=True)
            case = None
            try:
                with Laboratory(folder, seed=number) as laboratory:
                    while True:
                        case = None
                        case = self._waiting.get_nowait()
                        self.outcomes[case].set_result(laboratory.fly(case))
            except queue.Empty:
                return
            except Exception as error:
                if case is None:
                    # No laboratory, no outcome: whoever waits hears why.
                    self._give_up(error)
                elif not self.outcomes[case].done():
                    # The next case gets a new laboratory.
                    self.outcomes[case].set_exception(error)

    def _give_up(self, error: Exception) -> None:
        while True:
            try:
                self.outcomes[self._waiting.get_nowait()].set_exception(error)
            except queue.Empty:
                return

    def outcome(self, case):
        """Wait for the outcome of a case."""
        return self.outcomes[case].result(timeout=BOUND)

    def close(self) -> None:
        for thread in self._threads:
            thread.join()


@pytest.fixture(scope="session")
def matrix(request, tmp_path_factory):
    """The cases that this session has chosen, on their way."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        if "matrix" in getattr(item, "fixturenames", ())
    ]
    matrix = Matrix(chosen, tmp_path_factory.mktemp("laboratories"))
    yield matrix
    matrix.close()
    report = os.environ.get("GLIDEPATH_FAULT_REPORT")
    if report:
        from benchmarks.fault_scans import markdown

        outcomes = [matrix.outcomes[case] for case in chosen]
        known = [o.result() for o in outcomes if o.done() and o.exception() is None]
        Path(report).write_text(markdown(known))
