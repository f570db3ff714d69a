"""The matplotlib view draws what the others show."""

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from written_documents import documents_of

from glidepath.configuration import ConfigurationError, load_configuration
from glidepath.live import FigureView, PrimaryFollower, view_for

ENERGY = np.linspace(400.0, 402.0, 101)
COLUMNS = {
    "energy": np.concatenate([ENERGY, ENERGY[::-1]]),
    "mesh": np.full(202, 2.0),
    "sample": np.tile(1.0 + np.exp(-0.5 * ((ENERGY - 401.0) / 0.2) ** 2), 2),
    "pass_number": np.repeat([1.0, 2.0], 101),
    "quality": np.where(np.arange(202) == 150, 64.0, 0.0),
}


@pytest.fixture(autouse=True)
def _agg():
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    matplotlib.use(before)


def shown(tmp_path, columns=COLUMNS, **options):
    follower = PrimaryFollower()
    with FigureView(follower, **options) as view:
        FigureCanvasAgg(view.figure)
        for name, document in documents_of(tmp_path, columns, steps=3):
            follower(name, document)
    return view.figure


def test_the_newest_pass_lies_over_the_earlier_one_with_the_mean_and_hollow_rows(tmp_path):
    (axes,) = shown(tmp_path).axes
    earlier, mean, newest, bad = axes.lines
    assert (len(earlier.get_xdata()), len(newest.get_xdata())) == (101, 101)
    assert newest.get_linewidth() > earlier.get_linewidth()
    assert newest.get_label() == "pass 2 (down)"
    assert np.max(mean.get_ydata()) == pytest.approx(1.0, abs=0.01)
    assert bad.get_xdata().tolist() == [COLUMNS["energy"][150]]
    assert axes.collections, "the band of the error of the mean"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("energy (eV)", "sample / mesh")


def test_the_band_is_drawn_only_where_the_error_is_known(tmp_path):
    sample = COLUMNS["sample"].copy()
    hole = (COLUMNS["energy"] > 400.5) & (COLUMNS["energy"] < 401.5)
    sample[101:][hole[101:]] = np.nan
    (axes,) = shown(tmp_path, {**COLUMNS, "sample": sample}).axes
    (band,) = axes.collections
    edges = [path.vertices[:, 0] for path in band.get_paths()]
    assert len(edges) == 2
    assert not any(((x > 400.52) & (x < 401.48)).any() or np.ptp(x) > 0.6 for x in edges)


def test_the_whole_range_is_shown_from_the_first_rows_on(tmp_path):
    follower = PrimaryFollower()
    with FigureView(follower) as view:
        FigureCanvasAgg(view.figure)
        for name, document in documents_of(tmp_path, COLUMNS, steps=20):
            if name == "stream_datum" and document["indices"]["start"] > 0:
                break
            follower(name, document)
    (axes,) = view.figure.axes
    assert 5 < len(axes.lines[1].get_xdata()) < 20
    assert axes.get_xlim() == (400.0, 402.0)
    view.figure.canvas.draw()
    assert axes.xaxis.get_major_formatter().get_offset() == ""


def test_another_signal_is_shown_where_it_is_wanted(tmp_path):
    (axes,) = shown(tmp_path, signal="sample", reference="").axes
    assert axes.get_ylabel() == "sample"
    assert np.nanmax(axes.lines[2].get_ydata()) == pytest.approx(2.0)


def test_a_plan_without_a_scan_draws_nothing():
    follower = PrimaryFollower()
    with FigureView(follower) as view:
        follower("start", {"uid": "x"})
        follower("stop", {"uid": "y"})
    assert view.figure.axes == []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of ipympl itself
def test_a_notebook_gets_pictures_while_its_kernel_is_busy(tmp_path, monkeypatch):
    pytest.importorskip("ipympl", reason="ipympl is not installed.")
    from ipympl.backend_nbagg import Canvas

    sent, shown = [], []
    monkeypatch.setattr(
        Canvas, "send", lambda self, content, buffers=None: sent.append((content, buffers))
    )
    monkeypatch.setattr("IPython.display.display", shown.append)
    matplotlib.use("module://ipympl.backend_nbagg")
    follower = PrimaryFollower()
    with FigureView(follower) as view:
        for name, document in documents_of(tmp_path, COLUMNS, steps=3):
            follower(name, document)
    # Nobody has heard of the browser yet: what is sent must be pictures all the same.
    assert shown == [view.figure.canvas]
    pictures = [bytes(buffers[0]) for content, buffers in sent if "binary" in content["data"]]
    assert pictures
    assert {picture[:4] for picture in pictures} == {b"\x89PNG"}
    assert shown[0]._data_url.startswith("data:image/png;base64,")


def test_a_backend_that_nobody_sees_is_refused_with_what_to_say():
    with pytest.raises(ValueError, match=r"draws with agg.*%matplotlib qt"):
        view_for(PrimaryFollower(), "matplotlib")


def test_a_window_that_cannot_be_opened_is_a_sentence(monkeypatch):
    def window():
        raise ImportError("Failed to import any of the following Qt binding modules: PyQt6.")

    monkeypatch.setattr("matplotlib.get_backend", lambda: "QtAgg")
    monkeypatch.setattr("glidepath.live.figure._window", window)
    with pytest.raises(ValueError, match=r"No window .* PyQt6\); it needs PyQt6 or PySide6, and a"):
        view_for(PrimaryFollower(), "matplotlib")


def test_a_view_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    with pytest.raises(ValueError, match="no view 'window'; there are auto, terminal"):
        view_for(PrimaryFollower(), "window")
    with pytest.raises(ConfigurationError, match=r"view .* cannot be 'window'"):
        load_configuration(tmp_path, {"GLIDEPATH_VIEW": "window"})
