"""Whether an axis stalls, or only its connection was lost for a while."""

import asyncio

import pytest

from glidepath.flyers.motion import stall


@pytest.mark.parametrize(("late", "goes_on"), [(0.3, True), (0.3, False), (0.0, False)])
async def test_the_first_update_over_a_connection_that_is_back_is_waited_for(
    monkeypatch, late, goes_on
):
    travelled = [0.0]

    async def silent(*signals):
        await asyncio.sleep(late)
        if goes_on:
            # The answer is there before the update.
            asyncio.get_running_loop().call_later(0.1, travelled.__setitem__, 0, 1.0)
        return ""

    monkeypatch.setattr(stall, "silent", silent)
    cause = await stall.why_stalled(lambda: travelled[0], 1.0, otherwise="no progress for 2 s")
    assert cause == ("" if goes_on else "no progress for 2 s")
