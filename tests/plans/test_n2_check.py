"""The N2 lines say whether the beamline is as it should be, and the verdict is in the run."""

import pytest
from bluesky.simulators import summarize_plan

from glidepath.physics import N2Limits
from glidepath.plans import n2_check
from glidepath.trajectory import PreflightError

DRIFT = 0.08


def verdicts(simulated):
    descriptors = {d["uid"]: d["name"] for d in simulated.named("descriptor")}
    events = simulated.named("event")
    return [e["data"] for e in events if descriptors[e["descriptor"]] == "n2_check"]


@pytest.fixture
def drifted(simulated):
    simulated.put("FAULT:energy_drift", DRIFT)
    yield simulated
    simulated.put("FAULT:energy_drift", 0.0)


@pytest.mark.slow
def test_a_beamline_as_it_should_be_passes(simulated):
    s = simulated
    result = s.run_engine(n2_check([s.mesh, s.sample], s.energy))
    (found,) = verdicts(s)
    assert result.plan_result == f"{found['n2_check']}."
    assert found["outcome"] == "passed"
    assert found["shift"] == pytest.approx(0.0, abs=5e-3)
    # The slit of the simulated beamline makes 50 meV.
    assert found["resolving_power"] == pytest.approx(8000, rel=0.05)
    assert s.stop["exit_status"] == "success"
    assert s.stop["reason"].startswith("N2 check passed: first line 400.8")
    # What the flight says of itself is not lost.
    assert " rows" in s.stop["reason"]
    start = s.named("start")[-1]
    assert start["plan_name"] == "n2_check"
    assert start["plan_args"]["limits"]["shift"] == 0.05
    assert start["plan_args"]["signal"] == "sample"
    assert start["plan_args"]["reference"] == "mesh"
    assert s.stop["num_events"]["n2_check"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("start", "stop"), [(399.5, 403.5), (403.5, 399.5)])
def test_a_drifted_monochromator_is_found(drifted, start, stop):
    s = drifted
    limits = {"shift": 0.02, "resolving_power": 5000}
    plan = n2_check(
        [s.mesh, s.sample], s.energy, limits=limits, start=start, stop=stop, velocity=1.0
    )
    result = s.run_engine(plan)
    (found,) = verdicts(s)
    assert found["outcome"] == "failed"
    # The light is above what the monochromator shows, so that the line comes too early.
    assert found["shift"] == pytest.approx(-DRIFT, abs=5e-3)
    assert "(NOT within 20 meV)" in result.plan_result
    assert s.stop["exit_status"] == "success"
    assert "valley_to_peak_limit" not in found


@pytest.mark.slow
def test_a_detector_that_sees_no_gas_decides_nothing(simulated):
    s = simulated
    result = s.run_engine(n2_check([s.mesh], s.energy, velocity=2.0))
    (found,) = verdicts(s)
    assert set(found) == {"n2_check", "outcome"}
    assert found["outcome"] == "not decided"
    assert "the N2 series is not in the spectrum" in result.plan_result
    assert s.stop["exit_status"] == "success"


@pytest.mark.slow
def test_a_flight_that_fails_has_no_verdict(simulated, monkeypatch):
    from glidepath.flyers.sampling import sampler

    async def fail(self, *others):
        raise OSError("No space left on device")

    monkeypatch.setattr(sampler.Sampler, "flushed", fail)
    s = simulated
    with pytest.raises(OSError, match="No space left"):
        s.run_engine(n2_check([s.mesh, s.sample], s.energy))
    assert verdicts(s) == []
    assert s.stop["exit_status"] == "fail"
    assert "N2 check" not in s.stop["reason"]


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (["mesh", "sample"], {"limits": {"shfit": 0.02}}, "has no limit 'shfit'"),
        (["mesh", "sample"], {"limits": {"shift": -1}}, "limit -1 for shift"),
        (["mesh", "sample"], {"signal": "gas"}, "no column 'gas'"),
        ([], {}, "needs a detector"),
    ],
)
def test_mistakes_are_one_sentence_and_nothing_moves(simulated, arguments, options, text):
    s = simulated
    before = s.get(s.pgm.setpoint)
    with pytest.raises(PreflightError, match=text):
        s.run_engine(n2_check([getattr(s, name) for name in arguments], s.energy, **options))
    assert s.named("start") == []
    assert s.get(s.pgm.setpoint) == before


def test_an_axis_that_is_no_energy_is_refused(simulated):
    s = simulated
    with pytest.raises(PreflightError, match="m2 is in mm; give an axis in eV or keV"):
        s.run_engine(n2_check([s.mesh, s.sample], s.m2))


def test_a_simulator_of_plans_goes_through(simulated, capsys):
    s = simulated
    summarize_plan(n2_check([s.mesh, s.sample], s.energy, limits=N2Limits(shift=0.01)))
    assert "Open Run" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_says_the_verdict_and_has_it_in_its_exit_status(drifted, tmp_path):
    from typer.testing import CliRunner

    from glidepath.cli.main import app

    words = ["n2", "--velocity", "2", "--data", str(tmp_path)]
    drifted_check = CliRunner().invoke(app, [*words, "--shift", "0.02"])
    assert drifted_check.exit_code == 1
    assert "N2 check failed: first line 400." in drifted_check.stdout
    drifted.put("FAULT:energy_drift", 0.0)
    good_check = CliRunner().invoke(app, [*words, "--shift", "0.02", "--power", "2000"])
    assert good_check.exit_code == 0, good_check.output
    assert "N2 check passed" in good_check.stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--shift", "-1"], "limit -1.0 for shift"),
        (["--axis", "m2"], "give an axis in eV or keV"),
        (["--detectors", "gas"], "There is no device 'gas'"),
    ],
)
def test_mistakes_on_the_command_line_have_status_2(simulated, tmp_path, words, text):
    from typer.testing import CliRunner

    from glidepath.cli.main import app

    done = CliRunner().invoke(app, ["n2", *words, "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert text in done.stderr
