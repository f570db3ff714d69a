"""What all tests share: a simulated beamline, a run engine, and a watch on what is left behind."""

import asyncio
import gc
import os
import threading

import pytest
from hypothesis import settings

# The same examples in every run, and no deadline on a busy machine.
settings.register_profile("glidepath", derandomize=True, deadline=None, database=None)
settings.load_profile("glidepath")

# Before anything imports Channel Access or PV Access: only the loopback, never a real beamline.
LOOPBACK = "127.0.0.1"
for protocol in ("CA", "PVA"):
    asked = os.environ.get(f"EPICS_{protocol}_ADDR_LIST", "").split()
    addresses = [address for address in asked if address.partition(":")[0] == LOOPBACK]
    os.environ[f"EPICS_{protocol}_ADDR_LIST"] = " ".join(addresses or [LOOPBACK])
    os.environ[f"EPICS_{protocol}_AUTO_ADDR_LIST"] = "NO"
os.environ.pop("EPICS_PVA_NAME_SERVERS", None)


def pytest_collection_modifyitems(items):
    """Mark what needs the simulated beamline, so that one can leave it out or run nothing else."""
    for item in items:
        if "beamline" in getattr(item, "fixturenames", ()):
            item.add_marker("simulated_beamline")


@pytest.fixture(scope="session")
def beamline(tmp_path_factory):
    """A running SimulatedBeamline with a truth file; its environment is in os.environ."""
    from glidepath.simulation import SimulatedBeamline

    truth = tmp_path_factory.mktemp("beamline") / "truth.h5"
    with SimulatedBeamline(seed=1, truth=truth, panda=True, later=True) as simulated:
        # Its PandA is for those who make one: not for all who connect whatever there is.
        variables = {k: v for k, v in simulated.environment.items() if k != "GLIDEPATH_PANDA"}
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        os.environ["GLIDEPATH_PREFIX"] = simulated.settings.prefix
        yield simulated
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def RE():  # noqa: N802
    """A run engine with a loop of its own, which is empty when the test is over."""
    from bluesky import RunEngine

    loop = asyncio.new_event_loop()
    engine = RunEngine({}, loop=loop, call_returns_result=True)
    yield engine
    assert engine.state == "idle"
    left = asyncio.run_coroutine_threadsafe(_left_and_closed(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    engine._th.join()
    loop.close()
    assert not left, f"left behind: {left}"
    # A socket or a file that nobody closed warns when it is collected, which is an error here.
    gc.collect()


async def _left_and_closed() -> list[str]:
    """Return what a test has left in the run engine's loop, and close the channels."""
    import aioca

    # What was told to end in the test's last moment may do so.
    for _ in range(100):
        left = [f"task {task.get_coro()}" for task in _tasks()]
        left += [f"monitor of {c.name}" for c in aioca.get_channel_infos() if c.subscriber_count]
        if not left:
            break
        await asyncio.sleep(0.02)
    aioca.purge_channel_caches()
    return left


def _tasks() -> list[asyncio.Task]:
    return [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


@pytest.fixture(autouse=True)
def _no_threads_left():
    """Fail a test that leaves a thread of ours behind."""
    yield
    left = [thread.name for thread in threading.enumerate() if "glidepath" in thread.name]
    assert not left, f"threads left behind: {left}"
