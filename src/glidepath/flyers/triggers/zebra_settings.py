"""What is set at a Zebra: for a flight, for its outputs, and for a capture that only looks."""

from collections.abc import Sequence
from typing import Any

from ophyd_async.core import SignalRW

from glidepath.devices.zebra import BusSignal, CompareDirection, CompareSource, Edge, Zebra

from .compare_plan import TICK, UNIT, ComparePlan, pulse_unit

SettingList = list[tuple[SignalRW[Any], Any]]

TEST_GATE = 0.2
"""Seconds that a test capture lasts: longer than the support's loop, which would miss it."""


def compare_settings(box: Zebra, plan: ComparePlan, scale: tuple[float, float]) -> SettingList:
    """Return the settings for a part of a leg, in the order in which they are to be written.

    Parameters
    ----------
    box, plan
        The box, and what it is to do.
    scale
        Resolution and offset of the encoder that is compared: position = resolution * counts +
        offset.
    """
    resolution, offset = scale
    by_time = plan.step is None
    if by_time:
        assert plan.period is not None
        pulse_step = plan.period / UNIT.seconds
        pulse_width = max(round(pulse_step / TICK / 2), 1) * TICK
    else:
        assert plan.step is not None
        pulse_step = plan.step * abs(resolution)
        pulse_width = max(plan.step // 2, 1) * abs(resolution)
    rising = plan.direction * resolution > 0
    direction = CompareDirection.POSITIVE if rising else CompareDirection.NEGATIVE
    return [
        (box.direction, direction),
        (box.gate_source, CompareSource.POSITION),
        (box.pulse_source, CompareSource.TIME if by_time else CompareSource.POSITION),
        (box.gate_start, plan.first * resolution + offset),
        (box.gate_width, plan.width * abs(resolution)),
        (box.pulse_step, pulse_step),
        (box.pulse_width, pulse_width),
        (box.pulses, len(plan.positions) + plan.end_trigger),
        *output_settings(box, plan.exposure),
    ]


def output_settings(box: Zebra, exposure: float) -> SettingList:
    """Return what lets pulses of a length in s go to the detectors."""
    pulse, unit = box.pulse, pulse_unit(exposure)
    assert unit is not None
    output = BusSignal.PULSE1 + box.pulse_number - 1
    return [
        (pulse.unit, unit),
        (pulse.delay, 0.0),
        (pulse.polarity, Edge.RISING),
        (pulse.width, round(exposure / (TICK * unit.seconds)) * TICK),
        (pulse.input, BusSignal.PC_PULSE),
        *((signal, output) for signal in box.outputs.values()),
    ]


def probe_settings(box: Zebra, inputs: Sequence[int]) -> SettingList:
    """Return the settings for one capture of some encoders that no detector sees."""
    return [
        (box.pulse.input, BusSignal.DISCONNECT),
        *((signal, BusSignal.DISCONNECT) for signal in box.outputs.values()),
        (box.arm_source, "Soft"),
        (box.compared, f"Enc{inputs[0]}"),
        (box.time_unit, UNIT),
        (box.chosen, sum(1 << (number - 1) for number in inputs)),
        (box.gate_source, CompareSource.TIME),
        (box.pulse_source, CompareSource.TIME),
        (box.gate_start, 0.0),
        (box.gate_width, TEST_GATE / UNIT.seconds),
        (box.gates, 1),
        (box.gate_step, 0.0),
        (box.pulse_start, 0.0),
        (box.pulse_step, TEST_GATE / UNIT.seconds),
        (box.pulse_width, TICK),
        (box.pulse_delay, 0.0),
        (box.pulses, 1),
    ]


__all__ = ["TEST_GATE", "compare_settings", "output_settings", "probe_settings"]
