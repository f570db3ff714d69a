"""What clients in processes of their own do with monitors; each is a test in test_ingestion."""

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import re
import sys
import threading
import time

import numpy as np
import pytest
from epicscorelibs.ca import dbr
from small_ioc import SmallIoc

from glidepath.devices.sampled import SampledChannel
from glidepath.flyers.monitors import fast as fast_monitors
from glidepath.flyers.monitors import inbox, receive_threads
from glidepath.flyers.monitors import portable as portable_monitors
from glidepath.flyers.monitors.ingestion import FastMonitors, PortableMonitors, choose_monitors
from glidepath.simulation.repeater import start_repeater
from glidepath.timeline import Channel, ChannelKind

FIRST_PORT, SECOND_PORT = (int(port) for port in os.environ["TEST_PORTS"].split())
BOUND = 30.0
SCALARS = ("double", "long", "int64", "enum", "float", "short", "char")
BOTH = (FastMonitors, PortableMonitors)


def channel(name, kind=ChannelKind.READBACK, interval=0.0, **options):
    name = name if ":" in name else f"T:{name}"
    return SampledChannel(Channel(name, kind, **options), f"ca://{name}", interval)


async def until(condition, bound=BOUND):
    deadline = time.monotonic() + bound
    while not condition():
        assert time.monotonic() < deadline, "the condition was not fulfilled in time"
        await asyncio.sleep(0.005)


class Listener:
    """Keeps all that monitors deliver."""

    def __init__(self, monitors, channels):
        self.monitors = monitors
        self.batches = [[] for _ in channels]

    def look(self):
        for batch in self.monitors.drain():
            assert len(batch.values) == len(batch.timestamps) == len(batch.arrivals)
            assert len(batch.values) == len(batch.severities)
            assert batch.severities.dtype == np.uint8
            self.batches[batch.index].append(batch)
        return self

    def column(self, index, name="values"):
        self.look()
        return np.concatenate([np.empty(0), *(getattr(b, name) for b in self.batches[index])])

    async def wait_for(self, index, value):
        await until(lambda: value in self.column(index))


@contextlib.asynccontextmanager
async def listening(make, channels, **options):
    monitors = make(channels, **options)
    await monitors.open()
    try:
        yield Listener(monitors, channels)
    finally:
        monitors.close()


async def both_paths_give_the_same(ioc):
    channels = [*(channel(name) for name in SCALARS), channel("wave", interval=0.25)]
    async with listening(FastMonitors, channels) as fast:
        async with listening(PortableMonitors, channels) as portable:
            for step in range(1, 30):
                for name in SCALARS:
                    value = step % 3 if name == "enum" else 4 * step - 60
                    ioc.put(f"T:{name}", value)
                ioc.put("T:wave", [step + 0.5 * k for k in range(step % 8 + 1)])
            ioc.put("T:double", 190.25)
            for listener in (fast, portable):
                await listener.wait_for(0, 190.25)
                await listener.wait_for(7, 29 + 0.5 * 5)
        for index in range(len(channels)):
            for column in ("timestamps", "values", "severities"):
                one, other = fast.column(index, column), portable.column(index, column)
                assert np.array_equal(one, other), (index, column, one, other)
            late = fast.column(index, "arrivals") - fast.column(index, "timestamps")
            # The first value can be of any age.
            assert np.all((late[1:] > -1e-3) & (late[1:] < BOUND))
    assert len(fast.column(0)) == 1 + 29 + 1
    assert fast.column(0, "severities")[-1] == 1, "190.25 is above HIGH"
    assert set(fast.column(3)) == {0.0, 1.0, 2.0}
    assert fast.column(6).min() == -56, "a char has a sign in a record"
    fraction = fast.column(0, "timestamps")[1:] * 1e6 % 1
    assert fraction.std() > 0.1, "not rounded to microseconds"


async def each_element_of_a_waveform_has_its_time(ioc):
    ioc.put("T:wave", [1, 2, 3, 4])
    detector = channel("wave", ChannelKind.DETECTOR, aperture=0.5)
    for make in BOTH:
        async with listening(make, [detector]) as listener:
            await listener.wait_for(0, 4.0)
            times = listener.column(0, "timestamps")
            assert listener.column(0).tolist() == [1, 2, 3, 4]
            assert np.allclose(times - times[-1], [-1.5, -1.0, -0.5, 0.0], atol=1e-6)


async def an_empty_waveform_is_an_answer_without_values(ioc):
    for make in BOTH:
        async with listening(make, [channel("wave", interval=1.0)]) as listener:
            assert len(listener.column(0)) == 0


async def what_cannot_be_sampled_is_refused(ioc):
    for make in (*BOTH, choose_monitors):
        for refused, words in (
            (channel("text"), "holds text"),
            (channel("wave"), "give it with sampled(..., interval=...)"),
        ):
            with expected(ValueError, words):
                await make([channel("double"), refused]).open()
        with expected(ConnectionError, "T:nobody"):
            await make([channel("double"), channel("nobody")]).open(timeout=0.3)
        assert nothing_left()


