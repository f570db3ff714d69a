"""One event of a stream that is no device's: what the run engine reads and describes."""

import time
from collections.abc import Mapping

from bluesky.protocols import Reading
from event_model import DataKey

Item = tuple[float | int | str, str]
"""A value and its unit; the unit is empty where there is none."""

DTYPES = {float: "number", int: "integer", str: "string"}


class SingleEvent:
    """What is read once: a stream's name, and its columns with their units.

    Attributes
    ----------
    name
        Of the stream.
    items
        Column -> value and unit.
    """

    name: str
    items: Mapping[str, Item]

    parent = None

    @property
    def hints(self) -> dict[str, list[str]]:
        """Nothing to plot."""
        return {"fields": []}

    def describe(self) -> dict[str, DataKey]:
        """Describe the values."""
        described: dict[str, DataKey] = {}
        for key, (value, unit) in self.items.items():
            data_key: dict = {"source": "glidepath", "dtype": DTYPES[type(value)], "shape": []}
            if unit:
                data_key["units"] = unit
            described[key] = data_key  # type: ignore[assignment]
        return described

    def read(self) -> dict[str, Reading]:
        """Return the values."""
        now = time.time()
        return {key: {"value": value, "timestamp": now} for key, (value, _) in self.items.items()}


__all__ = ["Item", "SingleEvent"]
