"""Callbacks that know only events work with fly scans, unchanged."""

import numpy as np
import pytest
from bluesky.callbacks import LiveTable
from bluesky.callbacks.best_effort import BestEffortCallback
from event_model import DocumentNames, schema_validators
from written_documents import documents_of

from glidepath.live import StreamsAsEvents

ENERGY = np.linspace(400.0, 402.0, 201)
PEAK = {
    "energy": ENERGY,
    "sample": 1.0 + np.exp(-0.5 * ((ENERGY - 401.0) / 0.1) ** 2),
    "sample_time": 1_700_000_000.0 + np.arange(201),
}


def fed(callback, documents):
    for name, document in documents:
        callback(name, document)


def test_rows_become_events_that_are_valid_and_counted(tmp_path):
    seen = []
    converter = StreamsAsEvents(lambda *pair: seen.append(pair), rows_per_second=1e9, share=1.0)
    fed(converter, documents_of(tmp_path, PEAK, steps=4))
    events = [document for name, document in seen if name == "event"]
    assert [event["seq_num"] for event in events] == [1, 2, 3, 4]
    assert [event["data"]["energy"] for event in events] == ENERGY[[49, 99, 149, 200]].tolist()
    assert events[0]["timestamps"]["energy"] == PEAK["sample_time"][49]
    for event in events:
        schema_validators[DocumentNames.event].validate(event)
    stop = seen[-1][1]
    assert stop["num_events"] == {"primary": 4}
    assert not {"stream_resource", "stream_datum"} & {name for name, _ in seen}
    (descriptor,) = [document for name, document in seen if name == "descriptor"]
    assert "external" not in descriptor["data_keys"]["energy"]


def test_few_events_come_in_a_second_and_all_rows_at_the_end_if_wanted(tmp_path):
    seen = []
    converter = StreamsAsEvents(
        lambda *pair: seen.append(pair), rows_per_second=1e-3, complete=True
    )
    fed(converter, documents_of(tmp_path, PEAK, steps=50))
    energies = [document["data"]["energy"] for name, document in seen if name == "event"]
    # The first announcement, then nothing for a thousand seconds, then all others, in order.
    assert energies == ENERGY.tolist()


def test_rows_come_in_short_bursts_and_none_is_left_out(tmp_path, monkeypatch):
    from glidepath.live import stream_events

    now, energies, bursts = [0.0], [], []
    monkeypatch.setattr(stream_events.time, "monotonic", lambda: now[0])

    def draw(name, document):
        if name == "event":
            now[0] += 0.1
            energies.append(document["data"]["energy"])

    converter = StreamsAsEvents(draw, rows_per_second=1e9, complete=True)
    for name, document in documents_of(tmp_path, PEAK, steps=20):
        before = len(energies)
        converter(name, document)
        if name == "stream_datum":
            now[0] += 0.3
            bursts.append(len(energies) - before)
    assert energies == ENERGY.tolist()
    assert max(bursts) == 3


def test_a_step_scan_passes_unchanged(tmp_path):
    step = [
        ("start", {"uid": "a"}),
        ("descriptor", {"uid": "d", "name": "primary", "data_keys": {"x": {"shape": []}}}),
        ("event", {"descriptor": "d", "data": {"x": 1.0}}),
        ("stop", {"uid": "s"}),
    ]
    seen = []
    fed(StreamsAsEvents(lambda *pair: seen.append(pair)), step)
    assert seen == step


@pytest.fixture
def no_windows():
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    yield plt
    plt.close("all")


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_the_best_effort_callback_finds_the_peak_of_a_fly_scan(tmp_path, no_windows):
    best = BestEffortCallback()
    best.disable_table()
    hints = {"dimensions": [(["energy"], "primary")]}
    documents = documents_of(tmp_path, PEAK, steps=20, hints=hints)
    documents = [
        (n, {**d, "hints": {"sample": {"fields": ["sample"]}, "energy": {"fields": ["energy"]}}})
        if n == "descriptor"
        else (n, d)
        for n, d in documents
    ]
    objects = {"energy": ["energy"], "sample": ["sample"]}
    documents = [
        (n, {**d, "object_keys": objects}) if n == "descriptor" else (n, d) for n, d in documents
    ]
    fed(StreamsAsEvents(best, rows_per_second=1e9, share=1.0), documents)
    assert best.peaks["com"]["sample"] == pytest.approx(401.0, abs=0.05)
    assert best.peaks["max"]["sample"][0] == pytest.approx(401.0, abs=0.06)


