"""A triggered scan in Tiled: every column and every image, live and afterwards."""

import threading

import numpy as np
import pytest

from glidepath import Triggers
from glidepath.catalog import (
    CatalogError,
    LocalTiledServer,
    Publisher,
    load_run,
    read_primary,
    read_verdict,
)
from glidepath.plans import flyscan
from glidepath.storage import use_data_root

pytestmark = pytest.mark.slow

BOUND = 60.0


@pytest.fixture
def tiled(tmp_path):
    with LocalTiledServer(tmp_path) as server:
        yield server


def test_what_the_camera_wrote_is_read_by_row_live_and_afterwards(simulated, tiled):
    s = simulated
    use_data_root(tiled.data_root)
    publisher = Publisher(tiled.data_root / "journal", tiled.client)
    token = s.run_engine.subscribe(publisher)
    client = tiled.client()
    seen, over = [], threading.Event()

    def look():
        # Another reader, while the scan is under way.
        while not over.wait(0.3):
            try:
                run = load_run(client, -1)
                rows = len(read_primary(run, ["energy", "camera_total"])["energy"])
                images = run["primary"]["camera_image"]
                if rows and "stop" not in run.metadata:
                    seen.append((rows, images[: min(rows, images.shape[0])].sum()))
            except (CatalogError, KeyError):
                continue

    reader = threading.Thread(target=look)
    s.put("FAULT:CAM1_miss", "7")
    try:
        reader.start()
        s.run_engine(
            flyscan(
                [s.camera, s.ring],
                s.energy,
                400.0,
                405.0,
                1.0,
                triggers=Triggers(s.zebra, step=0.05),
            )
        )
    finally:
        over.set()
        reader.join(BOUND)
        s.put("FAULT:CAM1_miss", "")
        s.run_engine.unsubscribe(token)
    assert publisher.wait_published(s.named("start")[-1]["uid"], BOUND)
    publisher.close(BOUND)
    run = load_run(client, -1)
    table = read_primary(run)
    rows = len(table["energy"])
    assert rows == s.stop["num_events"]["primary"] in (99, 100)
    images = np.asarray(run["primary"]["camera_image"][:])
    assert len(images) == rows
    total = images.sum(axis=(1, 2), dtype=float)
    there = table["camera_frame"] >= 0
    assert np.flatnonzero(~there).tolist() == [7]
    np.testing.assert_allclose(total[there], table["camera_total"][there], rtol=1e-6)
    assert total[7] == 0
    assert read_verdict(run)["triggered"]["camera"]["lost"] == 1
    # Somebody else saw images while it was flying.
    assert any(rows > 0 and pixels > 0 for rows, pixels in seen)
    client.context.http_client.close()
