"""A beamline goes back to where it was in a run, or says before it moves why it cannot."""

import asyncio
import sys

import pytest
from ophyd_async.core import (
    StandardReadable,
    callback_on_mock_put,
    init_devices,
    set_mock_value,
    soft_signal_rw,
)

from glidepath.devices import PGM, ControlMode, Motor, Undulator
from glidepath.physics import UE48
from glidepath.plans.restore import RestoreError, restore

THEN = {
    "pgm": 400.0,
    "pgm-slit": 20.0,
    "pgm-cff": 2.5,
    "pgm-grating": "2",
    "pgm-id_on": True,
    "pgm-min_energy": 60.0,
    "pgm-max_energy": 1600.0,
}


@pytest.fixture
def pgm(RE, monkeypatch):
    # Nothing of it moves, so that there is nothing to be shown.
    monkeypatch.setattr("glidepath.devices.restoring.SHOWN", 0.01)
    with init_devices(mock=True):
        pgm = PGM("PGM:", name="pgm")
    for signal, value in (
        (pgm.readback, 500.0),
        (pgm.slit, 50.0),
        (pgm.cff, 2.25),
        (pgm.grating, "1"),
        (pgm.id_on, True),
        (pgm.grating_done, 1),
        (pgm.mirror_done, 1),
    ):
        set_mock_value(signal, value)
    return pgm


@pytest.fixture
def puts(pgm):
    done = []
    for signal in (pgm.slit, pgm.cff, pgm.grating, pgm.id_on):
        callback_on_mock_put(signal, lambda value, *_, s=signal, **__: done.append((s.name, value)))

    def arrive(value, *_, **__):
        done.append(("pgm", value))
        set_mock_value(pgm.readback, value)

    callback_on_mock_put(pgm.setpoint, arrive)
    return done


@pytest.fixture
def lines():
    return []


def test_the_settings_go_back_in_order_with_the_coupling_off_meanwhile(RE, pgm, puts, lines):
    RE(restore(THEN, [pgm], say=lines.append))
    assert puts == [
        ("pgm-id_on", False),
        ("pgm-grating", "2"),
        ("pgm-cff", 2.5),
        ("pgm-slit", 20.0),
        ("pgm", 400.0),
        ("pgm-id_on", True),
    ]
    assert lines == [
        "pgm-grating: 1 -> 2",
        "pgm-cff: 2.25 -> 2.5",
        "pgm-slit: 50 -> 20",
        "pgm: 500 -> 400",
    ]


def test_the_coupling_comes_back_and_what_is_not_back_is_said_when_a_move_fails(
    RE, pgm, puts, lines
):
    def refuse(value, *_, **__):
        raise ValueError("the slit is stuck")

    callback_on_mock_put(pgm.slit, refuse)
    with pytest.raises(RestoreError, match=r"pgm-slit is not back: .*stuck; not moved either: pgm"):
        RE(restore(THEN, [pgm], say=lines.append))
    assert puts[-1] == ("pgm-id_on", True)
    assert ("pgm", 400.0) not in puts


def test_a_coupling_that_was_off_stays_off(RE, pgm, puts, lines):
    RE(restore({**THEN, "pgm-id_on": False}, [pgm], say=lines.append))
    assert puts[-1] == ("pgm-id_on", False)
    assert ("pgm-id_on", True) not in puts


def test_a_limit_refuses_before_anything_moves(RE, pgm, puts, lines, monkeypatch):
    async def limits(signal):
        # Of the record that is written.
        return (30.0, 1000.0) if signal.name == "pgm-slit_setpoint" else None

    # The package has the plan under the name of its module.
    monkeypatch.setattr(sys.modules["glidepath.plans.restore"], "_limits_of", limits)
    with pytest.raises(RestoreError, match="slit was at 20, but its limits are now 30 to 1000"):
        RE(restore(THEN, [pgm], say=lines.append))
    assert puts == []


