"""What goes wrong at a camera's server is found and said; what is somebody else's is left alone."""

import asyncio
import sys

import aioca
import h5py
import numpy as np
import pytest
import pytest_asyncio

from glidepath.detectors import FrameSettings, TriggerMode
from glidepath.detectors.camera.claim import claim_path, is_abandoned
from glidepath.simulation.hdf5_plugin import NOT_IN_SINGLE_MODE

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

RATE = 100.0

READOUT = {"SizeX": 128, "SizeY": 96, "MinX": 0, "MinY": 0, "BinX": 1, "BinY": 1}
READOUT |= {"DataType": "UInt16", "ColorMode": "Mono"}


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _as_before(bench, cameras):
    yield
    for camera in cameras.values():
        await camera.disarm()
        await camera.restore()
    for name, value in READOUT.items():
        await bench.put(f"CAM1:cam1:{name}", value)
    await bench.put("CAM1:HDF1:Capture", 0)
    for name, value in {"EnableCallbacks": 0, "MinCallbackTime": 0.0}.items():
        await bench.put(f"CAM1:ROI1:{name}", value)
    for plugin in ("Stats1", "HDF1"):
        await bench.put(f"CAM1:{plugin}:NDArrayPort", "CAM1")
        await bench.put(f"CAM1:{plugin}:MinCallbackTime", 0.0)


def images_of(camera):
    file = camera.file()
    with h5py.File(file.path, "r", swmr=True) as opened:
        return opened[file.dataset][()]


async def announced_and_found(bench, camera):
    await camera.arm(bench.settings(5, RATE))
    await bench.pulses(5, RATE)
    await bench.collect(camera, 5)
    key, images = camera.file().data_key, images_of(camera)
    await camera.restore()
    return (tuple(key["shape"][1:]), key["dtype_numpy"]), (images.shape[1:], images.dtype.str)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"SizeX": 64, "SizeY": 80}, ((80, 64), "<u2")),
        ({"DataType": "UInt8"}, ((96, 128), "|u1")),
        ({"DataType": "Float32", "BinX": 2}, ((96, 64), "<f4")),
        ({"MinY": 32}, ((64, 128), "<u2")),
    ],
)
async def test_what_was_changed_while_it_stood_is_in_the_first_description(
    bench, make_camera, settings, expected
):
    camera = await make_camera()
    assert await announced_and_found(bench, camera) == (((96, 128), "<u2"),) * 2
    for name, value in settings.items():
        await bench.put(f"CAM1:cam1:{name}", value)
    assert await announced_and_found(bench, camera) == (expected,) * 2
    await bench.put("CAM1:cam1:DataType", "UInt16")


@pytest.mark.parametrize("change", [("DataType", "UInt8"), ("SizeX", 100)])
async def test_what_is_changed_after_arming_ends_in_a_sentence(bench, make_camera, change):
    camera = await make_camera()
    await camera.arm(bench.settings(5, RATE))
    await bench.put(f"CAM1:cam1:{change[0]}", change[1])
    await bench.pulses(5, RATE)
    with pytest.raises(
        OSError, match=r"images of camera have .* announced as \(96, 128\) and uint"
    ):
        await bench.collect(camera, 5)


@pytest.mark.parametrize("names", [0, 1])
async def test_frames_are_numbered_whether_or_not_the_driver_shows_its_ids(
    bench, make_camera, names
):
    await bench.faults(names=names, drop="0 3")
    camera = await make_camera()
    try:
        await camera.arm(bench.settings(8, RATE))
        await bench.pulses(8, RATE)
        frames = await bench.collect(camera, 6)
    finally:
        await bench.faults(names=0)
    assert list(frames.numbers) == [1, 2, 4, 5, 6, 7]
    assert await camera.dropped() == 2


async def test_a_capture_that_is_ended_by_hand_is_said(bench, make_camera):
    camera = await make_camera()
    await camera.arm(bench.settings(0, RATE))
    await bench.pulses(10, RATE)
    await bench.put("CAM1:HDF1:Capture", 0)
    with pytest.raises(OSError, match=r"Somebody has ended the capture of camera after \d+ frames"):
        await bench.collect(camera, 1000)


async def region_before_statistics(bench):
    await bench.put("CAM1:ROI1:EnableCallbacks", 1)
    await bench.put("CAM1:Stats1:NDArrayPort", "ROI1")
    await bench.put("CAM1:HDF1:NDArrayPort", "STATS1")


async def test_a_plugin_that_is_disabled_before_arming_is_said(bench, make_camera):
    await region_before_statistics(bench)
    await bench.put("CAM1:ROI1:EnableCallbacks", 0)
    camera = await make_camera()
    with pytest.raises(TimeoutError, match=r"did not come through to .*Stats1:NDArrayPort_RBV"):
        await camera.arm(bench.settings(5, RATE))


