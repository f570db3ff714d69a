"""``glidepath sim``: run the simulated beamline in a terminal, for clients of any kind."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from glidepath.simulation import NOISE_OF_A_BEAMLINE, SimulatedBeamline
from glidepath.simulation.accelerator import ACCELERATOR_FAMILIES
from glidepath.simulation.vacuum import VACUUM_FAMILIES

__all__ = ["sim"]

_SHOWN = {
    "PGM1:monoGetEnergy": "photon energy of the monochromator",
    "PGM1:GetSweepState": "state of its sweep",
    "PGM1:cff": "fixed-focus constant",
    "PGM1:slitwidth": "exit slit",
    "SGM1:monoGetEnergy": "energy of the spherical grating monochromator",
    "DCM1:monoGetEnergy": "energy of the crystal monochromator",
    "UE48:BaseIPmGap.A": "undulator gap",
    "UE48:BasePmEnergy": "energy of its first harmonic, by the table",
    "UE48:BaseCmdLswitch": "who controls the gap",
    "KEI1:rdCur": "electrometer on the mesh (I0)",
    "KEI2:rdCur": "electrometer on the gas cell",
    "m1.RBV": "focus motor",
    "m2.RBV": "motor without a velocity limit",
    "m3.RBV": "photon energy as a motor record",
    "BEAM:axis": "which of these axes sets the beam's energy",
    "RING:current": "ring current",
    "TOPUP:estCntDwnS": "time to the next injection",
}
_ANSWER_SECONDS = 5.0


def sim(
    prefix: Annotated[str, typer.Option(help="What every PV name begins with.")] = "SIM:",
    seed: Annotated[int, typer.Option(help="Of all noise: same seed, same data.")] = 1,
    readback_hz: Annotated[float, typer.Option(help="Rate of the energy readback, Hz.")] = 10.0,
    encoder_noise: Annotated[
        float, typer.Option(help="Standard deviation of the energy readback, eV.")
    ] = 0.0005,
    ripple: Annotated[float, typer.Option(help="Servo ripple while moving, eV.")] = 0.002,
    clock_offset: Annotated[
        tuple[float, float], typer.Option(help="Clock offsets of optics and detectors, s.")
    ] = (0.0, 0.0),
    arrival_delay: Annotated[
        float, typer.Option(help="Every update leaves that much later, s.")
    ] = 0.0,
    truth: Annotated[
        Path | None, typer.Option(help="HDF5 file for the true energies and exposures.")
    ] = None,
    default_batching: Annotated[
        bool, typer.Option(help="Let the servers batch updates for up to a second.")
    ] = False,
    undulator: Annotated[
        str, typer.Option(help="Which undulator: UE46, UE48, UE52 or UE56.")
    ] = "UE48",
    mains: Annotated[float, typer.Option(help="Frequency of the mains, Hz: 50 or 60.")] = 50.0,
    noise: Annotated[
        float, typer.Option(help="Noise of the electrometers; 1: that of the meters alone.")
    ] = NOISE_OF_A_BEAMLINE,
    panda: Annotated[
        bool, typer.Option("--panda", help="With a PandA, over PV Access (needs p4p).")
    ] = False,
    vacuum: Annotated[
        bool, typer.Option(help="With valves, shutters, mirrors, slits: a server of their own.")
    ] = True,
    accelerator: Annotated[
        bool, typer.Option(help="With magnets and monitors of the ring: a server of their own.")
    ] = True,
    optics_port: Annotated[int | None, typer.Option(help="Port; default: a free one.")] = None,
    detectors_port: Annotated[int | None, typer.Option(help="Port; default: a free one.")] = None,
) -> None:
    """Run a simulated beamline until Ctrl-C."""
    # Names such as SIM:RING:current are not emoji.
    console = Console(emoji=False)
    try:
        beamline = SimulatedBeamline(
            prefix,
            optics_port=optics_port,
            detectors_port=detectors_port,
            seed=seed,
            readback_Hz=readback_hz,
            encoder_noise_eV=encoder_noise,
            ripple_eV=ripple,
            clock_offset=clock_offset,
            arrival_delay=arrival_delay,
            truth=truth,
            default_batching=default_batching,
            undulator=undulator,
            mains_Hz=mains,
            detector_noise=noise,
            panda=panda,
            vacuum=vacuum,
            accelerator=accelerator,
        )
    except ValueError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None

    asked_to_end = threading.Event()
    handlers = {
        number: signal.signal(number, lambda *_: asked_to_end.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        with beamline:
            _show(console, beamline)
            while not asked_to_end.wait(0.5):
                if beamline.ended:
                    typer.echo(f"The {beamline.ended[0]} server has ended by itself.", err=True)
                    raise typer.Exit(1)
    except RuntimeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    console.print("The simulated beamline has ended.")


def _show(console: Console, beamline: SimulatedBeamline) -> None:
    """Print the main PVs with their values, and what clients need."""
    # Imported here because the client reads its addresses from the environment.
    os.environ.update(beamline.environment)
    from caproto.sync.client import read

    table = Table("PV", "value", "what it is", title="Simulated beamline")
    shown = {name.replace("UE48", beamline.settings.undulator): m for name, m in _SHOWN.items()}
    for name, meaning in shown.items():
        answer = read(
            beamline.prefix + name, data_type="control", timeout=_ANSWER_SECONDS, repeater=False
        )
        table.add_row(beamline.prefix + name, _as_text(answer), meaning)
    console.print(table)
    if beamline.settings.vacuum_port:
        console.print(_families("Vacuum and optics", beamline.prefix, VACUUM_FAMILIES))
    if beamline.settings.accelerator_port:
        console.print(_families("Accelerator", beamline.prefix, ACCELERATOR_FAMILIES))
    console.print("For clients, in another terminal:\n")
    for name, value in beamline.environment.items():
        console.print(f'export {name}="{value}"', highlight=False, soft_wrap=True)
    console.print("\nRunning; Ctrl-C ends it.")


def _families(title: str, prefix: str, families: Mapping[str, Sequence[str]]) -> Table:
    """Return families of devices and their main PVs as a table."""
    table = Table("family", "PVs", title=title)
    for family, names in families.items():
        table.add_row(family, "  ".join(prefix + name for name in names))
    return table


def _as_text(answer: object) -> str:
    """Format one reading with its unit."""
    metadata, value = answer.metadata, answer.data[0]  # type: ignore[attr-defined]
    choices = getattr(metadata, "enum_strings", None)
    if choices:
        return str(choices[int(value)].decode())
    unit = getattr(metadata, "units", b"").decode()
    return f"{value:.6g} {unit}".strip()
