"""A camera in a flight without a trigger, and the focus that it finds."""

import bluesky.plan_stubs as bps
import numpy as np
import pytest

from glidepath.physics import FocusError, beam_width, fit_focus
from glidepath.pictures import save_focus
from glidepath.plans import FocusData, FocusResult, flyscan, focus_scan
from glidepath.plans.focus_scan import focus_positions
from glidepath.simulation.spot import spot_width
from glidepath.timeline import Quality

RANGE = np.arange(-1200.0, -1100.0, 0.01)


@pytest.fixture
def focus():
    """Where the simulated beam is smallest: in x, in y, and their quadratic mean."""
    x, y = spot_width(RANGE)
    return tuple(RANGE[np.argmin(width)] for width in (x, y, np.hypot(x, y)))


@pytest.fixture
def simulated(simulated):
    """The beamline of all tests of this process, with the focus put back for those that follow."""
    yield simulated
    simulated.run_engine(bps.mv(simulated.focus, 0.0))


def results(simulated):
    descriptors = {d["uid"]: d["name"] for d in simulated.named("descriptor")}
    events = simulated.named("event")
    return [e["data"] for e in events if descriptors[e["descriptor"]] == "focus_fit"]


def test_a_step_scan_finds_the_focus_and_moves_there(simulated, focus):
    s = simulated
    s.run_engine(focus_scan([s.camera], s.focus, -1200, -1100, 10, move=True))
    (found,) = results(s)
    for key, expected in zip(("fwhm_x", "fwhm_y", "focus"), focus, strict=True):
        assert found[f"{key}_position"] == pytest.approx(expected, abs=0.3)
        assert 0 < found[f"{key}_position_error"] < 0.1
    assert s.stop["exit_status"] == "success"
    assert s.stop["reason"] == found["focus_fit"]
    assert s.stop["reason"].startswith("focus at -1149.")
    assert s.stop["num_events"]["primary"] == 11
    assert s.get(s.focus.user_readback) == pytest.approx(found["focus_position"], abs=0.1)
    assert s.named("start")[-1]["plan_args"]["step"] == 10


def test_a_flight_finds_the_same_focus(simulated, focus):
    s = simulated
    s.run_engine(focus_scan([s.camera], s.focus, -1100, -1200, 5, fly=True, velocity=100.0))
    (found,) = results(s)
    assert found["focus_position"] == pytest.approx(focus[2], abs=0.3)
    assert s.stop["exit_status"] == "success"
    assert s.stop["reason"].startswith("focus at -1149.")
    # What the flight says of itself is not lost.
    assert " rows" in s.stop["reason"]


def test_where_there_is_no_focus_it_says_so_and_stays(simulated):
    s = simulated
    s.run_engine(focus_scan([s.camera], s.focus, -1130, -1100, 5, move=True))
    (found,) = results(s)
    assert list(found) == ["focus_fit"]
    assert "nothing moved" in s.stop["reason"]
    assert "below the range from -1130 to -1100" in s.stop["reason"]
    assert s.get(s.focus.user_readback) == pytest.approx(-1100, abs=0.1)


def test_the_statistics_are_columns_of_a_flight_without_trigger(simulated):
    s = simulated
    settings = [s.camera.driver.acquire_period, s.camera.driver.image_mode, s.camera.deadbands[0]]
    before = [s.get(signal) for signal in settings]
    s.put("m1", -1150.0)
    s.run_engine(flyscan([s.camera, s.mesh], s.energy, 399.0, 401.0, 2.0, period=0.04))
    run = s.run()
    table = run.primary
    assert run.stop["exit_status"] == "success"
    assert not np.any(table["quality"])
    assert np.all(table["camera_total_count"] >= 1)
    for axis in "xy":
        np.testing.assert_allclose(
            table[f"camera_fwhm_{axis}"], 2.355 * table[f"camera_sigma_{axis}"]
        )
        assert np.all((table[f"camera_fwhm_{axis}"] > 3) & (table[f"camera_fwhm_{axis}"] < 9))
    # Both see the same light.
    ratio = table["camera_total"] / table["mesh"]
    assert np.ptp(ratio) / np.mean(ratio) < 0.02
    assert len(run.raw["camera_total"]["time"]) >= len(table["quality"])
    keys = run.descriptors["primary"]["data_keys"]
    assert keys["camera_sigma_x"]["units"] == keys["camera_fwhm_x"]["units"] == "px"
    assert [s.get(signal) for signal in settings] == before
    assert not s.get(s.camera.driver.acquire)


