"""The server processes: how they start, what they can be told, and that they always end."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import numpy as np
import pytest
from channel_client import BOUND, connected, truth_until, wait_until

from glidepath.simulation import SimulatedBeamline, Truth, free_ports
from glidepath.simulation.ports import is_free

PARENT = """
import sys, time
from glidepath.simulation import SimulatedBeamline
beamline = SimulatedBeamline("P:", truth=sys.argv[1])
beamline.start()
print(*beamline.process_ids.values(), flush=True)
time.sleep(600)
"""

LIBCA_CLIENT = """
import asyncio
from aioca import caget

async def main():
    print(await caget("T:RING:lt10"), await caget("T:KEI1:rbkIntegrTime"))

asyncio.run(main())
"""


def alive(process_id):
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        with open(f"/proc/{process_id}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_servers_end_with_the_block():
    with SimulatedBeamline("A:") as beamline:
        processes = list(beamline.process_ids.values())
        assert all(map(alive, processes))
    assert not any(map(alive, processes))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_servers_end_when_their_parent_dies_and_the_truth_is_readable(tmp_path, number):
    path = tmp_path / "truth.h5"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    processes = [int(word) for word in parent.stdout.readline().split()]
    assert len(processes) == 2
    truth_until(path, time.time()).close()
    parent.send_signal(number)
    parent.wait(BOUND)
    parent.stdout.close()
    wait_until(lambda: not any(map(alive, processes)))
    with Truth(path) as truth:
        assert len(truth.exposures("KEI1")["start"]) > 1
        assert truth.energy(truth.time[-1]) == pytest.approx(400.0)


def test_killed_server_leaves_a_readable_truth_file_and_can_be_restarted(tmp_path):
    with SimulatedBeamline("K:", truth=tmp_path / "truth.h5") as beamline:
        truth_until(tmp_path / "truth.h5", time.time()).close()
        beamline.kill("detectors")
        assert beamline.ended == ("detectors",)
        with Truth(tmp_path / "truth.h5") as truth:
            assert len(truth.exposures("KEI2")["stop"]) > 1
        beamline.restart("detectors")
        assert beamline.ended == ()
        with connected(beamline) as client:
            assert client.get("KEI1:rdCur") > 1e-10


def test_beamlines_run_side_by_side():
    with ExitStack() as stack:
        beamlines = [stack.enter_context(SimulatedBeamline("S:", seed=n)) for n in (1, 2)]
        clients = [stack.enter_context(connected(beamline)) for beamline in beamlines]
        clients[0].put("m1.VAL", 10.0)
        assert clients[0].get("m1.RBV") == 10.0
        assert clients[1].get("m1.RBV") == 0.0


def test_clock_offsets_shift_the_timestamps_of_each_server():
    with (
        SimulatedBeamline("O:", clock_offset=(0.5, -0.25)) as beamline,
        connected(beamline) as client,
        client.recording("PGM1:monoGetEnergy", "KEI1:rdCur") as updates,
    ):
        wait_until(lambda: len(updates) > 30)
    for name, offset in (("PGM1:monoGetEnergy", 0.5), ("KEI1:rdCur", -0.25)):
        late = [u.arrival - u.timestamp for u in updates if u.name == name][1:]
        assert min(late) == pytest.approx(-offset, abs=0.1)


def test_arrival_delay_leaves_the_timestamps_alone():
    with (
        SimulatedBeamline("D:", arrival_delay=0.4) as beamline,
        connected(beamline) as client,
        client.recording("PGM1:monoGetEnergy") as updates,
    ):
        wait_until(lambda: len(updates) > 10)
    late = np.array([update.arrival - update.timestamp for update in updates[1:]])
    assert np.all(late >= 0.399)
    steps = np.diff([update.timestamp for update in updates[1:]])
    assert steps == pytest.approx(0.1, abs=1e-5)


def test_readback_rate_can_be_chosen():
    with (
        SimulatedBeamline("R:", readback_Hz=100.0) as beamline,
        connected(beamline) as client,
        client.recording("PGM1:monoGetEnergy") as updates,
    ):
        wait_until(lambda: len(updates) > 100)
    assert np.diff([u.timestamp for u in updates[1:]]) == pytest.approx(0.01, abs=1e-5)
    assert np.std([u.value for u in updates[1:]]) == pytest.approx(0.0005, rel=0.3)


def test_frozen_server_stops_answering_and_comes_back():
    with SimulatedBeamline("F:") as beamline, connected(beamline) as client:
        with client.recording("PGM1:monoGetEnergy", "KEI1:rdCur") as updates:
            client.put("FAULT:optics_frozen", 0.8)
            count = len(updates)
            wait_until(lambda: any(u.name == "PGM1:monoGetEnergy" for u in updates[count + 3 :]))
        arrivals = [u.arrival for u in updates if u.name == "PGM1:monoGetEnergy"]
        assert max(np.diff(arrivals)) > 0.6
        others = [u.arrival for u in updates if u.name == "KEI1:rdCur"]
        assert max(np.diff(others)) < 0.6


def test_frozen_server_can_be_ended():
    with SimulatedBeamline("F:") as beamline:
        processes = list(beamline.process_ids.values())
        with connected(beamline) as client:
            client.put("FAULT:detectors_frozen", 60.0)
    assert not any(map(alive, processes))


def test_port_in_use_is_refused_in_one_sentence(simulated):
    taken = simulated.settings.optics_port
    with pytest.raises(RuntimeError, match=f"Port {taken} of 127.0.0.1 .* is in use"):
        SimulatedBeamline("U:", optics_port=taken).start()


@pytest.mark.parametrize("wrong", [{"readback_Hz": 0.0}, {"arrival_delay": -1.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="was asked"):
        SimulatedBeamline(**wrong)


def test_free_ports_are_different_and_free():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(map(is_free, ports))


def test_libca_client_starts_no_repeater(simulated, tmp_path):
    # A caRepeater on the path would be started if nobody confirmed the client's registration.
    marker = tmp_path / "started"
    repeater = tmp_path / "caRepeater"
    repeater.write_text(f"#!/bin/sh\ntouch {marker}\n")
    repeater.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [sys.executable, "-c", LIBCA_CLIENT],
        env=os.environ | simulated.environment | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=4 * BOUND,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "10.0"
    assert done.stderr == ""
    assert not marker.exists()
