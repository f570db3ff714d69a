"""A triggered camera over real Channel Access and real HDF5 files: frames, columns, faults."""

import asyncio

import aioca
import h5py
import numpy as np
import pytest

from glidepath.detectors import FrameSettings, FrameSource, TriggerMode
from glidepath.devices.signals import watch

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE = 100.0
NUMBER = 40


def moments(images, threshold=5):
    """Total, centroid and sigma of images, by the textbook."""
    images = images.astype(float)
    y, x = np.indices(images.shape[1:])
    weights = np.where(images >= threshold, images, 0.0)
    total, weight = images.sum(axis=(1, 2)), weights.sum(axis=(1, 2))
    mean_x, mean_y = ((weights * axis).sum(axis=(1, 2)) / weight for axis in (x, y))
    sigma_x, sigma_y = (
        np.sqrt((weights * (axis - mean[:, None, None]) ** 2).sum(axis=(1, 2)) / weight)
        for axis, mean in ((x, mean_x), (y, mean_y))
    )
    return {
        "total": total,
        "centroid_x": mean_x,
        "centroid_y": mean_y,
        "sigma_x": sigma_x,
        "sigma_y": sigma_y,
        "fwhm_x": 2.355 * sigma_x,
        "fwhm_y": 2.355 * sigma_y,
    }


def images_of(camera):
    file = camera.file()
    with h5py.File(file.path, "r", swmr=True) as opened:
        return opened[file.dataset][()]


@pytest.mark.parametrize("statistics", ["file", "series"])
async def test_frames_equal_triggers_and_columns_equal_the_images(bench, make_camera, statistics):
    camera = await make_camera(statistics=statistics)
    assert isinstance(camera, FrameSource)
    await camera.arm(bench.settings(NUMBER, RATE))
    first = await bench.pulses(NUMBER, RATE)
    frames = await bench.collect(camera, NUMBER)
    assert np.array_equal(frames.numbers, np.arange(NUMBER))
    assert frames.begins == pytest.approx(first + np.arange(NUMBER) / RATE, abs=1e-6)
    assert frames.ends - frames.begins == pytest.approx(0.9 / RATE, abs=1e-6)
    assert await camera.dropped() == 0
    images = images_of(camera)
    assert images.shape == (NUMBER, *camera.file().data_key["shape"][1:])
    for statistic, expected in moments(images).items():
        assert frames.values[f"camera_{statistic}"] == pytest.approx(expected, rel=1e-6), statistic
    orientation = frames.values["camera_orientation"]
    assert np.all((orientation >= -90) & (orientation <= 90))
    assert set(frames.values) == set(camera.columns())


async def test_without_images_the_series_alone_gives_the_frames(bench, make_camera):
    camera = await make_camera(images=False)
    await camera.arm(bench.settings(NUMBER, RATE))
    assert camera.file() is None
    first = await bench.pulses(NUMBER, RATE)
    frames = await bench.collect(camera, NUMBER)
    assert np.array_equal(frames.numbers, np.arange(NUMBER))
    assert frames.begins == pytest.approx(first + np.arange(NUMBER) / RATE, abs=1e-5)
    assert np.all(frames.values["camera_total"] > 0)


async def test_an_exposure_lasts_as_long_as_the_pulse(bench, make_camera):
    camera = await make_camera()
    totals = []
    for width in (0.002, 0.006):
        settings = FrameSettings(10, width, 0.01, TriggerMode.LEVEL, bench.folder / "run")
        await camera.arm(settings)
        await bench.pulses(10, RATE, width)
        totals.append((await bench.collect(camera, 10)).values["camera_total"].mean())
    assert totals[1] / totals[0] == pytest.approx(3.0, rel=0.05)


async def test_its_own_clock_can_trigger_it(bench, make_camera):
    camera = await make_camera()
    await camera.arm(bench.settings(20, 50.0, TriggerMode.INTERNAL))
    frames = await bench.collect(camera, 20)
    assert np.array_equal(frames.numbers, np.arange(20))
    assert np.diff(frames.begins) == pytest.approx(0.02, abs=1e-6)


async def test_it_can_be_armed_again_in_the_same_run(bench, make_camera):
    camera = await make_camera()
    paths = set()
    for number in (10, 15):
        await camera.arm(bench.settings(number, RATE))
        await bench.pulses(number, RATE)
        frames = await bench.collect(camera, number)
        assert np.array_equal(frames.numbers, np.arange(number))
        paths.add(camera.file().path)
    assert len(paths) == 2


