"""Counts of encoders, and the positions that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import (
    BraggGeometry,
    Encoder,
    GratingGeometry,
    LinearGeometry,
    counted,
)

SI_111 = 0.31356
scales = st.floats(100.0, 1e6) | st.floats(-1e6, -100.0)
encoders = st.builds(Encoder, scales, st.floats(-1e6, 1e6))
energies = st.floats(60.0, 1600.0)


@given(encoders, st.floats(-1000, 1000))
def test_a_value_is_recovered_from_its_reading(encoder, value):
    assert encoder.value(encoder.reading(value)) == pytest.approx(value, abs=1e-6)


@given(encoders, st.floats(-90, 90))
def test_a_count_is_at_most_half_a_count_off(encoder, value):
    error = encoder.value(counted(encoder.reading(value))) - value
    assert abs(error * encoder.counts_per_unit) <= 0.5 + 1e-6


def test_counts_change_half_way_between_them():
    assert counted([1.49, 1.5, -1.5, -1.51]).tolist() == [1, 2, -1, -2]


@given(encoders, encoders, energies, st.floats(1.2, 20.0), st.sampled_from([600.0, 1200.0]))
def test_an_energy_is_recovered_from_both_angles(grating, mirror, energy, cff, lines):
    geometry = GratingGeometry(grating, mirror, lines, cff)
    readings = geometry.readings([energy])
    assert readings.shape == (2, 1)
    assert geometry.position(readings)[0] == pytest.approx(energy, rel=1e-6)


@given(encoders, energies, st.floats(1.2, 20.0), st.sampled_from([1, 2]))
def test_an_energy_is_recovered_from_the_grating_alone_at_fixed_focus(grating, energy, cff, order):
    geometry = GratingGeometry(grating, Encoder(1e5), 600.0, cff, order)
    assert geometry.position(geometry.readings(energy)[:1])[0] == pytest.approx(energy, rel=1e-6)


@given(encoders, st.floats(2100.0, 30000.0))
def test_an_energy_is_recovered_from_the_bragg_angle(encoder, energy):
    geometry = BraggGeometry(encoder, SI_111)
    assert geometry.position(geometry.readings(energy))[0] == pytest.approx(energy, rel=1e-6)


@given(encoders, st.lists(st.floats(-1000, 1000), min_size=1, max_size=5))
def test_positions_of_a_motor_are_recovered(encoder, positions):
    geometry = LinearGeometry(encoder)
    assert geometry.position(geometry.readings(positions)) == pytest.approx(positions, abs=1e-6)


def test_both_angles_give_the_energy_also_when_the_focus_is_not_what_was_thought():
    true = GratingGeometry(Encoder(360_000), Encoder(360_000), 600.0, 2.25)
    thought = GratingGeometry(Encoder(360_000), Encoder(360_000), 600.0, 2.26)
    readings = true.readings(400.0)
    assert thought.position(readings)[0] == pytest.approx(400.0, abs=1e-6)
    assert abs(thought.position(readings[:1])[0] - 400.0) > 0.5


def test_counts_of_a_hundredth_of_an_arcsecond_measure_the_energy_to_a_fraction_of_a_mev():
    geometry = GratingGeometry(Encoder(360_000), Encoder(360_000), 600.0, 2.25)
    energy = np.linspace(395, 405, 10_001)
    error = geometry.position(counted(geometry.readings(energy))) - energy
    assert 0.1e-3 < np.std(error) < 0.5e-3


@pytest.mark.parametrize("scale", [0.0, float("nan"), float("inf")])
def test_an_encoder_that_counts_nothing_is_refused(scale):
    with pytest.raises(ValueError, match="counts per unit"):
        Encoder(scale)
