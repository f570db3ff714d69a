"""The truth file: what is written can be read, and what it does not know it does not invent."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glidepath.simulation.truth import Truth, TruthWriter


@pytest.fixture
def path(tmp_path):
    """A file with a ramp of 2 eV/s for 10 s, and two exposures."""
    path = tmp_path / "truth.h5"
    writer = TruthWriter(path, ("KEI1",))
    time = 1.8e9 + np.linspace(0.0, 10.0, 10001)
    energy = 400.0 + 2.0 * (time - time[0])
    writer.add_trajectory(time[:5000], energy[:5000], energy[:5000] + 0.12, energy[:5000] / 10)
    writer.add_trajectory(time[5000:], energy[5000:], energy[5000:] + 0.12, energy[5000:] / 10)
    writer.add_exposure("KEI1", 1.8e9 + 1.0, 1.8e9 + 1.1, 402.1, 1e-9)
    writer.add_exposure("KEI1", 1.8e9 + 1.1, 1.8e9 + 1.2, 402.3, 2e-9)
    writer.close()
    return path


def test_energy_is_interpolated(path):
    with Truth(path) as truth:
        assert float(truth.energy(1.8e9 + 3.00025)) == pytest.approx(406.0005, abs=1e-5)
        assert len(truth.time) == 10001


def test_mean_energy_of_a_ramp_is_that_of_its_middle(path):
    with Truth(path) as truth:
        start = 1.8e9 + np.array([0.5, 2.00037, 7.1])
        stop = start + np.array([0.02, 1.0, 2.5])
        expected = 400.0 + 2.0 * ((start + stop) / 2 - 1.8e9)
        assert truth.mean_energy(start, stop) == pytest.approx(expected, abs=1e-5)


@given(st.floats(0.0, 9.0), st.floats(1e-3, 0.9))
def test_mean_energy_lies_between_the_ends(tmp_path_factory, begin, duration):
    path = tmp_path_factory.mktemp("truth") / "t.h5"
    writer = TruthWriter(path, ())
    time = 1.8e9 + np.linspace(0.0, 10.0, 101)
    writer.add_trajectory(time, 400 + np.arange(101.0), np.zeros(101), np.zeros(101))
    writer.close()
    with Truth(path) as truth:
        start, stop = 1.8e9 + begin, 1.8e9 + begin + duration
        mean = float(truth.mean_energy(start, stop))
        assert float(truth.energy(start)) - 1e-6 <= mean <= float(truth.energy(stop)) + 1e-6


def test_exposures_come_back_as_columns(path):
    with Truth(path) as truth:
        exposures = truth.exposures("KEI1")
        assert truth.detectors == ("KEI1",)
    assert exposures["stop"] - exposures["start"] == pytest.approx([0.1, 0.1], abs=1e-6)
    assert exposures["mean_energy"].tolist() == [402.1, 402.3]
    assert exposures["signal"].tolist() == [1e-9, 2e-9]


def test_what_is_not_known_is_refused(path):
    with Truth(path) as truth:
        with pytest.raises(ValueError, match=r"The truth file knows 1800000000\.000"):
            truth.energy(1.8e9 - 1)
        with pytest.raises(ValueError, match="every stop to be after its start"):
            truth.mean_energy(1.8e9 + 1, 1.8e9 + 1)
        with pytest.raises(ValueError, match="no detector KEI9; it knows KEI1"):
            truth.exposures("KEI9")


def test_growing_file_can_be_read(tmp_path):
    writer = TruthWriter(tmp_path / "t.h5", ("KEI1",))
    time = np.linspace(1.8e9, 1.8e9 + 1, 11)
    writer.add_trajectory(time, time - 1.8e9, time, time)
    writer.flush()
    with Truth(tmp_path / "t.h5") as truth:
        assert float(truth.energy(1.8e9 + 0.55)) == pytest.approx(0.55, abs=1e-6)
    writer.close()
