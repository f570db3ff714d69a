"""Triggered scans over real Channel Access: one row a trigger, measured energies, every image."""

import h5py
import numpy as np
import pytest

from glidepath.plans import flyscan
from glidepath.timeline import Quality


def image_rows(simulated, run, camera="camera"):
    """Return the images by row, and the statistics that belong to them."""
    (resource,) = [
        d for d in simulated.named("stream_resource") if d["data_key"] == f"{camera}_image"
    ][-1:]
    with h5py.File(resource["uri"].removeprefix("file://localhost"), libver="latest") as file:
        return file[resource["parameters"]["dataset"]][:]


def test_each_trigger_is_a_row_with_its_frame_and_its_latched_energy(simulated):
    s = simulated
    s.run_engine(
        flyscan([s.camera, s.ring], s.energy, 400.0, 402.0, 1.0, step=0.05, trigger=s.zebra)
    )
    run = s.run()
    table = run.primary
    assert run.stop["exit_status"] == "success", run.stop
    rows = len(table["energy"])
    assert rows in (39, 40)
    assert run.start["preflight"]["rows"] == rows == run.stop["num_events"]["primary"]
    assert table["camera_frame"].tolist() == list(range(rows))
    assert not np.any(table["quality"] & ~np.uint16(Quality.HELD))
    assert np.all(table["energy_lower"] >= 400.0 - 1e-4)
    assert np.all(table["energy_upper"] <= 402.0 + 1e-4)
    assert np.diff(table["energy_lower"]) == pytest.approx(0.05, abs=0.005)
    # What else is sampled is there too, joined by time.
    assert np.all(table["ring_current"] > 100)
    images = image_rows(s, run)
    assert len(images) == rows
    total = images.sum(axis=(1, 2), dtype=float)
    np.testing.assert_allclose(total, table["camera_total"], rtol=1e-6)
