"""A detector's own clock as a source of triggers."""

import numpy as np
import pytest

from glidepath.detectors import Frames
from glidepath.flyers import InternalClock, Triggers
from glidepath.trajectory import Leg, PreflightError, Region

LEG = Leg((Region(400, 402, 2.0),))


def frames(first, number):
    numbers = np.arange(first, first + number)
    return Frames(numbers, 100.0 + 0.1 * numbers, 100.09 + 0.1 * numbers, {})


async def test_a_step_becomes_the_period_in_which_the_axis_makes_it():
    source = InternalClock("camera")
    (plan,) = await source.plan(LEG, Triggers(source, step=0.2, exposure=0.09))
    assert plan.positions == pytest.approx(400 + 0.2 * np.arange(10))
    assert (plan.exposure, plan.shortest_period) == (0.09, pytest.approx(0.1))


async def test_the_leaders_frames_are_the_triggers():
    source = InternalClock("camera", uncertainty=0.002)
    (plan,) = await source.plan(LEG, Triggers(source, period=0.1, exposure=0.09))
    source.observe(frames(7, 3))
    await source.arm(plan)
    source.observe(frames(0, 3))
    source.observe(frames(4, 2))
    got = await source.captured()
    assert got.numbers.tolist() == [0, 1, 2, 4, 5]
    assert got.times == pytest.approx([100.0, 100.1, 100.2, 100.4, 100.5])
    assert np.all(np.isnan(got.positions))
    assert not len((await source.captured()).numbers)
    assert await source.clock() == (0.0, 0.002)
    await source.disarm()
    await source.restore()


@pytest.mark.parametrize(
    ("leg", "asked", "sentence"),
    [
        (LEG, {"period": 0.05}, "cannot expose for 0.09 s each 0.05 s"),
        (Leg((Region(400, 400.1, 2.0),)), {"period": 0.1}, "Not one exposure"),
        (
            Leg((Region(400, 401, 2.0), Region(401, 402, 1.0)), (1, 2)),
            {"step": 0.2},
            "at several velocities",
        ),
    ],
)
async def test_what_a_clock_cannot_do_is_one_sentence(leg, asked, sentence):
    source = InternalClock("camera")
    with pytest.raises(PreflightError, match=sentence):
        await source.plan(leg, Triggers(source, exposure=0.09, **asked))
