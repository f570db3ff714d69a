"""The simulated beamline as its users see it: the same device classes as for a real one."""

import os
from importlib.util import find_spec

from ophyd_async.core import Device

from glidepath.detectors import Camera, Counter, QuadElectrometer
from glidepath.devices import (
    PGM,
    AxisEncoders,
    Coupling,
    Electrometer,
    EncoderInput,
    EnergyAxis,
    GratingEncoders,
    LinearEncoder,
    Motor,
    ProfileMotor,
    PulseGenerator,
    Ring,
    SweepTiming,
    Undulator,
    Zebra,
    read_gap_table,
)
from glidepath.devices.pv_access import NO_PV_ACCESS

# Whoever loads these devices can also fly them.
from glidepath.flyers import flight_for  # noqa: F401
from glidepath.physics import Encoder

from .make_gap_tables import UNDULATORS, gap_table_file

__all__ = [
    "ACCEPTANCE",
    "AXES",
    "BASELINE",
    "DETECTORS",
    "PATH",
    "REFERENCE",
    "SAFE_RANGES",
    "SILENT",
    "SPECTRA",
    "UNAVAILABLE",
    "make_devices",
]

DETECTORS = ["mesh", "sample", "ring"]
"""What a scan reads if nobody says otherwise: I0, the gas cell, and the ring current."""

AXES = ["energy", "energy_separate", "mono_motor", "mono_profile", "focus"]
"""What can be scanned. ``energy_separate`` is the same monochromator and undulator as ``energy``,
as at a beamline whose undulator does not follow by itself: the gap is driven by us."""

BASELINE = ["pgm", "ue48", "ring", "focus", "m2"]
"""What is read before and after every run."""

SILENT = ["ring"]
"""What every scan records, whatever it names, and what is not drawn."""

REFERENCE = "mesh"
"""I0: what spectra are divided by when they are shown."""

SPECTRA = {
    "tey": [
        {"signal": "sample", "i0": "mesh"},
        {"signal": "quad_sample", "i0": "quad_mesh"},
        {"signal": "counter_sample", "i0": "counter_mesh"},
    ]
}
"""What makes its spectrum: the current of the gas cell, divided by that of the mesh."""

SAFE_RANGES = {
    **dict.fromkeys(("energy", "energy_separate", "mono_motor", "mono_profile"), (392.0, 412.0)),
    "focus": (-500.0, 500.0),
    "m2": (-10.0, 10.0),
    # Of the families, where it has them.
    **dict.fromkeys(("mirror-tx", "mirror-rx", "hexapod-x", "hexapod-a"), (-2.0, 2.0)),
    **dict.fromkeys(("pinholes-axes-2", "filters-axes-1"), (-3.0, 3.0)),
    "aperture-vgap": (2.0, 6.0),
    "slits-hgap": (1.0, 4.0),
    "exit_slit": (20.0, 200.0),
    **dict.fromkeys(("steerer_x", "steerer_y"), (-0.5, 0.5)),
    "converter": (-2.0, 2.0),
    "kicker": (0.0, 5.0),
    "delay": (-10.0, 10.0),
    "injection": (200.0, 300.0),
}
"""Where acceptance tests may move axes, in their units."""

VELOCITIES = {"velocities": (0.5, 1.0, 1.5)}
"""eV/s at which they fly an axis of the energy: faster, its undulator does not keep up."""

GAS = {"signal": "sample", "reference": "mesh", "resolving_power": 4000.0, "velocity": 0.5}
"""Its gas cell is filled with N2."""

ACCEPTANCE = {
    "energy": {**VELOCITIES, "nitrogen": GAS},
    "energy_separate": VELOCITIES,
    "mono_motor": {"velocities": (2.0, 4.0, 5.0)},
    "mono_profile": {"velocities": (2.0, 4.0, 5.0)},
    "focus": {"velocities": (200.0, 400.0, 800.0)},
}
"""What its acceptance tests go by."""

