"""Bluesky's best-effort callback on a real flight: table, plot and peaks are what was recorded."""

import re
import time

import numpy as np
import pytest
from bluesky.callbacks.best_effort import BestEffortCallback

from glidepath import Session, flyscan
from glidepath.live import StreamsAsEvents
from glidepath.physics import N2_LINES_eV

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),
]

MODULE = """
import glidepath.beamlines.simulated as here
globals().update(vars(here))
SILENT = ["mesh"]
"""


@pytest.fixture
def session(beamline, tmp_path, monkeypatch):
    (tmp_path / "silent_mesh.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    options = {"live": False, "catalogue": False, "exports": False}
    with Session("silent_mesh", tmp_path, **options) as session:
        yield session


@pytest.fixture
def plots():
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    yield plt
    plt.close("all")


class Timed:
    """Counts events, and how long the run engine is kept by a callback."""

    def __init__(self, callback):
        self.callback, self.events, self.durations = callback, 0, []

    def __call__(self, name, document):
        begun = time.perf_counter()
        self.callback(name, document)
        self.durations.append(time.perf_counter() - begun)


def flown(session, **options):
    best = BestEffortCallback()
    adapter = Timed(StreamsAsEvents(best, **options))
    token = session.RE.subscribe(adapter)
    session.RE(flyscan([session.mesh, session.sample], session.energy, 400, 402.5, 0.5, period=0.1))
    session.RE.unsubscribe(token)
    return best, adapter


def test_table_plot_and_peaks_are_those_of_all_rows(session, plots, capsys):
    best, _ = flown(session, complete=True)
    run = session.last
    table = run.columns(["energy", "sample", "quality"])
    assert run.run.status == "success"
    assert not np.any(table["quality"])
    # The table: a line for each row, with the columns that are hinted.
    printed = capsys.readouterr().out
    header = next(line for line in printed.splitlines() if "seq_num" in line)
    assert [word.strip() for word in header.strip("| ").split("|")][2:] == ["energy", "sample"]
    lines = re.findall(r"^\|\s+(\d+) \|", printed, re.MULTILINE)
    assert [int(line) for line in lines] == list(range(1, len(table["energy"]) + 1))
    # The plot: the signal against the energy, and nothing of the silent detector.
    (figure,) = [plots.figure(number) for number in plots.get_fignums()]
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("energy", "sample")
    np.testing.assert_allclose(axes.lines[0].get_xydata()[:, 0], table["energy"])
    np.testing.assert_allclose(axes.lines[0].get_xydata()[:, 1], table["sample"])
    # The peaks, by what was recorded.
    highest = int(np.argmax(table["sample"]))
    assert best.peaks["max"]["sample"] == pytest.approx(
        (table["energy"][highest], table["sample"][highest])
    )
    # One of the two highest lines of N2.
    at = best.peaks["max"]["sample"][0]
    assert min(abs(at - line) for line in N2_LINES_eV[:2]) < 0.06
    assert "mesh" not in best.peaks["max"]


def test_the_run_engine_keeps_most_of_its_time(session, plots):
    _, adapter = flown(session, rows_per_second=1000.0)
    run = session.last
    lasted = run.stop["time"] - run.start["time"]
    spent = sum(adapter.durations)
    print(f"{spent:.2f} s of {lasted:.2f} s, longest {1e3 * max(adapter.durations):.0f} ms")
    table = run.columns(["quality"])
    assert not np.any(table["quality"])
    # Rows begin with an exposure: there may be one less.
    assert len(table["quality"]) >= run.start["preflight"]["rows"] - 1