async def test_a_plugin_that_is_disabled_meanwhile_is_said(bench, make_camera):
    await region_before_statistics(bench)
    camera = await make_camera()
    await camera.arm(bench.settings(0, RATE))
    await bench.pulses(5, RATE)
    await bench.put("CAM1:ROI1:EnableCallbacks", 0)
    await bench.pulses(0, 20.0)
    with pytest.raises(OSError, match=r"camera has made \d+ frames, but \d+ came to SIM:CAM1:HDF1"):
        await bench.collect(camera, 100_000)


@pytest.mark.parametrize("mode", [TriggerMode.EDGE, TriggerMode.INTERNAL])
async def test_few_frames_that_a_throttled_plugin_swallows_are_counted(bench, make_camera, mode):
    await region_before_statistics(bench)
    await bench.put("CAM1:ROI1:MinCallbackTime", 0.0)
    # By its own clock it begins when it is armed: slowly, so that the throttle comes in time.
    rate = RATE if mode is TriggerMode.EDGE else 10.0
    camera = await make_camera()
    await camera.arm(bench.settings(12, rate, mode))
    await bench.put("CAM1:ROI1:MinCallbackTime", 3.5 / rate)
    if mode is TriggerMode.EDGE:
        await bench.pulses(12, rate)
    await bench.until("CAM1:cam1:ArrayCounter_RBV", lambda made: made == 12)
    await camera.disarm()
    frames = await camera.frames()
    assert 0 < len(frames.numbers) < 12
    assert len(frames.numbers) + await camera.dropped() == 12
    assert len(frames.numbers) == len(images_of(camera))


async def test_its_own_plugins_are_not_throttled_meanwhile(bench, make_camera):
    for plugin in ("Stats1", "HDF1"):
        await bench.put(f"CAM1:{plugin}:MinCallbackTime", 0.05)
    camera = await make_camera()
    await camera.arm(bench.settings(12, RATE))
    await bench.pulses(12, RATE)
    frames = await bench.collect(camera, 12)
    assert list(frames.numbers) == list(range(12))
    await camera.restore()
    assert await bench.get("CAM1:HDF1:MinCallbackTime_RBV") == 0.05


async def begin_capture(bench, folder, name):
    await bench.put("CAM1:HDF1:FilePath", f"{folder}/")
    await bench.put("CAM1:HDF1:FileName", name)
    await bench.put("CAM1:HDF1:FileWriteMode", "Stream")
    await bench.put("CAM1:HDF1:LazyOpen", 1)
    await aioca.caput(f"{bench.prefix}CAM1:HDF1:Capture", 1, wait=False)
    await bench.until("CAM1:HDF1:Capture_RBV", bool)


async def test_a_capture_of_somebody_else_is_refused_and_goes_on(bench, make_camera, tmp_path):
    camera = await make_camera()
    await begin_capture(bench, tmp_path, "theirs")
    settings = bench.settings(5, RATE)
    sentence = r"file writer of camera is capturing for somebody else, to '.*HDF1:Capture_RBV is on"
    for attempt in (lambda: camera.check_frames(settings), lambda: camera.arm(settings)):
        with pytest.raises(ValueError, match=sentence):
            await attempt()
    with pytest.raises(ValueError, match=sentence):
        await camera.stage()
    await camera.unstage()
    assert await bench.get("CAM1:HDF1:Capture_RBV") == 1
    assert await bench.get("CAM1:HDF1:FileName_RBV") == "theirs"


async def test_a_capture_that_a_dead_process_has_left_behind_is_taken_over(
    bench, make_camera, tmp_path
):
    path = claim_path(tmp_path, "ours")
    # It ends without giving up what it has claimed.
    code = "import os, sys; from pathlib import Path; from glidepath.detectors.camera.claim import"
    code += " Claim; c = Claim(Path(sys.argv[1])); os._exit(1)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path))
    await process.wait()
    assert is_abandoned(path)
    await begin_capture(bench, tmp_path, "ours")
    camera = await make_camera()
    await camera.arm(bench.settings(5, RATE))
    await bench.pulses(5, RATE)
    assert len((await bench.collect(camera, 5)).numbers) == 5


