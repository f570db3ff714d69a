"""Valves and shutters: in a known state, permits given, open and close when told."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

from glidepath.acceptance.axis import Trace
from glidepath.acceptance.outcomes import Failed
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.devices.generic import CLOSED, OPEN, Barrier, CommandDevice, ToggleDevice
from glidepath.devices.positioning import MotionError
from glidepath.devices.signals import ask
from glidepath.sentences import joined

LATE = 1.0
"""Seconds after the command within which the status must change."""

REST = 0.5
"""Seconds after which what has arrived must still be there."""

MOVEMENT_ENDS = 10.0
"""Seconds within which a movement that goes on must end."""


async def has_state(trial: Trial) -> str:
    """It is open or closed, and not in fault."""
    state = await trial.device.state()
    deadline = monotonic() + MOVEMENT_ENDS
    while state == "moving" and monotonic() < deadline:
        await asyncio.sleep(0.1)
        state = await trial.device.state()
    value = await ask(trial.device.status)
    if state not in (OPEN, CLOSED):
        what = "is still moving" if state == "moving" else "is in fault"
        raise Failed(f"It {what}: {trial.device.status.source} is {value}.")
    return f"{state} ({trial.device.status.source} is {value})"


async def has_permits(trial: Trial) -> str:
    """Everything that is needed to open it is given."""
    given = [await ask(signal) for signal in trial.device.permits.values()]
    missing = trial.device.missing_permits(given)
    if missing:
        raise Failed(f"It may not be opened, for {missing}.")
    return f"{len(given)} permits are given"


async def refuses(trial: Trial) -> str:
    """What is no state is refused, and nothing moves."""
    before = await trial.device.state()
    try:
        await trial.device.check_value("half open")
    except ValueError as error:
        if await trial.device.state() != before:
            raise Failed("It has moved though it was only asked whether it would.") from None
        return joined(str(error))
    raise Failed("It would have taken 'half open' for a state; it must refuse that.")


async def toggles(trial: Trial) -> str:
    """It goes to the other state and back, each once, in time, and its status follows."""
    async with _as_it_was(trial) as before:
        other = CLOSED if before == OPEN else OPEN
        seconds = {other: await _brought(trial, other), before: await _brought(trial, before)}
        return "; ".join(f"{state} in {taken:.2g} s" for state, taken in seconds.items())


async def _brought(trial: Trial, target: str) -> float:
    """Bring it to a state; return how long that took (s)."""
    device = trial.device
    signals = {"status": device.status, **_command(device, target)}
    async with Trace(signals) as trace:
        begun = monotonic()
        first = trace.updates["status"][-1][1]
        try:
            await device.set(target)
        except MotionError as error:
            raise Failed(str(error)) from error
        taken = monotonic() - begun
        await asyncio.sleep(REST)
        state = await device.state()
    # The device itself may have waited before it sent anything.
    sent = trace.first("command", bool, begun) if "command" in signals else None
    sent = begun if sent is None else sent
    changed = trace.first("status", lambda value: value != first, sent)
    verb = "open" if target == OPEN else "close"
    trial.figure(f"time to {verb}", taken, "s")
    if state != target:
        raise Failed(f"It was {target} and is {state} {REST:g} s later.")
    if changed is None or changed - sent > LATE:
        late = "never changed" if changed is None else f"changed only {changed - sent:.2g} s later"
        raise Failed(
            f"It was told to {verb}, and its status ({device.status.source}) {late}: until then "
            "nobody can know that it moves."
        )
    trial.figure(f"status after the command to {verb}", changed - sent, "s")
    if trial.needs.seconds is not None and taken > trial.needs.seconds:
        raise Failed(
            f"It took {taken:.3g} s to {verb}, more than the {trial.needs.seconds:g} s that it may "
            "take."
        )
    return taken


def _command(device: Any, target: str) -> dict[str, Any]:
    """Return the signal that is 1 when the command is sent, if it is known."""
    if isinstance(device, ToggleDevice):
        return {"command": device.toggle}
    if isinstance(device, CommandDevice):
        return {"command": device.open_command if target == OPEN else device.close_command}
    return {}


@asynccontextmanager
async def _as_it_was(trial: Trial) -> AsyncIterator[str]:
    """Give the state, and bring the device back to it afterwards, with one command at most."""
    before = await trial.device.state()
    if before not in (OPEN, CLOSED):
        raise Failed(f"It is {before}, so that it was not moved; see to that first.")
    try:
        yield before
    except BaseException as error:
        now = await trial.device.state()
        if now == before:
            raise
        try:
            await trial.device.set(before)
        except (MotionError, TimeoutError, ConnectionError) as problem:
            raise Failed(
                f"{joined(str(error))}; and it is not {before} again: {joined(str(problem))}."
            ) from error
        raise


def _barriers(beamline: Beamline, name: str) -> Iterable[str]:
    return [name] if isinstance(beamline.devices[name], Barrier) else []


def _with_permits(beamline: Beamline, name: str) -> Iterable[str]:
    device = beamline.devices[name]
    return [name] if isinstance(device, CommandDevice) and len(device.permits) else []


register_suite(
    Suite("valve or shutter", _barriers, (Test("has a state", has_state), Test("refuses", refuses)))
)
register_suite(Suite("with permits", _with_permits, (Test("has permits", has_permits),)))
register_suite(
    Suite("valve or shutter that moves", _barriers, (Test("toggles", toggles, moves=True),))
)
