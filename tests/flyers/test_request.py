"""What is asked of a trigger box, checked where it is asked; and who serves which box."""

from types import SimpleNamespace

import pytest

from glidepath.flyers import InternalClock, Triggers, make_trigger_source, pulses_of, source_for
from glidepath.trajectory import PreflightError

BOX = SimpleNamespace(name="box")


def test_it_shows_what_was_asked():
    assert repr(Triggers(BOX, step=0.05)) == "Triggers(box, step=0.05)"
    assert repr(Triggers(BOX, period=1, exposure=0.5)) == "Triggers(box, period=1, exposure=0.5)"


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({}, r"^Triggers of box come either .* but neither was given; give one of them\.$"),
        ({"exposure": 0.1}, "but neither was given"),
        ({"step": 0.1, "period": 0.1}, "but both were given"),
        ({"step": -0.1}, r"^Triggers of box cannot have the step -0\.1; give a number above zero"),
        ({"step": 0}, "the step 0;"),
        ({"period": float("nan")}, "the period nan;"),
        ({"period": float("inf")}, "the period inf;"),
        ({"step": "0.1"}, "the step '0.1';"),
        ({"step": True}, "the step True;"),
        ({"step": [0.1, 0.2]}, r"the step \[0\.1, 0\.2\];"),
        ({"step": 0.1, "exposure": 0.0}, "the exposure 0.0;"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(asked, sentence):
    with pytest.raises(PreflightError, match=sentence) as error:
        Triggers(BOX, **asked)
    assert str(error.value).count(". ") == 0


class Box:
    """A trigger box that nobody here has heard of."""

    name = "other_box"


def test_a_box_of_another_package_is_found_by_its_class_and_those_derived_from_it():
    with pytest.raises(PreflightError, match="'other_box' makes no triggers: a trigger box does"):
        source_for(Box(), SimpleNamespace(name="axis"))
    make_trigger_source.register(Box, lambda box, axis: InternalClock(f"{box.name}_{axis.name}"))
    derived = type("Derived", (Box,), {})
    assert source_for(derived(), SimpleNamespace(name="axis")).name == "other_box_axis"


def test_what_sends_no_pulses_is_one_sentence():
    with pytest.raises(ValueError, match=r"^box sends no pulses; name a trigger box that has"):
        pulses_of(BOX)