async def test_a_camera_that_ran_runs_again_after_a_plan_with_its_settings(bench, make_camera):
    camera = await make_camera()
    shown = {"AcquireTime": 0.013, "ImageMode": "Continuous", "NumImages": 7}
    for name, value in shown.items():
        await bench.put(f"CAM1:cam1:{name}", value)
    before = {name: await bench.get(f"CAM1:cam1:{name}_RBV") for name in shown}
    await camera.extras.running.set(True)
    await bench.until("CAM1:cam1:Acquire_RBV", bool)
    # In the order of a scan: what is staged is unstaged last.
    await camera.stage()
    await camera.arm(bench.settings(5, RATE))
    await bench.pulses(5, RATE)
    await bench.collect(camera, 5)
    await camera.restore()
    await camera.unstage()
    assert await bench.get("CAM1:cam1:Acquire_RBV") == 1
    assert {name: await bench.get(f"CAM1:cam1:{name}_RBV") for name in shown} == before
    made = await bench.get("CAM1:cam1:ArrayCounter_RBV")
    await bench.until("CAM1:cam1:ArrayCounter_RBV", lambda now: now != made)
    await camera.extras.running.set(False)


async def test_when_it_flushes_is_put_back_also_if_it_is_never(beamline, bench, make_camera):
    camera = await make_camera()
    # A server's records begin with 0, which they do not take again.
    for value in (None, 3):
        if value is not None:
            await bench.put("CAM1:HDF1:NumFramesFlush", value)
        before = await bench.get("CAM1:HDF1:NumFramesFlush_RBV")
        await camera.arm(bench.settings(10, RATE))
        await bench.pulses(10, RATE)
        frames = await bench.collect(camera, 10)
        assert list(frames.numbers) == list(range(10))
        await camera.restore()
        assert await bench.get("CAM1:HDF1:NumFramesFlush_RBV") == before


async def test_a_file_writer_that_captures_nothing_is_left_alone(bench, make_camera):
    # In Single mode it answers even the end of a capture with an error, which stays on its screen.
    await bench.put("CAM1:HDF1:FileWriteMode", "Single")
    camera = await make_camera()
    await camera.stage()
    await camera.begin_sampling()
    await camera.unstage()
    await camera.arm(bench.settings(5, RATE))
    await bench.pulses(5, RATE)
    await bench.collect(camera, 5)
    await camera.restore()
    await camera.disarm()
    assert await bench.get("CAM1:HDF1:FileWriteMode_RBV") == 0
    assert "ERROR" not in await bench.get("CAM1:HDF1:WriteMessage")
    await bench.put("CAM1:HDF1:Capture", 0)
    assert await bench.get("CAM1:HDF1:WriteMessage") == NOT_IN_SINGLE_MODE


async def test_texts_that_were_empty_are_empty_again(bench, make_camera):
    await bench.put("CAM1:Stats1:NDAttributesFile", "\0")
    camera = await make_camera()
    await camera.arm(bench.settings(5, RATE))
    assert await bench.get("CAM1:Stats1:NDAttributesFile")
    await camera.disarm()
    await camera.restore()
    assert await bench.get("CAM1:Stats1:NDAttributesFile") == ""


async def test_colours_and_series_that_are_too_short_are_refused_before(bench, make_camera):
    camera = await make_camera()
    await bench.put("CAM1:cam1:ColorMode", "RGB1")
    with pytest.raises(ValueError, match="colour mode RGB1, but only Mono can be followed"):
        await camera.check_frames(bench.settings(5, RATE))
    await bench.put("CAM1:cam1:ColorMode", "Mono")
    without = await make_camera(images=False)
    with pytest.raises(ValueError, match=r"any number of frames were asked.*images=True"):
        await without.check_frames(bench.settings(0, RATE))


async def test_an_exposure_that_is_changed_by_hand_is_in_the_frames(bench, make_camera):
    camera = await make_camera()
    await camera.arm(FrameSettings(20, 0.005, 1 / RATE, TriggerMode.EDGE, bench.folder / "run"))
    first = await bench.pulses(10, RATE)
    frames = []
    while sum(len(part.numbers) for part in frames) < 10:
        frames.append(await camera.frames())
        await asyncio.sleep(0.02)
    await bench.put("CAM1:cam1:Acquire", 0)
    await bench.put("CAM1:cam1:AcquireTime", 0.002)
    await camera.extras.running.set(True)
    await bench.until("CAM1:cam1:Acquire_RBV", bool)
    second = await bench.pulses(10, RATE)
    rest = await bench.collect(camera, 10)
    begins = np.concatenate([*(part.begins for part in frames), rest.begins])
    ends = np.concatenate([*(part.ends for part in frames), rest.ends])
    expected = np.concatenate([first + np.arange(10) / RATE, second + np.arange(10) / RATE])
    assert begins == pytest.approx(expected, abs=1e-6)
    assert ends - begins == pytest.approx([0.005] * 10 + [0.002] * 10, abs=1e-6)
