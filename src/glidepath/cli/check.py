"""`glidepath check`: acceptance tests of devices, on the live ones."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from .errors import FAILED, errors_as_sentences
from .options import BeamlineOption, DataOption, TiledOption, open_session

STYLES = {"pass": "green", "FAIL": "bold red", "note": "", "left out": "dim"}

DETECTOR = "detector"
"""First name after which the detector that follows is measured, as version 0.1 did."""


def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Devices to test, such as mono shutter. Default: all, only read."),
    ] = None,
    move: Annotated[
        bool,
        typer.Option("--move", help="Also move, or let run, the devices that are named."),
    ] = False,
    listed: Annotated[
        bool, typer.Option("--list", help="Only list the tests that there are for them.")
    ] = False,
    exposure: Annotated[float, typer.Option(help="Exposure of detectors (s).")] = 0.02,
    pulses: Annotated[
        str | None,
        typer.Option(
            help="What sends pulses to the trigger inputs of detectors: a pulse generator or a "
            "trigger box; '' for none.",
            show_default="the first of these that the beamline has",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder of the report.", show_default="a new one in the data directory"),
    ] = None,
    beamline: BeamlineOption = None,
    data: DataOption = None,
    tiled: TiledOption = None,
) -> None:
    """Make acceptance tests of devices; they are only read, with --move also moved and put back.

    What was found goes into a run and a report (HTML, JUnit), with what has changed since the last
    time. The exit status is 1 if a test failed.
    """
    from glidepath.acceptance import Asked, Result, Runner, planned_tests
    from glidepath.acceptance.session_end import finish

    console = Console(highlight=False, emoji=False)
    named = names or []
    with (
        errors_as_sentences(),
        open_session(
            beamline,
            data,
            tiled=tiled,
            baseline=False,
            silent=False,
            exports=False,
            left_behind=True,
        ) as session,
    ):
        if named[:1] == [DETECTOR] and DETECTOR not in session.beamline.devices:
            _measure_detector(console, session, named[1:], exposure, pulses)
            return
        if move and not named:
            raise ValueError(
                "Everything would move: name the devices that may, as in 'glidepath check focus "
                "--move'."
            )
        planned = planned_tests(session.beamline, named)
        if listed:
            for one in planned:
                moving = "  moves something" if one.test.moves else ""
                console.print(f"{one.title}{moving}", soft_wrap=True)
            return
        runner = Runner(session, Asked(frozenset(named if move else ()), exposure, pulses))
        session.check_catalogue()
        try:
            for one in planned:
                _print(console, runner.run(one))
        finally:
            # Also of tests that were ended by the user.
            written = finish(runner, report)
        _print_end(console, runner, written)
        if any(outcome.result is Result.FAIL for outcome in runner.outcomes):
            raise typer.Exit(FAILED)


def _print(console: Console, outcome: Any) -> None:
    if outcome.result == "left out":
        # Counted at the end: of a device that is only read, that is most.
        return
    console.print(
        f"[{STYLES[outcome.result]}]{outcome.result:>4}[/]  [bold]{outcome.title}[/]: ",
        end="",
        soft_wrap=True,
    )
    console.print(outcome.sentence, markup=False, soft_wrap=True)


def _print_end(console: Console, runner: Any, written: Any) -> None:
    from glidepath.acceptance.record import counts

    number = counts(runner.outcomes)
    console.print(
        f"{number['passed']} passed, {number['failed']} failed, {number['left_out']} left out."
    )
    if written is None:
        return
    for sentence in written.changes:
        console.print(f"Changed: {sentence}", markup=False, soft_wrap=True)
    console.print(f"Report: {written.html}", markup=False, soft_wrap=True)


def _measure_detector(
    console: Console, session: Any, names: list[str], exposure: float, pulses: str | None
) -> None:
    """Measure trigger modes, dead time, highest rate, latency and files of a detector."""
    from glidepath.acceptance.suites.detectors import pulse_sender
    from glidepath.detectors import DetectorCheck, Finding, Result, find_frame_source
    from glidepath.flyers import pulses_of

    if len(names) != 1:
        raise ValueError(
            "One detector at a time is measured, as in 'glidepath check detector camera'."
        )
    (name,) = names
    checked = find_frame_source(*session.devices([name]))
    if checked is None:
        raise ValueError(f"{name} is no triggered detector; name one that is.")
    if pulses is None:
        pulses = pulse_sender(session.beamline)
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
