"""What the random faults draw: the same for a seed, each kind in each mode that it is meant for."""

import pytest

from glidepath.faults.by_hand import BY_HAND
from glidepath.faults.random_faults import drawn, faults

MANY = list(drawn(scans=3000, seed=7))


def test_a_seed_draws_the_same_faults_at_the_same_moments():
    assert [str(case) for case in drawn(50, 3)] == [str(case) for case in drawn(50, 3)]
    assert [str(case) for case in drawn(50, 3)] != [str(case) for case in drawn(50, 4)]


@pytest.mark.parametrize("fault", BY_HAND, ids=lambda fault: fault.name)
def test_what_people_do_by_hand_is_drawn_in_its_modes_and_in_no_other(fault):
    modes = {case.mode.name for case in MANY if case.fault.name[4:].startswith(fault.name)}
    assert modes == set(fault.modes)


def test_only_axes_whose_encoders_a_box_has_are_triggered():
    triggered = [case for case in MANY if case.mode.name == "triggered"]
    assert triggered
    assert all(case.axis.can_be_triggered for case in triggered)


def test_each_fault_has_a_name_of_its_own():
    names = [fault.name for fault in faults()]
    assert len(set(names)) == len(names)