async def test_it_takes_any_number_of_frames_until_it_is_disarmed(bench, make_camera):
    camera = await make_camera()
    await camera.arm(bench.settings(0, RATE))
    await bench.pulses(25, RATE)
    frames = await bench.collect(camera, 25)
    assert np.array_equal(frames.numbers, np.arange(25))


async def test_two_that_end_it_at_once_both_succeed(bench, make_camera):
    """After a halt there are two: the run engine unstages it, and the scan cleans up."""
    camera = await make_camera()
    await camera.arm(bench.settings(0, RATE))
    await bench.pulses(5, RATE)
    await asyncio.gather(camera.disarm(), camera.disarm())
    await camera.disarm()


@pytest.mark.parametrize("statistics", ["file", "series"])
async def test_a_dropped_frame_leaves_a_gap_where_it_was(bench, make_camera, statistics):
    lost = [0, 7, 20, 21]
    await bench.faults(drop=" ".join(map(str, lost)))
    camera = await make_camera(statistics=statistics)
    await camera.arm(bench.settings(30, RATE))
    first = await bench.pulses(30, RATE)
    frames = await bench.collect(camera, 30 - len(lost))
    expected = np.setdiff1d(np.arange(30), lost)
    assert np.array_equal(frames.numbers, expected)
    assert frames.begins == pytest.approx(first + expected / RATE, abs=1e-6)
    assert await camera.dropped() == len(lost)
    totals = moments(images_of(camera))["total"]
    assert frames.values["camera_total"] == pytest.approx(totals)


async def test_a_missed_trigger_leaves_no_gap_but_is_seen_in_the_times(bench, make_camera):
    await bench.faults(miss="4 5 12")
    camera = await make_camera()
    await camera.arm(bench.settings(0, RATE))
    first = await bench.pulses(20, RATE)
    frames = await bench.collect(camera, 17)
    assert np.array_equal(frames.numbers, np.arange(17))
    seen = np.setdiff1d(np.arange(20), [4, 5, 12])
    assert frames.begins == pytest.approx(first + seen / RATE, abs=1e-6)
    assert await camera.dropped() == 0


async def test_a_late_frame_says_so(bench, make_camera):
    await bench.faults(late="6", lateness=0.05)
    camera = await make_camera()
    await camera.arm(bench.settings(20, RATE))
    first = await bench.pulses(20, RATE)
    frames = await bench.collect(camera, 20)
    lateness = frames.begins - first - np.arange(20) / RATE
    # Those behind it have to wait.
    assert lateness[:6] == pytest.approx(0, abs=1e-6)
    assert lateness[6:12] == pytest.approx(0.05 - np.arange(6) / RATE, abs=1e-6)
    assert lateness[12:] == pytest.approx(0, abs=1e-6)


async def test_a_camera_too_slow_for_the_rate_makes_fewer_frames(bench, make_camera):
    await bench.faults(slow=0.5 / RATE)
    camera = await make_camera()
    await camera.arm(bench.settings(0, RATE))
    first = await bench.pulses(20, RATE)
    frames = await bench.collect(camera, 10)
    assert frames.begins == pytest.approx(first + np.arange(0, 20, 2) / RATE, abs=1e-6)


async def test_a_slow_disk_drops_frames_and_says_how_many(bench, make_camera, caplog):
    await bench.faults(disk_slow=0.02)
    camera = await make_camera()
    await camera.arm(bench.settings(80, 200.0))
    await bench.pulses(80, 200.0)

    def all_accounted(captured, dropped):
        return captured + dropped == 80

    while not all_accounted(await bench.get("CAM1:HDF1:NumCaptured_RBV"), await camera.dropped()):
        await camera.frames()
        await asyncio.sleep(0.05)
    assert await camera.dropped() > 10
    assert "queue of the file writer is full" in caplog.text


async def test_a_full_disk_says_so(bench, make_camera):
    camera = await make_camera()
    await camera.arm(bench.settings(20, RATE))
    await bench.faults(disk_full=1)
    await bench.pulses(20, RATE)
    with pytest.raises(OSError, match=r"camera cannot write its frames.*No space left on device"):
        await bench.collect(camera, 20)


async def test_a_camera_that_does_not_get_ready_says_what_it_shows(bench, make_camera):
    camera = await make_camera(ready_within=0.5)
    await camera.restore()
    # Before the frame that shows what images are like, and after it.
    for begins in (False, True):
        await bench.faults(never_arms=0)
        if begins:
            await camera.arm(bench.settings(10, RATE))
            await camera.disarm()
        await bench.faults(never_arms=1)
        with pytest.raises(
            TimeoutError,
            match=r"camera did not get ready within 0.5\d* s: it shows 'Initializing' and says "
            r"'Waiting for the sensor'\.$",
        ):
            await camera.arm(bench.settings(10, RATE))
    assert await bench.get("CAM1:cam1:Acquire") == 0
    assert await bench.get("CAM1:HDF1:Capture_RBV") == 0


