"""Turns the stream documents of a fly scan into events, for callbacks that know only events.

Bluesky's `BestEffortCallback`, `LiveTable`, `LivePlot` and what is built on them read ``event``
documents. A fly scan emits ``stream_datum`` documents, which point into a file. This callback reads
the file and hands on some of its rows as ordinary events. It needs nothing but the documents.
"""

import logging
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import numpy as np

from glidepath.storage import open_to_read

_log = logging.getLogger(__name__)

BURST = 0.2
"""Seconds after which no more rows are handed on at once: the run engine waits meanwhile."""

Callback = Callable[[str, Mapping[str, Any]], Any]


class StreamsAsEvents:
    """Hand the documents of a run on to callbacks, with events in place of stream documents.

    Detectors that the run's start document calls silent (``display``, written by a session) are
    taken out of the hints: they are in the events and not in tables and plots.

    Parameters
    ----------
    callbacks
        Consumers of documents, unchanged.
    stream
        Name of the stream whose rows become events; others are left out.
    columns
        Which columns; None: all that are one number a row.
    rows_per_second
        So many times in a second at most something is handed on: drawing one event takes a
        matplotlib window 100 ms.
    complete
        Whether all rows are handed on, in their order and in short bursts; for those that there
        was no time for, the end of the run waits. If not, it is the newest row each time.
    share
        Of the run engine's time that the callbacks may take at most while the run goes on, above 0
        and up to 1: it is blocked while they draw.

    Examples
    --------
    >>> bec = BestEffortCallback()  # doctest: +SKIP
    >>> RE.subscribe(StreamsAsEvents(bec))  # doctest: +SKIP
    """

    def __init__(
        self,
        *callbacks: Callback,
        stream: str = "primary",
        columns: Iterable[str] | None = None,
        rows_per_second: float = 10.0,
        complete: bool = False,
        share: float = 0.2,
    ) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, not {share!r}.")
        if not rows_per_second > 0:
            raise ValueError(f"rows_per_second must be above zero, not {rows_per_second!r}.")
        self._callbacks = callbacks
        self._stream = stream
        self._wanted = None if columns is None else set(columns)
        self._pause = 1.0 / rows_per_second
        self._complete = complete
        # A second of drawing is followed by so many seconds without.
        self._rest_after = 1 / share - 1
        self._forget()

    def _forget(self) -> None:
        self._descriptor: Mapping[str, Any] | None = None
        self._keys: list[str] = []
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._rows: dict[str, int] = {}
        self._handed = 0
        self._number = 0
        self._next = 0.0
        self._silent: frozenset[str] = frozenset()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            self._forget()
            self._silent = frozenset((document.get("display") or {}).get("silent", ()))
            self._emit(name, document)
        elif name == "descriptor":
            self._describe(document)
        elif name == "stream_resource":
            self._resources[document["uid"]] = document
        elif name == "stream_datum":
            self._take(document)
        elif name == "stop":
            self._rest()
            if self._descriptor is not None:
                counts = {**document.get("num_events", {}), self._stream: self._number}
                document = {**document, "num_events": counts}
            self._emit(name, document)
        else:
            self._emit(name, document)

    def _emit(self, name: str, document: Mapping[str, Any]) -> None:
        for callback in self._callbacks:
            callback(name, document)

    def _describe(self, document: Mapping[str, Any]) -> None:
        keys = document["data_keys"]
        external = [key for key, described in keys.items() if "external" in described]
        if not external:
            self._emit("descriptor", self._without_silent(document))
            return
        if document["name"] != self._stream:
            return
        self._keys = [
            key
            for key in external
            if not [size for size in keys[key].get("shape", []) if size not in (None, 1)]
            and (self._wanted is None or key in self._wanted)
        ]
        inline = {
            key: {k: v for k, v in described.items() if k != "external"} | {"shape": []}
            for key, described in keys.items()
            if key in self._keys
        }
        objects = {
            name: [key for key in of_object if key in inline]
            for name, of_object in document.get("object_keys", {}).items()
        }
        described = {**document, "data_keys": inline, "object_keys": objects}
        self._descriptor = self._without_silent(described)
        self._emit("descriptor", self._descriptor)

    def _without_silent(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a descriptor whose hints do not name silent detectors."""
        hints = document.get("hints")
        if not self._silent or not hints:
            return document
        kept = {
            device: {
                **of_device,
                "fields": [
                    field
                    for field in of_device.get("fields", ())
                    if not any(_of(device, field, silent) for silent in self._silent)
                ],
            }
            for device, of_device in hints.items()
        }
        return {**document, "hints": kept}

    def _take(self, datum: Mapping[str, Any]) -> None:
        resource = self._resources.get(datum["stream_resource"])
        if self._descriptor is None or resource is None:
            return
        if datum["descriptor"] == self._descriptor["uid"] and resource["data_key"] in self._keys:
            self._rows[resource["data_key"]] = datum["indices"]["stop"]
            if self._known > self._handed and time.monotonic() >= self._next:
                first = self._handed if self._complete else self._known - 1
                self._hand_on(range(first, self._known), BURST)

    @property
    def _known(self) -> int:
        """Rows of which every column is announced."""
        return min((self._rows.get(key, 0) for key in self._keys), default=0)

    def _rest(self) -> None:
        """Hand on the newest row, or all that were left out."""
        if self._descriptor is None or self._known <= self._handed:
            return
        first = self._handed if self._complete else self._known - 1
        self._hand_on(range(first, self._known))

    def _hand_on(self, rows: range, within: float = float("inf")) -> None:
        """Hand on rows until a time in s is over."""
        assert self._descriptor is not None
        begun = time.monotonic()
        try:
            columns = self._read(rows)
        # It is being written just now: they come with the next. A scan ends for no picture.
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            _log.warning("Rows could not be read for bluesky's views: %s", error)
            return
        with _drawn_once():
            self._emit_rows(columns, rows, begun + within)
        now = time.monotonic()
        self._next = now + max(self._pause, self._rest_after * (now - begun))

    def _emit_rows(self, columns: Mapping[str, np.ndarray], rows: range, until: float) -> None:
        """Emit rows as events, until a time of the monotonic clock."""
        assert self._descriptor is not None
        when = columns.get("sample_time")
        for index in range(len(rows)):
            self._number += 1
            at = time.time() if when is None else float(when[index])
            data = {key: columns[key][index].item() for key in self._keys}
            event = {
                "uid": str(uuid.uuid4()),
                "descriptor": self._descriptor["uid"],
                "seq_num": self._number,
                "time": at,
                "data": data,
                "timestamps": dict.fromkeys(data, at),
                "filled": {},
            }
            self._emit("event", event)
            self._handed = rows.start + index + 1
            if time.monotonic() > until:
                break

    def _read(self, rows: range) -> dict[str, np.ndarray]:
        places: dict[Path, dict[str, str]] = {}
        for resource in self._resources.values():
            if resource["data_key"] in self._keys:
                path = Path(unquote(urlparse(resource["uri"]).path))
                dataset = resource["parameters"]["dataset"]
                places.setdefault(path, {})[resource["data_key"]] = dataset
        found: dict[str, np.ndarray] = {}
        for path, datasets in places.items():
            with open_to_read(path) as file:
                for key, dataset in datasets.items():
                    found[key] = np.asarray(file[dataset][rows.start : rows.stop])
        return found


@contextmanager
def _drawn_once() -> Iterator[None]:
    """Let matplotlib figures that are drawn at each change be drawn once, at the end of a block.

    A canvas without a window draws at once what others put off until they are idle, which takes
    fifty times as long as to take the row.
    """
    backends = sys.modules.get("matplotlib.backend_bases")
    if backends is None:
        yield
        return
    canvas_class = backends.FigureCanvasBase
    draw, changed = canvas_class.draw_idle, []

    def note(canvas: Any, *_: Any, **__: Any) -> None:
        if canvas not in changed:
            changed.append(canvas)

    canvas_class.draw_idle = note
    try:
        yield
    finally:
        canvas_class.draw_idle = draw
        for canvas in changed:
            canvas.draw_idle()


def _of(device: str, field: str, silent: str) -> bool:
    """Return whether a field of a device belongs to a detector of this name."""
    return silent in (device, field) or field.startswith((f"{silent}_", f"{silent}-"))


__all__ = ["StreamsAsEvents"]
