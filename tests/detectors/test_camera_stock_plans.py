"""A camera in Bluesky's own plans, and primed after its server has started."""

import asyncio
from pathlib import Path

import bluesky.plans as bp
import h5py
import pytest
from bluesky.utils import FailedStatus
from ophyd_async.core import wait_for_value

from glidepath.detectors import Camera
from glidepath.devices import Motor
from glidepath.storage import use_data_root


@pytest.fixture
def call(RE):
    def call(coroutine, timeout=30.0):
        return asyncio.run_coroutine_threadsafe(coroutine, RE.loop).result(timeout)

    return call


@pytest.fixture
def put(call):
    async def put(signal, value):
        await signal.set(value)

    return lambda signal, value: call(put(signal, value))


@pytest.fixture
def camera(beamline, call, tmp_path):
    use_data_root(tmp_path)
    camera = Camera(f"{beamline.prefix}CAM1:", "camera", driver="vimba")
    call(camera.connect(timeout=10))
    return camera


@pytest.fixture
def documents(RE):
    documents = []
    RE.subscribe(lambda name, document: documents.append((name, document)))
    return documents


def named(documents, name):
    return [document for kind, document in documents if kind == name]


def test_it_sends_a_frame_ahead_that_shows_what_images_are_like(
    beamline, RE, call, put, documents, tmp_path
):
    beamline.restart("detectors")
    use_data_root(tmp_path)
    camera = Camera(f"{beamline.prefix}CAM1:", "camera", driver="vimba")
    call(camera.connect(timeout=10))
    assert call(camera.hdf.array_size0.get_value()) == 0
    put(camera.hdf.nd_array_port, "NOBODY")
    with pytest.raises(FailedStatus) as caught:
        RE(bp.count([camera]))
    assert "did not come through to SIM:CAM1:HDF1:NDArrayPort_RBV, which is 'NOBODY'" in str(
        caught.value.__cause__
    )
    put(camera.hdf.nd_array_port, "CAM1")
    frames = []
    for _ in range(2):
        # A writer counts only what it writes; the statistics count the frame sent ahead, too.
        plugins = (camera.stats.array_counter, camera.hdf.array_counter)
        before = [call(counter.get_value()) for counter in plugins]
        RE(bp.count([camera]))
        after = [call(counter.get_value()) for counter in plugins]
        frames.append([late - early for early, late in zip(before, after, strict=True)])
    assert frames == [[2, 1], [2, 1]]
    for descriptor in named(documents, "descriptor"):
        assert descriptor["data_keys"]["camera"]["shape"] == [1, 96, 128]


def test_an_event_has_the_statistics_of_its_image(beamline, RE, call, camera, documents):
    focus = Motor(f"{beamline.prefix}m1", "focus")
    call(focus.connect(timeout=10))
    RE(bp.scan([camera], focus, -1190, -1110, 3))
    events = [event["data"] for event in named(documents, "event")]
    assert [round(event["focus"]) for event in events] == [-1190, -1150, -1110]
    (resource,) = named(documents, "stream_resource")
    path = Path(resource["uri"].removeprefix("file://localhost"))
    with h5py.File(path, "r") as file:
        images = file[resource["parameters"]["dataset"]][()]
    assert images.shape == (3, 96, 128)
    indices = [datum["indices"] for datum in named(documents, "stream_datum")]
    assert indices == [{"start": k, "stop": k + 1} for k in range(3)]
    assert [event["camera_total"] for event in events] == list(images.sum(axis=(1, 2)))
    for event in events:
        for axis in "xy":
            assert event[f"camera_fwhm_{axis}"] == 2.355 * event[f"camera_sigma_{axis}"]
    assert events[1]["camera_fwhm_x"] < 0.6 * events[0]["camera_fwhm_x"]
    (descriptor,) = named(documents, "descriptor")
    units = {key: value.get("units") for key, value in descriptor["data_keys"].items()}
    assert {key: units[key] for key in call(_columns(camera))} == call(_columns(camera))
    assert descriptor["hints"]["camera"] == {
        "fields": ["camera_total", "camera_fwhm_x", "camera_fwhm_y"]
    }


async def _columns(camera):
    return dict(camera.columns())


def test_without_images_an_event_has_the_statistics_alone(beamline, RE, call, documents):
    camera = Camera(f"{beamline.prefix}CAM1:", "camera", driver="vimba", images=False)
    call(camera.connect(timeout=10))
    RE(bp.count([camera], 2))
    totals = [event["data"]["camera_total"] for event in named(documents, "event")]
    assert len(set(totals)) == 2
    assert not named(documents, "stream_resource")


def test_settings_are_put_back_after_a_plan_and_after_a_staging_that_was_cut_short(
    RE, call, put, camera
):
    signals = [
        camera.driver.image_mode,
        camera.driver.num_images,
        camera.driver.wait_for_plugins,
        camera.stats.compute_centroid,
        camera.hdf.enable_callbacks,
        camera.hdf.file_write_mode,
        camera.hdf.attribute_chunk,
    ]

    async def values():
        return [await signal.get_value() for signal in signals]

    async def interrupted(after):
        staged = camera.stage()
        await asyncio.sleep(after)
        await camera.unstage()
        await staged

    before = call(values())
    for after in (0.0, 0.03, 0.1, 0.3):
        call(interrupted(after))
        assert call(values()) == before
    put(camera.extras.running, True)
    call(wait_for_value(camera.driver.acquire, True, timeout=10))
    RE(bp.count([camera]))
    assert call(values()) == before
    assert call(camera.driver.acquire.get_value())
    put(camera.extras.running, False)
