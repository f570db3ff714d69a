"""Loading a beamline: what a module must offer, and what happens if it does not."""

import sys
from types import ModuleType

import pytest

from glidepath.beamlines import BeamlineError, load_beamline
from glidepath.devices import EnergyAxis, Sampled


@pytest.fixture
def module(monkeypatch):
    module = ModuleType("my_beamline")
    monkeypatch.setitem(sys.modules, "my_beamline", module)
    return module


def test_the_simulated_beamline_has_what_the_command_line_needs():
    beamline = load_beamline("glidepath.beamlines.simulated", "X:")
    assert isinstance(beamline.devices["energy"], EnergyAxis)
    assert beamline.devices["pgm"].readback.source == "ca://X:PGM1:monoGetEnergy"
    assert beamline.detectors == ("mesh", "sample", "ring")
    assert all(isinstance(beamline.devices[name], Sampled) for name in beamline.detectors)
    assert all(name == device.name for name, device in beamline.devices.items())


def test_the_prefix_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("GLIDEPATH_PREFIX", "Y:")
    beamline = load_beamline("glidepath.beamlines.simulated")
    assert beamline.devices["mesh"].current.source == "ca://Y:KEI1:rdCur"


def test_a_module_that_does_not_exist_is_one_sentence():
    with pytest.raises(BeamlineError, match=r"^There is no module 'no.such', .* start where"):
        load_beamline("no.such")


def test_a_module_without_make_devices_is_one_sentence(module):
    with pytest.raises(BeamlineError, match=r"^Beamline 'my_beamline' has no function make_dev"):
        load_beamline("my_beamline")


def test_a_make_devices_that_fails_is_one_sentence(module):
    def make_devices(prefix):
        raise OSError("no table\nof gaps")

    module.make_devices = make_devices
    with pytest.raises(BeamlineError, match=r"make its devices: OSError: no table of gaps\.$"):
        load_beamline("my_beamline")


def test_a_list_with_an_unknown_name_is_one_sentence(module):
    module.make_devices = lambda prefix: {}
    module.AXES = ["energy"]
    with pytest.raises(BeamlineError, match="lists 'energy' in AXES"):
        load_beamline("my_beamline")


def test_a_device_that_cannot_be_had_now_comes_with_the_reason(module):
    module.make_devices = lambda prefix: {}
    module.UNAVAILABLE = {"panda": "It is being repaired."}
    assert load_beamline("my_beamline").unavailable == {"panda": "It is being repaired."}
    simulated = load_beamline("glidepath.beamlines.simulated", "X:")
    assert ("panda" in simulated.devices) is ("panda" not in simulated.unavailable)


def test_lists_are_optional(module):
    module.make_devices = lambda prefix: {}
    assert load_beamline("my_beamline").axes == ()
