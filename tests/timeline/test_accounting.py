"""Frames find their triggers whatever is lost, late, double or dropped, or the row says so."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from trigger_worlds import (
    EPOCH,
    Faults,
    assert_nothing_is_wrong_unsaid,
    count,
    intervals,
    make_detector,
)

from glidepath.timeline import FollowingDetector, Quality, TriggerAccounting, find_clock

seeds = st.integers(0, 10**6)
kinds = st.sampled_from(["equal", "ripple", "chirp", "random"])
varied = st.sampled_from(["ripple", "chirp", "random"])
PERIOD = 0.005
NUMBER = 160


def flown(times, *detectors, **options):
    outcome = count(times, list(detectors), **options)
    assert_nothing_is_wrong_unsaid(outcome, list(detectors), times)
    accounts = outcome.accounting.accounts()
    return outcome, *(accounts[d.follower.name] for d in detectors)


def rows_with(outcome, bit):
    return np.flatnonzero(outcome.quality & bit).tolist()


def assert_clean_except(outcome, rows, name="camera"):
    clean = np.ones(len(outcome.quality), bool)
    clean[list(rows)] = False
    assert np.all(outcome.quality[clean] == 0)
    assert np.all(outcome.frames[name][clean] >= 0)


@settings(max_examples=25)
@given(seeds, kinds, st.sampled_from([0.0, 0.02, 0.06]), st.sampled_from([0.0, 5e-5]))
def test_without_faults_every_row_has_its_frame(seed, kind, jitter, drift):
    times = intervals(kind, NUMBER, PERIOD, seed)
    camera = make_detector(
        times, seed=seed, jitter=jitter * PERIOD, drift=drift, offset=0.3, batch=0.07
    )
    outcome, account = flown(times, camera, trigger_batch=0.11, seed=seed)
    assert outcome.frames["camera"].ravel().tolist() == list(range(NUMBER))
    assert account.perfect
    assert (account.triggers, account.frames, account.matched) == (NUMBER,) * 3
    assert account.rate == pytest.approx(1.0, abs=0.05)
    assert outcome.durations["camera"] == pytest.approx(camera.ends - camera.begins, abs=1e-9)


@settings(max_examples=20)
@given(
    seeds,
    kinds,
    st.sampled_from([0.0, 0.03]),
    st.sampled_from([0.0, -5e-5]),
    st.sampled_from([0.001, 0.02, 2.0]),
    st.sampled_from([1, 3]),
    st.data(),
)
def test_whatever_goes_wrong_no_row_is_wrong_without_saying_so(
    seed, kind, jitter, drift, width, n, data
):
    events = st.integers(0, NUMBER * n - 1)
    faults = Faults(
        lost=tuple(data.draw(st.lists(events, max_size=6)))
        + tuple(range(data.draw(st.sampled_from([0, 0, 1, 5])))),
        double=tuple(data.draw(st.lists(events, max_size=3))),
        dropped=tuple(data.draw(st.lists(events, max_size=4))),
        late=dict.fromkeys(data.draw(st.lists(events, max_size=3)), 0.4),
        stamped_late=data.draw(
            st.dictionaries(events, st.sampled_from([0.3, 0.7, 1.0, 1.4, 3.0]), max_size=3)
        ),
        extra=tuple(data.draw(st.lists(st.floats(-4, NUMBER + 4), max_size=3))),
    )
    # A lost first one beside one too many behind the last, just in time, cancel each other.
    assume(kind != "equal" or not any(x < 0 or x > NUMBER - 1 for x in faults.extra))
    times = intervals(kind, NUMBER, PERIOD, seed)
    camera = make_detector(
        times,
        faults,
        seed=seed,
        n=n,
        jitter=jitter * PERIOD / n,
        drift=drift,
        width=width / n if width < 0.01 else width,
        offset=0.4,
        batch=0.05,
    )
    meter = make_detector(times, seed=seed + 1, offset=-0.2, width=0.001, name="meter")
    flown(times, camera, meter, seed=seed, trigger_batch=0.13)


@settings(max_examples=15)
@given(seeds, kinds, st.lists(st.integers(0, NUMBER - 1), min_size=1, max_size=12, unique=True))
def test_lost_triggers_are_located_and_nothing_else_moves(seed, kind, lost):
    times = intervals(kind, NUMBER, PERIOD, seed)
    camera = make_detector(times, Faults(lost=tuple(lost)), seed=seed)
    outcome, account = flown(times, camera, seed=seed)
    assert rows_with(outcome, Quality.LOST_TRIGGER) == sorted(lost)
    assert_clean_except(outcome, lost)
    assert account.lost == len(lost)
    assert account.lost_at == pytest.approx((400 + 0.05 * np.sort(lost)).tolist())


@settings(max_examples=15)
@given(seeds, varied, st.sampled_from([1, 2, 5, 30]), st.sampled_from([0.0, 0.01]))
def test_lost_first_triggers_shift_nothing_though_the_clocks_differ_by_an_unknown_second(
    seed, kind, lost, jitter
):
    times = intervals(kind, 4 * NUMBER, PERIOD, seed)
    camera = make_detector(
        times,
        Faults(lost=tuple(range(lost))),
        seed=seed,
        width=2.0,
        offset=0.6,
        jitter=jitter * PERIOD,
        drift=5e-5,
    )
    outcome, account = flown(times, camera, patience=10.0, seed=seed)
    assert_clean_except(outcome, range(lost))
    assert account.lost == lost
    assert account.ambiguous == 0


@pytest.mark.parametrize("lost", [(0,), (0, 1, 2), (NUMBER - 1,), (0, 70), (40, NUMBER - 1)])
def test_equal_intervals_on_clocks_that_are_not_known_are_called_ambiguous(lost):
    times = intervals("equal", NUMBER, PERIOD)
    camera = make_detector(times, Faults(lost=lost), width=0.02)
    outcome, account = flown(times, camera)
    assert rows_with(outcome, Quality.AMBIGUOUS) == list(range(NUMBER))
    assert np.all(outcome.frames["camera"] == -1)
    assert account.ambiguous == NUMBER
    assert "cannot be told apart" in account.sentence()


@pytest.mark.parametrize(
    ("lost", "dropped"), [((), ()), ((50,), ()), ((20, 21, 90), (40,)), ((), (0, 1, NUMBER - 2))]
)
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_where_counter_and_time_agree_equal_intervals_are_no_riddle(lost, dropped, closed, n):
    times = intervals("equal", NUMBER + closed, 0.02)
    events = [[k * n + j for k in rows for j in range(n)] for rows in (lost, dropped)]
    spacing = 0.005 if n > 1 else None
    faults = Faults(lost=events[0], dropped=events[1])
    camera = make_detector(times, faults, n=n, spacing=spacing, width=0.09)
    outcome = count(times[:NUMBER], [camera], closed=times[NUMBER] if closed else None)
    # All are final at the end, none as unknown before.
    assert np.ptp(outcome.final_at) == 0
    assert rows_with(outcome, Quality.LOST_TRIGGER) == list(lost)
    assert rows_with(outcome, Quality.LOST_UPDATES) == list(dropped)
    assert_clean_except(outcome, lost + dropped)
    account = outcome.accounting.accounts()["camera"]
    assert account.frames == account.matched == n * (NUMBER - len(lost) - len(dropped))
    assert account.extra == account.ambiguous == 0


@pytest.mark.parametrize("made", [0, 1])
def test_an_end_trigger_begins_no_row_whether_a_frame_came_or_not(made):
    times = intervals("ripple", NUMBER + 1, PERIOD)
    camera = make_detector(times[: NUMBER + made], Faults(lost=(NUMBER - 1,)))
    outcome = count(times[:NUMBER], [camera], closed=times[NUMBER])
    assert rows_with(outcome, Quality.LOST_TRIGGER) == [NUMBER - 1]
    assert_clean_except(outcome, [NUMBER - 1])
    account = outcome.accounting.accounts()["camera"]
    assert (account.lost, account.extra, account.late) == (1, 0, 0)
    assert account.frames == NUMBER - 1


def test_clocks_that_are_known_well_enough_decide_where_intervals_are_equal():
    times = intervals("equal", NUMBER, PERIOD)
    camera = make_detector(times, Faults(lost=(0, 1)), width=0.7 * PERIOD)
    outcome, account = flown(times, camera)
    assert rows_with(outcome, Quality.LOST_TRIGGER) == [0, 1]
    assert_clean_except(outcome, (0, 1))
    assert account.lost == 2


def test_the_clock_of_one_leg_makes_the_next_one_clear():
    first = intervals("ripple", NUMBER, PERIOD)
    camera = make_detector(first, width=2.0, offset=0.6, drift=5e-5, jitter=1e-5)
    _, account = flown(first, camera, patience=10.0)
    second = 4.0 + intervals("equal", NUMBER, PERIOD)
    again = make_detector(second, Faults(lost=(0,)), width=2.0, offset=0.6, drift=5e-5, jitter=1e-5)
    low, high = account.clock.bounds(float(again.begins[0]))
    assert high - low < PERIOD
    again.follower = FollowingDetector("camera", low, high)
    outcome, _ = flown(second, again)
    assert rows_with(outcome, Quality.LOST_TRIGGER) == [0]
    assert_clean_except(outcome, (0,))


@pytest.mark.parametrize("kind", ["equal", "random"])
def test_dropped_frames_are_told_from_lost_triggers_by_the_counter(kind):
    times = intervals(kind, NUMBER, PERIOD)
    camera = make_detector(times, Faults(dropped=(0, 20, 21), lost=(50, 51)))
    outcome, account = flown(times, camera)
    assert rows_with(outcome, Quality.LOST_UPDATES) == [0, 20, 21]
    assert rows_with(outcome, Quality.LOST_TRIGGER) == [50, 51]
    assert_clean_except(outcome, (0, 20, 21, 50, 51))
    assert (account.lost, account.dropped) == (2, 3)


def test_a_frame_dropped_beside_a_lost_trigger_marks_both_rows_with_both():
    times = intervals("equal", NUMBER, PERIOD)
    camera = make_detector(times, Faults(dropped=(20,), lost=(21,)))
    outcome, account = flown(times, camera)
    assert rows_with(outcome, Quality.LOST_UPDATES) == [20, 21]
    assert rows_with(outcome, Quality.LOST_TRIGGER) == [20, 21]
    assert (account.lost, account.dropped) == (1, 1)


def test_doubles_and_extras_are_counted_where_they_came():
    times = intervals("ripple", NUMBER, PERIOD)
    camera = make_detector(times, Faults(double=(30, NUMBER - 1), extra=(-2.3, 70.75)))
    outcome, account = flown(times, camera)
    assert account.double == 2
    assert account.extra == 2
    assert set(rows_with(outcome, Quality.EXTRA)) < {30, 69, 70, 71, NUMBER - 1}
    assert len(rows_with(outcome, Quality.EXTRA)) == 3
    assert np.all(outcome.frames["camera"] >= 0)
    assert account.lost == account.late == account.dropped == 0


def test_an_exposure_that_began_late_is_in_its_row_and_late():
    times = intervals("ripple", NUMBER, PERIOD)
    camera = make_detector(times, Faults(late={40: 0.2, 41: 0.6, 90: 0.9}))
    outcome, account = flown(times, camera)
    assert rows_with(outcome, Quality.LATE) == [40, 41, 90]
    assert outcome.frames["camera"].ravel().tolist() == list(range(NUMBER))
    assert account.late == 3


@pytest.mark.parametrize("kind", ["equal", "ripple", "random"])
def test_a_bin_that_missed_its_end_holds_two_exposures_and_says_so(kind):
    times = intervals(kind, NUMBER, PERIOD)
    lost = (0, 20, 50, 51, NUMBER - 1)
    counter = make_detector(times, Faults(lost=lost), contiguous=True, jitter=1e-5)
    outcome, account = flown(times, counter)
    assert rows_with(outcome, Quality.LOST_TRIGGER) == list(lost)
    assert rows_with(outcome, Quality.LATE) == [19, 49]
    assert account.late == 2


def test_a_bin_that_never_ended_in_time_says_so():
    times = intervals("ripple", NUMBER, PERIOD)
    counter = make_detector(times, contiguous=True)
    counter.ends[-1] += 0.3
    outcome, _ = flown(times, counter)
    assert rows_with(outcome, Quality.LATE) == [NUMBER - 1]


def test_timestamps_that_stumble_do_not_move_frames():
    times = intervals("equal", NUMBER, PERIOD)
    late = {60: 3.1, 61: 2.1, 62: 1.1, 90: 1.0}
    camera = make_detector(times, Faults(stamped_late=late))
    outcome, account = flown(times, camera)
    assert outcome.frames["camera"].ravel()[[59, 60, 61, 62, 63]].tolist() == [59, 60, 61, 62, 63]
    assert set(rows_with(outcome, Quality.LATE)) >= {60, 61, 62}
    assert account.lost + account.late >= 4


def test_frames_stay_in_order_even_if_a_late_timestamp_fits_another_trigger_better():
    times = intervals("equal", NUMBER, PERIOD)
    late = dict.fromkeys(range(20, 150, 10), 3.0)
    camera = make_detector(times, Faults(stamped_late=late), jitter=0.03 * PERIOD)
    outcome, _ = flown(times, camera)
    frames = outcome.frames["camera"].ravel()
    assert frames.tolist() == list(range(NUMBER))
    assert rows_with(outcome, Quality.LATE) == list(late)


def test_frames_that_are_ahead_of_the_triggers_do_not_vote():
    # A pattern of four intervals, and the first four triggers were lost: two offsets fit.
    times = np.cumsum(np.tile([1.0, 1.2, 0.7, 1.1], 20) * PERIOD)
    begins = EPOCH + times[4:]
    known = times[:40]
    for some in (begins[:36], begins):
        assert find_clock(known, some, EPOCH - 0.03, EPOCH + 0.03) is None


def test_frames_without_a_time_are_placed_by_the_counter():
    times = intervals("ripple", NUMBER, PERIOD)
    camera = make_detector(times)
    camera.begins[[30, 31, 77]] = nan
    outcome, _ = flown(times, camera)
    assert outcome.frames["camera"].ravel().tolist() == list(range(NUMBER))
    assert rows_with(outcome, Quality.LATE) == [30, 31, 77]
    assert np.isnan(outcome.durations["camera"][[30, 31, 77]]).all()


def test_a_detector_that_is_too_slow_gets_every_second_row_and_a_wrong_rate():
    times = intervals("ripple", NUMBER, PERIOD)
    camera = make_detector(times, Faults(lost=tuple(range(1, NUMBER, 2))))
    outcome, account = flown(times, camera)
    assert rows_with(outcome, Quality.LOST_TRIGGER) == list(range(1, NUMBER, 2))
    assert_clean_except(outcome, range(1, NUMBER, 2))
    assert account.wrong_rate
    assert account.rate == pytest.approx(0.5, abs=0.03)


def test_two_frames_for_each_trigger_are_a_wrong_rate():
    times = intervals("equal", NUMBER, PERIOD)
    halves = tuple(np.arange(NUMBER) + 0.5)
    camera = make_detector(times, Faults(extra=halves), width=0.3 * PERIOD)
    outcome, account = flown(times, camera)
    assert account.extra + account.double + account.ambiguous >= NUMBER - 1
    assert account.rate == pytest.approx(2.0, abs=0.05)
    assert np.all(outcome.quality & (Quality.EXTRA | Quality.AMBIGUOUS) != 0)


@pytest.mark.parametrize("kind", ["equal", "ripple"])
@pytest.mark.parametrize("rate", [0.5, 0.73, 1.0, 1.31, 2.0])
def test_a_detector_that_runs_freely_gets_no_row_unmarked(kind, rate):
    times = intervals(kind, NUMBER, PERIOD)
    camera = make_detector(times, Faults(rate=rate), width=0.1 * PERIOD)
    _, account = flown(times, camera)
    assert account.wrong_rate == (rate != 1.0)
    assert not account.perfect


def test_a_detector_that_stops_does_not_hold_the_others_up():
    times = intervals("ripple", 400, 0.02)
    camera = make_detector(times, Faults(lost=tuple(range(200, 400))), width=0.01)
    meter = make_detector(times, width=0.01, name="meter")
    outcome, account, other = flown(times, camera, meter, patience=1.0)
    assert np.all(outcome.final_at[:-60] - times[:-60] < 1.5)
    assert np.all(outcome.frames["meter"][:, 0] == np.arange(400))
    assert other.perfect
    assert account.lost == 200
    assert np.all(outcome.quality[200:] & Quality.NO_DATA != 0)
    assert np.all(outcome.quality[:200] == 0)


def test_a_detector_that_never_begins_loses_all():
    times = intervals("ripple", NUMBER, PERIOD)
    camera = make_detector(times, Faults(lost=tuple(range(NUMBER))))
    outcome, account = flown(times, camera)
    assert account.lost == NUMBER
    assert np.all(outcome.quality & Quality.NO_DATA != 0)


def test_frames_that_arrive_after_their_row_are_late_and_in_no_row():
    times = intervals("ripple", 300, 0.02)
    camera = make_detector(times, width=0.01)
    camera.arrivals[100:150] += 2.0
    camera.arrivals = np.maximum.accumulate(camera.arrivals)
    outcome, account = flown(times, camera, patience=0.5)
    missed = np.flatnonzero(outcome.frames["camera"][:, 0] < 0)
    assert len(missed) > 50
    assert missed.min() >= 100
    assert np.all(outcome.quality[missed] & Quality.LATE != 0)
    assert account.late == len(missed)
    assert account.lost == 0
    assert account.matched == 300 - len(missed)


def test_rows_are_final_one_trigger_later_not_after_the_patience():
    times = intervals("ripple", 500, 0.02)
    camera = make_detector(times, width=0.01)
    outcome, _ = flown(times, camera, tick=0.05, patience=5.0)
    waited = outcome.final_at - times
    assert np.all(waited[20:-1] < 0.02 + 0.01 + 0.15)


@settings(max_examples=10)
@given(seeds, kinds)
def test_when_things_arrive_changes_nothing(seed, kind):
    times = intervals(kind, NUMBER, PERIOD, seed)
    faults = Faults(lost=(0, 7, 8, 90), double=(20,), dropped=(40,), extra=(55.3,))
    outcomes = [
        flown(
            times,
            make_detector(times, faults, seed=seed, jitter=1e-5, batch=batch),
            trigger_batch=trigger_batch,
            tick=tick,
            patience=10.0,
            seed=seed,
        )[0]
        for batch, trigger_batch, tick in ((0.0, 0.0, 0.02), (0.3, 0.0, 0.1), (0.0, 0.4, 0.2))
    ]
    for other in outcomes[1:]:
        assert np.array_equal(outcomes[0].frames["camera"], other.frames["camera"])
        assert np.array_equal(outcomes[0].quality, other.quality)


@settings(max_examples=10)
@given(seeds, kinds, st.sampled_from([None, 0.0006]))
def test_several_frames_a_trigger_are_all_in_its_row(seed, kind, spacing):
    n = 5
    times = intervals(kind, NUMBER, PERIOD, seed)
    lost = (0, 33, 200, 201, 202, 203, 204, 305, 306, 307)
    camera = make_detector(times, Faults(lost=lost), seed=seed, n=n, spacing=spacing, width=0.0005)
    outcome, account = flown(times, camera, seed=seed)
    frames = outcome.frames["camera"]
    # The last trigger's interval is not known.
    assert np.all(
        (frames[:-1] >= 0).sum(axis=1)
        == [n - sum(row * n <= k < (row + 1) * n for k in lost) for row in range(NUMBER - 1)]
    )
    assert outcome.quality[[0, 6, 40, 61]].tolist() == [
        Quality.LOST_TRIGGER,
        Quality.LOST_TRIGGER,
        Quality.LOST_TRIGGER | Quality.NO_DATA,
        Quality.LOST_TRIGGER | Quality.PARTIAL,
    ]
    assert account.lost >= len(lost)


def test_a_scan_of_three_rows_is_matched_when_it_ends():
    times = intervals("equal", 3, 0.5)
    camera = make_detector(times, width=0.02)
    outcome, account = flown(times, camera)
    assert outcome.frames["camera"].ravel().tolist() == [0, 1, 2]
    assert account.perfect


def test_one_trigger_is_matched_when_it_ends():
    times = np.array([0.0])
    camera = make_detector(times, width=0.02)
    outcome, account = flown(times, camera)
    assert outcome.frames["camera"].ravel().tolist() == [0]
    assert account.perfect


def test_triggers_that_their_source_did_not_tell_leave_a_gap_in_the_numbers():
    accounting = TriggerAccounting([])
    accounting.add_triggers([0, 1, 4], [0.0, 0.1, 0.4], [1.0, 2.0, 5.0], 0.0)
    assert accounting.final_rows(0.0).numbers.tolist() == [0, 1, 4]


def test_triggers_of_another_leg_are_refused():
    accounting = TriggerAccounting([])
    accounting.add_triggers([0, 1], [0.0, 0.1], [1.0, 2.0], 0.0)
    with pytest.raises(ValueError, match="make an account for each leg"):
        accounting.add_triggers([0], [0.2], [3.0], 0.0)


@pytest.mark.parametrize("bounds", [(1.0, 0.0), (nan, 1.0), (0.0, inf)])
def test_bounds_that_are_none_are_refused(bounds):
    with pytest.raises(ValueError, match="give two finite numbers"):
        FollowingDetector("camera", *bounds)


def test_a_sentence_says_what_and_where():
    times = intervals("ripple", NUMBER, PERIOD)
    camera = make_detector(times, Faults(lost=(20, 60)))
    _, account = flown(times, camera)
    assert account.sentence("eV") == (
        "camera: 158 of 160 frames, 2 lost, missing between 401 and 403 eV"
    )
    assert account.clock.offset == pytest.approx(EPOCH, abs=1e-3)


@given(seed=st.integers(0, 10_000), jitter=st.sampled_from([2e-6, 1e-5, 3e-5, 1e-4]))
@settings(max_examples=5, deadline=None, derandomize=True)
@example(seed=0, jitter=2e-6)
@example(seed=0, jitter=1e-5)
@example(seed=2, jitter=1e-5)
def test_equal_intervals_are_counted_whatever_chance_says_of_their_times(seed, jitter):
    """Triggers 2 ms apart and clocks within 21 ms: some other offset always looks a bit better."""
    random = np.random.default_rng(seed)
    number, offset = 4095, 1e3 + 0.0031
    triggers = 0.002 * np.arange(number) + random.normal(0, 1e-7, number)
    begins = triggers * (1 + 2e-5) + offset + random.normal(0, jitter, number)
    clock = find_clock(
        triggers, begins, 1e3 - 0.021, 1e3 + 0.021, complete=True, numbers=np.arange(number)
    )
    assert clock is not None
    assert clock.trigger_times(begins) == pytest.approx(triggers, abs=6 * jitter + 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_two_faults_that_cancel_in_the_count_are_not_hidden_where_intervals_tell(seed):
    """The first trigger was lost, and a frame too many came behind the last, in time."""
    random = np.random.default_rng(seed)
    triggers = 0.002 * np.arange(300) + np.cumsum(random.normal(0, 2e-5, 300))
    begins = np.append(triggers[1:], triggers[-1] + 0.002) + random.normal(0, 3e-5, 300) + 0.003
    clock = find_clock(triggers, begins, -0.02, 0.02, complete=True, numbers=np.arange(300))
    if clock is not None:
        assert clock.offset == pytest.approx(0.003, abs=0.0005)


@pytest.mark.parametrize("seed", range(6))
def test_times_that_scatter_beyond_what_is_looked_at_decide_nothing(seed):
    """A tenth of the interval: now and then a frame is farther than a quarter of it away."""
    random = np.random.default_rng(seed)
    at = 0.002 * np.arange(4096)
    triggers = at + 0.02 / 25 * np.sin(25 * at + random.uniform(0, 6))
    begins = triggers + 0.0031 + 2e-4 * np.clip(random.normal(size=4096), -2.5, 2.5)
    clock = find_clock(
        triggers, begins, 0.0, 0.006, complete=True, numbers=np.arange(len(triggers))
    )
    if clock is not None:
        assert clock.offset == pytest.approx(0.0031, abs=0.0005)