PANDA_VARIABLE = "GLIDEPATH_PANDA"
"""Variable of the environment that says that the simulated beamline has a PandA."""

VACUUM_VARIABLE = "GLIDEPATH_VACUUM"
ACCELERATOR_VARIABLE = "GLIDEPATH_ACCELERATOR"
"""Variables that say that it has valves, mirrors and slits, and that it has an accelerator."""

VACUUM = (
    *("beam_shutter", "photon_shutter", "valve1", "valve2", "mirror", "hexapod", "aperture"),
    *("slits", "pinholes", "filters", "exit_slit", "lock", "undulator_lock"),
)
ACCELERATOR = (
    *("topup", "injection", "fill_pattern", "steerer_x", "steerer_y", "converter", "multiplexer"),
    *("kicker", "delay", "tune", "feedback", "bpms", "bpm", "beam_size"),
)
"""Devices of the servers that are started where they are asked for."""

PATH = ["beam_shutter", "valve1", "valve2", "photon_shutter", "undulator_lock"]
"""What must let the beam through."""
if not os.environ.get(VACUUM_VARIABLE):
    PATH = []

UNAVAILABLE = {}
if find_spec("p4p") is None:
    UNAVAILABLE["panda"] = NO_PV_ACCESS.format(name="panda")
elif not os.environ.get(PANDA_VARIABLE):
    UNAVAILABLE["panda"] = (
        "The simulated beamline has a PandA only if it was started with 'glidepath sim --panda': "
        "do so, and set the variables that it prints."
    )
for _server, _variable, _names in (
    ("vacuum", VACUUM_VARIABLE, VACUUM),
    ("accelerator", ACCELERATOR_VARIABLE, ACCELERATOR),
):
    if not os.environ.get(_variable):
        UNAVAILABLE |= {
            name: f"{name} belongs to the {_server} server of the simulated beamline, which was "
            "not started with it: start 'glidepath sim', and set the variables that it prints."
            for name in _names
        }

FOLLOWING_LAG = 0.12
"""Seconds by which the gap is behind the energy in a sweep, as measured with this beamline."""

SWEEP_TIMING = SweepTiming(overhead=0.8, way_velocity=25.0, way_acceleration=50.0)
"""How long a sweep takes beside its motion, as measured with this beamline."""

DEFAULT_PREFIX = "SIM:"

GAP_RANGE = (15.0, 200.0)
"""Range of the undulator's gap in mm; its records have no drive limits."""

GAP_ACCELERATION = 4.0
"""How fast its gap changes its velocity, mm/s^2."""

LOWEST_CURRENT = 50.0
"""Ring current in mA below which there is no beam worth measuring with."""
CAMERA_LATENCY = 0.001
"""Seconds from the end of an exposure of its camera to the timestamp of the frame."""

QUAD_LATENCY = 0.0005
"""Seconds from the end of an exposure of its fast electrometer to the time of the frame."""

COUNTER_LATENCY = 0.001
"""Seconds from the begin of counting to the time that its start is published with."""

NPLC_RANGE = (0.01, 500.0)
"""Integration times that its electrometers take, in power-line cycles (up to 10 s)."""


GRATING_ENCODER = EncoderInput(1, Encoder(360_000))
MIRROR_ENCODER = EncoderInput(2, Encoder(360_000))
"""On the trigger box, in counts per degree: hundredths of an arcsecond."""

MOTOR_ENCODER = EncoderInput(3, Encoder(100_000))
"""The encoder of the motor on the trigger box, in counts per eV."""


