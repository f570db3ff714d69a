"""Simulated beamlines for these tests."""

from collections.abc import Iterator

import pytest
from channel_client import Client, connected

from glidepath.simulation import SimulatedBeamline


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedBeamline]:
    """A beamline without encoder noise, with a truth file, for all tests that leave it alive."""
    path = tmp_path_factory.mktemp("simulation") / "truth.h5"
    with SimulatedBeamline("T:", encoder_noise_eV=0.0, seed=5, truth=path) as beamline:
        yield beamline


@pytest.fixture(scope="session")
def client(simulated: SimulatedBeamline) -> Iterator[Client]:
    with connected(simulated) as client:
        yield client


@pytest.fixture
def at_rest(client: Client) -> Client:
    """The session's beamline at 400 eV, with the settings it was started with."""
    for fault in ("sweep_init_never_ready", "sweep_stall", "readback_frozen", "beam_loss"):
        client.put(f"FAULT:{fault}", 0)
    client.put("PGM1:MonoAktion.PROC", 0)
    client.wait_for("PGM1:IStatus", lambda value: value == 0)
    client.put("BEAM:axis", "PGM1")
    client.put("FAULT:gap_stall", 0)
    client.put("UE48:BaseCmdLswitch", "monochromator")
    client.put("PGM1:SetIdOn", 1)
    client.put("PGM1:SetSweepGapMeth", "quadr.")
    client.put("PGM1:monoSetEnergy", 400.0)
    client.wait_for("PGM1:IStatus", lambda value: value == 0)
    client.wait_for("UE48:BasePmEnergy", lambda value: abs(value - 400.0) < 0.02)
    client.wait_for("UE48:BaseStatISLbl", lambda label: label == 0)
    for name in ("KEI1", "KEI2"):
        client.put(f"{name}:setIntegrTime", 5.0)
    return client
