"""What a detector says of itself is measured; what is wrong comes with the number to put in."""

from collections.abc import AsyncIterator

import aioca
import numpy as np
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from glidepath.beamlines import load_beamline
from glidepath.cli.main import app
from glidepath.detectors import DetectorCheck, Finding, QuadElectrometer, Result, check
from glidepath.devices import PulseGenerator, Pulses
from glidepath.flyers import pulses_of

pytestmark = pytest.mark.slow

SIMULATED = "glidepath.beamlines.simulated"
EXPOSURE = 0.002


@pytest.fixture(autouse=True)
def _shorter(monkeypatch):
    """Few triggers are enough to see that the check sees."""
    for name, value in {"FEW": 10, "MANY": 40, "STALL": 0.3, "STEPS": 5}.items():
        monkeypatch.setattr(check, name, value)


@pytest_asyncio.fixture(loop_scope="module")
async def pulses(bench) -> PulseGenerator:
    pulses = PulseGenerator(f"{bench.prefix}PULSE:", "pulses")
    await pulses.connect(timeout=10)
    assert isinstance(pulses, Pulses)
    return pulses


@pytest_asyncio.fixture(loop_scope="module")
async def mistaken(bench) -> AsyncIterator[QuadElectrometer]:
    """One whose beamline module is wrong about it."""
    quad = QuadElectrometer(
        f"{bench.prefix}QE1:", "quad", inputs={1: "mesh"}, dead_time=0.0, latency=0.01
    )
    await quad.connect(timeout=10)
    yield quad
    await quad.disarm()
    await quad.restore()
    aioca.purge_channel_caches()


async def measured(detector, pulses, folder) -> dict[str, Finding]:
    checked = DetectorCheck(detector, pulses, EXPOSURE, folder)
    return {finding.what: finding async for finding in checked.findings()}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_detector_that_is_as_it_says_passes(bench, pulses, tmp_path):
    found = await measured(bench.devices["quad"], pulses, tmp_path)
    assert {f.what for f in found.values() if f.result is Result.FAIL} == set()
    assert found["frames for triggers"].found.startswith("10 for 10")
    for what in ("dead time", "highest rate", "latency", "ready signal", "exposure by the pulse"):
        assert found[what].result is Result.PASS, found[what]
        assert not found[what].put_in
    assert await bench.get("QE1:Acquire_RBV") == 1


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_wrong_is_said_with_the_number_to_put_in(mistaken, pulses, tmp_path):
    found = await measured(mistaken, pulses, tmp_path)
    assert found["latency"].result is Result.FAIL
    # It was told 10 ms; 0.5 ms are right.
    assert float(found["latency"].put_in.split()[1]) == pytest.approx(-9.5, abs=0.2)
    assert found["dead time"].result is Result.FAIL
    assert 5e-5 < float(found["dead time"].put_in.removeprefix("dead_time=")) < 5e-4


@pytest.mark.asyncio(loop_scope="module")
async def test_one_that_says_too_early_that_it_is_ready_fails(bench, pulses, tmp_path):
    await bench.fault("QE1_miss", "0")
    found = await measured(bench.devices["quad"], pulses, tmp_path)
    assert found["frames for triggers"].result is Result.FAIL
    assert found["ready signal"].result is Result.FAIL
    assert "the first 1 triggers after it were not seen" in found["ready signal"].found
    assert found["dead time"].result is Result.NOTE


@pytest.mark.asyncio(loop_scope="module")
async def test_one_that_never_gets_ready_fails_and_its_settings_are_put_back(
    bench, pulses, tmp_path, monkeypatch
):
    quad = bench.devices["quad"]
    await bench.fault("QE1_never_arms", 1)
    monkeypatch.setattr(quad, "_ready_within", 0.3)
    found = await measured(quad, pulses, tmp_path)
    assert found["readiness"].result is Result.FAIL
    assert "QE1:Acquire_RBV did not become True" in found["readiness"].found
    # It cannot be let run again, as it did before.
    assert found["settings afterwards"].result is Result.FAIL
    assert "changed" not in found["settings afterwards"].found
    await bench.put("FAULT:QE1_never_arms", 0)
    await quad.running.set(False)
    await quad.running.set(True)


@pytest.mark.asyncio(loop_scope="module")
async def test_without_pulses_only_its_own_clock_is_tried(bench, tmp_path):
    found = await measured(bench.devices["counter"], None, tmp_path)
    assert found["own clock"].result is Result.PASS
    assert found["triggers"].result is Result.NOTE
    assert "dead time" not in found


@pytest.mark.asyncio(loop_scope="module")
async def test_the_trigger_box_sends_pulses_wherever_the_axis_is(bench):
    zebra, quad = load_beamline(SIMULATED, bench.prefix).devices["zebra"], bench.devices["quad"]
    await zebra.connect(timeout=10)
    before = await zebra.read_configuration()
    await quad.arm(bench.settings(20, 200.0))
    sender = pulses_of(zebra)
    assert isinstance(sender, Pulses)
    # When they began is not known well enough to say more.
    assert np.isnan(await sender.send(20, 0.005, 0.001))
    frames = await bench.collect(quad, 20)
    assert len(frames.begins) == 20
    assert np.diff(frames.begins) == pytest.approx(0.005, abs=5e-4)
    await sender.stop()
    after = await zebra.read_configuration()
    assert {n: r["value"] for n, r in after.items()} == {n: r["value"] for n, r in before.items()}


def test_the_command_prints_the_table(beamline, tmp_path):
    done = CliRunner().invoke(
        app, ["check", "detector", "counter", "--pulses", "", "--data", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert "pass  own clock" in done.output
    assert "there is no pulse generator" in done.output
    assert "put in" in done.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["ring"], "ring is no triggered detector"),
        (["nothing"], "There is no device 'nothing'"),
        (["counter", "--pulses", "ring"], "ring sends no pulses"),
    ],
)
def test_mistakes_are_one_sentence(beamline, tmp_path, arguments, sentence):
    done = CliRunner().invoke(app, ["check", "detector", *arguments, "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert sentence in done.stderr
