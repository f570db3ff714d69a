"""Steps of a plan that a pause does not lose: what was begun goes on, and is waited for again."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any

from bluesky.protocols import Status
from bluesky.utils import Msg

from glidepath.sentences import reason_of

MsgGenerator = Generator[Msg, Any, Any]

UNANSWERED = 3
"""How often a message may come back before anything was done until nobody carries messages out."""


def answered(message: Msg) -> MsgGenerator:
    """Send a message until it is answered, and return the answer.

    Nothing comes back from a message that a pause has interrupted before it did anything. Where
    never anything comes back, nobody carries messages out (a simulator of plans): None.
    """
    for _ in range(UNANSWERED):
        answer = yield message
        if answer is not None:
            return answer
    return None


def wait_for(function: Callable[[], Awaitable[Any]]) -> MsgGenerator:
    """Await a coroutine function in the run engine's loop, once, and return its result.

    A pause interrupts the message, not the coroutine: after it the same one is waited for. If
    the plan ends meanwhile, the coroutine is cancelled. Where nobody carries messages out (a
    simulator of plans), the result is None.
    """
    tasks: list[asyncio.Future[Any]] = []

    def begun() -> asyncio.Future[Any]:
        if not tasks:
            tasks.append(asyncio.ensure_future(function()))
        return tasks[0]

    message = Msg("wait_for", None, [begun])
    try:
        if (yield from answered(message)) is None and not tasks:
            return None
        while not tasks[0].done():
            yield message
    except BaseException:
        for task in tasks:
            task.cancel()
        raise
    return tasks[0].result()


async def done(status: Status) -> None:
    """Return when a status is done, however it ended."""
    loop, event = asyncio.get_running_loop(), asyncio.Event()

    def finished(_: Status) -> None:
        loop.call_soon_threadsafe(event.set)

    status.add_callback(finished)
    await event.wait()


def wait_until_done(status: Status | None, group: str) -> MsgGenerator:
    """Wait for the one status of a group, however often the run engine pauses meanwhile.

    Parameters
    ----------
    status
        What a message was answered with; None where nobody carries messages out.
    group
        That the message named.

    Raises
    ------
    FailedStatus
        If it failed.
    """
    if status is not None:
        yield from wait_for(partial(done, status))
    # Now it takes no time. The message raises what the status failed of, as a plan expects it.
    yield Msg("wait", None, group=group)


def do(verb: str, device: Any, *args: Any) -> MsgGenerator:
    """Send ``prepare``, ``kickoff`` or ``complete`` to a device, and wait for its end.

    Raises
    ------
    FailedStatus
        If it failed.
    """
    group = f"{device.name} {verb}"
    status = yield Msg(verb, device, *args, group=group)
    yield from wait_until_done(status, group)


def attempt(plan: MsgGenerator, reasons: list[str]) -> MsgGenerator:
    """Run a step of a clean-up; add to the reasons why it failed, if it did."""
    try:
        yield from plan
    except Exception as error:
        reason = reason_of(error)
        if reason not in reasons:
            reasons.append(reason)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the run engine's loop, in which a plan runs; None where nobody carries it out."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


__all__ = [
    "MsgGenerator",
    "answered",
    "attempt",
    "do",
    "done",
    "reason_of",
    "running_loop",
    "wait_for",
    "wait_until_done",
]