@contextlib.contextmanager
def expected(kind, words):
    with pytest.raises(kind, match=re.escape(words)):
        yield


async def a_restarted_server_is_heard_again(ioc):
    channels = [channel("double"), channel("long")]
    async with (
        listening(FastMonitors, channels) as fast,
        listening(PortableMonitors, channels) as portable,
    ):
        ioc.put("T:double", 1)
        for listener in (fast, portable):
            await listener.wait_for(0, 1.0)
        # Another port, other values, and a new receive thread.
        with SmallIoc(SECOND_PORT, start=77) as other:
            ioc.kill()
            for listener in (fast, portable):
                await listener.wait_for(0, 77.0)
                await listener.wait_for(1, 77.0)
            other.put("T:double", 78)
            for listener in (fast, portable):
                await listener.wait_for(0, 78.0)
                check_marks(listener.column(0), [0, 1, np.nan, 77, 78])
                check_marks(listener.column(1), [0, np.nan, 77])
                marks = np.isnan(listener.column(0, "timestamps"))
                assert np.array_equal(marks, np.isnan(listener.column(0)))
                assert listener.column(0, "severities")[2] == 3


def check_marks(found, wanted):
    assert np.array_equal(found, wanted, equal_nan=True), found


async def a_loss_stays_in_order_when_the_event_loop_is_busy(ioc):
    async with listening(FastMonitors, [channel("double")]) as fast:
        ioc.put("T:double", 1)
        await fast.wait_for(0, 1.0)
        with SmallIoc(SECOND_PORT, start=77):
            ioc.kill()
            deadline = time.monotonic() + BOUND
            # Nothing but libca's thread runs: the loop has not heard of the loss yet.
            while 77.0 not in fast.column(0):
                assert time.monotonic() < deadline
                time.sleep(0.01)  # noqa: ASYNC251
            check_marks(fast.column(0), [0, 1, np.nan, 77])
            for _ in range(100):
                await asyncio.sleep(0.001)
            check_marks(fast.column(0), [0, 1, np.nan, 77])


async def a_server_that_dies_in_mid_stream_leaves_one_mark(ioc):
    channels = [channel("double"), channel("U:double")]
    stop = threading.Event()

    def stream(server, name, value):
        # Until the server is killed, or it is enough; slowly, or servers leave out what a busy
        # machine does not take.
        with contextlib.suppress(AssertionError, OSError):
            while not stop.is_set():
                value += 1
                server.put(name, value)
                time.sleep(0.001)
        return value

    async with contextlib.AsyncExitStack() as stack:
        other = stack.enter_context(SmallIoc(SECOND_PORT, start=5, prefix="U:"))
        listeners = [
            await stack.enter_async_context(listening(make, channels))
            for make in (FastMonitors, PortableMonitors)
        ]
        stack.callback(stop.set)
        first = asyncio.create_task(asyncio.to_thread(stream, ioc, "T:double", 0))
        second = asyncio.create_task(asyncio.to_thread(stream, other, "U:double", 5))
        for listener in listeners:
            await listener.wait_for(0, 200.0)
        ioc.kill()
        await first
        with SmallIoc(FIRST_PORT, start=10**6) as again:
            for listener in listeners:
                await listener.wait_for(0, 1e6)
            third = asyncio.create_task(asyncio.to_thread(stream, again, "T:double", 10**6))
            for listener in listeners:
                await listener.wait_for(0, 1e6 + 200)
            stop.set()
            ends = await third, await second
            for listener in listeners:
                for index, end in enumerate(ends):
                    await listener.wait_for(index, float(end))
                seen = listener.column(0)
                (mark,) = np.flatnonzero(np.isnan(seen))
                assert seen[:mark].tolist() == [*range(mark)]
                assert seen[mark + 1 :].tolist() == [*range(10**6, ends[0] + 1)]
                # Nobody else's business, though it comes by the same inboxes and threads.
                assert listener.column(1).tolist() == [*range(5, ends[1] + 1)]
                times = np.delete(listener.column(0, "timestamps"), mark)
                assert np.all(np.diff(times) > 0)
                assert listener.monitors.lost == (0, 0)


async def several_servers_are_heard_at_once(ioc):
    channels = [channel("double"), channel("U:double")]
    with SmallIoc(SECOND_PORT, start=5, prefix="U:") as other:
        for turn, make in enumerate(BOTH):
            steps = list(range(100 * turn + 10, 100 * turn + 30))
            async with listening(make, channels) as listener:
                for step in steps:
                    ioc.put("T:double", step)
                    other.put("U:double", -step)
                await listener.wait_for(0, steps[-1])
                await listener.wait_for(1, -steps[-1])
                assert listener.column(0)[-20:].tolist() == steps
                assert listener.column(1)[-20:].tolist() == [-step for step in steps]


