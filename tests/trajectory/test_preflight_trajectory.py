"""The pre-flight over regions, passes and axes: what will happen, and what speaks against it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from glidepath.physics import UE48
from glidepath.trajectory import (
    Companion,
    Envelope,
    KRegion,
    Motion,
    Region,
    Space,
    Timing,
    Trajectory,
    curve,
    preflight,
    xas_regions,
)

N2 = [(370, 395, 2.0), (395, 405, 0.2), (405, 470, 1.0)]
ENVELOPE = Envelope(
    low=200.0, high=1000.0, max_velocity=5.0, unit="eV", run_up=0.5, run_up_time=1.0
)
GAP = Companion("gap", "mm", 15.0, 200.0, max_velocity=1.0, law=UE48.gap)


def flown(leg, acceleration=10.0, companions=(), **more):
    """Return the envelope of a leg that is flown with run-up and companions."""
    motion = Motion.along(leg, acceleration)
    return Envelope(
        200.0,
        1000.0,
        10.0,
        "eV",
        run_up=abs(leg.start - motion.start),
        run_up_time=motion.passages[0].begin,
        motion=motion,
        companions=tuple(motion.needs(companion) for companion in companions),
        **more,
    )


def test_a_trajectory_is_reported_region_by_region():
    report = preflight("energy", Trajectory.of(N2, passes=2), 0.1, ENVELOPE)
    assert report.passed
    assert (report.rows, report.duration) == (2550, 255.0)
    assert report.total_duration == pytest.approx(255.0 + 6 * 2)
    assert (report.start, report.stop, report.low, report.high) == (370, 470, 370, 470)
    assert [(r.number, r.rows, r.duration) for r in report.regions] == [
        (1, 125, 12.5),
        (2, 500, 50.0),
        (3, 650, 65.0),
    ]
    text = dict(report.lines())
    assert text["Range"] == "energy 370 to 470 eV in 3 regions, 2 passes"
    assert text["Region 2"] == "395 to 405 eV at 0.2 eV/s: 500 rows of 0.1 s, 50.0 s"
    assert text["Velocity"] == "0.2 to 2 eV/s"
    assert text["Duration"] == "255.0 s, 267.0 s with the run-ups and run-downs of 6 flights"
    assert text["Rows"] == "2550 of 0.1 s, each over up to 0.2 eV"


def test_one_movement_through_all_regions_says_what_is_slower_than_asked():
    trajectory = Trajectory.of(N2)
    (leg,) = trajectory.legs(joined=True)
    report = preflight("energy", trajectory, 0.1, flown(leg), joined=True)
    assert report.flights == 1
    assert report.duration == pytest.approx(127.613, abs=1e-3)
    assert report.notes == (
        "Where the velocity changes, 0.198 eV of region 1 and 0.048 eV of region 3 are flown "
        "slower than asked.",
    )
    assert sum(r.slower for r in report.regions) == pytest.approx(0.246)


def test_regions_in_k_keep_their_number_whether_flown_straight_or_not():
    trajectory = Trajectory.of(xas_regions(7112.0, pre_step=2.0))
    for joined in (True, False):
        envelopes = [
            replace(flown(leg, 50.0), high=9000.0) for leg in trajectory.legs(joined=joined)
        ]
        report = preflight("energy", trajectory, 9.0, envelopes, joined=joined)
        assert report.objections == ()
        assert [r.number for r in report.regions] == [1, 2, 3]
        assert report.regions[2].rows == 167
        assert "k 3.62 to 12 1/Å in steps of 0.05 1/Å" in report.regions[2].what
        assert report.rows == trajectory.rows(9.0)
    assert report.flights == 2 + len(trajectory.regions[2].straight())


def test_the_report_is_a_document_of_plain_things():
    trajectory = Trajectory.of([*N2, KRegion(400.0, 4.2845, 6, 0.05, 0.1)])
    legs = list(trajectory.legs())
    report = preflight(
        "energy",
        trajectory,
        0.1,
        [flown(leg, companions=[GAP], mismatch=0.3, mismatch_bound=0.2) for leg in legs],
        space=Space(1, 2, "/data"),
        clocks={"mesh": 0.1},
        detectors=[Timing("camera", 0.05, 0.01)],
    )
    document = json.loads(json.dumps(report.to_document()))
    assert document["rows"] == report.rows
    assert document["regions"][3]["what"] == report.regions[3].what
    assert document["axes"][1]["name"] == "gap"
    assert document["space"]["free"] == 2
    assert "stages" not in document
    assert document["notes"][0].startswith("The undulator will be up to 0.3 eV off")
    assert document["objections"] == list(report.objections)


def test_the_ways_to_the_run_ups_are_counted_where_their_velocity_is_known():
    trajectory = Trajectory.of([(400, 410, 2.0)], passes=2)
    legs = list(trajectory.legs())
    known = {"approach_velocity": 5.0, "approach_acceleration": 10.0, "overhead": 0.7}
    envelopes = [flown(leg, **known) for leg in legs]
    one = envelopes[0].motion.duration
    report = preflight("energy", trajectory, 0.1, envelopes, position=400.0)
    there = Motion.between(400.0, 399.8, 5.0, 10.0).duration
    back = Motion.between(410.2, 399.8, 5.0, 10.0).duration
    assert report.total_duration == pytest.approx(2 * (one + 0.7) + there + back)
    assert "and the ways between" in dict(report.lines())["Duration"]
    # The axis has to wait for a companion that is slower.
    slow = replace(GAP, max_velocity=0.05)
    envelopes = [flown(leg, companions=[slow], **known) for leg in legs]
    report = preflight("energy", trajectory, 0.1, envelopes, position=400.0)
    way = abs(UE48.gap(410.2) - UE48.gap(399.8)) / 0.05
    assert report.stages[1].waiting == pytest.approx(0.7 + way)
    # The curve goes through all of it.
    time, position = curve(report.stages)
    assert np.all(np.diff(time) >= 0)
    assert time[-1] == pytest.approx(report.total_duration)
    assert (position.min(), position.max()) == pytest.approx((399.8, 410.2))
    assert np.max(np.abs(np.diff(position))) < 1.0


def objections(asked, envelope, **options):
    found = preflight("energy", asked, 0.1, envelope, **options).objections
    for sentence in found:
        assert sentence.endswith(".")
        assert "\n" not in sentence
        assert not re.search(r"\bnan\b|\binf\b|None", sentence)
    return found


REGION = Region(400.0, 420.0, 2.0)
MOTION = Motion.along(next(iter(Trajectory.of(REGION).legs())), 10.0)


def with_gap(**changes):
    return replace(ENVELOPE, motion=MOTION, companions=(MOTION.needs(replace(GAP, **changes)),))


@pytest.mark.parametrize(
    ("envelope", "options", "parts"),
    [
        (with_gap(high=34.5), {}, ["gap would go from 34.1", "15 to 34.5 mm", "choose"]),
        (
            with_gap(low=36.0, high=None, advice="choose another harmonic"),
            {},
            ["gap would go from", "above 36 mm; choose another harmonic"],
        ),
        (
            with_gap(max_velocity=0.1),
            {},
            ["gap would move at 0.133 mm/s", "velocity is 0.1 mm/s", "fly at 1.5 eV/s or slower"],
        ),
        (
            with_gap(max_acceleration=0.5),
            {},
            ["gap would change its velocity with 0.6", "acceleration is 0.5 mm/s²; fly slower"],
        ),
        (
            replace(ENVELOPE, motion=MOTION, max_acceleration=8.0),
            {},
            ["energy would change its velocity with 10 eV/s²", "8 eV/s²; fly slower"],
        ),
        (
            ENVELOPE,
            {"space": Space(2_500_000_000, 30_000_000, "/data")},
            ["write about 2.5 GB", "only 30 MB are free in /data", "name another"],
        ),
        (
            ENVELOPE,
            {"clocks": {"mesh": 0.2, "energy": -3.0}},
            ["server of energy is 3.00 s ahead of this machine", "1 s are allowed", "clock_bound"],
        ),
        (
            ENVELOPE,
            {"detectors": [Timing("camera", 0.09, 0.02), Timing("counter", 0.1, 0.0)]},
            ["camera needs 0.11 s", "dead time of 0.02 s", "rows last 0.1 s; choose a longer"],
        ),
        (ENVELOPE, {"moving": "energy"}, ["energy is moving already: wait until it stands"]),
        (ENVELOPE, {"moving": "gap"}, ["gap, which energy moves, is moving already: wait"]),
    ],
)
def test_each_reason_is_one_sentence_with_what_is_asked_possible_and_to_do(
    envelope, options, parts
):
    (sentence,) = objections(REGION, envelope, **options)
    for part in parts:
        assert part in sentence


def test_advice_for_a_companion_that_is_too_slow_holds():
    gap = replace(GAP, max_velocity=0.1)
    region = REGION
    for _ in range(2):
        motion = Motion.along(next(iter(Trajectory.of(region).legs())), 10.0)
        found = objections(
            region, replace(ENVELOPE, motion=motion, companions=(motion.needs(gap),))
        )
        if not found:
            break
        region = replace(region, velocity=float(re.search(r"fly at (\S+) eV/s", found[0])[1]))
    assert region.velocity == 1.5
    assert found == ()


def test_the_shortest_rows_count_for_the_dead_time():
    trajectory = Trajectory.of([(400, 410, 1.0), (410, 412, 0.5, 0.02)])
    (sentence,) = objections(trajectory, ENVELOPE, detectors=[Timing("camera", 0.015, 0.01)])
    assert "rows last 0.02 s" in sentence


def test_an_objection_of_several_flights_is_said_once():
    trajectory = Trajectory.of([(190, 210, 1.0), (190, 210, 1.0)], passes=3)
    assert len(objections(trajectory, ENVELOPE)) == 1


def test_what_is_worth_knowing_does_not_stop_a_scan():
    envelope = replace(ENVELOPE, mismatch=0.4, mismatch_bound=0.3)
    report = preflight("energy", REGION, 0.1, envelope, detectors=[Timing("ring", 1.0)])
    assert report.passed
    assert [note.split(" ")[0] for note in report.notes] == ["The", "ring"]
    assert ("Undulator mismatch", "up to 0.4 eV, rows are marked beyond 0.3 eV") in report.lines()
