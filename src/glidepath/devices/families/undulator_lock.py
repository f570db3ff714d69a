"""The lock of an undulator: the control room can take it away from a beamline."""

from collections.abc import Mapping

from ophyd_async.core import StandardReadable
from ophyd_async.core import StandardReadableFormat as Format

from glidepath.devices.generic import pv_names
from glidepath.devices.signals import ask, signal_r

__all__ = ["UndulatorLock"]


class UndulatorLock(StandardReadable):
    """Whether the control room has locked an undulator (``BaseCmdHmLock``, 0: it has not).

    In the ``path`` of a scan it is looked at in the pre-flight.

    Parameters
    ----------
    prefix
        Prefix of the undulator, for example ``"U17IT6R:"``.
    name
        Name of the device.
    pvs
        Another name for the PV ``lock``.
    """

    def __init__(
        self, prefix: str, name: str = "", *, pvs: Mapping[str, str] | None = None
    ) -> None:
        names = pv_names(prefix, {"lock": "{}BaseCmdHmLock"}, pvs)
        with self.add_children_as_readables(Format.UNCACHED_SIGNAL):
            self.lock = signal_r(int, names["lock"])
        super().__init__(name)

    async def objection(self) -> str:
        """Return why the undulator cannot be used, as a sentence; empty if it can."""
        if await ask(self.lock):
            return (
                f"{self.name} is locked by the control room ({self.lock.source} is not 0); ask "
                "there for it to be released."
            )
        return ""