SETTINGS = [
    *(f"cam1:{s}_RBV" for s in ("ImageMode", "NumImages", "AcquireTime", "AcquirePeriod")),
    *(f"cam1:{s}_RBV" for s in ("TriggerMode", "TriggerSource", "ExposureMode")),
    "cam1:WaitForPlugins",
    *(f"Stats1:{s}_RBV" for s in ("EnableCallbacks", "ComputeStatistics", "ComputeCentroid")),
    "Stats1:NDAttributesFile",
    "Stats1:TS:TSAcquiring",
    *(f"HDF1:{s}_RBV" for s in ("EnableCallbacks", "NDArrayPort", "FileWriteMode", "LazyOpen")),
    *(f"HDF1:{s}_RBV" for s in ("NumFramesFlush", "NDAttributeChunk", "SWMRMode", "FilePath")),
    "HDF1:NumFramesChunks_RBV",
]


async def settings_now(bench):
    return {name: await bench.get(f"CAM1:{name}") for name in SETTINGS}


async def test_settings_are_put_back_and_a_running_camera_runs_again(bench, make_camera):
    before = await settings_now(bench)
    await bench.put("CAM1:cam1:AcquireTime", 0.031)
    before["cam1:AcquireTime_RBV"] = 0.031
    camera = await make_camera()
    await camera.extras.running.set(True)
    # It is told without waiting; what counts is whether it runs when it is armed.
    async with watch(camera.driver.acquire) as seen:
        assert await seen.until(lambda: seen.value(camera.driver.acquire), 10)
    await camera.arm(bench.settings(10, RATE))
    assert await settings_now(bench) != before
    await bench.pulses(10, RATE)
    await bench.collect(camera, 10)
    await camera.restore()
    await camera.restore()
    assert await settings_now(bench) == before
    assert await bench.get("CAM1:cam1:Acquire_RBV") == 1
    await camera.extras.running.set(False)
    # Nothing runs that did not run before.
    await camera.arm(bench.settings(10, RATE))
    await camera.disarm()
    await camera.restore()
    assert await bench.get("CAM1:cam1:Acquire_RBV") == 0


async def test_a_fresh_writer_gets_its_flushing_back_which_depends_on_its_chunks(
    bench, make_camera
):
    await bench.put("CAM1:HDF1:NumFramesChunks", 0)
    await bench.put("CAM1:HDF1:NumFramesFlush", 0)
    camera = await make_camera()
    await camera.arm(bench.settings(10, RATE))
    await bench.pulses(10, RATE)
    await bench.collect(camera, 10)
    # The file that was opened has made both 1 at least, and chunks of 1 forbid flushes of 0.
    assert await bench.get("CAM1:HDF1:NumFramesFlush_RBV") >= 1
    await camera.restore()
    assert await bench.get("CAM1:HDF1:NumFramesChunks_RBV") == 0
    assert await bench.get("CAM1:HDF1:NumFramesFlush_RBV") == 0


async def test_a_flushing_that_the_writer_would_not_take_is_what_it_makes_of_it(bench, make_camera):
    # As somebody has left it who has chosen chunks since the server's start, and no file yet.
    await bench.put("CAM1:HDF1:NumFramesChunks", 0)
    await bench.put("CAM1:HDF1:NumFramesFlush", 0)
    await bench.put("CAM1:HDF1:NumFramesChunks", 3)
    camera = await make_camera()
    await camera.arm(bench.settings(10, RATE))
    await bench.pulses(10, RATE)
    frames = await bench.collect(camera, 10)
    assert list(frames.numbers) == list(range(10))
    await camera.restore()
    assert await bench.get("CAM1:HDF1:NumFramesChunks_RBV") == 3
    assert await bench.get("CAM1:HDF1:NumFramesFlush_RBV") == 3
    await bench.put("CAM1:HDF1:NumFramesChunks", 0)
    await bench.put("CAM1:HDF1:NumFramesFlush", 0)


async def test_a_frame_of_the_same_number_comes_through_to_a_writer_that_counts_none(
    bench, make_camera
):
    counted = await bench.get("CAM1:HDF1:ArrayCounter_RBV")
    camera = await make_camera()
    for _ in range(2):
        # Twice: the second time the plugins show the unique id that the new frame has too.
        await camera.arm(bench.settings(10, RATE))
        assert await bench.get("CAM1:HDF1:ArrayCounter_RBV") == counted
        await camera.disarm()
        await camera.restore()


