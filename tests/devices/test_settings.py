"""Settings are saved, set, confirmed and put back, whatever servers do meanwhile."""

import asyncio

import aioca
import numpy as np
import pytest
from ophyd_async.core import Array1D, callback_on_mock_put, set_mock_value

from glidepath.devices import settings as settings_module
from glidepath.devices import signal_rw
from glidepath.devices.settings import SettingError, Settings, same
from glidepath.devices.signals import NoAnswerError


async def mocked(datatype=float, value=None, name="A"):
    signal = signal_rw(datatype, f"BOX:{name}")
    signal.set_name(name)
    await signal.connect(mock=True)
    if value is not None:
        set_mock_value(signal, value)
    return signal


def writes(signal):
    seen = []
    callback_on_mock_put(signal, seen.append)
    return seen


async def now(signal):
    return await signal.get_value()


async def test_what_was_set_is_put_back_and_nothing_else():
    first, second, saved = await mocked(value=1.0), await mocked(value=2.0), await mocked(value=3.0)
    settings = Settings("box")
    await settings.save(saved)
    await settings.set_all([(first, 10.0), (second, 20.0)])
    assert settings.changed
    assert (settings.before(first), await now(first), await now(second)) == (1.0, 10.0, 20.0)
    # Somebody else's change of what was only looked at stays.
    set_mock_value(saved, 30.0)
    await settings.restore()
    assert [await now(s) for s in (first, second, saved)] == [1.0, 2.0, 30.0]
    assert not settings.changed


async def test_it_can_be_used_twice_and_begins_anew():
    signal, settings = await mocked(value=1.0), Settings("box")
    await settings.set(signal, 2.0)
    await settings.restore()
    set_mock_value(signal, 5.0)
    await settings.set(signal, 6.0)
    await settings.restore()
    assert await now(signal) == 5.0
    await settings.restore()
    assert await now(signal) == 5.0


async def test_the_first_value_is_the_one_that_is_put_back():
    signal, settings = await mocked(value=1.0), Settings("box")
    for value in (2.0, 3.0, 4.0):
        await settings.set(signal, value)
    await settings.restore()
    assert await now(signal) == 1.0


async def test_what_holds_its_value_already_is_not_written():
    signal, settings = await mocked(value=1.0), Settings("box")
    seen = writes(signal)
    await settings.set(signal, 1.0)
    await settings.restore()
    assert seen == []
    await settings.set(signal, 1.0, always=True)
    assert seen == [1.0]


async def test_what_is_lent_is_put_back_though_something_else_has_set_it():
    signal, settings = await mocked(value=1.0), Settings("box")
    await settings.lend(signal)
    await signal.set(9.0)
    await settings.restore()
    assert await now(signal) == 1.0


async def test_the_last_that_was_set_is_put_back_first():
    order, settings = [], Settings("box")
    for name in ("units", "prescale"):
        signal = await mocked(value=1.0, name=name)
        callback_on_mock_put(signal, lambda value, name=name: order.append((name, value)))
        await settings.set(signal, 2.0)
    await settings.restore()
    assert order[2:] == [("prescale", 1.0), ("units", 1.0)]


async def test_a_value_that_the_device_changes_is_an_error_with_both_values():
    signal, settings = await mocked(value=1.0), Settings("box", within=0.05)
    callback_on_mock_put(signal, lambda value: min(value, 5.0))
    with pytest.raises(SettingError, match=r"box did not take 8\.0 for .*BOX:A within .* is 5\.0"):
        await settings.set(signal, 8.0)
    await settings.restore()
    assert await now(signal) == 1.0


async def test_a_request_says_what_the_device_has_made_of_it():
    signal, settings = await mocked(value=1.0), Settings("box")
    callback_on_mock_put(signal, lambda value: max(value, 0.1))
    assert await settings.request(signal, 0.02, within=0.05) == 0.1
    assert await settings.request(signal, 0.5, within=0.05) == 0.5
    await settings.restore()
    assert await now(signal) == 1.0


async def test_a_request_that_is_granted_is_read_back_once_and_opens_no_monitor(monkeypatch):
    signal, settings = await mocked(value=1.0), Settings("box")
    reads = []
    asked = settings_module.ask

    async def ask(signal, within=None):
        reads.append(signal)
        return await asked(signal, within)

    monkeypatch.setattr(settings_module, "ask", ask)
    monkeypatch.delattr(settings_module, "watch")
    assert await settings.request(signal, 0.5) == 0.5
    # What it held before, and what it has made of the request.
    assert len(reads) == 2


