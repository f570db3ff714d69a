"""Faults put into short scans over real Channel Access, and what must hold after each of them.

A case of the matrix is a fault, an axis (a motion back end) and a mode. It is flown in a
*laboratory* (`benchmarks/fault_scans.py`): a simulated beamline of its own, a client process with
a session as a user has it, a wire to each server that can be cut, held or slowed, and a witness
who knows where the axes truly are and what the light truly gave. After each scan it is looked at:
the axis stands, settings are as they were, the run is closed with a reason of one line, documents
are contiguous, no row is off the truth without a bit, and the client holds nothing more than
before.

To add an axis or a mode, add it to `AXES` or `MODES` there; to add a fault, add it to `FAULTS`.

Several laboratories fly cases at the same time, since most of the time goes by waiting.
``GLIDEPATH_FAULTS=all`` flies every fault with every axis and mode; without it as many as fit into
a minute. What became of them goes into the file of Markdown that ``GLIDEPATH_FAULT_REPORT`` names,
as ``python -m glidepath.faults.matrix`` writes it for the documentation.
"""

import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest

from glidepath.cli.bench import benchmarks_folder

sys.path.insert(0, str(benchmarks_folder().parent))

HERE = Path(__file__).parent

BOUND = 580.0
"""Seconds in which a case must have been flown: all laboratories may be busy with others."""


class Matrix:
    """Flies cases in several laboratories; each outcome can be waited for."""

    def __init__(self, cases, folder: Path) -> None:
        from glidepath.faults.matrix import fly

        self.outcomes = {case: Future() for case in cases}
        self._thread = threading.Thread(
            target=fly, args=(cases, folder, self._note), name="laboratories"
        )
        self._thread.start()

    def _note(self, case, outcome) -> None:
        self.outcomes[case].set_result(outcome)

    def outcome(self, case):
        """Wait for the outcome of a case."""
        return self.outcomes[case].result(timeout=BOUND)

    def close(self) -> None:
        self._thread.join()


@pytest.fixture(scope="session")
def matrix(request, tmp_path_factory):
    """The cases that this session has chosen, on their way."""
    chosen = [
        item.callspec.params["case"]
        for item in request.session.items
        # Other tests have other matrices.
        if "matrix" in getattr(item, "fixturenames", ()) and item.path.parent == HERE
    ]
    matrix = Matrix(chosen, tmp_path_factory.mktemp("laboratories"))
    yield matrix
    matrix.close()
    report = os.environ.get("GLIDEPATH_FAULT_REPORT")
    if report:
        from glidepath.faults.matrix import page

        Path(report).write_text(page([matrix.outcomes[case].result(0) for case in chosen]))
