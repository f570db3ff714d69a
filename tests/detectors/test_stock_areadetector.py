"""The camera classes against any areaDetector server that has cam1:, Stats1: and HDF1:.

Run by itself, with the prefix in the environment, for a server on this machine whose HDF5 plugin
can write to its temporary folder; ``EPICS_CA_SERVER_PORT`` if it is not at the usual port:

    GLIDEPATH_TEST_AREADETECTOR=13SIM1: pytest tests/detectors/test_stock_areadetector.py
"""

import asyncio
import os
import time

import aioca
import bluesky.plans as bp
import h5py
import numpy as np
import pytest

from glidepath.detectors import Camera, FrameSettings, TriggerMode
from glidepath.storage import use_data_root

PREFIX = os.environ.get("GLIDEPATH_TEST_AREADETECTOR", "")

pytestmark = pytest.mark.skipif(
    not PREFIX,
    reason="GLIDEPATH_TEST_AREADETECTOR names no areaDetector server (such as 13SIM1:) to test",
)

NUMBER, RATE = 40, 20.0


@pytest.fixture
async def make_camera(tmp_path):
    use_data_root(tmp_path)
    cameras = []

    async def make(**options):
        camera = Camera(PREFIX, "camera", driver="sim", dead_time=0.0, **options)
        await camera.connect(timeout=10)
        cameras.append(camera)
        return camera

    yield make
    for camera in cameras:
        await camera.disarm()
        await camera.restore()
    aioca.purge_channel_caches()


@pytest.mark.parametrize("statistics", ["file", "series"])
async def test_frames_and_their_statistics(make_camera, tmp_path, statistics):
    camera = await make_camera(statistics=statistics)
    folder = tmp_path / "run"
    settings = FrameSettings(NUMBER, 0.5 / RATE, 1 / RATE, TriggerMode.INTERNAL, folder)
    began = time.time()
    await camera.arm(settings)
    parts = []
    while sum(len(part.numbers) for part in parts) < NUMBER:
        assert time.time() - began < 60, f"only {parts} came"
        parts.append(await camera.frames())
        await asyncio.sleep(0.1)
    file, dropped = camera.file(), await camera.dropped()
    await camera.disarm()
    threshold = await camera.stats.centroid_threshold.get_value()
    numbers, begins, ends = (
        np.concatenate([getattr(part, key) for part in parts])
        for key in ("numbers", "begins", "ends")
    )
    values = {key: np.concatenate([part.values[key] for part in parts]) for key in camera.columns()}
    assert np.array_equal(numbers, np.arange(NUMBER))
    assert dropped == 0
    assert np.all(np.diff(begins) > 0)
    assert began - 2 < begins[0] < ends[-1] < time.time() + 2
    with h5py.File(file.path, "r", swmr=True) as opened:
        images = opened[file.dataset][()].astype(float)
    assert images.shape == (NUMBER, *file.data_key["shape"][1:])
    assert values["camera_total"] == pytest.approx(images.sum(axis=(1, 2)), rel=1e-6)
    weights = np.where(images >= threshold, images, 0.0)
    columns = np.arange(images.shape[2])
    with np.errstate(invalid="ignore"):
        x = weights.sum(axis=1) @ columns / weights.sum(axis=(1, 2))
    assert values["camera_centroid_x"] == pytest.approx(np.nan_to_num(x), rel=1e-5, abs=1e-5)


async def test_it_is_sampled_while_it_runs_freely(make_camera):
    camera = await make_camera()
    await camera.stage()
    await camera.begin_sampling()
    channels = await camera.channels()
    stamps = []
    monitor = aioca.camonitor(
        # Statistics of images that are all alike stay silent; the time of the frame does not.
        camera.stats.time_stamp.source.removeprefix("ca://"),
        stamps.append,
        all_updates=True,
    )
    deadline = time.monotonic() + 30
    while len(stamps) < 5:
        assert time.monotonic() < deadline, "no frames come to the statistics"
        await asyncio.sleep(0.05)
    monitor.close()
    assert np.all(np.diff(stamps) > 0)
    total = await aioca.caget(channels[0].source.removeprefix("ca://"))
    assert total > 0
    await camera.unstage()
    assert not await camera.driver.acquire.get_value()


def test_a_stock_plan_counts(RE, tmp_path):
    use_data_root(tmp_path)
    camera = Camera(PREFIX, "camera", driver="sim")
    asyncio.run_coroutine_threadsafe(camera.connect(timeout=10), RE.loop).result(30)
    documents = []
    RE(bp.count([camera], 3), lambda name, document: documents.append((name, document)))
    events = [document["data"] for name, document in documents if name == "event"]
    assert len(events) == 3
    assert all(event["camera_total"] > 0 for event in events)
    assert documents[-1][1]["exit_status"] == "success"