async def test_a_request_that_is_granted_a_little_later_is_waited_for():
    signal, settings = await mocked(value=1.0), Settings("box")

    def put(value):
        asyncio.get_running_loop().call_later(0.01, set_mock_value, signal, value)
        return 1.0

    callback_on_mock_put(signal, put)
    assert await settings.request(signal, 0.5, within=30.0) == 0.5


async def test_one_last_get_decides_where_a_monitor_is_stale(monkeypatch):
    signal, settings = await mocked(value=1.0), Settings("box")
    held = {"value": 1.0}

    async def get():
        return held["value"]

    def put(value):
        # The server has the new value, but goes on showing the first one to its monitors.
        held["value"] = value
        return 1.0

    monkeypatch.setattr(signal._connector.backend, "get_value", get)
    callback_on_mock_put(signal, put)
    await settings.set(signal, 2.0)
    assert held["value"] == 2.0
    await settings.restore()
    assert held["value"] == 1.0


async def test_one_that_does_not_answer_does_not_keep_the_others_from_being_put_back():
    signals = [await mocked(value=1.0, name=name) for name in "ABC"]
    settings = Settings("box")
    await settings.set_all([(signal, 2.0) for signal in signals])

    def refuse(value):
        raise TimeoutError("ca://BOX:B")

    callback_on_mock_put(signals[1], refuse)
    with pytest.raises(NoAnswerError, match=r"could not be put back: .*BOX:B to 1\.0; set it by"):
        await settings.restore(within=0.2)
    assert [await now(signals[0]), await now(signals[2])] == [1.0, 1.0]
    # What could not be put back is forgotten: the next scan begins with what there is.
    assert not settings.changed


async def test_what_reads_back_otherwise_after_it_was_put_back_is_said():
    signal, settings = await mocked(value=1.0), Settings("box", within=0.05)
    await settings.set(signal, 2.0)
    callback_on_mock_put(signal, lambda value: 7.0)
    with pytest.raises(NoAnswerError, match=r"BOX:A to 1\.0; set it by hand"):
        await settings.restore()


async def test_a_change_that_is_cancelled_is_put_back():
    signal, settings = await mocked(value=1.0), Settings("box", within=30.0)
    arrived = asyncio.Event()

    def put(value):
        arrived.set()
        return value + 0.5

    callback_on_mock_put(signal, put)
    task = asyncio.create_task(settings.set(signal, 2.0))
    await arrived.wait()
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled(), "a cancellation that comes together with the answer is not lost"
    callback_on_mock_put(signal, lambda value: None)
    await settings.restore()
    assert await now(signal) == 1.0


async def test_texts_and_arrays_are_settings_too():
    text, array = await mocked(str, "Fixed"), await mocked(Array1D[np.float64], np.arange(3.0))
    settings = Settings("box")
    await settings.set_all([(text, "Array"), (array, np.arange(5.0))])
    assert await now(text) == "Array"
    await settings.restore()
    assert await now(text) == "Fixed"
    assert np.array_equal(await now(array), np.arange(3.0))


@pytest.mark.parametrize(
    ("shown", "wanted", "alike"),
    [
        (0.1 + 0.2, 0.3, True),
        (1_234_567, 1_234_568, False),
        (1_234_567.0, 1_234_568.0, False),
        (float("nan"), float("nan"), True),
        ("1", 1, False),
        (np.arange(3), np.arange(4), False),
        (np.array([1.0, np.nan]), np.array([1.0, np.nan]), True),
    ],
)
def test_values_are_the_same_but_for_their_last_digits(shown, wanted, alike):
    assert same(shown, wanted) is alike


@pytest.fixture
async def motor_prefix(beamline):
    yield f"{beamline.prefix}m1"
    aioca.purge_channel_caches()


async def test_a_motor_record_that_limits_its_velocity_over_channel_access(motor_prefix):
    velocity = signal_rw(float, f"{motor_prefix}.VELO")
    await velocity.connect()
    before, settings = await velocity.get_value(), Settings("m1", within=1.0)
    with pytest.raises(SettingError, match=r"m1 did not take 9000\.0 for ca://.*VELO"):
        await settings.set(velocity, 9000.0)
    assert await settings.request(velocity, 9000.0) == 2000.0
    assert await settings.request(velocity, 500.0) == 500.0
    await settings.restore()
    assert await velocity.get_value() == before
