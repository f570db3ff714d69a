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


_running = []
"""The simulated beamline of the tests, if one of them has wanted it."""


@pytest.fixture(scope="module", autouse=True)
def _light_for_the_next_module():
    """Open the valves and shutters that a module has left closed: what comes next needs light."""
    yield
    if _running and "vacuum" in _running[0].process_ids:
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(_opened(_running[0].prefix))
        finally:
            loop.close()


async def _opened(prefix: str) -> None:
    import aioca

    async def put(name, value):
        await aioca.caput(prefix + name, value, wait=True, timeout=60)

    async def becomes(name, values):
        for _ in range(1200):
            if (found := await aioca.caget(prefix + name, timeout=60)) in values:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{name} is {found!r}, none of {values}.")

    for name in ("V1", "V2", "PSH1"):
        await put(f"FAULT:{name}", "none")
        await becomes(f"{name}:SetTa", (0,))
        if await becomes(f"{name}:State1", (5, 14)) == 5:
            await put(f"{name}:SetTa", 1)
    await put("FAULT:BS1", "none")
    for permit in ("permit1", "permit2"):
        await put(f"BS1:{permit}", 1)
    if await becomes("BS1:State", (1, 2)) == 1:
        await put("BS1:open", 1)
    for name in ("V1:State1", "V2:State1", "PSH1:State1"):
        await becomes(name, (14,))
    await becomes("BS1:State", (2,))
    aioca.purge_channel_caches()


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
        _running.append(simulated)
        yield simulated
        _running.clear()
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