async def what_nobody_drains_is_counted(ioc):
    for make in BOTH:
        ioc.put("T:double", 0)
        async with listening(make, [channel("double"), channel("long")], capacity=10) as listener:
            listener.look()
            for step in range(1, 26):
                ioc.put("T:double", step)
            deadline = time.monotonic() + BOUND
            # The event loop stands still meanwhile; updates are taken in nevertheless.
            while sum(listener.monitors.lost) < 15:
                assert time.monotonic() < deadline
                time.sleep(0.005)  # noqa: ASYNC251
            listener.look()
            ioc.put("T:double", 26)
            await listener.wait_for(0, 26.0)
            assert listener.column(0)[-11:].tolist() == [*range(1, 11), 26]
            # Where the gap is: behind the batch that ends with 10.
            assert [b.lost for b in listener.batches[0] if b.values[-1] == 10] == [15]
            assert sum(b.lost for batches in listener.batches for b in batches) == 15
            assert listener.monitors.lost == (15, 0)


async def closing_leaves_nothing(ioc):
    channels = [channel("double"), channel("long")]
    usual = sys.getswitchinterval(), gc.get_threshold()
    for make in (*BOTH, choose_monitors):
        monitors = make(channels)
        await monitors.open()
        if make is PortableMonitors:
            assert sys.getswitchinterval() <= receive_threads.SWITCH_INTERVAL
            assert gc.get_threshold()[0] >= receive_threads.COLLECT_AFTER
        monitors.close()
        monitors.close()
        for _ in range(5):
            await asyncio.sleep(0)
        ioc.put("T:double", 3)
        assert (sys.getswitchinterval(), gc.get_threshold()) == usual
        assert nothing_left()
        assert monitors.lost == (0, 0)
    # The loop of the portable ones stays, once for all of them, and idle.
    assert [t.name for t in threading.enumerate() if t.name != "MainThread"] == ["aioca"]
    # Connected and silent, one for each name: the next scan finds them.
    assert {name: len(idle) for name, idle in fast_monitors._idle.items()} == {
        "T:double": 1,
        "T:long": 1,
    }


def nothing_left():
    import aioca

    async def there():
        await asyncio.sleep(0)
        subscribers = sum(info.subscriber_count for info in aioca.get_channel_infos())
        return subscribers, asyncio.all_tasks() - {asyncio.current_task()}

    loop = portable_monitors._loop()
    subscribers, tasks = asyncio.run_coroutine_threadsafe(there(), loop).result(BOUND)
    tasks |= asyncio.all_tasks() - {asyncio.current_task()}
    return subscribers == 0 and not [task for task in tasks if not task.cancelling()]


async def the_fast_path_is_chosen(ioc):
    ioc.put("T:wave", [1, 2, 3])
    # Processed without a change: what a reading shows is newer than the last update.
    ioc.put("T:double", 5)
    ioc.put("T:double", 5)
    async with listening(choose_monitors, [channel("double"), channel("wave", interval=1)]) as one:
        assert (one.monitors.path, one.monitors.reason) == ("fast", "")
        assert one.column(1).tolist() == [1, 2, 3]
        ioc.put("T:double", 6)
        await one.wait_for(0, 6.0)
        assert one.column(0).tolist() == [5, 6]


async def the_portable_path_is_chosen_and_says_why(ioc):
    class OtherRecord(ctypes.Structure):
        _fields_ = (("status", ctypes.c_int32), *dbr.dbr_time_double._fields_[1:])

    other_head = np.dtype([(name, inbox.HEAD[name]) for name in sorted(inbox.HEAD.names)])
    for place, name, wrong, words in (
        (inbox, "LIBRARY", "glidepath.flyers._not_compiled", "was not built when Glidepath was"),
        # It exists, but is no library.
        (inbox, "LIBRARY", "glidepath.flyers.sampling.sampler", "cannot be loaded"),
        (dbr, "dbr_time_double", OtherRecord, "laid out"),
        (inbox, "HEAD", other_head, "a known update came out as"),
    ):
        inbox.load.cache_clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, name, wrong)
            await falls_back(ioc, words)


async def falls_back(ioc, words):
    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("glidepath.flyers")
    logger.addHandler(handler)
    ioc.put("T:double", 41)
    async with listening(choose_monitors, [channel("double")]) as listener:
        assert listener.monitors.path == "portable"
        assert words in listener.monitors.reason, listener.monitors.reason
        assert listener.monitors.reason in said[0]
        ioc.put("T:double", 42)
        await listener.wait_for(0, 42.0)
        assert listener.column(0).tolist() == [41, 42]
    logger.removeHandler(handler)


async def run(name):
    import aioca

    repeater = await start_repeater(int(os.environ["EPICS_CA_REPEATER_PORT"]))
    try:
        with SmallIoc(FIRST_PORT) as ioc:
            await globals()[name](ioc)
            # Before the server goes: aioca would tell a loop that is closed.
            aioca.purge_channel_caches()
    finally:
        repeater.close()


if __name__ == "__main__":
    asyncio.run(run(sys.argv[1]))
