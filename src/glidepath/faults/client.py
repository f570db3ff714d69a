"""The client of a scan into which faults are put: a session as a user has it, told by lines.

Reads JSON objects on its input, one a line: ``{"scan": {...}}``, ``{"get": [pv, ...]}``,
``{"put": [pv, value]}``, ``{"send": [pv, value]}`` (which waits for nothing),
``{"interrupt": "abort"}``. Answers ``{"ready": ...}``, ``{"begun": uid}``, ``{"got": [...]}`` and,
when a scan is over, ``{"ended": {...}}``.
"""

import asyncio
import faulthandler
import gc
import json
import os
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

LOG = "glidepath.log"
"""Opened with the first line that is logged."""

SETTLE_TIMEOUT = 10.0
"""Seconds in which what a scan held must be gone, on a machine that is busy with other scans."""

HALTED_TIMEOUT = 40.0
"""Seconds in which it must be gone after a halt, which does not wait for the clean-up."""

LOOKS_EVERY = 5.0
"""Times as long as a look takes until the next one."""

OWN_SOCKETS = 2
"""Those of an event loop: the portable monitors have one of their own after their first use."""

GET_TIMEOUT = 60.0
"""Seconds in which a server must answer that may just have started."""


TELLING = threading.Lock()


def tell(**what: Any) -> None:
    """Answer in one line of JSON."""
    with TELLING:
        print(json.dumps(what), file=ANSWERS, flush=True)


def holdings(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    """Return what this process holds: threads, tasks, files, sockets, monitors, children."""
    import aioca

    files, sockets = [], 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            where = os.readlink(f"/proc/self/fd/{number}")
            if where.startswith("socket:"):
                sockets += 1
            elif where.startswith("/") and not where.endswith(("/fd", LOG)):
                files.append(where)

    async def tasks() -> list[str]:
        mine = asyncio.current_task()
        return [
            getattr(t.get_coro(), "__qualname__", repr(t))
            for t in asyncio.all_tasks()
            if t is not mine
        ]

    working = asyncio.run_coroutine_threadsafe(tasks(), loop).result(10)
    gc.collect()
    monitors = [
        s.name
        for s in gc.get_objects()
        # Not isinstance: some objects answer even a look at their class with an error.
        if issubclass(type(s), aioca.Subscription) and s.state != aioca.Subscription.CLOSED
    ]
    children: list[str] = []
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):
            children += Path(f"/proc/self/task/{task}/children").read_text().split()
    # A thread of libca that has called Python is a dummy, which comes and goes with circuits; the
    # pool of the event loop grows to its size; the portable monitors' loop begins with their first
    # use and stays.
    threads = [
        t.name
        for t in threading.enumerate()
        if not t.name.startswith(("Dummy", "asyncio_", "aioca"))
    ]
    return {
        "threads": sorted(threads),
        "tasks": dict(sorted(Counter(working).items())),
        "files": sorted(files),
        "sockets": sockets,
        "monitors": sorted(monitors),
        "children": len(children),
    }


