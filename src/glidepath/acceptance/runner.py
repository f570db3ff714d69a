"""Makes acceptance tests one after the other, each with a bound, and keeps what came of them."""

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import bluesky.preprocessors as bpp

from glidepath.logbook import ACCEPTANCE_TEST
from glidepath.sentences import as_sentence, sentence_of

from .needs import Needs
from .outcomes import Failed, LeftOut, Outcome, Result
from .suite import CONNECTS, Planned
from .trial import Asked, Trial

if TYPE_CHECKING:
    from glidepath.session import Session

__all__ = ["Runner"]

LONGEST = 600.0
"""Seconds after which a test that waits for something is ended."""

ENDING = 60.0
"""Seconds in which a test that is ended must have put everything back."""


class Runner:
    """Makes tests in a session, whose runs are marked as such until `end`.

    Parameters
    ----------
    session
        With the devices and the run engine.
    asked
        What may be done.

    Attributes
    ----------
    outcomes
        Of the tests that were made, in their order.
    flights
        Uids of the runs that the tests have made.
    folder
        Where the tests write files.
    """

    def __init__(self, session: "Session", asked: Asked) -> None:
        self.session, self.asked = session, asked
        self.outcomes: list[Outcome] = []
        self.flights: list[str] = []
        self.folder: Path = session.root / "check"
        self._connected: dict[str, Outcome] = {}
        # Whatever is run meanwhile, also by tests of one's own, is no part of an experiment.
        self._marked = partial(bpp.inject_md_wrapper, md={"purpose": ACCEPTANCE_TEST})
        session.RE.preprocessors.append(self._marked)

    def end(self) -> None:
        """Make no more tests: what the session runs from now on is marked as a test no more."""
        if self._marked in self.session.RE.preprocessors:
            self.session.RE.preprocessors.remove(self._marked)

    def run(self, planned: Planned) -> Outcome:
        """Make one test; whatever happens in it becomes its outcome.

        Raises
        ------
        KeyboardInterrupt
            If the user ends it; everything has been put back by then.
        """
        first = self._connect(planned.device)
        if planned.test is CONNECTS:
            return first
        if first.result is not Result.PASS:
            return self._left_out(planned, f"{planned.device} is not connected.")
        if planned.test.moves and not self.asked.may_move(planned.device, planned.part):
            return self._left_out(
                planned,
                f"It moves something, which was not allowed; name {planned.device} with --move.",
            )
        outcome = self._made(planned)
        self.outcomes.append(outcome)
        return outcome

    def _left_out(self, planned: Planned, sentence: str) -> Outcome:
        outcome = Outcome(
            planned.device,
            planned.part,
            planned.test.name,
            Result.LEFT_OUT,
            sentence,
            time=time.time(),
        )
        self.outcomes.append(outcome)
        return outcome

    def _connect(self, device: str) -> Outcome:
        """Return what came of connecting a device, which is a test of its own, made once."""
        if device not in self._connected:
            begun = time.monotonic()
            failed = self.session.try_to_connect([device])
            seconds = time.monotonic() - begun
            result = Result.FAIL if failed else Result.PASS
            sentence = " ".join(failed.values()) or f"its servers answered in {seconds:.2g} s"
            self._connected[device] = Outcome(
                device,
                device,
                CONNECTS.name,
                result,
                as_sentence(sentence),
                seconds=seconds,
                time=time.time(),
            )
            self.outcomes.append(self._connected[device])
        return self._connected[device]

    def _made(self, planned: Planned) -> Outcome:
        begun = time.monotonic()
        trial: Trial | None = None
        try:
            trial = self._trial(planned)
            sentence = str(self._work(planned, trial))
            result = Result.PASS
        except LeftOut as error:
            sentence, result = str(error), Result.LEFT_OUT
        except Failed as error:
            sentence, result = str(error), Result.FAIL
        except Exception as error:
            # Also a fault of a test is one: what it was to show is not shown.
            sentence, result = sentence_of(error), Result.FAIL
        self._end_if_told()
        return Outcome(
            planned.device,
            planned.part,
            planned.test.name,
            result,
            as_sentence(sentence),
            dict(trial.figures) if trial else {},
            tuple(trial.details) if trial else (),
            time.monotonic() - begun,
            time.time(),
        )

    def _trial(self, planned: Planned) -> Trial:
        beamline = self.session.beamline
        return Trial(
            self.session,
            beamline.devices[planned.device],
            planned.device,
            planned.part,
            Needs.of(beamline, planned.part),
            self.asked,
            self.folder,
        )

    def _work(self, planned: Planned, trial: Trial) -> Any:
        work = planned.test.work
        if not inspect.iscoroutinefunction(work):
            return self._with_flights(work, trial)
        return self._in_loop(lambda: asyncio.wait_for(work(trial), LONGEST))

    def _with_flights(self, work: Callable[[Trial], Any], trial: Trial) -> Any:
        """Run something that runs plans, and note the runs that it makes."""
        engine = self.session.RE
        token = engine.subscribe(lambda _, start: self.flights.append(start["uid"]), "start")
        try:
            return work(trial)
        finally:
            engine.unsubscribe(token)

    def _in_loop(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Run something in the run engine's loop; Ctrl-C ends it, and is raised when it has."""
        ended, found, begin = threading.Event(), _Found(), asyncio.Event()

        async def work() -> None:
            # Not before Ctrl-C is waited for here.
            await begin.wait()
            try:
                found.value = await function()
            except BaseException as error:
                found.error = error
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(work(), self.session.RE.loop)
        try:
            self.session.RE.loop.call_soon_threadsafe(begin.set)
            # In pieces: waiting without an end does not hear of Ctrl-C everywhere.
            while not ended.wait(0.5):
                pass
        except KeyboardInterrupt:
            future.cancel()
            ended.wait(ENDING)
            raise
        if found.error is not None:
            raise found.error
        return found.value

    def _end_if_told(self) -> None:
        """Raise KeyboardInterrupt if the user has ended the flight of a test."""
        stop = self.session.follower.stop or {}
        if "Ctrl-C" in str(stop.get("reason", "")):
            raise KeyboardInterrupt


class _Found:
    """What came of a coroutine: its value, or what it raised."""

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
