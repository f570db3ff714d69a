"""The delay of a detector from stored runs: good rows only, and the direction that was flown."""

from types import SimpleNamespace

import numpy as np
import pytest

from glidepath.catalog import CatalogError, estimate_run_delay, rebinning
from glidepath.timeline import Quality

DELAY, SPEED, ROW = 0.2, 0.5, 0.05


class Run(SimpleNamespace):
    """What `estimate_run_delay` asks of a run; its start document has no plan arguments."""

    def __init__(self, uid, corners, lost=(), speed=SPEED):
        energies, numbers = [], []
        for number, (start, stop) in enumerate(corners):
            energies.append(np.arange(start, stop, np.sign(stop - start) * speed * ROW))
            numbers.append(np.full(len(energies[-1]), number))
        energy = np.concatenate(energies)
        pass_number = np.concatenate(numbers)
        # A way back of two seconds between two passes.
        time = 1.7e9 + ROW * np.arange(len(energy)) + 2.0 * pass_number
        direction = np.where([a < b for a, b in corners], 1, -1)[pass_number]
        seen = energy - direction * speed * DELAY
        signal = 1e-9 * (1 + 1 / (1 + ((seen - 401) / 0.1) ** 2))
        quality = np.zeros(len(energy), np.uint16)
        dark = np.zeros(len(energy), bool)
        for low, high in lost:
            dark |= (energy > low) & (energy < high)
        quality[dark], signal[dark] = Quality.BEAM_LOST, 1e-13
        table = {
            "energy": energy,
            "sample": signal,
            "sample_time": time,
            "quality": quality,
            "pass_number": pass_number,
            "region_number": np.zeros(len(energy), int),
        }
        metadata = {"start": {"uid": uid, "motors": ["energy"], "plan_args": {"regions": "..."}}}
        super().__init__(table=table, metadata=metadata)


@pytest.fixture(autouse=True)
def stored(monkeypatch):
    monkeypatch.setattr(
        rebinning, "read_primary", lambda run, names: {n: run.table[n] for n in names}
    )
    monkeypatch.setattr(rebinning, "_data_keys", lambda run: run.table)


@pytest.mark.parametrize("turned", [False, True])
def test_the_rows_tell_which_way_a_run_was_flown(turned):
    runs = [Run("up", [(399, 403)]), Run("down", [(403, 399)])]
    found = estimate_run_delay(*(runs[::-1] if turned else runs), "sample")
    assert found.delay == pytest.approx(DELAY, abs=0.01)


def test_a_run_there_and_back_is_enough():
    run = Run("both", [(399, 403), (403, 399), (399, 403)])
    assert estimate_run_delay(run, run, "sample").delay == pytest.approx(DELAY, abs=0.01)


def test_rows_without_beam_do_not_count():
    up, down = Run("up", [(399, 403)]), Run("down", [(403, 399)], lost=[(401.3, 401.9)])
    assert estimate_run_delay(up, down, "sample").delay == pytest.approx(DELAY, abs=0.02)


def test_what_tells_no_delay_is_refused_in_one_sentence():
    up = Run("up", [(399, 403)])
    with pytest.raises(CatalogError, match="same direction"):
        estimate_run_delay(up, Run("again", [(399, 403)]), "sample")
    dark = Run("dark", [(399, 403), (403, 399)], lost=[(0, 1000)])
    with pytest.raises(CatalogError, match="no good rows"):
        estimate_run_delay(dark, dark, "sample")
    mixed = Run("mixed", [(399, 403), (403, 399)])
    mixed.table["region_number"] = (mixed.table["energy"] < 400.5).astype(int)
    mixed.table["sample_time"] = np.cumsum(np.where(mixed.table["energy"] < 400.5, 0.05, 0.2))
    with pytest.raises(CatalogError, match="velocity changes"):
        estimate_run_delay(mixed, mixed, "sample")


@pytest.mark.parametrize("name", ["a/b", "", "/", "..", "a?b", "a#b", " a", "x" * 200, "a\nb"])
def test_a_table_has_a_name_that_can_be_part_of_an_address(name):
    with pytest.raises(CatalogError, match="cannot be the name of a table"):
        rebinning.check_table_name(name)


def test_the_csv_has_no_empty_field_and_says_the_units(tmp_path):
    from glidepath.cli.rebin import _write

    path = tmp_path / "spectrum.csv"
    columns = {"energy_lower": np.array([7.1, 7.2]), "mesh": np.array([np.nan, 1e-9])}
    _write(columns, path, {"energy_lower": "keV", "mesh": "A"})
    assert path.read_text().splitlines()[0] == "energy_lower[keV],mesh[A]"
    table = np.loadtxt(path, delimiter=",", skiprows=1)
    assert np.isnan(table[0, 1])
    assert table[1].tolist() == [7.2, 1e-9]
