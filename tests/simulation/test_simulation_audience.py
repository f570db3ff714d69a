"""A server that nobody sees does next to nothing, and nobody can tell afterwards."""

import asyncio
import itertools
import time

import pytest
from channel_client import Client

from glidepath.simulation import SimulatedBeamline, jobs
from glidepath.simulation.audience import Audience

BOUND = 30.0


@pytest.fixture
async def nobody(monkeypatch):
    audience = Audience()
    monkeypatch.setattr(jobs, "audience", audience)
    await audience.count()
    return audience


def test_who_does_not_count_is_always_seen():
    assert Audience().present


async def test_instants_that_nobody_sees_are_left_out(nobody, monkeypatch):
    monkeypatch.setattr(jobs, "_IDLE_SECONDS", 0.1)
    instants = []
    async for instant in jobs.ticks(0.001):
        instants.append(instant)
        if len(instants) == 4:
            break
    assert min(b - a for a, b in itertools.pairwise(instants)) > 0.09


async def test_who_comes_is_served_at_once_and_finds_what_was_left_out_made_up(nobody, monkeypatch):
    monkeypatch.setattr(jobs, "_IDLE_SECONDS", 1e6)
    ticking = jobs.ticks(0.001)
    waiting = asyncio.create_task(anext(ticking))
    made_up = []

    async def make_up():
        made_up.append(waiting.done())

    nobody.on_arrival.append(make_up)
    await asyncio.sleep(0)
    await nobody.arrive()
    await asyncio.wait_for(waiting, BOUND)
    assert made_up == [False]
    # A second one finds nothing to be made up, nor does one that comes back soon.
    await nobody.arrive()
    nobody.leave()
    nobody.leave()
    assert nobody.present
    await nobody.arrive()
    assert made_up == [False]


async def test_the_last_one_to_leave_is_waited_for_but_not_for_ever(nobody, monkeypatch):
    monkeypatch.setattr("glidepath.simulation.audience.LINGER_SECONDS", 0.0)
    await nobody.arrive()
    assert nobody.present
    nobody.leave()
    assert not nobody.present


def test_a_first_client_reads_what_was_measured_while_nobody_was_there():
    with SimulatedBeamline() as beamline:
        ready = time.time()
        # Long enough that the readings from before it was ready are old.
        time.sleep(1.0)
        client = Client(beamline)
        meter = client.read("KEI1:rdCur")
        quad = client.read("QE1:Current1:MeanValue_RBV")
        client.close()
        assert meter.timestamp > ready + 0.5
        assert quad.timestamp > ready + 0.5
        assert meter.value != 0.0
