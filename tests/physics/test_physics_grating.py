"""The grating equation and its inverse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import HC_EV_NM, grating_angles, grating_energy

energies = st.floats(30.0, 2000.0)


@given(
    energies, st.sampled_from([300.0, 600.0, 1200.0]), st.floats(1.1, 20.0), st.sampled_from([1, 2])
)
def test_energy_is_recovered_from_the_angles(energy, lines, cff, order):
    alpha, beta = grating_angles(energy, lines, cff, order)
    assert grating_energy(alpha, beta, lines, order) == pytest.approx(energy, rel=1e-9)


@given(energies, st.floats(1.1, 20.0))
def test_angles_keep_the_fixed_focus_constant(energy, cff):
    alpha, beta = grating_angles(energy, 600.0, cff)
    assert float(np.cos(beta) / np.cos(alpha)) == pytest.approx(cff, rel=1e-6)
    assert beta < 0 < alpha


def test_inside_orders_have_a_constant_below_one():
    alpha, beta = grating_angles(400.0, 600.0, 0.4, order=-1)
    assert float(np.cos(beta) / np.cos(alpha)) == pytest.approx(0.4, rel=1e-6)
    assert grating_energy(alpha, beta, 600.0, order=-1) == pytest.approx(400.0)


def test_arrays_keep_their_shape():
    alpha, beta = grating_angles(np.linspace(300, 500, 12).reshape(3, 4), 600.0, 2.25)
    assert alpha.shape == beta.shape == (3, 4)


def test_known_case_of_a_soft_x_ray_monochromator():
    # 400 eV, 1200 lines/mm: N k lambda = 1200e-6 * 3.0996 nm.
    alpha, beta = grating_angles(400.0, 1200.0, 2.25)
    assert float(np.sin(alpha) + np.sin(beta)) == pytest.approx(1200e-6 * HC_EV_NM / 400.0)


def test_impossible_requests_say_so():
    with pytest.raises(ValueError, match="above 0 eV"):
        grating_angles(0.0, 600.0, 2.25)
    with pytest.raises(ValueError, match="cff"):
        grating_angles(400.0, 600.0, 1.0)
    with pytest.raises(ValueError, match="cannot select"):
        grating_angles(0.1, 1200.0, 2.25)
    with pytest.raises(ValueError, match="select no energy"):
        grating_energy(0.5, -0.5, 600.0)
