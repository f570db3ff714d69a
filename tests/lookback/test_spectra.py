"""What is drawn, compared and fitted of stored runs is what was measured."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner
from written_runs import write_run

from glidepath.cli.main import app
from glidepath.lookback import (
    StoredRun,
    differences,
    fit_edge_of,
    fit_n2_of,
    moved_during,
    spectra_of,
)
from glidepath.lookback.fits import with_error
from glidepath.physics.nitrogen import N2_LINES_eV, absorption

ENERGY = np.arange(400.0, 402.6, 0.02)


def n2_run(root, number, *, noise=0.01, seed=1, resolution=0.06, passes=1, **more):
    random = np.random.default_rng(seed)
    energy = np.tile(ENERGY, passes)
    number_of = np.repeat(np.arange(1, passes + 1), len(ENERGY))
    mesh = np.full(len(energy), 2.0)
    sample = mesh * (absorption(energy, resolution) + random.normal(0, noise, len(energy)))
    columns = {"energy": energy, "mesh": mesh, "sample": sample, "pass_number": number_of}
    columns["quality"] = np.zeros(len(energy), np.uint16)
    columns |= more.pop("columns", {})
    return write_run(root, number, columns, begun=1_700_000_000.0 + number, **more)


def command(root, *words):
    done = CliRunner().invoke(app, [*words, "--data", str(root)], env={"COLUMNS": "160"})
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_table_is_read_by_pandas_and_xarray(tmp_path):
    n2_run(tmp_path, 1)
    run = StoredRun.of(tmp_path, -1)
    assert run.table(["energy"])["energy"].tolist() == ENERGY.tolist()
    assert run.to_xarray()["sample"].attrs["units"] == "eV"
    assert run.to_xarray().coords["energy"].values.tolist() == ENERGY.tolist()


def test_a_data_directory_that_was_moved_is_read_where_it_is(tmp_path):
    n2_run(tmp_path / "before", 1)
    (tmp_path / "before").rename(tmp_path / "after")
    run = StoredRun.of(tmp_path / "after", 1)
    assert len(run.columns(["energy"])["energy"]) == len(ENERGY)
    assert all(file.exists() for file in run.files)


def test_a_run_whose_file_is_missing_says_which_and_what_to_do(tmp_path):
    n2_run(tmp_path, 1)
    run = StoredRun.of(tmp_path, 1)
    (file,) = run.files
    file.unlink()
    said = f"The file {file} of this run is missing; bring it back first."
    with pytest.raises(ValueError, match=re.escape(said)):
        StoredRun.of(tmp_path, 1).table()
    for words in (["plot", "1"], ["fit", "1"], ["fit", "1", "--edge"]):
        done = CliRunner().invoke(app, [*words, "--data", str(tmp_path)])
        assert done.exit_code == 2, words
        assert said in done.stderr, words
    shown = "".join(command(tmp_path, "show", "1").split())
    assert f"{file}ismissing;bringitbackfirst." in shown


def test_a_file_that_is_damaged_is_not_said_to_be_missing(tmp_path):
    n2_run(tmp_path, 1)
    run = StoredRun.of(tmp_path, 1)
    run.files[0].write_bytes(b"no HDF5")
    with pytest.raises(OSError) as raised:
        run.table()
    assert "missing" not in str(raised.value)


def test_the_errors_of_the_fit_are_as_large_as_the_scatter_of_many_fits(tmp_path):
    results = []
    for seed in range(24):
        n2_run(tmp_path, seed + 1, seed=seed, noise=0.02)
        results.append(fit_n2_of(StoredRun.of(tmp_path, seed + 1)).fit)
    for name, true in (("first_line", N2_LINES_eV[0]), ("gaussian_fwhm", 0.06)):
        values = np.array([getattr(fit, name) for fit in results])
        errors = np.array([getattr(fit, f"{name}_error") for fit in results])
        scatter = values.std(ddof=1)
        # 24 fits know their scatter to 15 %.
        assert errors.mean() == pytest.approx(scatter, rel=0.5), name
        assert abs(values.mean() - true) < 4 * scatter / np.sqrt(24), name
    ratios = np.array([fit.valley_to_peak for fit in results])
    errors = np.array([fit.valley_to_peak_error for fit in results])
    assert errors.mean() == pytest.approx(ratios.std(ddof=1), rel=0.6)


def test_a_better_resolution_has_a_deeper_valley(tmp_path):
    for number, width in enumerate((0.04, 0.08), 1):
        n2_run(tmp_path, number, resolution=width, noise=0.001)
    sharp, blunt = (fit_n2_of(StoredRun.of(tmp_path, number)).fit for number in (1, 2))
    assert sharp.valley_to_peak < blunt.valley_to_peak
    assert sharp.resolving_power == pytest.approx(N2_LINES_eV[0] / 0.04, rel=0.05)


def test_rows_with_bits_are_not_fitted(tmp_path):
    quality = np.zeros(len(ENERGY), np.uint16)
    quality[50:60] = 64
    n2_run(tmp_path, 1, columns={"quality": quality}, noise=0.001)
    run = StoredRun.of(tmp_path, 1)
    columns = run.columns()
    columns["sample"][50:60] = 0.0
    run.columns = lambda names=None: {n: columns[n] for n in names or columns}
    assert abs(fit_n2_of(run).fit.shift) < 0.002


def test_an_edge_is_found_with_its_width_and_error(tmp_path):
    energy = np.linspace(400.0, 420.0, 400)
    random = np.random.default_rng(5)
    step = 0.5 + np.arctan((energy - 410.3) / 0.4) / np.pi + random.normal(0, 0.01, 400)
    columns = {"energy": energy, "mesh": np.ones(400), "sample": 3 * step}
    write_run(tmp_path, 1, columns)
    fit = fit_edge_of(StoredRun.of(tmp_path, 1)).fit
    assert abs(fit.edge - 410.3) < 4 * fit.edge_error < 0.1
    assert abs(fit.width - 0.8) < 4 * fit.width_error
    assert abs(fit.jump - 3.0) < 4 * fit.jump_error


def test_the_mean_of_passes_has_an_error_and_a_difference_has_both(tmp_path):
    n2_run(tmp_path, 1, passes=4, noise=0.02)
    n2_run(tmp_path, 2, passes=4, noise=0.02, seed=2)
    one, two = (StoredRun.of(tmp_path, number) for number in (1, 2))
    (mean,) = spectra_of([one], mode="average")
    assert np.nanmedian(mean.curve.error) == pytest.approx(0.01, rel=0.3)
    (difference,) = spectra_of([one, two], mode="difference")
    assert difference.label == "scan 2 - scan 1"
    assert np.nanstd(difference.curve.value) == pytest.approx(0.01 * np.sqrt(2), rel=0.3)
    assert np.nanmedian(difference.curve.error) == pytest.approx(0.0141, rel=0.3)
    (ratio,) = spectra_of([one, one], mode="ratio")
    assert np.nanmax(np.abs(ratio.curve.value - 1)) < 1e-12


def test_up_and_down_are_two_curves(tmp_path):
    energy = np.concatenate([ENERGY, ENERGY[::-1]])
    numbers = np.repeat([1, 2], len(ENERGY))
    n2_run(tmp_path, 1, passes=2, columns={"energy": energy, "pass_number": numbers})
    assert [one.label for one in spectra_of([StoredRun.of(tmp_path, 1)], mode="up-down")] == [
        "scan 1, up",
        "scan 1, down",
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mode": "sideways"}, "no way 'sideways'"),
        ({"mode": "ratio"}, "needs two runs"),
        ({"signal": "smple"}, "no column 'smple'"),
    ],
)
def test_what_cannot_be_drawn_is_said(tmp_path, options, said):
    n2_run(tmp_path, 1)
    with pytest.raises(ValueError, match=said):
        spectra_of([StoredRun.of(tmp_path, 1)], **options)


def test_a_run_without_rows_says_so(tmp_path):
    write_run(tmp_path, 1, {"energy": [], "mesh": [], "sample": []}, status="abort")
    with pytest.raises(ValueError, match="has no rows to show"):
        spectra_of([StoredRun.of(tmp_path, 1)])


BEFORE = {"focus": 1.0, "slit": 20.0, "cff": 2.25, "mode": "on"}


def test_only_what_is_beyond_its_tolerance_is_different(tmp_path):
    other = {"focus": 1.0004, "slit": 20.001, "cff": 2.25, "mode": "off"}
    write_run(tmp_path, 1, baseline=[BEFORE, {**BEFORE, "cff": 2.3}])
    write_run(tmp_path, 2, baseline=[other, other])
    one, two = (StoredRun.of(tmp_path, number) for number in (1, 2))
    assert [d.signal for d in differences(one, two)] == ["slit", "mode"]
    (moved,) = moved_during(one)
    assert (moved.signal, moved.one, moved.other) == ("cff", 2.25, 2.3)
    assert moved.by == pytest.approx(0.05)
    assert moved_during(two) == []


def with_setting(run, value):
    """Return a run whose baseline has a device with a setting, as descriptors have it."""
    key = {"source": "slit", "dtype": "number", "shape": [], "units": "um", "precision": 1}
    read = {"data": {"pgm-slit": value}, "timestamps": {}, "data_keys": {"pgm-slit": key}}
    run.documents = [
        (n, {**d, "configuration": {"pgm": read}} if d.get("name") == "baseline" else d)
        for n, d in run.documents
    ]
    return run


def test_settings_of_the_baseline_are_compared_and_can_be_restored(tmp_path):
    for number in (1, 2):
        write_run(tmp_path, number, baseline=[BEFORE, BEFORE])
    one, two = (
        with_setting(StoredRun.of(tmp_path, number), value)
        for number, value in ((1, 20.0), (2, 60.0))
    )
    (found,) = differences(one, two)
    assert (found.signal, found.one, found.other, found.unit) == ("pgm-slit", 20.0, 60.0, "um")
    assert moved_during(one) == []
    assert one.before() == {**BEFORE, "pgm-slit": 20.0}
    assert set(one.baseline()) == set(BEFORE)


def test_the_commands_show_plot_compare_and_fit(tmp_path):
    n2_run(tmp_path, 1, baseline=[BEFORE, {**BEFORE, "slit": 21.0}])
    n2_run(tmp_path, 2, seed=2, baseline=[BEFORE, BEFORE])
    shown = command(tmp_path, "show", "1")
    assert "Scan 1" in shown
    assert "Moved during the run" in shown
    assert "slit" in shown
    assert "⠀" in command(tmp_path, "plot") or "⡇" in command(tmp_path, "plot", "1", "2")
    for name in ("both.png", "both.svg"):
        picture = tmp_path / name
        command(tmp_path, "plot", "1", "-1", "--mode", "difference", "-o", str(picture))
        assert picture.stat().st_size > 5000
    assert "Nothing is different" in command(tmp_path, "compare", "1", "2")
    assert "slit" in command(tmp_path, "compare", "1")
    fitted = command(tmp_path, "fit", "-1")
    assert "First line      400.88" in fitted
    assert "±" in fitted
    numbers = json.loads(command(tmp_path, "fit", "-1", "--json"))
    assert numbers["first_line_error"] > 0


def test_an_error_has_two_digits():
    assert with_error(400.88123, 0.00132) == "400.8812 ± 0.0013"
    assert with_error(6681.3, 124.0) == "6681 ± 124"
    assert with_error(1.0, float("nan")) == "1 (error unknown)"
