"""`glidepath check`: acceptance tests of devices, on the live ones."""

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from .errors import FAILED, errors_as_sentences
from .options import BeamlineOption, DataOption, open_session

check = typer.Typer(help="Measure whether a device does what a scan relies on.")

STYLES = {"pass": "green", "FAIL": "bold red", "note": ""}


@check.callback()
def _group() -> None:
    pass


@check.command()
def detector(
    name: Annotated[str, typer.Argument(help="Detector to check, such as camera.")],
    exposure: Annotated[float, typer.Option(help="Exposure of its frames (s).")] = 0.02,
    pulses: Annotated[
        str | None,
        typer.Option(
            help="What sends pulses to its trigger input: a pulse generator or a trigger box; "
            "'' for none.",
            show_default="the first of these that the beamline has",
        ),
    ] = None,
    beamline: BeamlineOption = None,
    data: DataOption = None,
) -> None:
    """Measure trigger modes, dead time, highest rate, latency and files of a triggered detector."""
    from glidepath.detectors import DetectorCheck, Finding, Result, find_frame_source
    from glidepath.devices import Pulses, Zebra
    from glidepath.flyers import pulses_of

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences(), open_session(beamline, data, catalogue=False) as session:
        checked = find_frame_source(*session.devices([name]))
        if checked is None:
            raise ValueError(f"{name} is no triggered detector; name one that is.")
        if pulses is None:
            every = session.beamline.devices
            senders = [
                n for kind in (Pulses, Zebra) for n, d in every.items() if isinstance(d, kind)
            ]
            pulses = senders[0] if senders else ""
        sender = pulses_of(session.devices([pulses])[0]) if pulses else None
        folder = session.root / "check" / f"{name}_{time.strftime('%Y%m%d_%H%M%S')}"
        folder.mkdir(parents=True)
        findings: list[Finding] = []

        async def measure() -> None:
            async for finding in DetectorCheck(checked, sender, exposure, folder).findings():
                findings.append(finding)
                console.print(f"{finding.result:>4}  {finding.what}: {finding.found}")

        session.call(measure)
        table = Table("check", "result", "found", "put in", title=f"{name}, {1e3 * exposure:g} ms")
        for finding in findings:
            style = STYLES[finding.result]
            table.add_row(finding.what, finding.result, finding.found, finding.put_in, style=style)
        console.print(table)
        if any(finding.result is Result.FAIL for finding in findings):
            raise typer.Exit(FAILED)


__all__ = ["check"]
