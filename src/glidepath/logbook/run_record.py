"""What a logbook or a catalogue is told of a run: the few things that people look for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

PICTURE = "spectrum.png"
"""Name of the picture in a run's folder."""


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Attributes
    ----------
    uid, scan_id, plan, title
        The run and its names.
    begin, end
        POSIX s.
    exit_status, reason
        How it ended.
    command
        What the user typed.
    folder
        Where its files are, or an empty text.
    experiment
        The keys of its start document that an `Experiment` sets.
    """

    uid: str
    scan_id: int | None
    plan: str
    title: str
    begin: float
    end: float
    exit_status: str
    reason: str
    command: str = ""
    folder: str = ""
    experiment: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, start: Mapping[str, Any], stop: Mapping[str, Any], folder: Path | None) -> Self:
        """Return what two documents say of a run."""
        from .experiment import KEYS

        plan = str(start.get("plan_name", ""))
        return cls(
            uid=start["uid"],
            scan_id=start.get("scan_id"),
            plan=plan,
            title=str(start.get("title") or " ".join([plan, *(start.get("motors") or ())])),
            begin=start["time"],
            end=stop["time"],
            exit_status=stop.get("exit_status", ""),
            reason=str(stop.get("reason", "")),
            command=str(start.get("command", "")),
            folder="" if folder is None else str(folder),
            experiment={key: start[key] for key in sorted(KEYS) if key in start},
        )

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        return asdict(self)

    @property
    def name(self) -> str:
        """What people call the run."""
        number = "" if self.scan_id is None else f"{self.scan_id:06d}_"
        return f"{number}{self.uid[:8]}"

    @property
    def picture(self) -> Path | None:
        """The run's picture, if there is one."""
        path = Path(self.folder) / PICTURE
        return path if self.folder and path.exists() else None

    def lines(self) -> list[str]:
        """Return the entry of a logbook: what, by whom, how it ended, where it is."""
        said = self.experiment
        sample = said.get("sample")
        sample = sample.get("name", "") if isinstance(sample, Mapping) else sample
        people = [user for user in said.get("users", ()) if isinstance(user, Mapping)]
        users = [person.get("name", "") for person in people]
        proposal = said.get("proposal")
        proposal = proposal.get("proposal_id", "") if isinstance(proposal, Mapping) else proposal
        absorber = " ".join(filter(None, (said.get("element"), said.get("edge"), said.get("mode"))))
        number = "Run" if self.scan_id is None else f"Scan {self.scan_id}"
        lines = [f"{number} ({self.uid[:8]}): {self.title}"]
        for label, text in (
            ("Sample", sample),
            ("Spectrum", absorber),
            ("By", ", ".join(users)),
            ("Proposal", proposal),
            ("Command", self.command),
            ("Time", f"{iso(self.begin)} to {iso(self.end)}"),
            ("Ended", f"{self.exit_status}; {self.reason}".strip("; ")),
            ("Files", self.folder),
        ):
            if text:
                lines.append(f"{label}: {' '.join(str(text).split())}")
        return lines


def iso(time: float) -> str:
    """Return POSIX seconds as ISO 8601 with the offset from UTC."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="seconds")


__all__ = ["PICTURE", "RunRecord", "iso"]
