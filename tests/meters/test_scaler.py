"""The scaler record with stock plans."""

from bluesky.plans import count
from ophyd_async.plan_stubs import ensure_connected

from glidepath.detectors import Scaler


def test_a_stock_count_reads_the_scaler(beamline, RE):
    scaler = Scaler(f"{beamline.prefix}CNT1:scaler1", "counter", inputs={2: "mesh"})
    events = []

    def plan():
        yield from ensure_connected(scaler)
        yield from count([scaler], num=2)

    RE(plan(), lambda name, doc: events.append(doc) if name == "event" else None)
    counts = [event["data"]["counter_mesh"] for event in events]
    assert len(counts) == 2
    assert min(counts) > 0
