"""What the benchmarks compute from what they measure."""

import json
from dataclasses import replace
from functools import partial
from math import nan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.medians import median, shown
from bluesky.utils import Msg
from rich.console import Console

from benchmarks import accuracy, document_counts, overhead, report, throughput, tracking
from glidepath.flyers import RunFile, Sampler
from glidepath.physics.nitrogen import absorption
from glidepath.plans.messages import wait_for


def printed(table):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def averaged(lower, upper, shift=0.0):
    """N2 spectrum averaged over each row."""
    parts = (np.arange(200) + 0.5) / 200
    energy = lower[:, None] + (upper - lower)[:, None] * parts
    return 0.7 * np.mean(absorption(energy - shift), axis=1) + 0.01


def flight(direction, error=0.0, shift=0.0, step=0.1):
    edges = np.arange(398.5, 404.5, step)[::direction]
    true = 0.5 * (edges[1:] + edges[:-1])
    signal = averaged(edges[:-1], edges[1:], shift)
    recorded = true + error
    return accuracy.Flight(
        recorded, edges[:-1] + error, edges[1:] + error, signal, true, signal.copy()
    )


def test_a_median_leaves_out_what_is_not_known():
    assert median([1.0, nan, None, 3.0, 2.0]) == 2.0
    assert median([nan, None]) is None
    assert median([1.23456789]) == 1.235


def test_a_table_shows_a_dash_for_what_is_not_known():
    assert shown(None) == "-"
    assert shown(0.12345) == "0.123"


def test_errors_are_counted_in_the_direction_of_travel():
    late = (flight(1, error=-0.004), flight(-1, error=+0.004))

    found = accuracy.summary([late])

    assert found["bias_meV"] == pytest.approx(-4)
    assert found["rms_meV"] == pytest.approx(4)


def test_an_error_that_does_not_depend_on_the_direction_is_in_the_rms_only():
    found = accuracy.summary([(flight(1, error=0.004), flight(-1, error=0.004))])

    assert found["bias_meV"] == pytest.approx(0, abs=1e-9)
    assert found["rms_meV"] == pytest.approx(4)


def test_the_shift_of_the_first_line_is_between_up_and_down():
    found = accuracy.summary([(flight(1, error=0.010), flight(-1, error=-0.010))])

    assert found["line_fit"] == "series"
    assert found["up_down_shift_meV"] == pytest.approx(20, abs=0.5)


def test_wrong_signals_are_in_percent_of_the_highest():
    up, down = flight(1), flight(-1)
    wrong = replace(up, signal=up.signal + 0.01 * up.true_signal.max())
    both = (wrong, replace(down, signal=down.signal + wrong.signal - up.signal))

    found = accuracy.summary([both])

    assert found["signal_rms_percent"] == pytest.approx(1, rel=0.01)


def test_bias_and_rms_are_over_all_repeats():
    pairs = [(flight(1, error=e), flight(-1, error=-e)) for e in (-0.003, 0.003)]

    found = accuracy.summary(pairs)

    assert found["bias_meV"] == pytest.approx(0, abs=1e-9)
    assert found["rms_meV"] == pytest.approx(3)
    assert found["repeats"] == 2


def test_shifts_of_either_sign_do_not_cancel():
    pairs = [(flight(1, error=e), flight(-1, error=-e)) for e in (-0.005, 0.005, 0.02)]

    found = accuracy.summary(pairs)

    assert found["up_down_shift_meV"] == pytest.approx(10, abs=0.5)
    assert found["up_down_shift_worst_meV"] == pytest.approx(40, abs=0.5)


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize("shift", [-0.3, 0.05])
def test_the_first_line_is_found_in_few_and_long_rows(direction, shift):
    edges = np.arange(395.0, 408.0, 0.4)[::direction]
    lower, upper = edges[:-1], edges[1:]

    found = accuracy.first_line(lower, upper, averaged(lower, upper, shift))

    assert found == pytest.approx(400.88 + shift, abs=1e-3)


def test_rows_that_miss_the_series_are_refused():
    edges = np.arange(395.0, 408.0, 2.0)

    with pytest.raises(ValueError, match="1 points in the series"):
        accuracy.first_line(edges[:-1], edges[1:], np.ones(len(edges) - 1))


def test_a_line_that_cannot_be_fitted_has_no_shift_but_a_reason():
    found = accuracy.summary([(flight(1, step=2.0), flight(-1, step=2.0))])

    assert found["up_down_shift_meV"] is None
    assert "in the series" in found["line_fit"]


