"""The simulated Zebra over Channel Access: registers, gates, captures, and what leaves it."""

import numpy as np
import pytest
from channel_client import truth_until

BY_TIME = {
    "PC_ENC": "Enc1",
    "PC_TSPRE": "ms",
    "PC_GATE_SEL": "Time",
    "PC_GATE_START": 5.0,
    "PC_GATE_WID": 10.0,
    "PC_GATE_NGATE": 2,
    "PC_GATE_STEP": 20.0,
    "PC_PULSE_SEL": "Time",
    "PC_PULSE_START": 1.0,
    "PC_PULSE_STEP": 2.0,
    "PC_PULSE_WID": 0.5,
    "PC_PULSE_MAX": 3,
    "PC_BIT_CAP": 0b0111,
}


@pytest.fixture
def box(at_rest):
    """A client of a disarmed box that makes pulses by time."""
    at_rest.put("ZEBRA:SYS_RESET", 1)
    at_rest.wait_for("ZEBRA:ARRAY_ACQ", lambda acquiring: not acquiring)
    for output in range(1, 5):
        at_rest.put(f"ZEBRA:OUT{output}_TTL", 0)
    for name, value in BY_TIME.items():
        at_rest.put(f"ZEBRA:{name}", value)
    return at_rest


def run(box):
    box.put("ZEBRA:PC_ARM", 1)
    box.wait_for("ZEBRA:PC_NUM_DOWN", lambda number: number > 0)
    box.wait_for("ZEBRA:ARRAY_ACQ", lambda acquiring: not acquiring)


def test_gates_and_pulses_by_time_are_where_they_were_set(box):
    run(box)
    assert box.get("ZEBRA:PC_ARM_OUT") == 0
    assert box.get("ZEBRA:PC_NUM_CAP") == box.get("ZEBRA:PC_NUM_DOWN") == 6
    times = box.array("ZEBRA:PC_TIME")
    # Like the real support, it shows one more time than there are captures.
    assert len(times) == 7
    assert times[:6] == pytest.approx([6, 8, 10, 26, 28, 30], abs=1e-3)


def test_what_is_chosen_is_captured(box):
    run(box)
    grating, mirror, motor, nothing = (
        np.array(box.array(f"ZEBRA:PC_ENC{number}")) for number in range(1, 5)
    )
    alpha, beta = box.get("PGM1:Alpha"), box.get("PGM1:Beta")
    assert grating == pytest.approx(beta * 360_000, abs=1)
    assert mirror == pytest.approx((alpha - beta) / 2 * 360_000, abs=1)
    assert np.all(grating == np.round(grating))
    # The support knows the motor's units.
    assert motor == pytest.approx(box.get("m3.RBV"), abs=1e-5)
    assert np.all(nothing == 0)


def test_registers_round_to_what_the_box_can_do(box):
    box.put("ZEBRA:PC_PULSE_STEP", 1.234_56)
    assert box.get("ZEBRA:PC_PULSE_STEP:RBV") == pytest.approx(1.2346, abs=1e-9)
    box.put("ZEBRA:PC_ENC", "Enc3")
    box.put("ZEBRA:PC_GATE_SEL", "Position")
    box.put("ZEBRA:PC_GATE_START", 400.000_004)
    assert box.get("ZEBRA:PC_GATE_START:RBV") == pytest.approx(400.0, abs=1e-9)
    # Other units, the same register.
    box.put("ZEBRA:PC_ENC", "Enc1")
    assert box.get("ZEBRA:PC_GATE_START:RBV") == 40_000_000


def test_settings_are_locked_while_it_is_armed(box):
    box.put("ZEBRA:PC_GATE_START", 60_000.0)
    box.put("ZEBRA:PC_ARM", 1)
    assert box.get("ZEBRA:PC_ARM_OUT") == 1
    box.put("ZEBRA:PC_PULSE_MAX", 99)
    box.put("ZEBRA:PC_ENC", "Enc2")
    assert box.get("ZEBRA:PC_PULSE_MAX") == box.get("ZEBRA:PC_PULSE_MAX:RBV") == 3
    assert box.text("ZEBRA:PC_ENC") == "Enc1"
    box.put("ZEBRA:PC_DISARM", 1)
    box.wait_for("ZEBRA:PC_ARM_OUT", lambda armed: not armed)
    box.wait_for("ZEBRA:ARRAY_ACQ", lambda acquiring: not acquiring)
    assert box.get("ZEBRA:PC_NUM_DOWN") == 0
    box.put("ZEBRA:PC_PULSE_MAX", 99)
    assert box.get("ZEBRA:PC_PULSE_MAX:RBV") == 99


def test_a_reset_disarms(box):
    box.put("ZEBRA:PC_GATE_START", 60_000.0)
    box.put("ZEBRA:PC_ARM", 1)
    box.put("ZEBRA:SYS_RESET", 1)
    assert box.get("ZEBRA:PC_ARM_OUT") == 0
    box.wait_for("ZEBRA:ARRAY_ACQ", lambda acquiring: not acquiring)


@pytest.mark.parametrize(("output", "width"), [(31, 0.5e-3), (53, 1.2e-3), (0, None)])
def test_the_first_output_carries_what_it_is_set_to(box, simulated, output, width):
    for name, value in {"INP": 31, "PRE": "ms", "DLY": 0.1, "WID": 1.2}.items():
        box.put(f"ZEBRA:PULSE2_{name}", value)
    box.put("ZEBRA:OUT1_TTL", output)
    run(box)
    armed = box.read("ZEBRA:PC_ARM").timestamp
    with truth_until(simulated.settings.truth, armed + 0.1) as truth:
        pulses = truth.exposures("ZEBRA")
    sent = pulses["start"] > armed
    if width is None:
        assert not sent.any()
        return
    delay = 0.0 if output == 31 else 0.1e-3
    offsets = pulses["start"][sent] - armed - delay
    # The record's time is that of the command, the box's clock begins with it.
    expected = np.array([6, 8, 10, 26, 28, 30]) * 1e-3
    assert offsets - offsets[0] == pytest.approx(expected - expected[0], abs=2e-6)
    assert offsets == pytest.approx(expected, abs=5e-3)
    assert (pulses["stop"] - pulses["start"])[sent] == pytest.approx(width, abs=1e-6)
