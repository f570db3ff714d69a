"""Both ways of taking in updates, against real IOCs, in client processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glidepath.devices.sampled import SampledChannel
from glidepath.flyers.monitors.ingestion import PortableMonitors, choose_monitors, pv_name
from glidepath.flyers.sampling.sampler import Sampler
from glidepath.simulation.ports import free_ports
from glidepath.timeline import Channel, ChannelKind

SCENARIOS = Path(__file__).with_name("ingestion_scenarios.py")


# libca waits ten seconds before it looks for a server that went away, so these run side by side.
SLOW = [
    "a_restarted_server_is_heard_again",
    "a_loss_stays_in_order_when_the_event_loop_is_busy",
    "a_server_that_dies_in_mid_stream_leaves_one_mark",
]


def start(scenario):
    first, second, repeater = free_ports(3)
    clean = {k: v for k, v in os.environ.items() if not k.startswith("EPICS_")}
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(SCENARIOS), scenario],
        env=clean
        | {
            "EPICS_CA_ADDR_LIST": f"127.0.0.1:{first} 127.0.0.1:{second}",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_REPEATER_PORT": str(repeater),
            "TEST_PORTS": f"{first} {second}",
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        _, said = process.communicate(timeout=100)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said[-3000:]
    assert "Traceback" not in said, said[-3000:]


@pytest.mark.parametrize(
    "scenario",
    [
        "both_paths_give_the_same",
        "each_element_of_a_waveform_has_its_time",
        "an_empty_waveform_is_an_answer_without_values",
        "what_cannot_be_sampled_is_refused",
        "several_servers_are_heard_at_once",
        "what_nobody_drains_is_counted",
        "closing_leaves_nothing",
        "the_fast_path_is_chosen",
        "the_portable_path_is_chosen_and_says_why",
    ],
)
def test_monitors(scenario):
    finish(start(scenario))


def test_monitors_when_a_server_restarts():
    started = [start(scenario) for scenario in SLOW]
    try:
        for process in started:
            finish(process)
    finally:
        for process in started:
            process.kill()
            process.wait()
            process.stderr.close()


def test_only_channel_access_sources_are_sampled():
    assert pv_name("ca://SIM:X") == pv_name("SIM:X") == "SIM:X"
    with pytest.raises(ValueError, match=r"only Channel Access .* and PV Access"):
        pv_name("pva://SIM:X")


def test_the_sampler_chooses_by_default():
    assert Sampler.__init__.__kwdefaults__["monitors"] is choose_monitors


def test_channels_that_were_never_opened_have_lost_nothing():
    channel = SampledChannel(Channel("x", ChannelKind.READBACK), "ca://X")
    for monitors in (PortableMonitors([channel]), choose_monitors([channel])):
        assert monitors.lost == (0,)
        monitors.close()