def test_an_accuracy_row_has_the_agreed_keys_and_goes_into_the_table():
    row = {
        "mode": "sampled",
        "velocity_eV_per_s": 1.0,
        "exposure_s": 0.1,
        "readback_Hz": 10.0,
        "arrival_delay_s": 0.5,
        **accuracy.summary([(flight(1), flight(-1))]),
    }

    agreed = {"bias_meV", "rms_meV", "up_down_shift_meV", "mode", "velocity_eV_per_s"}
    assert agreed | {"exposure_s", "readback_Hz", "arrival_delay_s"} <= set(row)
    json.dumps(row, allow_nan=False)
    assert "sampled" in printed(accuracy.table([row, {**row, "up_down_shift_meV": None}]))


def message(name, seconds=None):
    async def function():
        """Only its name matters."""

    function.__name__ = name
    return next(wait_for(function if seconds is None else partial(function, seconds)))


def test_messages_of_a_scan_belong_to_their_phases():
    sampler = Sampler([], SimpleNamespace(name="axis"))
    expected = [
        (message("inspection_of", 1), "preflight"),
        (Msg("stage", None), "stage"),
        (Msg("open_run"), "open"),
        (Msg("prepare", sampler, RunFile(Path("run.h5"), {})), "prepare"),
        (Msg("wait"), "prepare"),
        (Msg("declare_stream"), "declare"),
        (Msg("prepare", None, "a leg"), "flight"),
        (Msg("prepare", sampler, "a plan"), "flight"),
        (Msg("kickoff", sampler), "flight"),
        (Msg("kickoff"), "flight"),
        (Msg("complete"), "flight"),
        (message("flushed"), "flush"),
        (Msg("collect"), "flush"),
        (Msg("complete", sampler), "finish"),
        (message("finish"), "finish"),
        (Msg("collect"), "documents"),
        (Msg("create"), "documents"),
        (Msg("close_run"), "documents"),
        (message("close"), "close"),
        (message("of another name"), "close"),
        (Msg("unstage"), "close"),
    ]
    phases = overhead.Phases()

    found = []
    for sent, _ in expected:
        phases(sent)
        found.append(phases.phase)

    assert found == [phase for _, phase in expected]
    assert set(phases.seconds) == set(overhead.PHASES)


def test_the_overhead_table_takes_the_rows():
    keys = ["total", "total_without_flush", "cpu", *overhead.PHASES]
    row = {"channels": 10, "staged": True, "repeats": 3, **{f"{key}_ms": 1.0 for key in keys}}

    assert "10" in printed(overhead.table([row]))


def seen(energy, times, looks=((11.0, 1, 10.8), (12.0, 3, 11.6)), same=True):
    return {"energy": energy, "sample_time": times, "looks": looks, "same": same}


def test_a_good_read_of_a_growing_table_is_judged_as_good():
    found = document_counts.judge(
        seen([1.0, 2.0, 3.0], [10.0, 11.0, 12.0]), (0.5, 3.5), {"primary": 3}
    )

    assert found["rising"]
    assert found["agrees"]
    assert (found["repeated"], found["outside"], found["rows"]) == (0, 0, 3)
    assert found["behind_s"] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("what", "value", "bad"),
    [
        ("rising", False, seen([1.0, 3.0, 2.0], [10.0, 11.0, 12.0])),
        ("rising", False, seen([1.0, 2.0, 3.0], [10.0, 11.0, 12.0], same=False)),
        ("repeated", 1, seen([1.0, 2.0, 2.0], [10.0, 11.0, 11.0])),
        ("outside", 1, seen([1.0, 2.0, 4.0], [10.0, 11.0, 12.0])),
        ("agrees", False, seen([1.0, 2.0], [10.0, 11.0])),
    ],
)
def test_what_is_wrong_in_a_growing_table_is_seen(what, value, bad):
    assert document_counts.judge(bad, (0.5, 3.5), {"primary": 3})[what] == value


def test_the_table_of_documents_takes_rows_with_and_without_a_reader():
    counts = dict.fromkeys(("rows", "raw_updates", "documents", "streams"), 1)
    kinds = {f"{kind}s": 1 for kind in document_counts.KINDS}
    keys = ("reads", "rising", "repeated", "outside", "rows", "agrees", "behind_s")
    row = {"scan_s": 10.0, "readback_Hz": 10.0, **counts, **kinds}

    text = printed(
        document_counts.table(
            [
                row | {f"reader_{key}": None for key in keys},
                row | {f"reader_{key}": 1 for key in keys},
            ]
        )
    )

    assert "datums" in text


