"""Real frames of several detectors find their triggers, the lost ones are named."""

import asyncio
import time

import numpy as np
import pytest

from glidepath.timeline import FollowingDetector, Quality, TriggerAccounting

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER, RATE = 400, 200.0


async def account_for(bench, **expected: int):
    """Send pulses, read the detectors as a scan does, and return the rows with the account."""
    names = list(expected)
    detectors = {name: bench.devices[name] for name in names}
    for detector in detectors.values():
        settings = bench.settings(NUMBER, RATE)
        await detector.check_frames(settings)
        await detector.arm(settings)
    # A busy machine may hold the servers up for longer than a scan would wait.
    followers = [FollowingDetector(name, -1e-3, 1e-3) for name in names]
    accounting = TriggerAccounting(followers, patience=20.0)
    times = await bench.pulses(NUMBER, RATE)
    parts, told = [], 0
    deadline = time.monotonic() + 30

    async def read():
        for name, detector in detectors.items():
            frames = await detector.frames()
            accounting.add_frames(name, frames.numbers, frames.begins, frames.ends)

    def missing():
        accounts = accounting.accounts()
        return {name: number - accounts[name].frames for name, number in expected.items()}

    while told < NUMBER or any(number > 0 for number in missing().values()):
        assert time.monotonic() < deadline, f"{told} pulses were sent, missing: {missing()}"
        sent = await bench.get("PULSE:Sent")
        new = np.arange(told, sent)
        accounting.add_triggers(new, times[told:sent], 400 + 0.05 * new, time.monotonic())
        told = sent
        await read()
        parts.append(accounting.final_rows(time.monotonic()))
        await asyncio.sleep(0.1)
    for detector in detectors.values():
        await detector.disarm()
    await read()
    parts.append(accounting.final_rows(time.monotonic(), finish=True))
    quality = np.concatenate([part.quality for part in parts])
    frames = {name: np.concatenate([p.frames[name] for p in parts])[:, 0] for name in names}
    return quality, frames, accounting.accounts()


async def test_rows_are_triggers_are_frames(bench):
    quality, frames, accounts = await account_for(bench, quad=NUMBER, counter=NUMBER)
    for name, account in accounts.items():
        assert frames[name].tolist() == list(range(NUMBER))
        assert account.lost == account.extra == account.double == account.dropped == 0
        assert abs(account.clock.offset) < 1e-3
    # The last bin of the counter was ended by software.
    assert np.flatnonzero(quality).tolist() in ([], [NUMBER - 1])


async def test_lost_triggers_are_named_for_each_detector_and_nothing_shifts(bench):
    await bench.fault("QE1_miss", "0 100 101")
    await bench.fault("CNT1_miss", "50")
    # The counter's last bin ends when it is disarmed.
    quality, frames, accounts = await account_for(bench, quad=NUMBER - 3, counter=NUMBER - 2)
    assert np.flatnonzero(frames["quad"] < 0).tolist() == [0, 100, 101]
    assert np.flatnonzero(frames["counter"] < 0).tolist() == [50]
    lost = np.flatnonzero(quality & Quality.LOST_TRIGGER)
    assert lost.tolist() == [0, 50, 100, 101]
    # The bin before the one that was missed holds both.
    assert quality[49] & Quality.LATE
    assert accounts["quad"].lost_at == pytest.approx([400.0, 405.0, 405.05])
    assert accounts["counter"].lost == 1
    clean = np.ones(NUMBER, bool)
    clean[[0, 49, 50, 100, 101, NUMBER - 1]] = False
    assert not quality[clean].any()
