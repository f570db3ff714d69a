"""The storage ring over Channel Access: decay, injection, beam loss."""

import numpy as np
import pytest
from channel_client import wait_until


def test_current_decays_slowly_and_is_posted_twice_a_second(client):
    with client.recording("RING:current") as updates:
        wait_until(lambda: len(updates) > 5)
    values = np.array([update.value for update in updates[1:]])
    steps = np.diff([update.timestamp for update in updates[1:]])
    assert np.all((values > 290) & (values < 304))
    assert steps == pytest.approx(0.5, abs=1e-5)
    assert client.get("RING:lt10") == 10.0


def test_injection_fills_the_ring_within_a_second_of_blank_out(client):
    with client.recording("TOPUP:stBlankout2") as updates:
        client.put("FAULT:inject", 1)
        wait_until(lambda: len(updates) >= 3)
    assert [update.value for update in updates] == [0, 1, 0]
    assert updates[2].timestamp - updates[1].timestamp == pytest.approx(1.0, abs=0.2)
    assert client.get("TOPUP:estCntDwnS") > 55
    client.wait_for("RING:current", lambda current: current == pytest.approx(300, abs=0.1))


def test_fault_beam_loss_takes_the_light_and_gives_it_back(client):
    light = client.get("KEI1:rdCur")
    client.put("FAULT:beam_loss", 1)
    client.wait_for("RING:current", lambda current: current == 0)
    client.wait_for("KEI1:rdCur", lambda current: current < 0.01 * light)
    client.put("FAULT:beam_loss", 0)
    client.wait_for("RING:current", lambda current: current > 299)
    client.wait_for("KEI1:rdCur", lambda current: current > 0.9 * light)
