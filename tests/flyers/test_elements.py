"""The elements of waveforms, each with its time, whatever the waveforms' lengths."""

import numpy as np
import pytest

from glidepath.flyers.monitors.updates import LOST, Link, batch_of


@pytest.mark.parametrize("counts", [[3, 3, 3], [3, 2, 3], [0, 3, 1], [1, 1, 1], [3]])
def test_the_last_element_has_the_time_of_its_waveform(counts):
    counts = np.array(counts, np.uint32)
    seconds = 1_700_000_000 + np.arange(len(counts), dtype=np.int64)
    nanoseconds = np.full(len(counts), 500_000_000, np.int64)
    arrivals = np.arange(len(counts)) + 0.25
    severities = np.arange(len(counts), dtype=np.uint8)
    values = np.arange(float(counts.sum()))
    batch = batch_of(
        7,
        Link("T:wave", 3, 0.125),
        (seconds, nanoseconds),
        values,
        arrivals,
        severities,
        counts,
        2,
    )
    owner = [k for k, count in enumerate(counts) for _ in range(count)]
    behind = [count - 1 - k for count in counts for k in range(count)]
    expected = seconds[owner] + 0.5 - 0.125 * np.array(behind)
    np.testing.assert_array_equal(batch.timestamps, expected)
    np.testing.assert_array_equal(batch.arrivals, arrivals[owner])
    np.testing.assert_array_equal(batch.severities, severities[owner])
    np.testing.assert_array_equal(batch.values, values)
    assert (batch.index, batch.lost) == (7, 2)


def test_a_mark_of_a_loss_among_waveforms_stays_a_mark():
    batch = batch_of(
        0,
        Link("T:wave", 3, 0.125),
        (np.array([10, 11], np.int64), np.array([0, LOST], np.int64)),
        np.array([1.0, 2.0, 3.0, np.nan]),
        np.array([1.0, 2.0]),
        np.zeros(2, np.uint8),
        np.array([3, 1]),
        0,
    )
    np.testing.assert_array_equal(batch.timestamps, [9.75, 9.875, 10.0, np.nan])
