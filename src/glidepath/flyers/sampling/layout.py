"""Which tables and columns the file of a scan has, and which streams show them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from event_model import DataKey
from numpy.typing import NDArray

from glidepath.devices.sampled import Derived, SampledChannel
from glidepath.storage import (
    AlignedImages,
    Column,
    GrowingFile,
    Table,
    TableDocuments,
    column_key,
    dataset_paths,
)
from glidepath.timeline import ChannelKind

from .streams import SOURCE, TableStream

PRIMARY = "/entry/data"
"""Group of the primary table; the first table of the file."""


def primary_columns(
    channels: Sequence[SampledChannel],
    triggered: Mapping[str, tuple[str, str]],
    derived: Sequence[Derived],
) -> list[Column]:
    """Return the columns of the primary table, in order.

    Parameters
    ----------
    channels
        What is sampled; the first one is the axis.
    triggered
        What triggered detectors add: column -> (unit, dtype).
    derived
        Columns that are computed from others.
    """
    axis, *others = channels
    columns = [
        Column(f"{axis.channel.name}{end}", unit=axis.channel.unit)
        for end in ("", "_lower", "_upper")
    ]
    columns += [Column("sample_time", unit="s"), Column("sample_duration", unit="s")]
    for sampled in others:
        columns.append(Column(sampled.channel.name, unit=sampled.channel.unit))
        columns.append(Column(f"{sampled.channel.name}_count", "<i8"))
    columns += [Column(name, dtype, unit) for name, (unit, dtype) in triggered.items()]
    columns += [Column(one.name, unit=one.unit) for one in derived]
    columns += [Column(name, "<u2") for name in ("region_number", "pass_number", "quality")]
    return columns


def tables_of(columns: Sequence[Column], channels: Sequence[SampledChannel]) -> list[Table]:
    """Return the tables of the file: the primary one, then one of raw updates for each channel."""
    axis = channels[0].channel.name
    detectors = _detectors(channels)
    attributes = {"signal": detectors[-1] if detectors else axis, "axes": [axis]}
    return [Table(PRIMARY, list(columns), "NXdata", attributes)] + [
        Table(
            f"/entry/instrument/{c.channel.name}",
            [Column("value", unit=c.channel.unit), Column("time", unit="s")],
            "NXlog",
            {"source": c.source},
        )
        for c in channels
    ]


def streams_of(
    path: Path,
    columns: Sequence[Column],
    channels: Sequence[SampledChannel],
    visible: Callable[[int], int],
) -> list[TableStream]:
    """Return the streams that show the tables, in the same order.

    Parameters
    ----------
    path
        The file.
    columns, channels
        As for `tables_of`.
    visible
        Returns how many rows of the table with this number readers can see.
    """
    sources = {c.channel.name: c.source for c in channels}
    keys: dict[str, DataKey] = {
        column.name: column_key(sources.get(column.name, SOURCE), column.unit, column.dtype)
        for column in columns
    }
    streams = [
        TableStream(
            "primary",
            keys,
            TableDocuments(path, dataset_paths(PRIMARY, [column.name for column in columns])),
            lambda: visible(0),
            {"fields": _detectors(channels)},
        )
    ]
    return streams + [
        _raw_stream(path, sampled, lambda number=number: visible(number))  # type: ignore[misc]
        for number, sampled in enumerate(channels, start=1)
    ]


def _raw_stream(path: Path, sampled: SampledChannel, rows: Callable[[], int]) -> TableStream:
    name, unit = sampled.channel.name, sampled.channel.unit
    datasets = {f"{name}_value": "value", f"{name}_timestamp": "time"}
    return TableStream(
        name,
        {
            f"{name}_value": column_key(sampled.source, unit),
            f"{name}_timestamp": column_key(sampled.source, "s"),
        },
        TableDocuments(path, dataset_paths(f"/entry/instrument/{name}", datasets)),
        rows,
        channel=sampled.channel,
    )


def _detectors(channels: Sequence[SampledChannel]) -> list[str]:
    return [c.channel.name for c in channels if c.channel.kind is ChannelKind.DETECTOR]


def append(
    file: GrowingFile,
    raw: Sequence[tuple[int, NDArray[np.float64], NDArray[np.float64]]],
    rows: Sequence[Mapping[str, NDArray]],
    images: Sequence[AlignedImages] = (),
) -> None:
    """Append to all tables and flush; runs in a thread.

    Parameters
    ----------
    file
        File with the tables of `tables_of`.
    raw
        Number of a channel, timestamps (POSIX s) and values of updates, shape (n,) each.
    rows
        Parts of the primary table: column -> shape (m,).
    images
        What shows images row by row, to be written anew.
    """
    by_channel: dict[int, list[tuple[NDArray, NDArray]]] = {}
    for index, timestamps, values in raw:
        by_channel.setdefault(index, []).append((timestamps, values))
    for index, parts in by_channel.items():
        timestamps, values = (np.concatenate(column) for column in zip(*parts, strict=True))
        file.append(index + 1, {"value": values, "time": timestamps})
    if rows:
        file.append(0, {name: np.concatenate([part[name] for part in rows]) for name in rows[0]})
        for shown in images:
            shown.write()
    file.flush()


__all__ = ["PRIMARY", "append", "primary_columns", "streams_of", "tables_of"]
