"""A counter that jumps in flight is found, and nothing else is taken for one: without a box."""

import numpy as np
import pytest

from glidepath.flyers import TriggerError
from glidepath.flyers.triggers.jumps import JumpWatch
from glidepath.trajectory import Leg, Region

TIMES = np.arange(100) * 0.01
PLACES = 400 + TIMES


def watch():
    return JumpWatch("box", Leg((Region(400.0, 401.0, 1.0),)), 0.001)


def check_in_blocks(jumps, places):
    """Hand over the triggers as they come: in two blocks."""
    for block in (slice(0, 50), slice(50, None)):
        jumps.check(TIMES[block], places[block])


@pytest.mark.parametrize("at", [1, 49, 50, 51, 99])
@pytest.mark.parametrize("jump", [-400.0, 0.05, 1e6])
def test_a_jump_is_one_sentence_wherever_it_lies(at, jump):
    places = PLACES + jump * (np.arange(100) >= at)
    with pytest.raises(TriggerError, match=r"^box counted from 40\d\.\d+ to .* 0\.01 s, "):
        check_in_blocks(watch(), places)


def test_missing_triggers_jitter_and_what_was_not_latched_are_no_jumps():
    rng = np.random.default_rng(1)
    places = PLACES + rng.uniform(-3e-4, 3e-4, 100)
    places[30] = np.nan
    kept = np.r_[0:40, 70:100]
    jumps = watch()
    for one in kept:
        jumps.check(TIMES[one : one + 1], places[one : one + 1])
    jumps.check(np.empty(0), np.empty(0))
