"""A region is a range and a speed; what flies nowhere is refused with a sentence."""

from math import floor, inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.trajectory import Region

numbers = st.floats(-1e4, 1e4).map(lambda x: round(x, 3))


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(numbers, numbers, st.floats(0.001, 100), st.floats(0.001, 10))
def test_duration_direction_and_rows_fit_together(start, stop, velocity, period):
    if start == stop:
        return
    region = Region(start, stop, velocity)
    assert region.length == abs(stop - start)
    assert region.start + region.direction * region.length == pytest.approx(region.stop)
    assert region.duration * velocity == pytest.approx(region.length)
    assert region.rows(period) * period <= region.duration * (1 + 1e-9)
    assert (region.rows(period) + 1) * period >= region.duration * (1 - 1e-9)


def test_whole_periods_are_not_lost_by_rounding():
    assert Region(370, 470, 2.5).rows(0.1) == 400
    assert Region(0, 0.3, 1.0).rows(0.1) == 3
    assert floor(0.3 / 0.1) == 2


def test_numbers_of_numpy_are_numbers_and_become_floats():
    region = Region(np.float32(1), np.int64(2), np.float64(0.5))
    assert (region.start, region.stop, region.velocity) == (1.0, 2.0, 0.5)
    assert all(type(x) is float for x in (region.start, region.stop, region.velocity))
    assert Region(470, 370, 1).direction == -1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("370", 470, 1), "The start of a scan must be a finite number, not '370'"),
        ((370, None, 1), "The stop of a scan must be a finite number, not None"),
        ((370, nan, 1), "The stop of a scan must be a finite number, not nan."),
        ((370, 1e10, 1), "must be a finite number of at most 1,000,000,000, not 10000000000.0."),
        ((370, 10**400, 1), "must be a finite number of at most 1,000,000,000, not 1000000"),
        ((-inf, 470, 1), "The start of a scan must be a finite number"),
        ((370, 470, 0), "A velocity of 0 flies nowhere; give it"),
        ((370, 470, -1), "A velocity of -1 flies nowhere; give it"),
        ((370, 370, 1), "is empty; start and stop must differ"),
    ],
)
def test_what_cannot_be_flown_is_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ValueError) as caught:
        Region(*arguments)
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_region_cannot_be_changed():
    with pytest.raises(AttributeError):
        Region(370, 470, 1).start = 0.0
