"""The simulated beamline as a Python object: starts the server processes and ends them."""

import contextlib
import importlib.util
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from .laws import LAWS
from .ports import free_ports, is_free
from .settings import Settings

__all__ = ["SimulatedBeamline"]

ALWAYS = ("optics", "detectors")
"""Servers that every simulated beamline has."""

OPTIONAL = ("vacuum", "accelerator")
"""Servers that are started where they are asked for."""

_START_SECONDS = 90.0
_STOP_SECONDS = 3.0
_ARRAY_BYTES = 20_000_000

NOISE_OF_A_BEAMLINE = 20.0
"""Noise of what people play with, in that of the meters alone: a real beam and a real sample are
not as quiet as an electrometer."""


class SimulatedBeamline:
    """A beamline of real Channel Access servers in processes of their own, on the loopback.

    A context manager: all servers answer when the block is entered, and have ended when it is
    left. They also end by themselves when this process dies.

    Parameters
    ----------
    prefix
        What every process variable's name begins with.
    optics_port, detectors_port
        Channel Access ports of the two servers; None chooses free ones.
    seed
        Seed of all noise: the same seed gives the same data.
    readback_Hz
        Rate at which the monochromator publishes its measured energy, Hz.
    encoder_noise_eV
        Standard deviation of the measured energy, eV.
    ripple_eV
        Amplitude of the servo ripple while the monochromator moves, eV.
    counts_per_degree
        Counts of the encoders on the plane-grating monochromator's grating and mirror.
    clock_offset
        Added to the timestamps that the optics and the detectors publish, s.
    arrival_delay
        Every monitor update leaves that much later, with its timestamp unchanged, s.
    truth
        HDF5 file for what only the simulation knows; see
        :class:`~glidepath.simulation.truth.Truth`. None writes nothing.
    default_batching
        Leave caproto's own batching of monitor updates, which delays them by up to a second.
    start_energy_eV
        Where the monochromators stand at the beginning, eV.
    undulator
        Which undulator it has: UE46, UE48, UE52 or UE56; a part of the names of its process
        variables.
    mains_Hz
        Frequency of the mains, by which the electrometers go, Hz.
    detector_noise
        So many times the noise of the electrometers themselves.
    panda
        Whether it has a PandA; it is served over PV Access, for which p4p is needed
        (``glidepath[panda]``).
    vacuum
        Whether the server of valves, shutters, mirrors, slits and apertures is started. Its
        valves and shutters are open at the beginning, and dark is what is behind a closed one.
    accelerator
        Whether the server of the accelerator is started.
    later
        Whether clients get the addresses of both even if they are not started yet; see
        `start_also`.

    Attributes
    ----------
    environment
        The variables that a client of this beamline needs: ``EPICS_*``, ``GLIDEPATH_PREFIX``, and
        where there is a PandA, a vacuum server or an accelerator ``GLIDEPATH_PANDA``,
        ``GLIDEPATH_VACUUM``, ``GLIDEPATH_ACCELERATOR``, by which
        :mod:`glidepath.beamlines.simulated` knows of them.
    settings
        The settings with the ports that were chosen.

    Examples
    --------
    >>> with SimulatedBeamline(seed=7) as beamline:  # doctest: +SKIP
    ...     subprocess.run(["caget", "SIM:RING:current"], env=os.environ | beamline.environment)
    """

    def __init__(
        self,
        prefix: str = "SIM:",
        *,
        optics_port: int | None = None,
        detectors_port: int | None = None,
        seed: int = 1,
        readback_Hz: float = 10.0,
        encoder_noise_eV: float = 0.0005,
        ripple_eV: float = 0.002,
        counts_per_degree: float = 360_000.0,
        clock_offset: tuple[float, float] = (0.0, 0.0),
        arrival_delay: float = 0.0,
        truth: str | Path | None = None,
        default_batching: bool = False,
        start_energy_eV: float = 400.0,
        undulator: str = "UE48",
        mains_Hz: float = 50.0,
        detector_noise: float = 1.0,
        panda: bool = False,
        vacuum: bool = False,
        accelerator: bool = False,
        later: bool = False,
    ) -> None:
        if not readback_Hz > 0:
            raise ValueError(f"readback_Hz must be above 0, but {readback_Hz} was asked.")
        if not mains_Hz > 0:
            raise ValueError(f"mains_Hz must be above 0, but {mains_Hz} was asked.")
        if not detector_noise >= 0:
            raise ValueError(
                f"detector_noise must not be negative, but {detector_noise} was asked."
            )
        if not arrival_delay >= 0:
            raise ValueError(f"arrival_delay must not be negative, but {arrival_delay} was asked.")
        if undulator not in LAWS:
            raise ValueError(
                f"There is no undulator {undulator!r} to simulate; choose one of {', '.join(LAWS)}."
            )
        if panda and importlib.util.find_spec("p4p") is None:
            raise ValueError(
                "The simulated PandA is served over PV Access, which needs p4p; install "
                "glidepath[panda]."
            )
        self._asked = {"vacuum": vacuum, "accelerator": accelerator}
        chosen = free_ports(9)
        self.settings = Settings(
            optics_port=chosen[0] if optics_port is None else optics_port,
            detectors_port=chosen[1] if detectors_port is None else detectors_port,
            link_port=chosen[2],
            repeater_port=chosen[3],
            prefix=prefix,
            seed=seed,
            readback_Hz=readback_Hz,
            encoder_noise_eV=encoder_noise_eV,
            ripple_eV=ripple_eV,
            counts_per_degree=counts_per_degree,
            optics_clock_offset=clock_offset[0],
            detectors_clock_offset=clock_offset[1],
            arrival_delay=arrival_delay,
            truth=None if truth is None else str(Path(truth).absolute()),
            default_batching=default_batching,
            start_energy_eV=start_energy_eV,
            undulator=undulator,
            mains_Hz=mains_Hz,
            detector_noise=detector_noise,
            panda_port=chosen[4] if panda else 0,
            panda_search_port=chosen[5] if panda else 0,
            vacuum_port=chosen[6] if vacuum or later else 0,
            accelerator_port=chosen[7] if accelerator or later else 0,
            vacuum_link_port=chosen[8] if vacuum or later else 0,
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._errors: dict[str, IO[bytes]] = {}

    @property
    def prefix(self) -> str:
        """What every process variable's name begins with."""
        return self.settings.prefix

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a client of this beamline needs."""
        ports = filter(None, (self.settings.port(name) for name in (*ALWAYS, *OPTIONAL)))
        search_port = self.settings.panda_search_port
        panda = {
            # Asked over TCP: of several on one machine, datagrams would reach only one.
            "EPICS_PVA_NAME_SERVERS": f"127.0.0.1:{self.settings.panda_port}",
            "EPICS_PVA_ADDR_LIST": "",
            "EPICS_PVA_AUTO_ADDR_LIST": "NO",
            "EPICS_PVA_BROADCAST_PORT": str(search_port),
            "GLIDEPATH_PANDA": "1",
        }
        return {
            "EPICS_CA_ADDR_LIST": " ".join(f"127.0.0.1:{port}" for port in ports),
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CA_REPEATER_PORT": str(self.settings.repeater_port),
            "EPICS_CA_MAX_ARRAY_BYTES": str(_ARRAY_BYTES),
            "GLIDEPATH_PREFIX": self.prefix,
            **(panda if search_port else {}),
            **{
                f"GLIDEPATH_{name.upper()}": "1"
                for name in OPTIONAL
                if self._asked[name] or name in self._processes
            },
        }

    @property
    def process_ids(self) -> dict[str, int]:
        """Process ids of the running servers, by name (such as "optics")."""
        return {name: process.pid for name, process in self._processes.items()}

    @property
    def ended(self) -> tuple[str, ...]:
        """Names of the servers that were started and have ended by themselves."""
        return tuple(
            name for name, process in self._processes.items() if process.poll() is not None
        )

    def start(self) -> None:
        """Start the servers and wait until they answer.

        Raises
        ------
        RuntimeError
            If a port is in use already, or a server does not start.
        """
        for port in (self.settings.optics_port, self.settings.detectors_port):
            if not is_free(port):
                raise RuntimeError(
                    f"Port {port} of 127.0.0.1 was asked for the simulated beamline, but is in "
                    "use; end the other server or choose another port."
                )
        names = [*ALWAYS, *(name for name in OPTIONAL if self._asked[name])]
        try:
            for name in names:
                self._launch(name)
            for name in names:
                self._wait_until_ready(name)
        except BaseException:
            self.stop()
            raise

    def start_also(self, name: str) -> None:
        """Start one more server, "vacuum" or "accelerator"; harmless if it runs already.

        Raises
        ------
        ValueError
            If it is none of these, or clients were not given its address.
        """
        if name not in OPTIONAL or not self.settings.port(name):
            raise ValueError(
                f"{name!r} cannot be started later; give later=True to the simulated beamline, "
                f"and choose one of {', '.join(OPTIONAL)}."
            )
        if name not in self._processes:
            self._launch(name)
            self._wait_until_ready(name)

    def stop(self) -> None:
        """End all servers; harmless if they have ended already."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(max(deadline - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(BrokenPipeError):
                        stream.close()
        for errors in self._errors.values():
            errors.close()
        self._processes.clear()
        self._errors.clear()

    def kill(self, name: str) -> None:
        """Kill one server (such as "optics") without warning, as a crash would."""
        process = self._processes[name]
        process.kill()
        process.wait()

    def freeze(self, name: str) -> None:
        """Let one server hang: its connections stay, and nothing comes or is answered."""
        self._processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let a frozen server go on; harmless if it is not frozen."""
        self._processes[name].send_signal(signal.SIGCONT)

    def restart(self, name: str, **changes: Any) -> None:
        """Start one server again after it was killed, and wait until it answers.

        Parameters
        ----------
        name
            Such as "optics".
        **changes
            Fields of the settings that this server has from now on.
        """
        self.kill(name)
        process = self._processes.pop(name)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        self._errors.pop(name).close()
        self._launch(name, **changes)
        self._wait_until_ready(name)

    def __enter__(self) -> "SimulatedBeamline":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, name: str, **changes: Any) -> None:
        settings = replace(self.settings, **changes)
        self._errors[name] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        # A session of its own keeps the servers out of the terminal's Ctrl-C, which a user may
        # type to pause a scan.
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", "glidepath.simulation.server", name, settings.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors[name],
            start_new_session=True,
            env=_clean_environment(),
        )

    def _wait_until_ready(self, name: str) -> None:
        process = self._processes[name]
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            answered = bool(selector.select(_START_SECONDS))
        if not answered or b"ready" not in process.stdout.readline():
            raise RuntimeError(
                f"The {name} server of the simulated beamline did not start; it said: "
                f"{self._said(name)}"
            )

    def _said(self, name: str) -> str:
        errors = self._errors[name]
        errors.seek(0)
        return errors.read().decode(errors="replace").strip()[-2000:] or "nothing"


def _clean_environment() -> dict[str, str]:
    """Environment without the settings of other Channel Access servers and clients."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("EPICS_", "CAPROTO_"))
    }
