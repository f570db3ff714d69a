"""Gap curves and tables: interpolation, its inverse, ranges, choice of the harmonic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.physics import UE48, UE52, UE56, Calibration, GapCurve, GapTable

TABLE = GapTable.from_law(UE48, np.arange(14.0, 101.0))
CURVE = TABLE.curve()


def curve(energies, gaps):
    return GapCurve(energies, gaps, np.zeros(len(gaps)), 62)


@pytest.mark.parametrize("law", [UE48, UE52, UE56])
def test_a_table_of_a_law_is_the_law_between_its_points(law):
    made = GapTable.from_law(law, np.arange(14.0, 101.0))
    gaps = np.linspace(20.0, 60.0, 999)
    for harmonic in (1, 3):
        difference = made.energy(gaps, harmonic) - law.energy(gaps, harmonic)
        assert np.max(np.abs(difference)) < 0.01 * harmonic


@given(st.floats(14.0, 100.0))
def test_energy_is_the_inverse_of_gap(gap):
    assert float(CURVE.gap(CURVE.energy(gap))) == pytest.approx(gap, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.01, 5)), min_size=2, max_size=12))
def test_a_curve_rises_between_its_points_whatever_they_are(steps):
    energies, gaps = np.cumsum(np.array(steps).T, axis=1)
    made = curve(energies, gaps)
    between = np.linspace(energies[0], energies[-1], 200)
    assert np.all(np.diff(made.gap(between)) > -1e-12)
    np.testing.assert_allclose(made.gap(energies), gaps)
    # Where the curve is flat, many energies have the same gap to the last digit.
    np.testing.assert_allclose(made.gap(made.energy(gaps)), gaps, rtol=1e-9)


def test_energies_outside_are_refused_unless_extrapolation_is_asked_for():
    with pytest.raises(ValueError, match=r"knows 76\.2 to 571\.7 eV, but 60 eV was asked"):
        CURVE.gap([100.0, 60.0])
    further = CURVE.extended(20.0)
    slope = (CURVE.gaps[1] - CURVE.gaps[0]) / (CURVE.energies[1] - CURVE.energies[0])
    assert float(further.gap(60.0)) == pytest.approx(14.0 - slope * (CURVE.low - 60.0), abs=0.05)
    assert float(further.gap(400.0)) == pytest.approx(float(CURVE.gap(400.0)))


def test_a_gap_outside_has_no_energy():
    assert np.isnan(CURVE.energy([13.0, 101.0])).all()
    assert CURVE.energy(14.0) == pytest.approx(CURVE.low)


@pytest.mark.parametrize(
    ("energies", "gaps", "sentence"),
    [
        ([400, 410], [34, 33], "400 eV at 34 mm is followed by 410 eV at 33 mm"),
        ([400, 400], [34, 35], "energy and gap must rise together"),
        ([400], [34], "at least two points"),
        ([400, np.nan], [34, 35], "no finite number of eV"),
        ([400, 410, 420], [34, 35], "at least two points of energy, gap and shift"),
    ],
)
def test_points_that_are_no_curve_are_refused(energies, gaps, sentence):
    with pytest.raises(ValueError, match=sentence):
        curve(energies, gaps)


def test_the_part_between_two_gaps_is_the_same_curve():
    part = CURVE.between(20.3, 60.7)
    assert (part.low, part.high) == (CURVE.energy(20.3), CURVE.energy(60.7))
    energies = np.linspace(part.low, part.high, 500)
    np.testing.assert_allclose(part.gap(energies), CURVE.gap(energies), atol=2e-3)
    with pytest.raises(ValueError, match="reaches 5 to 10 mm; bring a table"):
        CURVE.between(5.0, 10.0)


def test_a_calibrated_curve_needs_another_gap():
    calibrated = CURVE.calibrated(Calibration(offset=0.12, slope=1.001))
    gap = CURVE.gap(400.0)
    assert float(calibrated.energy(gap)) == pytest.approx(0.12 + 400.4)
    assert float(calibrated.gap(400.52)) == pytest.approx(float(gap))


def test_width_is_that_of_the_harmonic():
    assert float(TABLE.curve(3).width(930.0)) == pytest.approx(930.0 / (3 * 62))


@pytest.mark.parametrize(
    ("range_", "preferred", "harmonic"),
    [((400.0,), None, 1), ((900.0,), None, 3), ((400.0,), (3, 1), 3), ((500.0, 600.0), None, 3)],
)
def test_the_first_harmonic_that_reaches_a_range_is_chosen(range_, preferred, harmonic):
    assert TABLE.choose(*range_, preferred=preferred) == harmonic


def test_a_range_that_no_harmonic_reaches_is_refused_with_what_each_reaches():
    with pytest.raises(ValueError, match=r"No harmonic reaches 50 to 60 eV .*: 1 \(76\.2 to"):
        TABLE.choose(50.0, 60.0)
    with pytest.raises(ValueError, match="no polarisation 'skew'; it has horizontal, circular"):
        TABLE.choose(400.0, polarisation="skew")


def test_what_is_not_in_the_table_is_named_with_what_is():
    with pytest.raises(ValueError, match=r"no harmonic 2 in horizontal .*; it has 1, 3, 5"):
        TABLE.curve(2)
    with pytest.raises(ValueError, match="no harmonic 3 in circular polarisation; it has 1"):
        TABLE.curve(3, "circular")


def test_each_polarisation_has_its_shift_and_its_gap():
    at_400 = {name: TABLE.curve(1, name) for name in TABLE.polarisations}
    shifts = {name: float(found.shift(400.0)) for name, found in at_400.items()}
    assert shifts["horizontal"] == 0.0
    assert shifts["vertical"] == 24.0
    assert shifts["circular"] == pytest.approx(UE48.circular_shift_mm)
    for name, found in at_400.items():
        assert float(UE48.energy(found.gap(400.0), 1, shifts[name])) == pytest.approx(400, abs=0.01)
    # A weaker field needs a smaller gap for the same energy.
    assert at_400["vertical"].gap(400.0) < at_400["circular"].gap(400.0)
    assert at_400["circular"].gap(400.0) < at_400["horizontal"].gap(400.0)


def test_circular_polarisation_has_two_equal_fields():
    phase = np.pi * UE48.circular_shift_mm / UE48.period_mm
    assert np.cos(phase) == pytest.approx(UE48.field_ratio * np.sin(phase))


def test_a_table_is_of_one_undulator_and_has_each_curve_once():
    with pytest.raises(ValueError, match="one curve only"):
        GapTable([CURVE, CURVE])
    with pytest.raises(ValueError, match="all of one undulator"):
        GapTable([CURVE, GapTable.from_law(UE52, [20, 30, 40]).curve(3)])