async def test_an_attempt_that_fails_is_put_back_too(bench, make_camera):
    before = await settings_now(bench)
    camera = await make_camera(at_server=lambda folder: folder / "not there")
    with pytest.raises(FileNotFoundError, match="let it see this folder"):
        await camera.arm(bench.settings(10, RATE))
    await camera.restore()
    assert await settings_now(bench) == before


async def test_what_cannot_be_done_is_refused_before(bench, make_camera):
    camera = await make_camera()
    assert await camera.trigger_modes() == set(TriggerMode)
    assert await camera.dead_time() == pytest.approx(63e-6)
    folder = bench.folder
    with pytest.raises(ValueError, match=r"needs 10\.06 ms .* a trigger comes each 10 ms"):
        await camera.check_frames(FrameSettings(10, 0.01, 0.01, TriggerMode.EDGE, folder))
    with pytest.raises(ValueError, match="cannot expose"):
        await camera.check_frames(FrameSettings(10, 0.0, 0.01, TriggerMode.EDGE, folder))
    await camera.check_frames(FrameSettings(10, 0.01 - 63e-6, 0.01, TriggerMode.EDGE, folder))
    series = await make_camera(statistics="series")
    with pytest.raises(ValueError, match="hold 2048 frames, but 2049 frames were asked"):
        await series.check_frames(bench.settings(2049, RATE))
    with pytest.raises(ValueError, match="any number of frames"):
        await series.check_frames(bench.settings(0, RATE))
    simple = await make_camera(driver="sim", dead_time=0.002)
    assert await simple.dead_time() == 0.002
    with pytest.raises(ValueError, match=r"cannot be triggered by 'edge'; it can by internal\.$"):
        await simple.check_frames(bench.settings(10, RATE))


async def test_the_statistics_of_a_region_do_not_change_the_images(bench, make_camera):
    """The file keeps the whole frames, so the statistics come from the time series."""
    region = {"MinX": 40, "SizeX": 50, "MinY": 10, "SizeY": 70}
    for name, value in region.items():
        await bench.put(f"CAM1:ROI1:{name}", value)
    await bench.put("CAM1:ROI1:EnableCallbacks", 1)
    await bench.put("CAM1:Stats1:NDArrayPort", "ROI1")
    try:
        camera = await make_camera()
        await camera.arm(bench.settings(10, RATE))
        await bench.pulses(10, RATE)
        frames = await bench.collect(camera, 10)
        images = images_of(camera)
        await camera.restore()
    finally:
        await bench.put("CAM1:Stats1:NDArrayPort", "CAM1")
        await bench.put("CAM1:ROI1:EnableCallbacks", 0)
    assert images.shape == (10, 96, 128)
    expected = moments(images[:, 10:80, 40:90])
    assert frames.values["camera_total"] == pytest.approx(expected["total"])
    assert frames.values["camera_sigma_x"] == pytest.approx(expected["sigma_x"])


async def test_a_camera_that_is_stopped_by_hand_is_not_waited_for(bench, make_camera):
    camera = await make_camera()
    await camera.arm(bench.settings(30, RATE))
    await bench.pulses(10, RATE)
    await bench.put("CAM1:cam1:Acquire", 0)
    with pytest.raises(OSError, match=r"camera stopped acquiring after \d+ of 30 frames: it shows"):
        await bench.collect(camera, 30)


async def test_a_server_that_dies_is_noticed_and_what_it_wrote_is_kept(
    beamline, bench, make_camera
):
    camera = await make_camera()
    await camera.arm(bench.settings(0, RATE))
    await bench.pulses(0, RATE)
    frames = await camera.frames()
    while not len(frames.numbers):
        await asyncio.sleep(0.05)
        frames = await camera.frames()
    kept = camera.file().path
    beamline.kill("detectors")
    dead = "server of camera does not answer any more"
    try:
        with pytest.raises(ConnectionError, match=dead):
            await bench.collect(camera, 1_000_000)
        for end in (camera.disarm, camera.restore):
            with pytest.raises(ConnectionError, match=dead):
                await end()
            await end()
    finally:
        beamline.restart("detectors")
        # New channels: those that lost their server look for it again less and less often.
        aioca.purge_channel_caches()
    with h5py.File(kept, "r", swmr=True) as file:
        assert len(file["/entry/data/data"]) >= len(frames.numbers)
