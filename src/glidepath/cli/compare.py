"""`glidepath compare`: what the beamline was like in two runs, or before and after one."""

from typing import Annotated

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import DataOption, RunArgument, stored_data


def compare(
    one: RunArgument = "-1",
    other: Annotated[
        str | None, typer.Argument(help="Second run. Default: the end of the first one.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Compare the baselines of two runs beyond each signal's tolerance, or within one run."""
    from glidepath.lookback import StoredRun, differences, moved_during

    from .run_tables import differences_table

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        root = stored_data(data, [one] if other is None else [one, other])
        first = StoredRun.of(root, one)
        if other is None:
            found, names = moved_during(first), ("before", "after")
        else:
            second = StoredRun.of(root, other)
            found = differences(first, second)
            names = (f"scan {first.run.scan_id}", f"scan {second.run.scan_id}")
        if not first.baseline():
            raise ValueError(f"{first!r} has no baseline to compare.")
        if found:
            console.print(differences_table(found, *names))
        else:
            console.print("Nothing is different beyond its tolerance.")


__all__ = ["compare"]