def test_what_makes_no_focus_scan_is_refused():
    for arguments, text in (
        ((0, 10, 5), "there are 3 positions"),
        ((0, 10, 0), "a step that is not zero"),
        ((0, float("nan"), 1), "finite numbers"),
    ):
        with pytest.raises(ValueError, match=text):
            focus_positions(*arguments)
    with pytest.raises(ValueError, match=r"^detectors must be a list, such as \[mesh\]\.$"):
        next(focus_scan("mesh", None, 0.0, 5.0, 1.0))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="needs a camera"):
        next(focus_scan([], None, 0, 10, 1))
    assert list(focus_positions(1, 0, 0.2)) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2, 0])


AT = np.arange(-50.0, 51.0, 10.0)


@pytest.mark.parametrize("where", [-30.0, 0.0, 44.0])
def test_a_fit_is_as_good_as_its_error_says(where):
    noise = np.random.default_rng(1).normal(1.0, 0.01, (40, len(AT)))
    fits = [fit_focus(AT, beam_width(AT, where, 3.0, 0.2) * factor) for factor in noise]
    pulls = [(fit.position - where) / fit.position_error for fit in fits]
    assert np.abs(np.mean(pulls)) < 0.6
    assert 0.5 < np.std(pulls) < 2.0


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (beam_width(AT, 70.0, 3.0, 0.2), "above the range from -50 to 50"),
        (beam_width(AT, -70.0, 3.0, 0.2), "below the range"),
        (np.cbrt(AT + 60), "smallest at -50, so scan beyond that"),
        (10 - beam_width(AT, 0.0, 3.0, 0.1), "no minimum"),
        (5 + 0.1 * np.random.default_rng(2).normal(size=len(AT)), "no minimum|does not change"),
        (np.where(np.abs(AT) < 20, 5.0, np.nan), "needs the width at 5 positions"),
    ],
)
def test_no_focus_is_invented(width, text):
    with pytest.raises(FocusError, match=text):
        fit_focus(AT, width)


def test_a_picture_is_drawn_with_and_without_a_focus(tmp_path):
    columns = {"position": AT, "centroid_x": AT * 0.01, "centroid_y": AT * 0.0}
    for width in (beam_width(AT, 5.0, 3.0, 0.2), AT + 100):
        data = {**columns, "fwhm_x": width, "fwhm_y": width}
        fits = FocusResult.of(data).fits
        path = tmp_path / f"{len(fits)}.png"
        save_focus(path, data, fits, title="test", position_label="focus (um)")
        assert path.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.iterdir()} == {"0.png", "3.png"}


def test_the_data_of_a_scan_are_taken_from_its_primary_stream_only():
    data = FocusData("m", "c")
    values = {"m": 1.0, **{f"c_{key}": 2.0 for key in ("fwhm_x", "fwhm_y", "centroid_x")}}
    values["c_centroid_y"] = 3.0
    data("descriptor", {"name": "baseline", "uid": "b"})
    data("descriptor", {"name": "primary", "uid": "p"})
    data("event", {"descriptor": "b", "data": {}})
    data("event", {"descriptor": "p", "data": values})
    assert {key: list(column) for key, column in data.columns.items()} == {
        "position": [1.0],
        "fwhm_x": [2.0],
        "fwhm_y": [2.0],
        "centroid_x": [2.0],
        "centroid_y": [3.0],
    }


def test_rows_of_a_flight_that_are_not_good_are_not_fitted(tmp_path):
    import h5py

    data, path = FocusData("m", "c"), tmp_path / "run.h5"
    keys = ("fwhm_x", "fwhm_y", "centroid_x", "centroid_y")
    with h5py.File(path, "w") as file:
        file["/entry/data/m"] = [1.0, 2.0, 3.0]
        file["/entry/data/quality"] = np.array([Quality.HELD, Quality.BEAM_LOST, 0], np.uint16)
        for key in keys:
            file[f"/entry/data/c_{key}"] = [5.0, 1.0, 4.0]
    resource = {"data_key": "c_fwhm_x", "uri": f"file://localhost{path}"}
    data("stream_resource", resource)
    assert data.columns["position"].tolist() == [1.0, 3.0]
    assert data.columns["fwhm_x"].tolist() == [5.0, 4.0]