def make_devices(
    prefix: str | None = None,
    undulator: str = "UE48",
    panda: bool | None = None,
    vacuum: bool | None = None,
    accelerator: bool | None = None,
) -> dict[str, Device]:
    """Make the devices of the simulated beamline, not connected.

    Parameters
    ----------
    prefix
        What every PV begins with; None: the environment's ``GLIDEPATH_PREFIX``, or ``"SIM:"``.
    undulator
        Which one it has: UE46, UE48, UE52 or UE56, as of ``glidepath sim --undulator``.
    panda
        Whether it has a PandA, as of ``glidepath sim --panda``; None: as the environment says.
    vacuum, accelerator
        Whether it has valves, shutters, mirrors and slits, and magnets and monitors of the ring;
        None: as the environment says.
    """
    if prefix is None:
        prefix = os.environ.get("GLIDEPATH_PREFIX", DEFAULT_PREFIX)
    if undulator not in UNDULATORS:
        raise ValueError(
            f"The simulated beamline has no undulator {undulator!r}; choose one of "
            f"{', '.join(UNDULATORS)}."
        )
    pgm = PGM(f"{prefix}PGM1:", "pgm", timing=SWEEP_TIMING)
    source = Undulator(
        f"{prefix}{undulator}:",
        read_gap_table(gap_table_file(undulator)),
        name=undulator.lower(),
        gap_range=GAP_RANGE,
        gap_acceleration=GAP_ACCELERATION,
        following_lag=FOLLOWING_LAG,
    )
    mono_motor = Motor(f"{prefix}m3", "mono_motor")
    angles = GratingEncoders(pgm, GRATING_ENCODER, MIRROR_ENCODER)
    motor = LinearEncoder(MOTOR_ENCODER, mono_motor.user_readback)
    encoders: dict[str, AxisEncoders] = {
        **dict.fromkeys(("pgm", "energy", "energy_separate"), angles),
        **dict.fromkeys(("mono_motor", "mono_profile"), motor),
    }
    devices: list[Device] = [
        pgm,
        source,
        EnergyAxis(pgm, source, "energy"),
        EnergyAxis(pgm, source, "energy_separate", coupling=Coupling.SEPARATE),
        Electrometer(f"{prefix}KEI1:", "mesh", nplc_range=NPLC_RANGE, frequency_pv="rbkLineFreq"),
        Electrometer(f"{prefix}KEI2:", "sample", nplc_range=NPLC_RANGE, frequency_pv="rbkLineFreq"),
        Ring(f"{prefix}RING:", f"{prefix}TOPUP:", "ring", lowest_current=LOWEST_CURRENT),
        Camera(f"{prefix}CAM1:", "camera", driver="vimba", latency=CAMERA_LATENCY, burst=True),
        QuadElectrometer(
            f"{prefix}QE1:",
            "quad",
            inputs={1: "mesh", 2: "sample"},
            latency=QUAD_LATENCY,
        ),
        Counter(
            f"{prefix}CNT1:",
            "counter",
            inputs={2: "mesh", 3: "sample"},
            latency=COUNTER_LATENCY,
        ),
        Motor(f"{prefix}m1", "focus"),
        Motor(f"{prefix}m2", "m2"),
        mono_motor,
        ProfileMotor(f"{prefix}m3", f"{prefix}PM1:", axis=3, axes=(2, 3), name="mono_profile"),
        Zebra(f"{prefix}ZEBRA:", "zebra", axes=encoders),
        PulseGenerator(f"{prefix}PULSE:", "pulses"),
    ]
    if "panda" not in UNAVAILABLE if panda is None else panda:
        from glidepath.devices import Panda

        devices.append(Panda(f"{prefix}PANDA:", "panda", axes=encoders))
    # Imported where they are asked for: nobody waits for classes that are not used.
    if _there(vacuum, VACUUM_VARIABLE):
        from .simulated_families import vacuum_devices

        devices += vacuum_devices(prefix, undulator)
    if _there(accelerator, ACCELERATOR_VARIABLE):
        from .simulated_families import accelerator_devices

        devices += accelerator_devices(prefix)
    return {device.name: device for device in devices}


def _there(asked: bool | None, variable: str) -> bool:
    """Return whether a part of the beamline is there: as it was asked, or as is said."""
    return bool(os.environ.get(variable)) if asked is None else asked
