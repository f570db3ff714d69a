"""Whether a PandA is free for a scan: one that somebody else uses is left alone."""

import re
from pathlib import PurePath

from glidepath.devices.signals import ask, comes_true
from glidepath.storage import data_root

from .claim import Claim
from .panda_wiring import PandaWiring
from .trigger_box import NEWS
from .trigger_source import TriggerError


async def claim_panda(wiring: PandaWiring) -> Claim:
    """Make sure that nobody else uses the box, before anything is changed.

    What a scan of this data directory has left behind, because it was killed, is taken over.

    Returns
    -------
    Claim
        Taken; to be released when the box is free again.

    Raises
    ------
    TriggerError
        If somebody else uses it.
    """
    claim, name = Claim(data_root(), wiring.name), wiring.name
    if not (claim.take() or await _busy_with(wiring) is None):
        raise TriggerError(
            f"{name} is used by another session of this data directory; end its scan first."
        )
    busy = await _busy_with(wiring)
    if busy is not None and not await _is_left_over(wiring):
        claim.release()
        raise TriggerError(
            f"{name} is {busy} for somebody else; end that first, nothing was changed."
        )
    return claim


async def _busy_with(wiring: PandaWiring) -> str | None:
    """Return what the box is doing, if anything."""
    data, active = wiring.blocks.data, wiring.blocks.pcap.active
    signals = (data.capture, active, wiring.sequencer.active)
    idle, found = await comes_true(
        lambda value: not any(value(signal) for signal in signals), *signals, within=NEWS
    )
    if idle:
        return None
    if found[data.capture]:
        folder, name = await ask(data.hdf_directory), await ask(data.hdf_file_name)
        return f"writing {folder}/{name}"
    if found[active]:
        return "capturing positions"
    return f"running its sequencer {wiring.box.sequencer}"


async def _is_left_over(wiring: PandaWiring) -> bool:
    """Tell whether what it writes is a file of a scan of this data directory."""
    data = wiring.blocks.data
    folder, name = await ask(data.hdf_directory), await ask(data.hdf_file_name)
    root = PurePath(wiring.box.at_server(data_root()))
    ours = re.fullmatch(rf"{re.escape(wiring.name)}_\d{{3,}}(_start)?\.h5", name) is not None
    return ours and PurePath(folder).is_relative_to(root)


__all__ = ["claim_panda"]
