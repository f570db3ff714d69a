"""What a plan has found in its own data, put into its run before the run is closed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import bluesky.preprocessors as bpp
from bluesky.utils import Msg

from glidepath.flyers.sampling.single_event import Item, SingleEvent

from .messages import MsgGenerator, answered


@dataclass(eq=False)
class Finding(SingleEvent):
    """One event of a stream: what the run engine reads and describes.

    Attributes
    ----------
    name
        Of the stream.
    items
        Column -> value and unit.
    """

    name: str
    items: Mapping[str, Item]


@dataclass(frozen=True)
class Found:
    """What a plan says of its run when that is about to be closed.

    Attributes
    ----------
    events
        Events of streams, in their order.
    sentence
        For the reason in the stop document, without a full stop; empty: nothing.
    """

    events: Sequence[Finding] = field(default_factory=tuple)
    sentence: str = ""


def with_findings(
    plan: MsgGenerator, find: Callable[[], Found], *, only_of_success: bool = True
) -> MsgGenerator:
    """Put what is found in a plan's data into its run, before that is closed.

    Parameters
    ----------
    plan
        A plan of one run.
    find
        Looks at what was recorded: the file is complete and closed by then. Called once.
    only_of_success
        Whether nothing is looked for in a run that did not end well.
    """
    found: list[Found] = []

    def close(message: Msg) -> MsgGenerator:
        found.append(find())
        streams: dict[str, Finding] = {}
        for event in found[0].events:
            # The run engine wants all events of a stream from one object.
            of_stream = streams.setdefault(event.name, event)
            of_stream.items = event.items
            yield Msg("create", None, name=event.name)
            yield from answered(Msg("read", of_stream))
            yield Msg("save")
        said = [found[0].sentence, message.kwargs.get("reason")]
        if not _ends_well(message):
            # Why it ended comes first.
            said.reverse()
        reason = "; ".join(text.rstrip(".") for text in said if text)
        return (yield message._replace(kwargs={**message.kwargs, "reason": reason}))

    def look(message: Msg) -> tuple[MsgGenerator | None, None]:
        if message.command != "close_run" or found:
            return None, None
        if only_of_success and not _ends_well(message):
            return None, None
        return close(message), None

    return (yield from bpp.plan_mutator(plan, look))


def _ends_well(message: Msg) -> bool:
    return message.kwargs.get("exit_status") in (None, "success")


class FileOfRun:
    """Notes where the growing file of a flight is, from the documents of its run."""

    def __init__(self) -> None:
        self.path: Path | None = None

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            self.path = None
        elif name == "stream_resource" and self.path is None and _is_table(document):
            self.path = Path(unquote(urlparse(document["uri"]).path))


def _is_table(resource: Mapping[str, Any]) -> bool:
    """Return whether it is a column of the flight's own file: images are in files of theirs."""
    return "dataset" in resource["parameters"] and not resource["data_key"].endswith("_image")


__all__ = ["FileOfRun", "Finding", "Found", "Item", "with_findings"]
