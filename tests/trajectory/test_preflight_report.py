"""The pre-flight report says what will happen and objects, in sentences, to what cannot."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.trajectory import Envelope, PreflightError, Region, preflight

ENVELOPE = Envelope(
    low=200.0, high=1000.0, max_velocity=5.0, unit="eV", run_up=0.5, run_up_time=1.0
)


def objections(region: Region, envelope: Envelope = ENVELOPE, period: float = 0.1):
    found = preflight("energy", region, period, envelope).objections
    for sentence in found:
        assert sentence.endswith(".")
        assert sentence[0].isupper() or sentence.startswith("energy ")
        assert "\n" not in sentence
        assert not re.search(r"\bnan\b|\binf\b|None", sentence)
    return found


def test_a_flight_that_can_be_flown_has_no_objections_and_the_right_numbers():
    report = preflight("energy", Region(370, 470, 2.5), 0.1, ENVELOPE)
    assert report.passed
    report.check()
    assert (report.rows, report.duration, report.total_duration) == (400, 40.0, 42.0)
    assert report.smear == pytest.approx(0.25)
    assert report.run_up == 0.5
    text = dict(report.lines())
    assert text["Range"] == "energy 370 to 470 eV"
    assert text["Duration"] == "40.0 s, 42.0 s with run-up and run-down"
    assert "Objection" not in text
    assert "Undulator mismatch" not in text


def test_the_report_goes_into_a_start_document():
    report = preflight("energy", Region(370, 470, 9), 0.1, replace(ENVELOPE, mismatch=0.2))
    document = json.loads(json.dumps(report.to_document()))
    assert document["objections"] == list(report.objections)
    assert document["predicted_mismatch"] == 0.2
    assert ("Undulator mismatch", "up to 0.2 eV") in report.lines()
    assert report.lines()[-1] == ("Objection", report.objections[0])


def test_the_first_objection_is_raised():
    report = preflight("energy", Region(100, 2000, 9), 0.1, ENVELOPE)
    assert not report.passed
    assert len(report.objections) == 3
    with pytest.raises(PreflightError) as caught:
        report.check()
    assert str(caught.value) == report.objections[0]


@pytest.mark.parametrize(
    ("region", "envelope", "parts"),
    [
        (Region(100, 470, 1), ENVELOPE, ["cannot fly to 100 eV", "200 to 1000 eV", "choose"]),
        (Region(370, 1001, 1), ENVELOPE, ["cannot fly to 1001 eV", "200 to 1000 eV"]),
        (Region(200.2, 470, 1), ENVELOPE, ["0.5 eV of run-up beyond 200.2 eV", "keep that"]),
        (Region(470, 200.2, 1), ENVELOPE, ["0.5 eV of run-down beyond 200.2 eV"]),
        (Region(999.8, 470, 1), ENVELOPE, ["0.5 eV of run-up beyond 999.8 eV"]),
        (Region(370, 470, 6), ENVELOPE, ["at 6 eV/s", "highest velocity is 5 eV/s", "lower"]),
        (
            Region(370, 470, 0.01),
            replace(ENVELOPE, min_velocity=0.05),
            ["at 0.01 eV/s", "lowest velocity is 0.05 eV/s", "higher"],
        ),
        (
            Region(100, 470, 1),
            replace(ENVELOPE, high=None),
            ["cannot fly to 100 eV", "its range is above 200 eV"],
        ),
        (
            Region(370, 1470, 1),
            replace(ENVELOPE, low=None),
            ["cannot fly to 1470 eV", "its range is below 1000 eV"],
        ),
        (Region(370, 370.4, 5), ENVELOPE, ["Not one row of 0.1 s", "4 eV/s or slower"]),
    ],
)
def test_each_reason_is_one_sentence_with_what_is_asked_possible_and_to_do(region, envelope, parts):
    (sentence,) = objections(region, envelope)
    for part in parts:
        assert part in sentence


def test_an_axis_without_known_limits_is_not_limited():
    free = Envelope(None, None, None, "mm", 0.1, 0.1)
    assert objections(Region(-1e6, 1e6, 1e5), free) == ()


def test_the_ends_of_the_range_are_inside_it():
    assert objections(Region(200.5, 999.5, 5.0)) == ()


@settings(derandomize=True, database=None, deadline=None, max_examples=100)
@given(st.floats(0.001, 2.0), st.floats(0.01, 5.0), st.floats(0.02, 100.0))
def test_the_advice_for_a_range_that_is_too_short_holds(length, velocity, period):
    free = Envelope(None, None, None, "eV", 0.0, 0.0)
    region = Region(400, 400 + length, velocity)
    report = preflight("energy", region, period, free)
    if report.passed:
        assert report.rows >= 1
        return
    (sentence,) = report.objections
    advised = float(re.search(r"fly at (\S+) eV/s", sentence)[1]) * (1 - 1e-6)
    assert preflight("energy", replace(region, velocity=advised), period, free).passed
