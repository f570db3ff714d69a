"""Settings of a trigger box: written one after the other, and confirmed by the box."""

from collections.abc import Sequence
from math import isclose
from typing import Any

from ophyd_async.core import SignalRW

from glidepath.devices.signals import watch

from .trigger_source import TriggerError

Settings = Sequence[tuple[SignalRW[Any], Any]]


async def apply_settings(box: str, settings: Settings, within: float) -> None:
    """Write settings one after the other, and wait until the box shows them.

    Raises
    ------
    TriggerError
        If it shows something else after that time in s; one sentence.
    """
    for signal, value in settings:
        await signal.set(value)
    wanted = dict(settings)
    async with watch(*wanted) as seen:

        def refused() -> list[SignalRW[Any]]:
            return [s for s, value in wanted.items() if not _same(seen.value(s), value)]

        if not await seen.until(lambda: not refused(), within):
            signal = refused()[0]
            raise TriggerError(
                f"{box} did not take {wanted[signal]!r} for {signal.source} within "
                f"{within:g} s: it is still {seen.value(signal)!r}."
            )


def _same(shown: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return bool(shown == wanted)
    return isclose(shown, wanted, rel_tol=1e-9, abs_tol=1e-9)


__all__ = ["Settings", "apply_settings"]