def excess(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return what is there after a scan and was not before."""
    found = []
    for kind in ("threads", "files", "monitors"):
        more = Counter(after[kind]) - Counter(before[kind])
        found += [f"{kind}: {name}" for name in more.elements()]
    more = Counter(after["tasks"]) - Counter(before["tasks"])
    found += [f"tasks: {name}" for name in more.elements()]
    found += [
        f"{after[kind] - before[kind]} more {kind}"
        for kind, allowed in (("sockets", OWN_SOCKETS), ("children", 0))
        if after[kind] > before[kind] + allowed
    ]
    return found


class Client:
    """One session, and the scans that it is told to fly."""

    def __init__(self, beamline: str, folder: Path) -> None:
        from glidepath.session import Session

        # What is left behind of a scan is counted: nothing else may run beside.
        nothing: dict[str, Any] = dict.fromkeys(
            ("catalogue", "baseline", "silent", "live", "exports"), False
        )
        self.session = Session(beamline, folder, **nothing)
        self.engine = self.session.RE
        self.loop = self.engine._loop
        self.engine.subscribe(self._note, "start")
        self.scans: list[dict[str, Any]] = []
        self.told = threading.Condition()
        self.exchanging = threading.Lock()
        self.ended = False

    def _note(self, _: str, document: Any) -> None:
        tell(begun=document["uid"])

    def listen(self) -> None:
        """Obey the lines on the input; runs in a thread, while scans fly too."""
        for line in sys.stdin:
            what = json.loads(line)
            if "scan" in what:
                with self.told:
                    self.scans.append(what["scan"])
                    self.told.notify()
            elif "interrupt" in what:
                threading.Thread(target=self._interrupt, args=(what["interrupt"],)).start()
            else:
                self._exchange(what)
        with self.told:
            self.ended = True
            self.told.notify()

    def _interrupt(self, how: str) -> None:
        with suppress(Exception):  # the scan may be over by now
            getattr(self.engine, how)()

    def _exchange(self, what: dict[str, Any]) -> None:
        import aioca

        async def exchange() -> Any:
            if "put" in what:
                await aioca.caput(*what["put"], wait=True, timeout=GET_TIMEOUT)
                return True
            if "send" in what:
                await aioca.caput(*what["send"], timeout=GET_TIMEOUT)
                return True
            # A search for a channel of a server that was dead may take a while.
            names = [channel.name for channel in aioca.get_channel_infos()]
            await aioca.connect(names, timeout=GET_TIMEOUT, throw=False)
            lost = [c.name for c in aioca.get_channel_infos() if not c.connected]
            if lost:
                return f"{len(lost)} of {len(names)} channels are not connected: {lost[:5]}"
            values = await aioca.caget(what["get"], timeout=GET_TIMEOUT)
            return [value if isinstance(value, str) else float(value) for value in values]

        # Not result(): an exception of aioca is false, and a future takes it for none.
        with self.exchanging:
            future = asyncio.run_coroutine_threadsafe(exchange(), self.loop)
            error = future.exception(2 * GET_TIMEOUT)
        tell(got=future.result() if error is None else f"{type(error).__name__}: {error}")

    def fly(self, detectors: list[str], axis: str, **arguments: Any) -> dict[str, Any]:
        """Fly one scan; return how it ended and what is left of it."""
        from glidepath.plans import flyscan

        self.session.follower.stop = None
        # A server may be gone before there is a scan: there is nothing to compare with then.
        before = None
        raised = ""
        try:
            sampled: list[Any] = list(self.session.devices(detectors))
            moved: Any = self.session.devices([axis])[0]
            if "triggers" in arguments:
                (box,) = self.session.devices([arguments["triggers"]["box"]])
                arguments["triggers"] = {**arguments["triggers"], "box": box}
            before = holdings(self.loop)
            self.engine(flyscan(sampled, moved, **arguments))
        except BaseException as error:
            raised = f"{type(error).__name__}: {error}"
        ended = time.time()
        halted = "RunEngineInterrupted" in raised
        deadline = time.monotonic() + (HALTED_TIMEOUT if halted else SETTLE_TIMEOUT)
        left: list[str] = []
        while before is not None:
            looked = time.monotonic()
            # Whatever waits for an answer to a fault is none of the scan's.
            with self.exchanging:
                left = excess(before, holdings(self.loop))
            now = time.monotonic()
            if not left or looked > deadline:
                break
            # A look holds up whatever else this process does, such as the clean-up after a halt.
            time.sleep(min(max(0.05, LOOKS_EVERY * (now - looked)), max(deadline - now, 0.05)))
        return {
            "raised": raised,
            "at": ended,
            "stop": self.session.follower.stop,
            "state": str(self.engine.state),
            "left": left,
        }

    def work(self) -> None:
        """Fly what comes until there is nothing more to come."""
        while True:
            with self.told:
                self.told.wait_for(lambda: self.scans or self.ended)
                if not self.scans:
                    return
                scan = self.scans.pop(0)
            tell(ended=self.fly(**scan))


def main(beamline: str, folder: Path) -> None:
    """Be the client."""
    client = Client(beamline, folder)
    listening = threading.Thread(target=client.listen, daemon=True, name="listener")
    listening.start()
    tell(ready=os.getpid())
    client.work()
    client.session.close()


if __name__ == "__main__":
    # The answers have a pipe of their own: libraries print.
    ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    faulthandler.enable()
    main(sys.argv[1], Path(sys.argv[2]))
