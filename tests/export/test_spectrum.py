"""Signal over I0, row by row where each energy was passed once, on a common grid otherwise."""

import numpy as np
import pytest
from written_run import absorption, run_of, table_of

from glidepath.export import ExportError, Roles, average, roles_of, spectrum_of
from glidepath.timeline import Quality

TEY = Roles("tey", "sample", "mesh")


def test_one_pass_keeps_its_rows(tmp_path):
    columns = table_of(200)
    spectrum = spectrum_of(run_of(tmp_path, columns), TEY)
    np.testing.assert_array_equal(spectrum.energy, columns["energy"])
    np.testing.assert_allclose(spectrum.intensity, absorption(columns["energy"]), rtol=1e-12)
    assert spectrum.errors is None
    assert spectrum.passes is None


def test_transmission_is_the_negative_logarithm(tmp_path):
    columns = table_of(50)
    spectrum = spectrum_of(run_of(tmp_path, columns), Roles("trans", "sample", "mesh"))
    np.testing.assert_allclose(
        spectrum.intensity, -np.log(absorption(columns["energy"])), rtol=1e-12
    )


def test_passes_are_averaged_with_the_error_of_their_scatter(tmp_path):
    noise, passes = 0.01, 16
    columns = table_of(100, passes, noise)
    spectrum = spectrum_of(run_of(tmp_path, columns), TEY)
    assert spectrum.passes.shape == (passes, 100)
    np.testing.assert_allclose(spectrum.energy, columns["energy"][:100], atol=1e-9)
    expected = np.mean(spectrum.passes, axis=0)
    np.testing.assert_allclose(spectrum.intensity, expected, rtol=1e-9)
    scatter = np.std(spectrum.passes, axis=0, ddof=1) / np.sqrt(passes)
    np.testing.assert_allclose(spectrum.errors, scatter, rtol=1e-6)
    pull = (spectrum.intensity - absorption(spectrum.energy)) / spectrum.errors
    assert 0.8 < np.std(pull) < 1.4


def test_a_step_bins_rows_by_the_time_they_were_open(tmp_path):
    columns = table_of(100)
    columns["sample"] = columns["mesh"] * columns["energy"]
    spectrum = spectrum_of(run_of(tmp_path, columns), TEY, step=0.5)
    np.testing.assert_allclose(np.diff(spectrum.edges), 0.5)
    np.testing.assert_allclose(spectrum.intensity, spectrum.energy, rtol=1e-9)


@pytest.mark.parametrize("bit", ["NO_DATA", "BEAM_LOST", "LOST_TRIGGER", "OVERFLOW"])
def test_bad_rows_are_no_part_of_it(tmp_path, bit):
    columns = table_of(20)
    columns["quality"][[3, 4]] = int(Quality[bit])
    columns["sample"][[3, 4]] *= 100
    spectrum = spectrum_of(run_of(tmp_path, columns), TEY)
    assert np.flatnonzero(np.isnan(spectrum.intensity)).tolist() == [3, 4]


def test_runs_are_averaged_to_one_spectrum(tmp_path):
    runs = [run_of(tmp_path / str(n), table_of(100, noise=0.01, seed=n)) for n in range(9)]
    spectrum = average(runs, [TEY] * 9)
    assert spectrum.passes.shape == (9, 100)
    pull = (spectrum.intensity - absorption(spectrum.energy)) / spectrum.errors
    assert 0.7 < np.std(pull) < 1.6
    with pytest.raises(ExportError, match="different modes"):
        average(runs[:2], [TEY, Roles("trans", "sample", "mesh")])


def test_the_columns_are_the_first_that_the_run_has(tmp_path):
    start = {
        "spectra": {
            "tey": [
                {"signal": "quad_sample", "i0": "quad_mesh"},
                {"signal": "sample", "i0": "mesh"},
            ],
            "trans": {"signal": "diode", "i0": "mesh"},
        }
    }
    assert roles_of(run_of(tmp_path, table_of(5), start=start)) == [TEY]


def test_a_column_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(ExportError, match="no column 'diode'; it has energy, "):
        roles_of(run_of(tmp_path, table_of(5)), [Roles("tey", "diode")])


def test_an_empty_run_has_an_empty_spectrum(tmp_path):
    run = run_of(tmp_path, table_of(0))
    for step in (None, 0.5):
        assert len(spectrum_of(run, TEY, step).energy) == 0
