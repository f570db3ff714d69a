"""The detectors server: what sees the light that the optics deliver, and the truth."""

import asyncio
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .beam import Beam, mesh_current, sample_current
from .camera import Camera
from .channels import Clock, Database
from .counter import Counter
from .electrometer import Electrometer
from .encoders import (
    MOTOR_COUNTS_PER_EV,
    grating_reading,
    mirror_reading,
    motor_reading,
    unconnected,
)
from .jobs import ticks
from .laws import true_law
from .link import LinkReader
from .pulse_generator import PulseGenerator
from .quad_electrometer import QuadElectrometer
from .settings import Settings
from .trigger_line import TriggerLine
from .truth import TruthWriter
from .zebra import Zebra

__all__ = ["Detectors"]

_NAMES = ("KEI1", "KEI2")
_ZEBRA = "ZEBRA"
_PANDA = "PANDA"
_CAMERA = "CAM1"
_QUAD = "QE1"
_COUNTER = "CNT1"
_FOCUS = "m1"
_LATER = 0.25
_TRAJECTORY_SECONDS = 0.2
_TRAJECTORY_POINTS = 200
_TRAJECTORY_DELAY = 0.1


class Detectors:
    """Everything that the detectors server serves.

    Attributes
    ----------
    database
        The process variables by name.
    trigger_line
        Cable from the trigger box to the detectors.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.database = Database(settings.prefix, Clock(settings.detectors_clock_offset))
        self.trigger_line = TriggerLine()
        self.link = LinkReader()
        self.barriers = LinkReader()
        self._beam = Beam(self.link, true_law(settings.undulator), self.barriers)
        self.database.number(
            "FAULT:energy_drift", 0.0, "eV", 4, limits=(-5.0, 5.0), on_put=self._drift
        )
        recorded = (*_NAMES, _ZEBRA, _PANDA, _CAMERA, _QUAD, _COUNTER)
        self._truth = TruthWriter(settings.truth, recorded) if settings.truth else None
        self._electrometers = [
            Electrometer(
                self.database,
                name,
                self._beam,
                photocurrent,
                np.random.default_rng([settings.seed, 3, number]),
                self._record,
                self.trigger_line,
                settings.mains_Hz,
                settings.detector_noise,
            )
            for number, (name, photocurrent) in enumerate(
                zip(_NAMES, (mesh_current, sample_current), strict=True)
            )
        ]
        encoders = (
            grating_reading(self.link, settings.counts_per_degree),
            mirror_reading(self.link, settings.counts_per_degree),
            motor_reading(self.link, "m3"),
            unconnected,
        )
        self._zebra = Zebra(
            self.database,
            f"{_ZEBRA}:",
            encoders,
            # Only the motor has a motor record, by which the box's support knows its units.
            ((1.0, 0.0), (1.0, 0.0), (1 / MOTOR_COUNTS_PER_EV, 0.0), (1.0, 0.0)),
            self.trigger_line,
            partial(self._record_pulses, _ZEBRA),
        )
        self._panda = None
        if settings.panda_port:
            # Imported only here: it needs an extra, and time.
            from .panda import Panda

            self._panda = Panda(
                self.database,
                f"{_PANDA}:",
                encoders,
                self.trigger_line,
                partial(self._record_pulses, _PANDA),
            )
        self._camera = Camera(
            self.database,
            _CAMERA,
            self._beam,
            lambda: self.link.axes[_FOCUS],
            np.random.default_rng([settings.seed, 4]),
            self._record,
            self.trigger_line,
        )
        self._quad = QuadElectrometer(
            self.database,
            _QUAD,
            self._beam,
            (mesh_current, sample_current),
            np.random.default_rng([settings.seed, 5]),
            self._record,
            self.trigger_line,
        )
        self._counter = Counter(
            self.database,
            _COUNTER,
            self._beam,
            (mesh_current, sample_current),
            np.random.default_rng([settings.seed, 6]),
            self._record,
            self.trigger_line,
        )
        self._pulses = PulseGenerator(self.database, self.trigger_line)
        self._readers: list[asyncio.Task[None]] = []

    async def _drift(self, energy: float) -> None:
        """Let the light be off by an energy (eV) from what the monochromator shows."""
        self._beam.drift = energy

    async def start(self) -> None:
        """Connect to the optics, wait until everything is known, and take first readings."""
        self._readers.append(asyncio.create_task(self.link.run(self._settings.link_port)))
        if port := self._settings.vacuum_link_port:
            # It may be started later, or never.
            self._readers.append(asyncio.create_task(self.barriers.run(port, _LATER)))
        await self.link.ready.wait()
        for electrometer in self._electrometers:
            await electrometer.prime()
        if self._panda is not None:
            self._panda.start(self._settings.panda_port, self._settings.panda_search_port)

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as group:
            for electrometer in self._electrometers:
                group.create_task(electrometer.run())
            group.create_task(self._zebra.run())
            if self._panda is not None:
                group.create_task(self._panda.run())
            group.create_task(self._camera.run())
            group.create_task(self._quad.run())
            group.create_task(self._counter.run())
            if self._truth is not None:
                group.create_task(self._record_trajectory(self._truth))

    async def close(self) -> None:
        """End all work and close the files."""
        if self._panda is not None:
            self._panda.close()
        await self._pulses.close()
        await self._camera.close()
        await self._counter.close()
        for reader in self._readers:
            reader.cancel()
        if self._truth is not None:
            self._truth.close()

    def _record(self, name: str, start: float, stop: float, energy: float, current: float) -> None:
        if self._truth is not None:
            self._truth.add_exposure(name, start, stop, energy, current)

    def _record_pulses(self, box: str, edges: NDArray[np.float64], width: float) -> None:
        if self._truth is not None:
            for edge in edges.tolist():
                # Simpson's rule: a pulse is short.
                energy = self._beam.energy(edge + np.array([0.0, 0.5, 1.0]) * width)
                mean = float(np.dot(energy, (1, 4, 1)) / 6)
                self._truth.add_exposure(box, edge, edge + width, mean, 0.0)

    async def _record_trajectory(self, truth: TruthWriter) -> None:
        begin = time.time() - _TRAJECTORY_DELAY
        async for tick in ticks(_TRAJECTORY_SECONDS):
            end = tick - _TRAJECTORY_DELAY
            if end <= begin:
                continue
            count = max(round((end - begin) * _TRAJECTORY_POINTS / _TRAJECTORY_SECONDS), 1)
            when = np.linspace(begin, end, count + 1)
            begin = end
            energy, gap = self._beam.energy(when), self._beam.gap(when)
            moving = (np.diff(energy) != 0) | (np.diff(gap) != 0)
            kept = np.ones(len(when), dtype=bool)
            kept[1:-1] = moving[1:] | moving[:-1]
            # The block's first point was the last one of the block before.
            kept[0] = False
            truth.add_trajectory(
                when[kept], energy[kept], self._beam.undulator_energy(when[kept]), gap[kept]
            )
