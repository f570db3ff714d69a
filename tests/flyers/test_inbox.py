"""The compiled inbox: called from real threads at once, as libca does, but without a server."""

import ctypes
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from epicscorelibs.ca import cadef, dbr

from glidepath.flyers.monitors.inbox import Inbox, load
from glidepath.flyers.monitors.updates import INVALID, LOST

REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="needs a C compiler"
)


@pytest.fixture
def inbox():
    inbox = Inbox(load())
    yield inbox
    inbox.destroy()


class Sender:
    """Sends updates into an inbox as libca would, its argument made once."""

    def __init__(self, inbox, elements=1):
        size = dbr.dbr_time_double.raw_value.offset + 8 * elements
        self._memory = ctypes.create_string_buffer(size)
        self._record = dbr.dbr_time_double.from_buffer(self._memory)
        values = dbr.dbr_time_double.raw_value.offset
        self._values = (ctypes.c_double * elements).from_buffer(self._memory, values)
        self._arguments = cadef.event_handler_args(
            type=dbr.DBR_TIME_DOUBLE,
            count=elements,
            raw_dbr=ctypes.addressof(self._memory),
            status=cadef.ECA_NORMAL,
        )
        user = cadef.event_handler_args.usr.offset
        ctypes.c_void_p.from_buffer(self._arguments, user).value = inbox.address
        self._send = load().inbox_update

    def __call__(self, *values, severity=0, seconds=1, nanoseconds=0):
        self._values[: len(values)] = values
        self._record.severity = severity
        self._record.raw_stamp.secs, self._record.raw_stamp.nsec = seconds, nanoseconds
        self._arguments.count = len(values)
        self._send(self._arguments)

    def lose(self):
        self._arguments.status = cadef.ECA_DISCONN
        self._send(self._arguments)
        self._arguments.status = cadef.ECA_NORMAL


def test_an_update_comes_out_as_it_was_with_its_arrival(inbox):
    inbox.open(100)
    send = Sender(inbox, 3)
    before = time.time()
    send(1.5, severity=2, seconds=2**32 - 1, nanoseconds=999_999_999)
    send(-0.1, np.inf, 3e300, severity=1, seconds=7)
    send(seconds=8)
    send.lose()
    after = time.time()

    heads, values, lost = inbox.take()

    assert heads["seconds"].tolist() == [2**32 - 1, 7, 8, LOST]
    assert heads["nanoseconds"].tolist() == [999_999_999, 0, 0, LOST]
    assert heads["severity"].tolist() == [2, 1, 0, INVALID]
    assert heads["count"].tolist() == [1, 3, 0, 1]
    assert np.array_equal(values, [1.5, -0.1, np.inf, 3e300, np.nan], equal_nan=True)
    assert np.all((heads["arrival"] >= before) & (heads["arrival"] <= after))
    assert lost == inbox.lost == 0


def test_what_was_taken_stays_when_more_arrives(inbox):
    inbox.open(10_000)
    send = Sender(inbox)
    taken = []
    # More than the first pages hold, so that they grow and move.
    for first in range(0, 6000, 2000):
        for value in range(first, first + 2000):
            send(value)
        taken.append(inbox.take()[1])

    assert np.array_equal(np.concatenate(taken), np.arange(6000))
    assert [len(part) for part in inbox.take()[:2]] == [0, 0]


def test_a_closed_inbox_keeps_nothing_and_begins_anew(inbox):
    send = Sender(inbox)
    send(1)
    send.lose()
    assert len(inbox.take()[0]) == 0
    inbox.open(2)
    for value in range(5):
        send(value)
    assert inbox.lost == 3
    inbox.close()
    send(9)
    inbox.open(2)
    assert inbox.lost == 0
    send(10)
    heads, values, lost = inbox.take()
    assert (len(heads), values.tolist(), lost) == (1, [10.0], 0)


def test_what_is_lost_is_behind_what_is_kept(inbox):
    inbox.open(10)
    send = Sender(inbox, 8)
    send(*range(8))
    send(*range(8))  # does not fit
    send(1)  # would fit, but then the gap were in the middle
    send.lose()  # is no value, and must be known
    assert inbox.lost == 9

    heads, values, lost = inbox.take()
    assert heads["count"].tolist() == [8, 1]
    assert heads["nanoseconds"].tolist() == [0, LOST]
    assert values[:8].tolist() == [*range(8)]
    assert lost == 9

    send(2)
    heads, values, lost = inbox.take()
    assert (values.tolist(), lost) == ([2.0], 0)
    assert inbox.lost == 9


def test_several_threads_fill_one_inbox_while_it_is_emptied(inbox):
    # Long waveforms: the threads spend their time in the library, where they are in parallel.
    threads, each, elements = 4, 1500, 1000
    inbox.open(threads * each * elements)

    def fill(number):
        send = Sender(inbox, elements)
        for count in range(each):
            send(*[number * each + count] * elements, seconds=number, nanoseconds=count)

    workers = [threading.Thread(target=fill, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    taken = []
    while any(worker.is_alive() for worker in workers):
        taken.append(inbox.take())
    taken.append(inbox.take())
    for worker in workers:
        worker.join()

    assert sum(len(heads) > 0 for heads, _, _ in taken) > 1, "never emptied meanwhile"
    heads = np.concatenate([heads for heads, _, _ in taken])
    values = np.concatenate([values for _, values, _ in taken])
    # Nothing torn: a head and its values belong together.
    whole = heads["seconds"].astype(float) * each + heads["nanoseconds"]
    assert np.array_equal(values, np.repeat(whole, elements))
    for number in range(threads):
        sent = heads[heads["seconds"] == number]
        assert np.array_equal(sent["nanoseconds"], np.arange(each))
    assert inbox.lost == 0


def test_an_overrun_is_counted_and_stands_where_it_was(inbox):
    capacity, sent = 16, 20_000
    inbox.open(capacity)

    def fill():
        send = Sender(inbox)
        for value in range(sent):
            send(value)

    worker = threading.Thread(target=fill)
    worker.start()
    taken = []
    while worker.is_alive():
        taken.append(inbox.take()[1:])
    taken.append(inbox.take()[1:])
    worker.join()

    assert all(len(values) <= capacity for values, _ in taken)
    following = 0
    for values, lost in taken:
        assert np.array_equal(values, following + np.arange(len(values)))
        following += len(values) + lost
    assert following == sent
    assert sum(lost for _, lost in taken) == inbox.lost > 0


@pytest.mark.parametrize("compiler", ["", "/no/such/compiler"])
def test_an_installation_has_the_library_if_there_is_a_compiler(compiler, tmp_path):
    built, objects = tmp_path / "built", tmp_path / "objects"
    command = ["setup.py", "build_ext", "--build-lib", str(built), "--build-temp", str(objects)]
    environment = os.environ | ({"CC": compiler} if compiler else {})

    done = subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    libraries = list(built.rglob("_inbox*"))
    if compiler:
        assert not libraries
        assert '"glidepath.flyers.monitors._inbox" failed' in done.stderr
    else:
        ctypes.CDLL(str(libraries[0]))
        assert "warning" not in done.stderr, done.stderr
