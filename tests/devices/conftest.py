"""Waiting for a condition, with a bound, without a clock."""

import asyncio

import pytest


@pytest.fixture
def eventually():
    """Return a function that waits until a condition holds, for a thousand turns of the loop."""

    async def wait(condition):
        for _ in range(1000):
            if condition():
                return
            await asyncio.sleep(0)
        raise AssertionError("The condition did not come true.")

    return wait
