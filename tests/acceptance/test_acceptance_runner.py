"""What becomes of tests that fail, break, may not be made, or are ended by the user."""

import _thread
import asyncio
import signal
import threading
from types import SimpleNamespace

import pytest

from glidepath.acceptance import (
    Asked,
    Failed,
    LeftOut,
    Planned,
    Result,
    Runner,
    Test,
)
from glidepath.acceptance.suite import CONNECTS
from glidepath.beamlines import Beamline


@pytest.fixture
def session(tmp_path):
    """What a runner needs of a session: a loop that runs, devices, and that they connect."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="loop of a test")
    thread.start()
    yield SimpleNamespace(
        RE=SimpleNamespace(
            loop=loop, subscribe=lambda *_: 0, unsubscribe=lambda _: None, preprocessors=[]
        ),
        root=tmp_path,
        beamline=Beamline("here", {"focus": object(), "gone": object()}),
        follower=SimpleNamespace(stop=None),
        try_to_connect=lambda names: {"gone": "It does not answer."} if "gone" in names else {},
    )
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def planned(work, device="focus", moves=False) -> Planned:
    return Planned(device, device, "here", Test("works", work, moves))


async def passes(trial):
    trial.figure("way", 2, "mm")
    return "it is as it is"


async def fails(trial):
    raise Failed("It is 2 mm off.")


async def does_not_apply(trial):
    raise LeftOut("It has none.")


async def breaks(trial):
    raise TimeoutError("ca://X:m1")


@pytest.mark.parametrize(
    ("work", "result", "sentence"),
    [
        (passes, Result.PASS, "it is as it is."),
        (fails, Result.FAIL, "It is 2 mm off."),
        (does_not_apply, Result.LEFT_OUT, "It has none."),
        (breaks, Result.FAIL, "ca://X:m1 does not answer."),
        (lambda trial: "flown", Result.PASS, "flown."),
    ],
)
def test_whatever_happens_becomes_an_outcome(session, work, result, sentence):
    outcome = Runner(session, Asked()).run(planned(work))
    assert (outcome.result, outcome.sentence) == (result, sentence)
    assert outcome.title == "focus works"


def test_what_is_not_connected_fails_once_and_its_other_tests_are_left_out(session):
    runner = Runner(session, Asked())
    first = runner.run(Planned("gone", "gone", "everything", CONNECTS))
    assert (first.result, first.sentence) == (Result.FAIL, "It does not answer.")
    assert runner.run(planned(passes, "gone")).result is Result.LEFT_OUT
    assert [one.result for one in runner.outcomes] == [Result.FAIL, Result.LEFT_OUT]


def test_nothing_moves_that_was_not_allowed(session):
    made = []
    work = planned(lambda trial: made.append(trial.part), moves=True)
    outcome = Runner(session, Asked()).run(work)
    assert (outcome.result, made) == (Result.LEFT_OUT, [])
    assert "which was not allowed; name focus with --move" in outcome.sentence
    assert Runner(session, Asked(frozenset({"focus"}))).run(work).result is Result.PASS
    assert made == ["focus"]


@pytest.fixture
def _ctrl_c_is_heard():
    """Let SIGINT raise, also in tests that a shell has started in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_ctrl_c_is_heard")
def test_ctrl_c_is_raised_when_the_test_has_put_everything_back(session):
    put_back = []

    async def waits(trial):
        try:
            _thread.interrupt_main()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            put_back.append(trial.part)

    with pytest.raises(KeyboardInterrupt):
        Runner(session, Asked()).run(planned(waits))
    assert put_back == ["focus"]


def test_a_flight_that_the_user_has_ended_ends_all_tests(session):
    session.follower.stop = {"reason": "Ctrl-C"}
    with pytest.raises(KeyboardInterrupt):
        Runner(session, Asked()).run(planned(lambda trial: "flown"))
