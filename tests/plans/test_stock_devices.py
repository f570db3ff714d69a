"""Devices that are none of ours go into scans: of ophyd-async, of ophyd, of a facility."""

import numpy as np
import pytest
from ophyd_async.core import StandardReadable, StaticPathProvider, UUIDFilenameProvider
from ophyd_async.core import StandardReadableFormat as Format
from ophyd_async.epics.adcore import ADWriterFactory
from ophyd_async.epics.adsimdetector import SimDetector
from ophyd_async.epics.advimba import VimbaDetector
from ophyd_async.epics.core import epics_signal_r
from ophyd_async.epics.motor import Motor

from glidepath import Triggers
from glidepath.detectors import RunPaths
from glidepath.devices import Panda
from glidepath.plans import flyscan, inspect
from glidepath.trajectory import Region, Trajectory

pytestmark = pytest.mark.slow

TRAJECTORY = Trajectory([Region(400.0, 402.0, 2.0)])


class Diode(StandardReadable):
    """A device as any beamline has: a current, and how it is measured."""

    def __init__(self, prefix, name):
        with self.add_children_as_readables(Format.HINTED_SIGNAL):
            self.current = epics_signal_r(float, f"ca://{prefix}KEI1:rdCur")
        with self.add_children_as_readables(Format.CONFIG_SIGNAL):
            self.cycles = epics_signal_r(float, f"ca://{prefix}KEI1:rbkIntegrTime")
        super().__init__(name)


def connected(simulated, device, **options):
    simulated.call(device.connect(timeout=10, **options))
    return device


def reported(simulated, *detectors, axis=None, trajectory=TRAJECTORY, triggers=None):
    """Return the names in the report of the pre-flight, which has no objection."""
    report = simulated.call(
        inspect(
            list(detectors),
            simulated.energy if axis is None else axis,
            trajectory,
            None if triggers else 0.2,
            triggers=triggers,
        )
    )
    assert not report.objections, report.objections
    return report


def test_a_motor_of_ophyd_async_flies(simulated):
    s = simulated
    slide = connected(s, Motor(f"ca://{s.prefix}m2", name="slide"))
    diode = connected(s, Diode(s.prefix, "diode"))
    s.run_engine(flyscan([diode], slide, 0.0, 2.0, 1.0, period=0.2))
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    table = run.primary
    assert 8 <= len(table["slide"]) <= 10
    assert np.all((table["slide_lower"] >= -1e-6) & (table["slide_upper"] <= 2.0 + 1e-6))
    assert np.all(np.isfinite(table["diode-current"]))


@pytest.mark.parametrize("kind", [SimDetector, VimbaDetector])
def test_cameras_of_ophyd_async_are_accepted(simulated, kind):
    s = simulated
    writer = ADWriterFactory.hdf(RunPaths())
    camera = connected(s, kind(f"{s.prefix}CAM1:", writer, name="camera"))
    box = camera if kind is SimDetector else s.zebra
    asked = Triggers(box, period=0.05) if box is camera else Triggers(box, step=0.1)
    report = reported(s, camera, triggers=asked)
    assert [timing.name for timing in report.detectors] == ["camera"]


def test_a_panda_of_ophyd_async_makes_the_triggers(simulated):
    s = simulated
    panda = connected(s, Panda(f"{s.prefix}PANDA:", "panda", axes=s.zebra.axes))
    signal = panda.blocks.seq[1].active
    assert signal.source.startswith("pva://")
    quad = s.quad
    report = reported(s, quad, triggers=Triggers(panda, step=0.1))
    assert [timing.name for timing in report.detectors] == ["quad"]
    # One of its signals beside other detectors: PV Access is sampled as Channel Access is.
    diode = connected(s, Diode(s.prefix, "diode"))
    active = connected(s, epics_signal_r(bool, signal.source, name="active"))
    s.run_engine(flyscan([diode, active], s.energy, 400.0, 401.0, 1.0, period=0.2))
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    assert np.all(run.primary["active"] == 0)


def test_devices_of_classic_ophyd_are_accepted_and_sampled(simulated):
    ophyd = pytest.importorskip("ophyd", reason="classic ophyd is not installed")
    from unittest.mock import MagicMock

    # A client that connects to nothing: Glidepath asks the variables itself.
    ophyd.set_cl("dummy")
    ophyd.cl.get_pv = lambda *_, **__: MagicMock()
    ophyd.cl.release_pvs = lambda *_: None
    s = simulated
    slide = ophyd.EpicsMotor(f"{s.prefix}m2", name="slide")
    diode = ophyd.EpicsSignalRO(f"{s.prefix}KEI1:rdCur", name="diode")
    reported(s, slide, diode)
    s.run_engine(flyscan([slide, diode], s.energy, 400.0, 401.0, 1.0, period=0.2))
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    assert np.all(np.isfinite(run.primary["diode"]))
    assert np.ptp(run.primary["slide"]) < 1e-3


def test_detectors_of_a_facility_are_accepted(simulated, tmp_path):
    tetramm = pytest.importorskip(
        "dodal.devices.tetramm.tetramm",
        reason="dls-dodal pins another version of pyzmq than the project does",
        exc_type=ImportError,
    )
    from dodal.devices.qbpm import QBPM

    s = simulated
    paths = StaticPathProvider(UUIDFilenameProvider(), tmp_path)
    meter = connected(s, tetramm.TetrammDetector("X:", paths, name="tetramm"), mock=True)
    report = reported(s, meter, triggers=Triggers(s.zebra, step=0.1))
    assert [timing.name for timing in report.detectors] == ["tetramm"]
    monitor = connected(s, QBPM("X:", name="qbpm"), mock=True)
    reported(s, monitor)


def test_a_counter_is_triggered_and_sampled_although_it_is_read_only_after_a_trigger(simulated):
    s = simulated
    s.run_engine(
        flyscan([s.counter], s.energy, 400.0, 401.0, 1.0, triggers=Triggers(s.zebra, step=0.1))
    )
    run = s.run()
    assert run.stop["exit_status"] == "success", run.stop
    assert len(run.primary["counter_mesh"]) in (9, 10)
    assert np.all(run.primary["counter_mesh"] > 0)
    assert "counter_mesh" in {c.channel.name for c in s.call(s.counter.channels())}
