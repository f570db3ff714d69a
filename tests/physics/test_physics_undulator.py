"""The undulator law, its inverse and its line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import UE48, UndulatorLaw


@given(st.floats(12.0, 150.0), st.sampled_from([1, 3, 5]), st.floats(-1.0, 1.0))
def test_gap_is_recovered_from_the_energy(gap, harmonic, offset):
    law = UndulatorLaw(48, 62, 1.7, offset_eV=offset)
    assert float(law.gap(law.energy(gap, harmonic), harmonic)) == pytest.approx(gap, rel=1e-6)


@given(st.lists(st.floats(1.0, 200.0), min_size=2, max_size=20))
def test_energy_rises_with_the_gap(gaps):
    gaps = np.sort(gaps)
    assert np.all(np.diff(UE48.energy(gaps)) >= 0)


def test_offset_is_added_to_every_harmonic():
    shifted = UndulatorLaw(48, 62, 1.7, offset_eV=0.12)
    for harmonic in (1, 3):
        difference = shifted.energy(30.0, harmonic) - UE48.energy(30.0, harmonic)
        assert float(difference) == pytest.approx(0.12)


def test_line_is_one_when_tuned_and_zero_one_width_off():
    gap = UE48.gap(400.0)
    width = 400.0 * UE48.relative_width()
    assert UE48.spectrum([400.0, 400.0 + width, 400.0 - width], gap) == pytest.approx([1, 0, 0])


def test_ranges_of_the_seeds_scan_are_reachable():
    gaps = UE48.gap(np.array([370.0, 470.0]))
    assert np.all((gaps > 15) & (gaps < 200))


@pytest.mark.parametrize("energy", [1.0, 600.0, np.nan])
def test_unreachable_energies_are_refused_with_the_range(energy):
    with pytest.raises(ValueError, match="Harmonic 1 reaches"):
        UE48.gap(energy)
