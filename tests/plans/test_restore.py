"""A beamline goes back to where it was in a run, or says before it moves why it cannot."""

import sys

import pytest
from bluesky.utils import FailedStatus
from ophyd_async.core import StandardReadable, callback_on_mock_put, init_devices, soft_signal_rw

from glidepath.plans.restore import RestoreError, restore


class Optics(StandardReadable):
    """Soft signals with the names of a monochromator's settings."""

    def __init__(self, name=""):
        self.setpoint = soft_signal_rw(float, 500.0)
        self.slit_width = soft_signal_rw(float, 50.0)
        self.cff = soft_signal_rw(float, 2.25)
        self.id_on = soft_signal_rw(bool, True)
        super().__init__(name)


THEN = {"pgm-setpoint": 400.0, "pgm-slit_width": 20.0, "pgm-cff": 2.5, "pgm-id_on": True}


@pytest.fixture
def optics(RE):
    with init_devices(mock=True):
        pgm = Optics(name="pgm")
    return pgm


@pytest.fixture
def puts(optics):
    done = []
    for signal in (optics.setpoint, optics.slit_width, optics.cff, optics.id_on):
        callback_on_mock_put(signal, lambda value, *_, s=signal, **__: done.append((s.name, value)))
    return done


@pytest.fixture
def lines():
    return []


def test_the_settings_go_back_in_order_with_the_coupling_off_meanwhile(RE, optics, puts, lines):
    RE(restore(THEN, [optics], say=lines.append))
    assert puts == [
        ("pgm-id_on", False),
        ("pgm-cff", 2.5),
        ("pgm-slit_width", 20.0),
        ("pgm-setpoint", 400.0),
        ("pgm-id_on", True),
    ]
    assert "pgm-setpoint: 500 -> 400" in lines


def test_the_coupling_comes_back_when_a_move_fails(RE, optics, puts, lines):
    def refuse(value, *_, **__):
        raise ValueError("the slit is stuck")

    callback_on_mock_put(optics.slit_width, refuse)
    with pytest.raises((ValueError, FailedStatus)):
        RE(restore(THEN, [optics], say=lines.append))
    assert puts[-1] == ("pgm-id_on", True)
    assert ("pgm-setpoint", 400.0) not in puts


def test_a_limit_refuses_before_anything_moves(RE, optics, puts, lines, monkeypatch):
    async def limits(signal):
        return (0.0, 10.0) if signal.name == "pgm-slit_width" else None

    # The package has the plan under the name of its module.
    monkeypatch.setattr(sys.modules["glidepath.plans.restore"], "_limits_of", limits)
    with pytest.raises(RestoreError, match="slit_width was at 20, but its limits are now 0 to 10"):
        RE(restore(THEN, [optics], say=lines.append))
    assert puts == []


def test_a_dry_run_says_the_moves_and_moves_nothing(RE, optics, puts, lines):
    RE(restore(THEN, [optics], dry_run=True, say=lines.append))
    assert len(lines) == 3
    assert puts == []


def test_what_is_where_it_was_is_left_alone(RE, optics, puts, lines):
    then = {"pgm-setpoint": 500.0, "pgm-id_on": True}
    RE(restore(then, [optics], say=lines.append))
    assert lines == ["Everything is where it was."]
    assert puts == []


def test_a_device_that_the_baseline_lacks_is_named(RE, optics, lines):
    with pytest.raises(RestoreError, match="holds no setting of pgm; it holds ring"):
        RE(restore({"ring": 300.0}, [optics], say=lines.append))
    assert lines == []
