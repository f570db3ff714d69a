"""When rows are missing, and when the axis flew at another velocity than was planned."""

import numpy as np
import pytest

from glidepath.flyers import FlightError, Triggering, Triggers, TriggerSource
from glidepath.flyers.motion.flown_velocity import FlownVelocity
from glidepath.flyers.sampling.row_count import RowCount
from glidepath.flyers.sampling.row_velocity import add_rows, check_velocity
from glidepath.trajectory import Leg, Region


@pytest.mark.parametrize(
    ("count", "failed", "sentence"),
    [
        (RowCount(59, 59), False, ""),
        (RowCount(59, 58, spare=1), False, ""),
        (RowCount(59, 57), False, "57 of 59 rows were recorded"),
        (RowCount(59, 30), True, "30 of 59 rows were recorded"),
        (RowCount(1, 0, spare=1), True, "0 of 1 rows were recorded"),
        # Also under 20 rows.
        (RowCount(10, 9), True, "9 of 10 rows were recorded"),
        (RowCount(5000, 2502), True, "2502 of 5000 rows were recorded"),
        (
            RowCount(40, 40, with_frames={"camera": 12, "quad": 40}),
            True,
            "camera has frames in 12 of 40 rows",
        ),
        (
            RowCount(100, 98, with_frames={"camera": 97}),
            False,
            "98 of 100 rows were recorded; camera has frames in 97 of 100 rows",
        ),
    ],
)
def test_missing_rows_are_said_with_both_numbers_and_many_are_a_failure(count, failed, sentence):
    assert (count.failed, count.sentence()) == (failed, sentence)


def rows_at(velocity, number=1, begin=400.0, count=20, step=0.1):
    times = 1e9 + step * np.arange(count)
    energy = begin + velocity * (times - times[0])
    half = 0.5 * abs(velocity) * step
    return {
        "sample_time": times,
        "energy": energy,
        "energy_lower": energy - half,
        "energy_upper": energy + half,
        "region_number": np.full(count, number, np.uint16),
    }


@pytest.mark.parametrize("sign", [1, -1])
def test_a_flight_at_another_velocity_than_planned_is_a_failure_that_says_both(sign):
    planned = Leg((Region(400.0, 400.0 + sign * 0.2, 0.02),))
    right, wrong = FlownVelocity(planned), FlownVelocity(planned)
    add_rows(right, "energy", rows_at(sign * 0.021))
    add_rows(wrong, "energy", rows_at(sign * 0.1))
    check_velocity(right, "energy")
    with pytest.raises(FlightError, match=r"energy was flown at 0\.1 .* but 0\.02 was planned"):
        check_velocity(wrong, "energy")


def test_neither_a_corner_nor_a_coarse_readback_is_taken_for_another_velocity():
    # A third of the region is flown slowly, where two regions join.
    corner = FlownVelocity(Leg((Region(400.0, 404.0, 2.0),)))
    add_rows(corner, "energy", rows_at(0.4, count=6))
    fast = rows_at(2.0, begin=400.3, count=14)
    fast["sample_time"] += 0.6
    add_rows(corner, "energy", fast)
    check_velocity(corner, "energy")
    # The readback moves in steps of three rows: from row to row it stands, or is fast.
    rows = rows_at(2.0)
    rows["energy"] = 400.0 + np.floor((rows["energy"] - 400.0) / 0.6 + 1e-9) * 0.6
    coarse = FlownVelocity(Leg((Region(400.0, 404.0, 2.0),)))
    add_rows(coarse, "energy", rows)
    check_velocity(coarse, "energy")


def test_rows_of_a_readback_that_was_silent_say_nothing_of_the_velocity():
    velocity = FlownVelocity(Leg((Region(400.0, 404.0, 2.0),)))
    held = rows_at(0.0)
    add_rows(velocity, "energy", held)
    add_rows(
        velocity,
        "energy",
        {**rows_at(2.0, begin=404.0, count=3), "sample_time": held["sample_time"][:3] + 2},
    )
    check_velocity(velocity, "energy")


def test_rows_of_which_nothing_is_known_say_nothing_of_the_velocity():
    leg = Leg((Region(400.0, 404.0, 2.0),))
    unknown = rows_at(7.0)
    unknown["energy"][:] = np.nan
    velocity = FlownVelocity(leg)
    check_velocity(velocity, "energy")
    add_rows(velocity, "energy", unknown)
    check_velocity(velocity, "energy")


def test_a_scan_that_fails_before_its_detectors_are_armed_has_a_verdict_all_the_same():
    class Follower:
        name = "camera"

    class Box(TriggerSource):
        name = "box"
        plan = arm = captured = clock = disarm = restore = None

    triggering = Triggering(Box(), [Follower()], Triggers(Box(), step=0.05))
    assert triggering.accounts.with_frames == {}
    assert triggering.sentences() == []
