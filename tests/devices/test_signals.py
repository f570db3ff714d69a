"""Watching signals: every update counts, and every wait has a bound."""

import asyncio

import pytest
from ophyd_async.core import SignalR, set_mock_value

from glidepath.devices import signal_r, signal_rw, watch


async def mocked(datatype=float):
    signal = signal_rw(datatype, "ANY:PV", unit="eV")
    signal.set_name("energy")
    await signal.connect(mock=True)
    return signal


async def test_a_value_that_lasted_for_one_update_is_seen():
    signal = await mocked(int)
    async with watch(signal) as seen:
        waiting = asyncio.create_task(seen.until(lambda: seen.value(signal) == 1, 5.0))
        await asyncio.sleep(0)
        # Both updates arrive before the waiting task runs again.
        set_mock_value(signal, 1)
        set_mock_value(signal, 0)
        assert await waiting


async def test_a_latch_remembers_what_is_over():
    signal = await mocked(int)
    async with watch(signal) as seen:
        was_busy = seen.latch(lambda: seen.value(signal) == 1)
        assert not was_busy()
        set_mock_value(signal, 1)
        set_mock_value(signal, 0)
        assert was_busy()


async def test_a_condition_that_never_holds_ends_at_its_bound():
    signal = await mocked()
    async with watch(signal) as seen:
        assert not await seen.until(lambda: seen.value(signal) > 1, 0.01)


async def test_cancelling_a_wait_leaves_nothing_subscribed(eventually):
    signal = await mocked()

    async def wait():
        async with watch(signal) as seen:
            await seen.until(lambda: False, None)

    task = asyncio.create_task(wait())
    await eventually(lambda: signal._cache is not None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert signal._cache is None


async def test_a_signal_that_says_nothing_is_named(monkeypatch):
    signal = signal_r(float, "SILENT:PV")
    signal.set_name("silent")
    await signal.connect(mock=True)
    monkeypatch.setattr(SignalR, "subscribe_reading", lambda self, function: None)
    monkeypatch.setattr(SignalR, "clear_sub", lambda self, function: None)
    with pytest.raises(TimeoutError, match=r"^No value came from .*SILENT:PV within 0\.01 s\.$"):
        async with watch(signal, within=0.01):
            pass


def test_a_source_can_be_used_as_a_name():
    assert signal_r(float, "ca://ANY:PV").source == "ca://ANY:PV"