def throughput_row(path, channels, posted, updates_per_s, cpu, elements=1):
    return {
        "path": path,
        "channels": channels,
        "elements": elements,
        "posted": posted,
        "updates_per_s": updates_per_s,
        "cpu_us_per_update": cpu,
        "lost": 0,
        "lost_share": 0.0,
    }


THROUGHPUT = [
    throughput_row("libca", 10, "flood", 400_000.0, 0.2),
    throughput_row("glidepath-fast", 10, "flood", 360_000.0, 0.3),
    throughput_row("sequential", 10, "flood", 1000.0, 777.0),
    throughput_row("sequential", 10, 10_000, 1000.0, 900.0),
    throughput_row("glidepath-fast", 10, 10_000, 10_000.0, 4.5),
    throughput_row("glidepath-sampler", 10, 10_000, 10_000.0, 9.0),
    throughput_row("sequential", 50, 10_000, 1000.0, 800.0),
    throughput_row("glidepath-sampler", 50, 50_000, 50_000.0, 4.0),
    throughput_row("libca", 10, 1_000_000, 1e6, 0.01, elements=1000),
]


def test_ratios_are_of_the_same_number_of_channels_and_load():
    ten, fifty = throughput.ratios(THROUGHPUT)

    assert (ten["channels"], fifty["channels"]) == (10, 50)
    assert ten["rate fast / libca"] == pytest.approx(0.9)
    assert ten["rate fast / aioca"] is None
    assert ten["CPU sequential / fast"] == pytest.approx(200)
    assert ten["CPU sequential / sampler"] == pytest.approx(100)
    assert fifty["CPU sequential / sampler"] == pytest.approx(200)


def test_the_throughput_table_and_the_page_show_rows_and_ratios():
    text = printed(throughput.table(THROUGHPUT))
    assert "glidepath-sampler" in text
    assert "CPU sequential / sampler" in text
    assert "100" in text

    assert "rate fast / libca" in report.table(throughput.ratios(THROUGHPUT))


def test_every_contender_is_measured_in_flood_and_the_sampler_at_its_own_rate():
    cases = throughput.cases()

    for channels in (10, 50):
        mine = [case for case in cases if case.channels == channels and case.elements == 1]
        assert {path for c in mine if c.load == 0 for path in c.paths} == set(throughput.PATHS)
        assert [c.load for c in mine if throughput.SAMPLER in c.paths] == [1000.0 * channels]


def test_without_the_fast_path_the_others_are_measured_and_the_reason_is_said(monkeypatch):
    monkeypatch.setattr("glidepath.flyers.monitors.inbox.LIBRARY", "glidepath.no_such_library")
    throughput.load.cache_clear()
    try:
        assert "was not built" in throughput.unavailable()
        assert "There is no fast path here" in printed(throughput.table(THROUGHPUT))
    finally:
        throughput.load.cache_clear()


def tracked(segments, measured, default=False):
    return {
        "benchmark": "tracking",
        "undulator": "UE48",
        "range_eV": "370-470",
        "velocity_eV_per_s": 5.0,
        "segments": segments,
        "default": default,
        "predicted_eV": measured,
        "measured_eV": measured,
        "measured_percent_of_width": 15 * measured,
        "bound_percent": 5.0,
        "kept": 15 * measured < 5,
        "recorded_against_truth_rms_meV": 3.0,
        "mismatch_curve": [[370.0, 0.0], [420.0, measured], [470.0, 0.0]],
    }


def test_a_mismatch_is_averaged_over_each_row():
    time = np.linspace(0.0, 2.0, 2001)
    means = tracking.mean_over(time, time**2, np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    assert means == pytest.approx([1 / 3, 7 / 3], abs=1e-3)


def test_the_linear_gap_and_the_default_are_told_apart(tmp_path):
    rows = [tracked(1, 5.5), tracked(6, 0.2, default=True)]
    text = printed(tracking.table(rows))
    assert "1 (linear)" in text
    assert "6 (default)" in text
    report.draw_tracking(rows, tmp_path / "tracking.png")
    assert (tmp_path / "tracking.png").stat().st_size > 1000
    assert "mismatch_curve" not in report.table(rows)
