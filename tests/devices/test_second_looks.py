"""What decides is looked at twice: servers keep old values for a moment, and so do monitors."""

import pytest
from ophyd_async.core import SignalR, soft_signal_rw

from glidepath.devices import signals
from glidepath.devices.signals import comes_true, holds_twice


@pytest.fixture
async def signal(monkeypatch):
    monkeypatch.setattr(signals, "SECOND_LOOK", 0.02)
    signal = soft_signal_rw(int, initial_value=1, name="signal")
    await signal.connect()
    return signal


def answers(monkeypatch, *values):
    """Let gets be answered by these values, the last of them for good; monitors go on."""
    left = list(values)

    async def get_value(_, cached=None):
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(SignalR, "get_value", get_value)


async def is_two(signal, within=1.0):
    return await comes_true(lambda value: value(signal) == 2, signal, within=within)


async def test_a_monitor_that_says_it_is_enough(signal, monkeypatch):
    answers(monkeypatch, 1)
    await signal.set(2)
    assert await is_two(signal) == (True, {signal: 2})


async def test_a_monitor_that_keeps_an_old_value_does_not_decide(signal, monkeypatch):
    answers(monkeypatch, 2)
    assert await is_two(signal) == (True, {signal: 2})


async def test_an_old_answer_does_not_decide(signal, monkeypatch):
    answers(monkeypatch, 1, 0, 2)
    assert await is_two(signal) == (True, {signal: 2})


async def test_what_stays_otherwise_is_told_as_it_is(signal, monkeypatch):
    answers(monkeypatch, 3)
    assert await is_two(signal, within=0.05) == (False, {signal: 3})


@pytest.mark.parametrize(
    ("looks", "holds"), [((True, True), True), ((True, False), False), ((False, True), False)]
)
async def test_a_single_look_does_not_hold(signal, looks, holds):
    left = list(looks)

    async def look():
        return left.pop(0)

    assert await holds_twice(look) is holds
