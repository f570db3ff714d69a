"""What others put around a plan sees what happens: simulators, preprocessors, an outer run."""

import bluesky.preprocessors as bpp
import pytest
from bluesky.simulators import RunEngineSimulator, summarize_plan

from glidepath.plans import flyscan


def scan(simulated, **options):
    return flyscan([simulated.mesh], simulated.energy, 400.0, 401.0, 2.0, period=0.1, **options)


def test_a_simulated_plan_ends_and_shows_each_flight(simulated, capsys):
    s = simulated
    messages = RunEngineSimulator().simulate_plan(scan(s, passes=2))
    verbs = [
        (message.command, message.obj.name)
        for message in messages
        if message.command in ("prepare", "kickoff", "complete")
    ]
    flight = [
        ("prepare", "energy_flight"),
        ("prepare", "sampler"),
        ("kickoff", "sampler"),
        ("kickoff", "energy_flight"),
        ("complete", "energy_flight"),
        ("complete", "sampler"),
    ]
    assert verbs == [("prepare", "sampler"), *flight, *flight]
    commands = [message.command for message in messages]
    assert commands.count("open_run") == commands.count("close_run") == 1
    assert not s.documents
    summarize_plan(scan(s))
    assert "Open Run" in capsys.readouterr().out


def test_a_scan_as_a_part_of_another_run_is_whole(simulated):
    s = simulated
    s.run_engine(bpp.run_wrapper(bpp.stub_wrapper(scan(s)), md={"purpose": "outer"}))
    assert s.stop["exit_status"] == "success", s.stop
    assert [start["purpose"] for start in s.named("start")] == ["outer"]
    run = s.run()
    assert len(run.primary["energy"]) == run.stop["num_events"]["primary"] >= 4
    assert "rows" in run.verdict["verdict"]


def test_a_preprocessor_sees_the_sampler_and_the_axis_in_the_order_of_a_flight(simulated):
    s = simulated
    seen = []

    def look(message):
        if message.command in ("prepare", "kickoff", "complete", "collect"):
            seen.append((message.command, message.obj.name))
        return message

    s.run_engine(bpp.msg_mutator(scan(s), look))
    assert s.stop["exit_status"] == "success"
    order = [
        seen.index(pair)
        for pair in (
            ("prepare", "sampler"),
            ("prepare", "energy_flight"),
            ("kickoff", "sampler"),
            ("kickoff", "energy_flight"),
            ("complete", "energy_flight"),
            ("complete", "sampler"),
            ("collect", "primary"),
        )
    ]
    assert order[:-1] == sorted(order[:-1])


@pytest.mark.parametrize("signal", ["mesh"])
def test_a_detector_that_cannot_be_staged_is_said_in_a_sentence(simulated, monkeypatch, signal):
    s = simulated
    device = getattr(s, signal)

    async def fail():
        raise TimeoutError(f"ca://{s.prefix}KEI1:rdCur")

    from ophyd_async.core import AsyncStatus

    monkeypatch.setattr(type(device), "stage", lambda self: AsyncStatus(fail()), raising=False)
    monkeypatch.setattr(type(device), "unstage", lambda self: AsyncStatus(done()), raising=False)

    async def done():
        """Nothing was staged."""

    with pytest.raises(ConnectionError, match=r"The scan cannot begin: .*KEI1:rdCur does not"):
        s.run_engine(scan(s))
    assert not s.documents
