"""Steps of a plan that a pause does not lose: what was begun goes on, and is waited for again."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any

from bluesky.protocols import Status
from bluesky.utils import Msg

from glidepath.sentences import reason_of

MsgGenerator = Generator[Msg, Any, Any]


def wait_for(function: Callable[[], Awaitable[Any]]) -> MsgGenerator:
    """Await a coroutine function in the run engine's loop, once, and return its result.

    A pause interrupts the message, not the coroutine: after it the same one is waited for. If
    the plan ends meanwhile, the coroutine is cancelled.
    """
    tasks: list[asyncio.Future[Any]] = []

    def begun() -> asyncio.Future[Any]:
        if not tasks:
            tasks.append(asyncio.ensure_future(function()))
        return tasks[0]

    try:
        while (yield Msg("wait_for", None, [begun])) is None:
            pass
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


def wait_until_done(status: Status, group: str) -> MsgGenerator:
    """Wait for the one status of a group, however often the run engine pauses meanwhile.

    Raises
    ------
    FailedStatus
        If it failed.
    """

    yield from wait_for(partial(done, status))
    # Now it takes no time. The message raises what the status failed of, as a plan expects it.
    yield Msg("wait", None, group=group)


def attempt(plan: MsgGenerator, reasons: list[str]) -> MsgGenerator:
    """Run a step of a clean-up; add to the reasons why it failed, if it did."""
    try:
        yield from plan
    except Exception as error:
        reason = reason_of(error)
        if reason not in reasons:
            reasons.append(reason)


__all__ = ["MsgGenerator", "attempt", "done", "reason_of", "wait_for", "wait_until_done"]
