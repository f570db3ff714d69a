"""Rows made while updates arrive are the rows of the complete streams, whatever arrives when."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import CLOCK, EPOCH, MONOTONIC, Outcome, World, fly, make_world

from glidepath.timeline import (
    LATENESS,
    Aligner,
    Channel,
    ChannelKind,
    Quality,
    Span,
    rebin_windows,
)

seeds = st.integers(0, 10**6)
directions = st.sampled_from([1, -1])


def assert_rows_are_right(world: World, flown: Outcome) -> None:
    """What every row must be, however its updates came."""
    rows = flown.columns
    assert np.isfinite(flown.finished_at)
    if not rows:
        return
    time, duration = rows["sample_time"], rows["sample_duration"]
    lower, upper = time - duration / 2, time + duration / 2
    # Never repeated, never shifted: one grid, rising, without overlap.
    assert np.all(lower[1:] >= upper[:-1])
    assert duration == pytest.approx(flown.aligner.period, abs=2e-6)
    number = (lower - lower[0]) / flown.aligner.period
    assert number == pytest.approx(np.round(number), abs=1e-4)
    # All inside.
    low, high = min(world.start, world.stop), max(world.start, world.stop)
    known = np.isfinite(rows["energy"])
    assert np.all(rows["energy_lower"][known] >= low)
    assert np.all(rows["energy_upper"][known] <= high)
    assert np.all((rows["energy"] >= low)[known] & (rows["energy"] <= high)[known])
    assert flown.aligner.rows == len(time)
    # Two numbers for one thing never disagree.
    again = rebin_windows(flown.raw, "energy", lower, upper)
    assert {*again, "region_number", "pass_number"} == rows.keys()
    for name, column in again.items():
        assert rows[name].tobytes() == column.tobytes(), name
    for name, report in flown.aligner.reports.items():
        if not report.disconnections:
            assert report.late == 0, name


@settings(max_examples=20)
@given(
    seeds,
    directions,
    st.sampled_from([0.5, 1.0, 5.0]),
    st.sampled_from([0.0, 0.002]),
    st.sampled_from([0.0, 0.5, 1.5]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.05, 0.22]),
    st.sampled_from([0.05, 0.2, 0.6]),
    st.sampled_from([None, 0.05, 0.3]),
)
def test_live_rows_are_the_rows_of_the_complete_streams(
    seed, direction, velocity, noise, jitter, silent_axis, backwards, delay, drain, period
):
    world = make_world(
        seed,
        direction=direction,
        velocity=velocity,
        noise=noise,
        jitter=jitter,
        posted_on_change=silent_axis,
        backwards=backwards,
    )
    flown = fly(world, seed=seed, delay=delay, drain=drain, period=period)
    assert_rows_are_right(world, flown)
    if not backwards:
        expected = 4.0 / velocity / flown.aligner.period
        assert expected - 3 <= flown.aligner.rows <= expected


@settings(max_examples=20)
@given(seeds, directions, st.booleans())
def test_losses_and_duplicates_after_them_leave_final_rows_true(seed, direction, backwards):
    world = make_world(seed, direction=direction, losses=True, backwards=backwards, jitter=0.3)
    assert_rows_are_right(world, fly(world, seed=seed, delay=0.2))


@settings(max_examples=20)
@given(seeds, directions, st.sampled_from([0.0, 0.002]), st.booleans())
def test_delays_and_batches_change_nothing(seed, direction, noise, backwards):
    world = make_world(seed, direction=direction, noise=noise, jitter=1.2, backwards=backwards)
    at_once = fly(world, seed=seed, drain=0.05)
    late = fly(world, seed=seed + 1, delay=0.24, drain=0.5)
    assert at_once.columns.keys() == late.columns.keys()
    for name, column in at_once.columns.items():
        assert column.tobytes() == late.columns[name].tobytes(), name


@settings(max_examples=20)
@given(seeds, directions, st.sampled_from([0.5, 1.0, 5.0]))
def test_rows_hold_the_energy_that_the_axis_had(seed, direction, velocity):
    world = make_world(seed, direction=direction, velocity=velocity, jitter=0.5)
    rows = fly(world, seed=seed, delay=0.1, period=0.1).columns
    run_up = 0.3 * velocity
    truth = 400 + direction * ((rows["sample_time"] - EPOCH - 3) * velocity - run_up)
    assert rows["energy"] == pytest.approx(truth, abs=1e-5 * velocity)
    half = velocity * rows["sample_duration"] / 2
    assert rows["energy_lower"] == pytest.approx(truth - half, abs=1e-5 * velocity)
    assert rows["energy_upper"] == pytest.approx(truth + half, abs=1e-5 * velocity)


AXIS0 = Channel("energy", ChannelKind.READBACK, "eV")
MESH = Channel("mesh", ChannelKind.DETECTOR, "A", aperture=0.5)
SHUTTER = Channel("shutter", ChannelKind.STATE)


def send(aligner: Aligner, index: int, t, x, *, delay: float = 0.0):
    """Send updates at ``t`` seconds, that arrive after a delay, the last of them now."""
    t, x = np.atleast_1d(np.array(t, float)), np.atleast_1d(np.array(x, float))
    arrivals = EPOCH + CLOCK + t + delay
    now = float(arrivals[-1]) - MONOTONIC
    return aligner.add(index, EPOCH + t, x, arrivals, now)


def rows_at(aligner: Aligner, t: float, **options):
    return aligner.final_rows(EPOCH + CLOCK + t - MONOTONIC, **options)


def now_at(t: float) -> float:
    return EPOCH + CLOCK + t - MONOTONIC


def ramp(begin: float, end: float, rate: float = 10.0):
    t = np.round(np.arange(begin, end + 1e-9, 1 / rate), 6)
    return t, 399.0 + t


def test_a_row_waits_for_every_channel_that_is_not_silent():
    aligner = Aligner([AXIS0, MESH], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, 0.0, 5.0)
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 3.0))
    send(aligner, 1, [0.5, 1.0, 1.5], [5, 5, 5])
    rows = rows_at(aligner, 3.0)
    assert len(rows["energy"]) == 1
    send(aligner, 1, [2.0, 2.5], [5, 5])
    rows = rows_at(aligner, 3.0)
    assert rows["sample_time"] - EPOCH == pytest.approx([1.75, 2.25], abs=1e-5)
    assert rows["mesh_count"].tolist() == [1, 1]
    assert rows_at(aligner, 3.0) == {}


def test_a_silent_channel_holds_rows_back_by_the_lateness_only():
    aligner = Aligner([AXIS0, SHUTTER], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, -3600.0, 1.0)
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 4.0))
    last = EPOCH + 4.0 - LATENESS
    upper = rows_at(aligner, 4.0)["sample_time"][-1] + 0.05
    assert last - 0.11 <= upper <= last
    # What happened less than that ago is still in time.
    send(aligner, 1, 4.0 - LATENESS + 0.01, 0.0, delay=LATENESS - 0.02)
    send(aligner, 0, *ramp(4.1, 6.0))
    rows = rows_at(aligner, 6.0)
    assert rows["shutter"][-1] == 0.0
    assert aligner.reports["shutter"].late == 0


def test_an_exposure_of_a_detector_that_was_silent_is_still_in_time():
    aligner = Aligner([AXIS0, MESH], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, 0.0, 5.0)
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 4.2))
    assert rows_at(aligner, 4.2)["mesh"].tolist() == [5.0] * 4
    # It began 0.5 s before it ended.
    send(aligner, 1, 4.2 - LATENESS + 0.05, 8.0, delay=LATENESS - 0.06)
    assert aligner.reports["mesh"].late == 0
    send(aligner, 0, *ramp(4.3, 6.0))
    rows = rows_at(aligner, 6.0)
    assert rows["mesh"][0] == 8.0
    assert rows["mesh_count"][0] == 1


def test_a_loss_that_is_noticed_late_leaves_final_rows_true():
    aligner = Aligner([AXIS0, SHUTTER], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, -3600.0, 1.0)
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 4.0))
    rows = rows_at(aligner, 4.0)
    assert np.all(rows["shutter"] == 1.0)
    t, x = aligner.disconnect(1, EPOCH + CLOCK + 2.0)
    assert np.isnan(x[0])
    assert t[0] > rows["sample_time"][-1] + 0.05


def test_a_change_that_arrives_too_late_is_counted():
    aligner = Aligner([AXIS0, SHUTTER], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, -3600.0, 1.0)
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 4.0))
    rows_at(aligner, 4.0)
    send(aligner, 1, 2.0, 0.0, delay=2.0)
    assert aligner.reports["shutter"].late == 1


def test_a_readback_that_speaks_again_within_the_hold_is_waited_for():
    gap = Channel("gap", ChannelKind.READBACK)
    aligner = Aligner([AXIS0, gap], "energy", grace=0.3)
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, 0.0, 30.0)
    aligner.arm(Span(400, 404))
    send(aligner, 1, 2.0, 30.0)
    send(aligner, 0, *ramp(0.1, 3.4))
    # Silent for longer than the grace, yet its next update may be near enough for a line.
    assert rows_at(aligner, 3.4)["sample_time"][-1] < EPOCH + 2.0
    send(aligner, 1, 2.95, 40.0, delay=0.45)
    rows = rows_at(aligner, 3.4)
    line = 30 + (rows["sample_time"] - EPOCH - 2) * 10 / 0.95
    assert rows["gap"][1:] == pytest.approx(line[1:], abs=1e-4)
    assert aligner.reports["gap"].late == 0


def test_a_frozen_channel_does_not_stop_the_rows():
    world = make_world(5)
    frozen = world.streams[1]
    frozen.timestamps, frozen.values = frozen.timestamps[:3], frozen.values[:3]
    flown = fly(world)
    assert_rows_are_right(world, flown)
    assert np.all(flown.columns["quality"] & Quality.HELD)
    assert flown.finished_at <= world.end


def test_a_lost_channel_is_unknown_until_it_is_back_even_if_it_sends_nothing_new():
    aligner = Aligner([AXIS0, SHUTTER], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, [-3600.0, 0.5], [0.0, 1.0])
    aligner.arm(Span(400, 410))
    send(aligner, 0, *ramp(0.1, 4.0))
    aligner.disconnect(1, EPOCH + CLOCK + 4.0)
    send(aligner, 0, *ramp(4.1, 6.0))
    lost = rows_at(aligner, 6.0)
    # The server sends the value of 0.5 s again.
    t, x = aligner.add(
        1, np.array([EPOCH + 0.5]), np.array([1.0]), np.array([EPOCH + CLOCK + 6.0]), 1e7 + 6
    )
    assert x.tolist() == [1.0]
    assert t[0] == pytest.approx(EPOCH + 6.0, abs=0.01)
    send(aligner, 0, *ramp(6.1, 9.0))
    back = rows_at(aligner, 9.0)
    shutter = np.append(lost["shutter"], back["shutter"])
    time = np.append(lost["sample_time"], back["sample_time"]) - EPOCH
    assert np.all(shutter[time < 3.9] == 1.0)
    assert np.all(np.isnan(shutter[(time > 4.1) & (time < 5.9)]))
    assert np.all(shutter[time > 6.1] == 1.0)
    assert aligner.reports["shutter"].disconnections == 1


def test_a_lost_axis_gives_rows_without_energy_and_then_goes_on():
    world = make_world(3, span=8.0)
    world.streams[0].lost.append((EPOCH + 6.0, EPOCH + 7.0))
    flown = fly(world)
    assert_rows_are_right(world, flown)
    unknown = np.isnan(flown.columns["energy"])
    assert 3 <= unknown.sum() <= 7
    assert np.all(flown.columns["quality"][unknown] & Quality.NO_DATA)


def test_a_value_of_a_record_never_processed_is_a_value_of_any_age():
    aligner = Aligner([AXIS0, SHUTTER], "energy")
    send(aligner, 0, 0.0, 399.0)
    epics_epoch = 631152000.0 - EPOCH
    t, _ = send(aligner, 1, epics_epoch, 1.0)
    assert t[0] == 631152000.0
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 4.0))
    # The server's clock is far behind ours; its updates count all the same.
    t, _ = send(aligner, 1, 3.6, 0.0)
    assert len(t) == 1
    send(aligner, 0, *ramp(4.1, 6.0))
    rows = rows_at(aligner, 6.0)
    assert rows["shutter"][0] == 1.0
    assert rows["shutter"][-1] == 0.0
    assert not np.any(rows["quality"] & Quality.NO_DATA)


def test_a_server_whose_clock_went_back_does_not_stop_the_rows():
    world = make_world(8)
    mesh = world.streams[2]
    mesh.timestamps[mesh.timestamps > EPOCH + 4.0] -= 100.0
    flown = fly(world)
    assert_rows_are_right(world, flown)
    assert flown.aligner.reports["mesh"].out_of_order > 10
    assert flown.columns["quality"][-1] & Quality.HELD


def test_rows_begin_where_the_exposures_of_the_slowest_detector_do():
    world = make_world(2)
    apertures = [s.channel.aperture for s in world.streams]
    slowest = world.streams[int(np.argmax(apertures))]
    flown = fly(world)
    period = flown.aligner.period
    assert period == slowest.channel.aperture
    begins = slowest.timestamps - slowest.channel.latency - period
    lower = flown.columns["sample_time"][0] - period / 2
    phase = (begins[(begins > EPOCH + 3)] - lower) / period
    assert min(abs(phase - np.round(phase))) < 1e-4


def test_without_detectors_rows_begin_at_the_start():
    flown = fly(make_world(4, with_detectors=False))
    assert flown.aligner.period == 0.1
    assert flown.columns["energy_lower"][0] == pytest.approx(400.0, abs=1e-4)
    assert len(flown.columns["energy"]) in (39, 40)


def test_updates_of_the_way_to_the_run_up_are_no_flight():
    aligner = Aligner([AXIS0], "energy")
    send(aligner, 0, 0.0, 406.0)
    aligner.arm(Span(400, 404))
    # They arrive after the axis was said to stand.
    t = np.arange(0.1, 2.0, 0.1)
    send(aligner, 0, t, np.maximum(406 - 6 * t, 398.0))
    assert rows_at(aligner, 2.0) == {}
    assert not aligner.passed
    send(aligner, 0, 2.0 + t, 398 + 4 * t)
    rows = rows_at(aligner, 4.0)
    assert rows["sample_time"][0] > EPOCH + 2.5
    assert np.all(np.diff(rows["energy"]) > 0)
    assert aligner.passed


def test_an_axis_that_stands_inside_its_range_flies_from_there():
    aligner = Aligner([AXIS0], "energy")
    send(aligner, 0, -3600.0, 400.2)
    aligner.arm(Span(400, 404))
    t = np.arange(0.0, 5.0, 0.1)
    send(aligner, 0, t, 400.2 + t)
    rows = rows_at(aligner, 5.0)
    # Its first update says where it stands, the second that it moves.
    assert rows["sample_time"][0] - EPOCH == pytest.approx(0.15, abs=0.01)
    assert len(rows["energy"]) in (36, 37)


def test_several_flights_with_one_aligner_share_no_row():
    one, two = make_world(6), make_world(6)
    aligner = Aligner([s.channel for s in one.streams], "energy")
    shift = one.end - EPOCH + 1.0
    numbers = []
    times = []
    for world, later in ((one, 0.0), (two, shift)):
        n = [0] * len(world.streams)
        armed = False
        for local in np.arange(EPOCH, world.end, 0.1):
            for index, stream in enumerate(world.streams):
                skip = 1 if later else 0
                stop = int(np.searchsorted(stream.timestamps, local))
                part = slice(max(n[index], skip), stop)
                n[index] = stop
                t = stream.timestamps[part] + later
                if len(t):
                    aligner.add(index, t, stream.values[part], t, local + later)
            if not armed and local >= world.arm_at:
                aligner.arm(Span(one.start, one.stop))
                armed = True
            rows = aligner.final_rows(local + later)
            if rows:
                times.append(rows["sample_time"])
        numbers.append(aligner.rows)
    assert 0 < numbers[0] == numbers[1] - numbers[0]
    assert np.all(np.diff(np.concatenate(times)) > 0)


def test_a_flight_that_is_cut_ends_at_the_newest_update_of_the_axis():
    aligner = Aligner([AXIS0, MESH], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, 0.0, 5.0)
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 3.0))
    send(aligner, 1, [0.5, 1.0, 1.5, 2.0, 2.5], [5.0] * 5)
    aligner.end_early()
    assert aligner.passed
    send(aligner, 0, *ramp(3.1, 3.5))
    rows = rows_at(aligner, 3.5, finish=True)
    assert rows["sample_time"] - EPOCH == pytest.approx([1.25, 1.75, 2.25, 2.75], abs=1e-5)
    assert rows["quality"][-1] & Quality.HELD
    assert rows["quality"][:-1].tolist() == [0, 0, 0]


def test_rows_that_end_before_a_readback_did_are_extrapolated():
    gap = Channel("gap", ChannelKind.READBACK)
    aligner = Aligner([AXIS0, gap], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, 0.0, 30.0)
    aligner.arm(Span(400, 404))
    send(aligner, 0, *ramp(0.1, 5.2))
    send(aligner, 1, *ramp(0.1, 4.5))
    rows = rows_at(aligner, 5.2, finish=True)
    guessed = (rows["quality"] & Quality.EXTRAPOLATED) > 0
    assert np.array_equal(guessed, rows["sample_time"] + 0.05 > EPOCH + 4.5)
    assert 0 < guessed.sum() < len(guessed)


def test_the_clock_offset_is_the_smallest_arrival_minus_timestamp():
    flown = fly(make_world(7), delay=0.2)
    for name, report in flown.aligner.reports.items():
        if report.updates > 10:
            assert CLOCK <= report.clock_offset <= CLOCK + 0.45, name
    alone = Aligner([AXIS0], "energy")
    send(alone, 0, -1e6, 399.0)
    assert np.isnan(alone.reports["energy"].clock_offset)


def test_memory_stays_flat_while_standing_flying_and_after():
    aligner = Aligner([AXIS0, MESH, SHUTTER], "energy")
    send(aligner, 0, 0.0, 399.0)
    send(aligner, 1, 0.0, 5.0)
    send(aligner, 2, 0.0, 1.0)

    def lengths(begin, end, position, rate):
        largest = 0
        for second in range(begin, end):
            t = second + np.arange(1, 101) / 100
            if rate:
                send(aligner, 0, t, position + rate * (t - begin))
            send(aligner, 1, t[49::50], [5.0, 5.0])
            rows_at(aligner, second + 1.0)
            largest = max(largest, *(len(track.series) for track in aligner._tracks))
        return largest

    assert lengths(0, 300, 399.0, 1e-6) < 2500
    aligner.arm(Span(400, 404))
    assert lengths(300, 600, 399.0, 0.0) < 2500  # a silent axis: the beam is away
    assert lengths(600, 1500, 399.5, 0.004) < 2500
    assert aligner.rows >= 380
    assert lengths(1500, 1800, 403.1, 0.1) < 2500
    assert aligner.passed
    assert all(len(t.series._times) <= 8192 for t in aligner._tracks)


def test_an_axis_without_updates_gives_no_rows_and_no_position():
    aligner = Aligner([AXIS0, MESH], "energy")
    assert np.isnan(aligner.position)
    aligner.arm(Span(400, 404))
    assert rows_at(aligner, 100.0) == {}
    assert not aligner.finished(1e9)
    send(aligner, 0, 0.0, 399.0)
    assert aligner.position == 399.0
    aligner.disconnect(0, EPOCH + CLOCK + 1)
    assert np.isnan(aligner.position)


def bent(turns):
    """Return the axis at 10 Hz through (time, position) points, as timestamps and values."""
    t = np.arange(0.1, turns[-1][0], 0.1)
    return t, np.interp(t, *zip(*turns, strict=True))


def test_spans_that_join_share_no_row_and_lose_none():
    aligner = Aligner([AXIS0], "energy", period=0.2)
    send(aligner, 0, 0.0, 399.0)
    aligner.arm(Span(400, 404), Span(404, 405, 0.5, region=2), Span(405, 409, region=3))
    # 2 eV/s, then 0.25 eV/s, then 2 eV/s again.
    send(aligner, 0, *bent([(0, 399), (2.5, 404), (6.5, 405), (9.0, 410)]))
    rows = rows_at(aligner, 9.0)
    assert aligner.finished(now_at(9.0))
    assert rows["region_number"].tolist() == sorted(rows["region_number"])
    assert [np.sum(rows["region_number"] == n) for n in (1, 2, 3)] == [9, 7, 9]
    begins = rows["sample_time"] - rows["sample_duration"] / 2
    ends = rows["sample_time"] + rows["sample_duration"] / 2
    assert np.all(begins[1:] >= ends[:-1] - 1e-6)
    # What is left out at a join is less than one row.
    assert np.all(begins[1:] - ends[:-1] < 0.5 + 1e-5)
    for region, low, high, length in ((1, 400, 404, 0.2), (2, 404, 405, 0.5), (3, 405, 409, 0.2)):
        mine = rows["region_number"] == region
        assert np.all(rows["energy_lower"][mine] >= low)
        assert np.all(rows["energy_upper"][mine] <= high)
        assert rows["sample_duration"][mine] == pytest.approx(length, abs=1e-5)
    assert aligner.reached == rows["energy_upper"][-1]


def test_the_rows_do_not_depend_on_how_the_updates_were_cut_into_batches():
    t, x = bent([(0, 399), (2.5, 404), (6.5, 405), (9.0, 410)])
    spans = Span(400, 404), Span(404, 405, 0.5, region=2), Span(405, 409, region=3)
    tables = []
    for size in (1, 7, len(t)):
        aligner = Aligner([AXIS0, MESH], "energy", 0.2)
        send(aligner, 0, 0.0, 399.0)
        aligner.arm(*spans)
        parts = []
        for k in range(0, len(t), size):
            send(aligner, 0, t[k : k + size], x[k : k + size])
            send(aligner, 1, t[k : k + size] + 0.03, x[k : k + size])
            parts.append(rows_at(aligner, t[min(k + size, len(t)) - 1] + 0.03))
        parts = [part for part in parts if part]
        tables.append({key: np.concatenate([part[key] for part in parts]) for key in parts[0]})
    for other in tables[1:]:
        for key, column in tables[0].items():
            assert np.array_equal(column, other[key], equal_nan=True), key


def test_a_cut_ends_in_the_span_that_is_flown_and_says_how_far_the_rows_reach():
    aligner = Aligner([AXIS0], "energy", period=0.2)
    send(aligner, 0, 0.0, 399.0)
    aligner.arm(Span(400, 402), Span(402, 404, region=2))
    assert aligner.reached is None
    send(aligner, 0, *bent([(0, 399), (4.05, 403.05)]))
    aligner.end_early()
    assert aligner.passed
    send(aligner, 0, np.array([4.1, 4.2]), np.array([403.1, 403.1]))
    rows = rows_at(aligner, 4.3)
    assert aligner.finished(now_at(4.3))
    assert set(rows["region_number"]) == {1, 2}
    assert 402.8 < aligner.reached == rows["energy_upper"][-1] <= 403.0
    # The next flight goes on from there, downwards or upwards.
    begin = aligner.reached
    send(aligner, 0, *(c[43:] for c in bent([(0, 0), (4.3, 402.0), (6.5, 404.2)])))
    aligner.arm(Span(begin, 404, region=2))
    t, x = bent([(0, 0), (6.5, 402.0), (9.0, 404.5)])
    send(aligner, 0, t[65:], x[65:])
    again = rows_at(aligner, 9.0)
    assert np.all(again["energy_lower"] >= begin)
    assert np.all(again["sample_time"] > rows["sample_time"][-1])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"axis": "mesh"}, "the readbacks are: energy"),
        ({"axis": "nothing"}, "the readbacks are: energy"),
        ({"period": 0.0}, "period above zero"),
        ({"period": -0.1}, "period above zero"),
    ],
)
def test_what_makes_no_rows_is_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Aligner([AXIS0, MESH], **{"axis": "energy", **arguments})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((400.0, 400.0), "two different finite numbers"),
        ((nan, 404.0), "two different finite numbers"),
        ((400.0, inf), "two different finite numbers"),
        ((400.0, 404.0, 0.0), "period above zero"),
    ],
)
def test_what_is_no_span_is_refused_with_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Span(*arguments)