def test_a_live_table_has_a_line_for_each_event(tmp_path):
    lines = []
    table = LiveTable(["energy", "sample"], out=lines.append)
    fed(
        StreamsAsEvents(table, rows_per_second=1e9, share=1.0),
        documents_of(tmp_path, PEAK, steps=5),
    )
    assert any("402.0" in line for line in lines)
    assert len([line for line in lines if line.startswith("| ")]) >= 5


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(ValueError, match="rows_per_second must be above zero"):
        StreamsAsEvents(print, rows_per_second=0)


@pytest.mark.parametrize("share", [0.0, -1.0, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="share must be above 0 and at most 1"):
        StreamsAsEvents(print, share=share)


def test_slow_callbacks_get_no_more_than_their_share(tmp_path, monkeypatch):
    from glidepath.live import stream_events

    now = [0.0]
    monkeypatch.setattr(stream_events.time, "monotonic", lambda: now[0])
    drawn = []

    def draw(name, document):
        if name == "event":
            now[0] += 0.1
            drawn.append(now[0])

    converter = StreamsAsEvents(draw, rows_per_second=1e9, share=0.25)
    for name, document in documents_of(tmp_path, PEAK, steps=40):
        converter(name, document)
        if name == "stream_datum":
            now[0] += 0.01
    # The last one comes when the run ends.
    assert len(drawn) > 3
    assert np.diff(drawn[:-1]) == pytest.approx(0.4, abs=0.05)


def test_silent_detectors_are_in_the_events_and_not_in_the_hints(tmp_path):
    seen = []
    columns = {**PEAK, "ring_current": np.full(201, 300.0)}
    documents = documents_of(tmp_path, columns, steps=2, hints={})
    documents = [
        (n, {**d, "display": {"silent": ["ring"]}})
        if n == "start"
        else (n, {**d, "hints": {"primary": {"fields": ["sample", "ring_current"]}}})
        if n == "descriptor"
        else (n, d)
        for n, d in documents
    ]
    fed(StreamsAsEvents(lambda *pair: seen.append(pair), share=1.0), documents)
    (descriptor,) = [d for n, d in seen if n == "descriptor"]
    assert descriptor["hints"] == {"primary": {"fields": ["sample"]}}
    events = [d for n, d in seen if n == "event"]
    assert events
    assert all(event["data"]["ring_current"] == 300.0 for event in events)


def test_silent_detectors_of_a_step_scan_are_not_in_the_hints():
    descriptor = {
        "uid": "d",
        "name": "primary",
        "data_keys": {"x": {"shape": []}, "ring-current": {"shape": []}},
        "hints": {"x": {"fields": ["x"]}, "ring": {"fields": ["ring-current"]}},
    }
    seen = []
    start = {"uid": "a", "display": {"silent": ["ring"]}}
    step = [("start", start), ("descriptor", descriptor)]
    fed(StreamsAsEvents(lambda *pair: seen.append(pair)), step)
    assert seen[1][1]["hints"] == {"x": {"fields": ["x"]}, "ring": {"fields": []}}


def test_a_file_that_cannot_be_read_ends_no_scan_and_the_rows_come_with_the_next(
    tmp_path, monkeypatch
):
    from glidepath.live import stream_events

    opened, seen = [], []
    original = stream_events.open_to_read

    def open_to_read(path):
        opened.append(path)
        if len(opened) < 3:
            raise OSError("it is being written just now")
        return original(path)

    monkeypatch.setattr(stream_events, "open_to_read", open_to_read)
    converter = StreamsAsEvents(
        lambda *pair: seen.append(pair), rows_per_second=1e9, share=1.0, complete=True
    )
    fed(converter, documents_of(tmp_path, PEAK, steps=4))
    energies = [document["data"]["energy"] for name, document in seen if name == "event"]
    assert energies == ENERGY.tolist()
