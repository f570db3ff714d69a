"""`glidepath focus`: find the focus of the beam with a camera."""

from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import BeamlineOption, DataOption, TiledOption, open_session


def focus(
    start: Annotated[float, typer.Argument(help="Begin of the range, in the motor's unit.")],
    stop: Annotated[float, typer.Argument(help="End of the range.")],
    step: Annotated[float, typer.Argument(help="Distance of two positions.")],
    motor: Annotated[str, typer.Option(help="Motor that moves the focus.")] = "focus",
    camera: Annotated[str, typer.Option(help="Camera that sees the beam.")] = "camera",
    fly: Annotated[bool, typer.Option("--fly", help="Fly instead of stepping.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Move to the focus that was found.")] = False,
    beamline: BeamlineOption = None,
    data: DataOption = None,
    tiled: TiledOption = None,
) -> None:
    """Scan a motor from START to STOP and find where the beam on a camera is smallest."""
    from glidepath.pictures import save_focus
    from glidepath.plans import FocusData, FocusResult, focus_scan
    from glidepath.session.interrupts import late_interrupts_ignored

    from .report import print_end

    console = Console(highlight=False, emoji=False)
    with (
        errors_as_sentences(),
        open_session(beamline, data, tiled=tiled, left_behind=True) as session,
    ):
        moved: Any
        moved, looking = session.devices([motor, camera])
        recorded = FocusData(motor, camera)
        session.RE.subscribe(recorded)
        session.check_catalogue()
        with late_interrupts_ignored():
            stopped = session.run(
                focus_scan([looking], moved, start, stop, step, fly=fly, move=move)
            )
            document = session.follower.start
            print_end(console, document, stopped)
            unit = session.call(moved.describe)[motor].get("units", "")
            when = datetime.fromtimestamp(document["time"])
            picture = session.root / f"focus_{document['scan_id']:06d}.png"
            save_focus(
                picture,
                recorded.columns,
                FocusResult.of(recorded.columns, unit).fits,
                title=f"{camera}, scan {document['scan_id']} ({document['uid'][:8]}), "
                f"{when:%Y-%m-%d %H:%M:%S}",
                position_label=f"{motor} ({unit})" if unit else motor,
            )
            console.print(f"Picture  {picture}", soft_wrap=True)


__all__ = ["focus"]
