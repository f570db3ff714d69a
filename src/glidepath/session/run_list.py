"""The runs of a session's data directory, as one looks for them at a prompt."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glidepath.lookback import Run, RunIndex, StoredRun

if TYPE_CHECKING:
    from glidepath.export import Written

SHOWN = 20
"""Runs that a list shows."""


class RunList:
    """The runs of a data directory.

    ``runs`` shows the newest ones, ``runs[12]``, ``runs[-1]`` and ``runs["3f2a"]`` give one, and
    ``runs(sample="N2", failed=True)`` looks for some.

    Parameters
    ----------
    root
        The data directory.
    """

    def __init__(self, root: Path) -> None:
        self.index = RunIndex(root)

    def __call__(self, **options: Any) -> list[Run]:
        """Return runs, the newest first; the options are those of `RunIndex.runs`."""
        return self.index.runs(**options)

    def __getitem__(self, which: int | str) -> StoredRun:
        """Return one run by number, uid, or place from the end.

        Raises
        ------
        KeyError
            If there is no such run; the text is a sentence.
        """
        return StoredRun(self.index, self.index.one(which))

    def export(
        self, which: str | Iterable[int | str], path: Path | str, **options: Any
    ) -> "Written":
        """Write the common spectrum of several runs: ``runs.export([12, 13], "mean.nxs")``.

        Parameters
        ----------
        which
            Numbers or uids, or a range such as ``"12:15"`` or ``"-3:"``.
        path, options
            Those of `glidepath.lookback.exporting.export_runs`.

        Raises
        ------
        ValueError
            If there is no such run, or it cannot be done; the text is a sentence.
        """
        from glidepath.lookback.exporting import export_runs

        names = [which] if isinstance(which, str) else list(which)
        found = [run for name in names for run in self.index.find(name)]
        return export_runs([StoredRun(self.index, run) for run in found], path, **options)

    def __len__(self) -> int:
        return len(self.index.runs(limit=None))

    def __repr__(self) -> str:
        found = self.index.runs(limit=SHOWN)
        if not found:
            return f"There are no runs in {self.index.root} yet."
        lines = [
            f"{run.scan_id:>6}  {run.uid[:8]}  {run.plan:<12} {run.axis:<10} {run.range:<18} "
            f"{run.rows:>7} rows  {run.status:<8} {run.sample}".rstrip()
            for run in found
        ]
        return "\n".join(lines)


__all__ = ["RunList"]