def test_the_limits_of_the_energy_are_those_of_the_grating_that_comes(RE, pgm, puts, lines):
    set_mock_value(pgm.min_energy, 450.0)

    def exchange(value, *_, **__):
        # The other grating reaches lower energies.
        set_mock_value(pgm.min_energy, 60.0)

    callback_on_mock_put(pgm.grating, exchange)
    RE(restore(THEN, [pgm], say=lines.append))
    assert ("pgm", 400.0) in puts
    set_mock_value(pgm.readback, 500.0)
    set_mock_value(pgm.min_energy, 450.0)
    with pytest.raises(RestoreError, match="pgm was at 400, but its limits are now 450 to"):
        RE(restore({"pgm": 400.0}, [pgm], say=lines.append))


def test_a_dry_run_says_the_moves_and_moves_nothing(RE, pgm, puts, lines):
    RE(restore(THEN, [pgm], dry_run=True, say=lines.append))
    assert len(lines) == 4
    assert puts == []


def test_what_is_where_it_was_is_left_alone(RE, pgm, puts, lines):
    # A readback is never twice the same.
    RE(restore({"pgm": 500.004, "pgm-slit": 50.2, "pgm-id_on": True}, [pgm], say=lines.append))
    assert lines == ["Everything is where it was."]
    assert puts == []


def test_a_device_that_the_baseline_lacks_is_named(RE, pgm, lines):
    with pytest.raises(RestoreError, match="holds no setting of pgm; it holds ring"):
        RE(restore({"ring": 300.0, "ring-current": 1.0}, [pgm], say=lines.append))
    assert lines == []


def test_a_run_that_knows_its_baseline_is_enough(RE, pgm, puts, lines):
    class Run:
        def before(self):
            return {"pgm-slit": 20.0}

    RE(restore(Run(), [pgm], say=lines.append))
    assert puts == [("pgm-slit", 20.0)]


def test_a_gap_is_moved_only_where_the_panel_drives_it(RE, lines):
    with init_devices(mock=True):
        ue48 = Undulator("UE:", UE48, name="ue48")
    then = {"ue48-gap": 40.0, "ue48-shift": 0.0, "ue48-harmonic": 3}
    moved = []
    callback_on_mock_put(ue48.gap.setpoint, lambda value, *_, **__: moved.append(value))
    by_monochromator = {**then, "ue48-control_mode": ControlMode.MONOCHROMATOR.value}
    RE(restore(by_monochromator, [ue48], dry_run=True, say=lines.append))
    assert lines == ["ue48-control_mode: panel -> monochromator", "ue48-harmonic: 1 -> 3"]
    by_panel = {**then, "ue48-control_mode": ControlMode.PANEL.value}
    RE(restore(by_panel, [ue48], dry_run=True, say=lines.append))
    assert lines[2:] == ["ue48-harmonic: 1 -> 3", "ue48-gap: 30 -> 40"]
    assert moved == []


def test_of_a_motor_velocity_and_position_come_back_and_its_calibration_does_not(RE, lines):
    with init_devices(mock=True):
        m2 = Motor("M2", name="m2")
    set_mock_value(m2.user_readback, 1.0)
    then = {"m2": 5.0, "m2-velocity": 2.0, "m2-offset": 0.3}
    RE(restore(then, [m2], dry_run=True, say=lines.append))
    assert lines == ["m2-velocity: 1000 -> 2", "m2: 1 -> 5"]


def test_of_a_device_that_says_nothing_what_can_be_written_comes_back(RE, lines):
    class Stage(StandardReadable):
        def __init__(self, name=""):
            self.mode = soft_signal_rw(str, "a")
            self.gain = soft_signal_rw(float, 1.0)
            super().__init__(name)

    with init_devices():
        stage = Stage(name="stage")
    RE(restore({"stage-mode": "b", "stage-gain": 1.0}, [stage], say=lines.append))
    assert lines == ["stage-mode: a -> b"]
    value = asyncio.run_coroutine_threadsafe(stage.mode.get_value(), RE.loop).result(5)
    assert value == "b"
