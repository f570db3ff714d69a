"""Bragg's law and its inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import bragg_angle, bragg_energy

SILICON_111_nm = 0.313560


@given(st.floats(2000.0, 30000.0), st.sampled_from([SILICON_111_nm, 0.163748]))
def test_energy_is_recovered_from_the_angle(energy, spacing):
    if energy < 1240 / (2 * spacing):
        energy = 1240 / (2 * spacing)
    angle = bragg_angle(energy, spacing)
    assert bragg_energy(angle, spacing) == pytest.approx(energy, rel=1e-9)


def test_copper_k_alpha_on_silicon_111():
    assert np.degrees(bragg_angle(8047.8, SILICON_111_nm)) == pytest.approx(14.22, abs=0.01)


def test_energies_below_the_crystals_limit_are_refused():
    with pytest.raises(ValueError, match="reflects energies above"):
        bragg_angle(1000.0, SILICON_111_nm)
    with pytest.raises(ValueError, match="Bragg angle"):
        bragg_energy(0.0, SILICON_111_nm)
