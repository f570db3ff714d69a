"""The simulated trajectory controller goes through its points, or says why it does not."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.simulation.motion import Axis, plan_profile

NOW = 1.8e9
MOVE_START, EXECUTING, FLYBACK, DONE = 1, 2, 3, 0
SUCCESS, ABORT = 1, 3


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0.1, 2.0), st.floats(0.02, 1.0)), min_size=2, max_size=12),
    st.sampled_from([1, -1]),
)
def test_a_profile_goes_through_its_points_without_a_jump(elements, direction):
    steps, lengths = (np.array(column) for column in zip(*elements, strict=True))
    positions = 400 + direction * np.concatenate([[0.0], np.cumsum(steps)])
    axis = Axis("x", 400.0)
    plan = plan_profile(NOW, positions, lengths, acceleration=20.0)
    axis.plan(plan)
    at = NOW + plan[0].duration + np.concatenate([[0.0], np.cumsum(lengths)])
    np.testing.assert_allclose(axis.positions(at), positions, atol=1e-4)
    for segment, following in pairwise(plan):
        position, velocity = segment.after(segment.duration)
        assert position == pytest.approx(following.position, abs=1e-6)
        assert velocity == pytest.approx(following.velocity, abs=1e-6)
    assert plan[-1].resting
    assert plan[0].velocity == 0
    assert abs(plan[0].acceleration) <= 20.0


def build(client, positions, times, **settings):
    client.put("PM1:NumPoints", len(positions))
    client.put("PM1:TimeMode", "Array")
    client.put("PM1:Acceleration", 20.0)
    client.put("PM1:M3UseAxis", "Yes")
    client.put("PM1:Times", times)
    client.put("PM1:M3Positions", positions)
    for name, value in settings.items():
        client.put(f"PM1:{name}", value)
    client.put("PM1:Build", "Build")
    return client.text("PM1:BuildStatus"), client.message("PM1:BuildMessage")


def test_what_cannot_be_flown_is_not_built(client):
    slow = [401.0, 401.5, 402.0]
    assert build(client, slow, [1.0, 1.0, 1.0]) == ("Success", "")
    assert build(client, slow, [0.0, 1.0, 1.0]) == ("Failure", "Negative or Null Delta Time")
    assert build(client, slow, [0.01, 0.01, 0.01]) == ("Failure", "M3: Velocity Too High")
    assert build(client, [50.0, 60.0, 70.0], [2.0] * 3)[1].startswith("M3: soft limit violation")
    assert build(client, slow, [1.0] * 3, M2UseAxis="Yes")[1] == "M2: 0 positions for 3 points"
    client.put("PM1:M2UseAxis", "No")
    assert build(client, slow, [1.0] * 3, M3UseAxis="No") == ("Failure", "No axis is used")


def test_a_profile_is_flown_and_can_be_aborted(client):
    assert build(client, [401.0, 401.5, 402.0], [0.4, 0.4, 0.4]) == ("Success", "")
    with client.recording("PM1:ExecuteState", "m3.DMOV", "m3.RBV") as seen:
        client.put("PM1:Execute", "Execute", wait=False)
        client.wait_for("PM1:ExecuteStatus", lambda status: status == SUCCESS)
        client.wait_for("PM1:ExecuteState", lambda state: state == DONE)
    states = [update.value for update in seen if update.name == "PM1:ExecuteState"]
    assert states[-4:] == [MOVE_START, EXECUTING, FLYBACK, DONE]
    assert client.get("m3.DMOV") == 1
    # The ramp to rest is added by the controller.
    assert client.get("m3.RBV") == pytest.approx(402.0 + 0.5 * 1.25 * 0.25, abs=1e-3)
    assert client.get("m3.VAL") == client.get("m3.RBV")

    assert build(client, [401.0, 405.0, 409.0], [4.0] * 3) == ("Success", "")
    client.put("PM1:Execute", "Execute", wait=False)
    client.wait_for("PM1:ExecuteState", lambda state: state == EXECUTING)
    client.put("PM1:Abort", "Abort")
    client.wait_for("PM1:ExecuteStatus", lambda status: status == ABORT)
    client.wait_for("m3.DMOV", bool)
    assert client.get("m3.RBV") < 408
