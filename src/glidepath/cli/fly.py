"""`glidepath fly`: one continuous scan from the command line."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import BAD_INPUT, errors_as_sentences
from .options import BeamlineOption, DataOption, TiledOption, open_session
from .scan_arguments import (
    DetectorsOption,
    ExposureOption,
    PassesOption,
    PathOption,
    PeriodOption,
    RegionOption,
    ShutterOption,
    SilentOption,
    StartArgument,
    StepOption,
    StopArgument,
    ThereAndBackOption,
    TriggerOption,
    VelocityArgument,
    detector_names,
    light_path_arguments,
    names_in,
    row_arguments,
    trajectory_from,
)


@contextmanager
def catalogue(uri: str | None, root: Path) -> Iterator[Callable[[], Any]]:
    """Give a function that opens the catalogue: the user's server, or one for this directory."""
    from glidepath.configuration import load_configuration
    from glidepath.session.run_documents import SharedCatalogue

    shared = SharedCatalogue(root, uri, load_configuration().database)
    try:
        shared.begin()
        yield shared.open
    finally:
        shared.close()


def fly(
    axis: Annotated[str, typer.Argument(help="Device to fly, such as energy.")],
    start: StartArgument = None,
    stop: StopArgument = None,
    velocity: VelocityArgument = None,
    region: RegionOption = None,
    passes: PassesOption = 1,
    there_and_back: ThereAndBackOption = False,
    detectors: DetectorsOption = None,
    silent: SilentOption = None,
    period: PeriodOption = None,
    beamline: BeamlineOption = None,
    data: DataOption = None,
    tiled: TiledOption = None,
    trigger: TriggerOption = None,
    step: StepOption = None,
    exposure: ExposureOption = None,
    shutter: ShutterOption = None,
    path: PathOption = None,
    refly: Annotated[
        bool, typer.Option("--refly", help="Fly ranges with bad rows again at the end.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the pre-flight report; nothing moves.")
    ] = False,
) -> None:
    """Fly AXIS from START to STOP at VELOCITY, or over regions, and record the detectors."""
    from glidepath.live import LiveView
    from glidepath.plans import inspect, xas_flyscan
    from glidepath.plans.trajectory_scan import BAD_ROWS
    from glidepath.session.interrupts import late_interrupts_ignored

    from .report import print_end, print_preflight, what_is_left_said

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences(), ExitStack() as ending:
        trajectory = trajectory_from(start, stop, velocity, region, passes, there_and_back)
        with open_session(beamline, data, tiled=tiled, left_behind=True) as session:
            names = detector_names(detectors, axis, session.beamline.detectors)
            if silent is not None:
                session.silent = names_in(silent)
            # All at once: each of them waits for its server.
            wanted = [axis, *names, *([] if trigger is None else [trigger])]
            moved, *others = session.devices(wanted)
            sampled, box = others[: len(names)], (None if trigger is None else others[-1])
            rows = row_arguments(box, step, period, exposure)
            light = light_path_arguments(session, shutter, path)
            recorded = session.with_silent(sampled, moved)
            report = session.call(lambda: inspect(recorded, moved, trajectory, **rows, **light))
            print_preflight(console, report)
            if dry_run:
                raise typer.Exit(0 if report.passed else BAD_INPUT)
            report.check()
            session.check_catalogue()
            plan = xas_flyscan(
                sampled,
                moved,
                trajectory,
                refly=BAD_ROWS if refly else None,
                **rows,
                **light,
            )
            # Until all is put away, the session too: what is said last is the scan's reason.
            ending.enter_context(late_interrupts_ignored())
            with what_is_left_said(session), LiveView(session.follower, console):
                stopped = session.run(plan)
            print_end(console, session.follower.start, stopped)


__all__ = ["TiledOption", "catalogue", "fly"]
