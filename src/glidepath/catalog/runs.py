"""Reads runs back from Tiled, finished ones and those that still grow."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glidepath.catalog.errors import CatalogError
from glidepath.catalog.run_folder import open_run_folder

_EVENTS = "internal"
"""Tiled's name of the table that holds a stream's events."""
_SHORTEST_UID = 5
_PAGE = 100
"""Runs per request; Tiled refuses more than 300."""


@dataclass(frozen=True)
class RunSummary:
    """One line of a list of runs.

    Parameters
    ----------
    uid
        The run's unique identifier.
    scan_id
        Its number in the session, or None.
    plan_name
        The plan, or an empty string.
    time
        Begin of the run, POSIX seconds.
    exit_status
        ``"success"``, ``"abort"``, ``"fail"``; None while there is no stop document.
    reason
        Why it ended, or an empty string.
    duration
        Seconds from start to stop document; None while there is no stop document.
    start
        The whole start document.
    """

    uid: str
    scan_id: int | None
    plan_name: str
    time: float
    exit_status: str | None
    reason: str
    duration: float | None
    start: dict[str, Any]


def summarise(run: Any) -> RunSummary:
    """Return the summary of one run (as `load_run` returns it)."""
    start = dict(run.metadata["start"])
    stop = run.metadata.get("stop") or {}
    return RunSummary(
        uid=start["uid"],
        scan_id=start.get("scan_id"),
        plan_name=start.get("plan_name", ""),
        time=start["time"],
        exit_status=stop.get("exit_status"),
        reason=stop.get("reason", ""),
        duration=stop["time"] - start["time"] if "time" in stop else None,
        start=start,
    )


def search_runs(
    client: Any,
    *,
    sample: str | None = None,
    element: str | None = None,
    edge: str | None = None,
    user: str | None = None,
    proposal: str | None = None,
    plan_name: str | None = None,
    exit_status: str | None = None,
    since: float | None = None,
) -> Any:
    """Narrow a catalogue to runs, the newest first; nothing is fetched yet.

    The keys have indexes in a local server's catalogue, but for ``user``, which looks into the
    names, accounts and ORCID iDs of all users of a run.

    Parameters
    ----------
    client
        The catalogue, from `open_catalog`.
    sample, element, edge, proposal
        As the experiment said: the sample's name, ``"N"``, ``"K"``, the proposal's number; the
        whole of it.
    user
        Part of the name, the account or the ORCID iD of one who took part.
    plan_name, exit_status
        Such as ``"flyscan"`` and ``"success"``.
    since
        Only runs that began at this time (POSIX s) or later.

    Returns
    -------
    tiled.client.container.Container
        To be searched further, counted or read.

    Examples
    --------
    >>> len(search_runs(client, sample="N2 gas cell", edge="K"))  # doctest: +SKIP
    """
    from tiled.queries import Comparison, Contains, Eq

    found = _runs(client)
    for key, value in (
        ("start.sample.name", sample),
        ("start.element", element),
        ("start.edge", edge),
        ("start.proposal.proposal_id", proposal),
        ("start.plan_name", plan_name),
        ("stop.exit_status", exit_status),
    ):
        if value is not None:
            found = found.search(Eq(key, value))
    if user is not None:
        found = found.search(Contains("start.users", user))
    if since is not None:
        found = found.search(Comparison("ge", "start.time", since))
    return found


def list_runs(client: Any, limit: int = 20, **asked: Any) -> list[RunSummary]:
    """List runs, the newest first.

    Parameters
    ----------
    client
        The catalogue, from `open_catalog`.
    limit
        How many at most.
    asked
        Which runs: the keywords of `search_runs`.
    """
    found = search_runs(client, **asked)
    summaries: list[RunSummary] = []
    while len(summaries) < limit:
        first = len(summaries)
        page = found.values()[first : min(limit, first + _PAGE)]
        summaries += [summarise(run) for run in page]
        if len(page) < _PAGE:
            break
    return summaries


def load_run(source: Any, run: str | int = -1) -> Any:
    """Find one run, in a catalogue or in its folder.

    Parameters
    ----------
    source
        The catalogue, from `open_catalog`; or the path of a run's folder, or of the
        ``glidepath.h5`` in it. A folder is read by itself: it may have been copied anywhere.
    run
        A uid or its beginning (at least 5 characters); a scan number (the newest run with it);
        or a negative number: -1 is the newest run, -2 the one before. Text of digits only is a
        scan number if there is a run with it, else the beginning of a uid. A folder has one run.

    Returns
    -------
    bluesky_tiled_plugins.clients.bluesky_run.BlueskyRunV3 or glidepath.catalog.FolderRun
        The run's client. All readers of this package take either.

    Raises
    ------
    CatalogError
        There is no such run, or several uids begin like this.

    Examples
    --------
    >>> run = load_run("copies/000012_1f2e3d4c")  # doctest: +SKIP
    """
    if isinstance(source, str | Path):
        return open_run_folder(source)
    client = source
    if not isinstance(run, str):
        return _newest(client, run) if run < 0 else _numbered(client, run)
    text = run.strip()
    if text.lstrip("-").isdigit():
        number = int(text)
        if number < 0:
            return _newest(client, number)
        # Digits may be a number, or a uid that happens to begin like this.
        with contextlib.suppress(CatalogError):
            return _numbered(client, number)
        if len(text) < _SHORTEST_UID:
            raise CatalogError(f"There is no run with scan number {number}; list the runs to see.")
    return _beginning(client, text)


def _newest(client: Any, number: int) -> Any:
    newest = _runs(client).values()[-number - 1 : -number]
    if not newest:
        raise CatalogError(
            f"The catalogue holds fewer than {-number} runs, so there is no run {number}."
        )
    return newest[0]


def _numbered(client: Any, number: int) -> Any:
    from tiled.queries import Eq

    numbered = _runs(client).search(Eq("start.scan_id", number)).values()[:1]
    if not numbered:
        raise CatalogError(f"There is no run with scan number {number}; list the runs to see.")
    return numbered[0]


def _beginning(client: Any, uid: str) -> Any:
    from tiled.queries import Like

    if len(uid) < _SHORTEST_UID:
        raise CatalogError(
            f"{uid!r} is too short for the beginning of a uid; give {_SHORTEST_UID} characters "
            "or more, a scan number, or -1 for the newest run."
        )
    if not re.fullmatch(r"[0-9A-Za-z-]+", uid):
        raise CatalogError(f"{uid!r} is no uid of a run; it has letters, digits and dashes only.")
    found = _runs(client).search(Like("start.uid", f"{uid}%")).values()[:2]
    if len(found) > 1:
        raise CatalogError(f"Several runs begin with {uid!r}; give more characters of the uid.")
    if not found:
        raise CatalogError(f"There is no run {uid!r} in the catalogue; list the runs to see.")
    return found[0]


def _runs(client: Any) -> Any:
    from tiled.queries import SpecsQuery

    return client.search(SpecsQuery(include=["BlueskyRun"], exclude=[])).sort(("start.time", -1))


def read_stream(
    run: Any,
    stream: str,
    columns: Iterable[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> dict[str, np.ndarray]:
    """Read columns of one stream, cut to the shortest of them.

    While a run grows its columns differ in length for moments; a column that Tiled does not know
    yet counts as empty.

    Parameters
    ----------
    run
        The run, from `load_run`.
    stream
        Name of the stream.
    columns
        Data keys to read; None: all of the stream but images, which may be large: they are read
        as ``run["primary"]["camera_image"][10:20]``.
    start, stop
        Range of rows, as in a slice; negative numbers count from the end.

    Returns
    -------
    dict of str to numpy.ndarray
        Arrays of equal length, in the order asked for.

    Raises
    ------
    CatalogError
        The run has no such stream, or the stream has no such column.
    """
    container = _stream(run, stream)
    described = container.metadata.get("data_keys", {})
    known = list(described)
    wanted = [key for key in known if len(described[key].get("shape", [])) < 2]
    if columns is not None:
        wanted = list(columns)
    for column in wanted:
        if column not in known:
            raise CatalogError(
                f"Stream {stream!r} of {_name(run)} has no column {column!r}; it has "
                f"{', '.join(known)}."
            )
    nodes = dict(container.items())
    tables = [node for key, node in nodes.items() if key.startswith(_EVENTS)]
    in_tables = [column for column in wanted if column not in nodes]
    data: dict[str, np.ndarray] = {}
    for table in tables:
        present = [column for column in in_tables if column in table.columns]
        if present:
            frame = table.read(present)
            data |= {column: _column(frame[column]) for column in present}
    lengths = [len(values) for values in data.values()]
    lengths += [nodes[column].shape[0] for column in wanted if column in nodes]
    complete = len(lengths) == len(wanted)
    rows = min(lengths, default=0) if complete else 0
    part = slice(*slice(start, stop).indices(rows))
    result = {}
    for column in wanted:
        if column in data:
            result[column] = data[column][part]
        elif part.stop > part.start:
            result[column] = np.asarray(nodes[column][part])
        else:
            result[column] = _empty(container.metadata["data_keys"][column])
    return result


def read_primary(
    run: Any,
    columns: Sequence[str] | None = None,
    start: int | None = None,
    stop: int | None = None,
) -> dict[str, np.ndarray]:
    """Read the table of a scan: `read_stream` of ``primary``.

    Examples
    --------
    >>> table = read_primary(load_run(client, -1), ["energy", "mesh"])  # doctest: +SKIP
    """
    return read_stream(run, "primary", columns, start, stop)


def read_raw(run: Any, channel: str) -> tuple[np.ndarray, np.ndarray]:
    """Read every update of one channel.

    Returns
    -------
    timestamps, values : numpy.ndarray
        POSIX seconds and values, shape (updates,) and (updates, ...).

    Raises
    ------
    CatalogError
        The run has no raw stream of that channel.
    """
    data = read_stream(run, channel, [f"{channel}_timestamp", f"{channel}_value"])
    return data[f"{channel}_timestamp"], data[f"{channel}_value"]


def read_baseline(run: Any) -> dict[str, np.ndarray]:
    """Read what was recorded before and after the scan.

    Returns
    -------
    dict of str to numpy.ndarray
        One array per data key; the first row is from before the scan, the last one from after.
    """
    return read_stream(run, "baseline")


def read_verdict(run: Any) -> dict[str, Any]:
    """Read the scan's own verdict: rows, lost triggers, worst tracking error and so on.

    Returns
    -------
    dict
        One Python value per data key; ``channels`` (what each channel did), ``flagged`` (rows
        per quality bit) and ``triggered`` (what each detector made of its triggers) are
        dictionaries, ``interruptions`` is a list of reasons and places.

    Raises
    ------
    CatalogError
        The scan did not get as far as giving one.
    """
    data = read_stream(run, "verdict")
    if not data or not all(len(values) for values in data.values()):
        raise CatalogError(f"The verdict of {_name(run)} is not in the catalogue yet; try again.")
    verdict = {key: values[-1].tolist() for key, values in data.items()}
    for key in ("channels", "flagged", "triggered", "interruptions"):
        if isinstance(verdict.get(key), str):
            verdict[key] = json.loads(verdict[key])
    return verdict


def _stream(run: Any, stream: str) -> Any:
    streams = list(run)
    if stream not in streams:
        raise CatalogError(
            f"{_name(run).capitalize()} has no stream {stream!r}; it has "
            f"{', '.join(streams) or 'none yet'}."
        )
    # The plain container: the composite one reads whole streams and fails while they grow.
    return run[stream].base


def _name(run: Any) -> str:
    start = run.metadata["start"]
    return f"run {start.get('scan_id', '')} ({start['uid'][:8]})".replace("run  ", "run ")


def _column(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype == object:
        array = np.array(array.tolist())
    return array


def _empty(data_key: dict[str, Any]) -> np.ndarray:
    fallback = {"integer": "<i8", "boolean": "|b1", "string": "<U1"}
    dtype = data_key.get("dtype_numpy") or fallback.get(data_key.get("dtype", ""), "<f8")
    shape = tuple(size or 0 for size in data_key.get("shape", ()))
    return np.empty((0, *shape), dtype=dtype)
