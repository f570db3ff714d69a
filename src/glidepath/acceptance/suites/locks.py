"""Locks: who has them is known; they are given to one, refused to others, and given back."""

from collections.abc import Iterable

from glidepath.acceptance.outcomes import Failed, LeftOut
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.devices.families import UndulatorLock
from glidepath.devices.generic import LockedError, ResourceLock
from glidepath.devices.signals import ask, tell
from glidepath.sentences import joined

SOMEBODY = "glidepath acceptance test"
"""Who asks for the lock while we have it."""


async def has_holder(trial: Trial) -> str:
    """That it is free agrees with that nobody has it."""
    free, holder = await ask(trial.device.free), await ask(trial.device.holder)
    if bool(free) != (not holder):
        raise Failed(
            f"Its server says that it is {'free' if free else 'taken'} and that its holder is "
            f"{holder or 'nobody'!r}, which cannot both be true."
        )
    return "free" if free else f"held by {holder}"


async def locks(trial: Trial) -> str:
    """It is given to us, refused to somebody else, and free again afterwards."""
    lock = trial.device
    if not await ask(lock.free):
        raise LeftOut(f"It is held by {await ask(lock.holder)}; it was left to them.")
    try:
        async with lock.held():
            await tell(lock.request, SOMEBODY)
            if not await lock.held_by_us():
                raise Failed(
                    f"It was ours, and was given to somebody else who asked for it: its holder is "
                    f"{await ask(lock.holder)!r}."
                )
    except LockedError as error:
        raise Failed(f"It was free, and it was not given to us: {joined(str(error))}.") from error
    if not await ask(lock.free):
        raise Failed(f"It was given back and is not free: {await ask(lock.holder)!r} has it.")
    return "given, refused to somebody else, and given back"


async def is_unlocked(trial: Trial) -> str:
    """The control room has not locked the undulator."""
    if objection := await trial.device.objection():
        raise Failed(objection)
    return "not locked by the control room"


def _locks(beamline: Beamline, name: str) -> Iterable[str]:
    return [name] if isinstance(beamline.devices[name], ResourceLock) else []


def _undulator_locks(beamline: Beamline, name: str) -> Iterable[str]:
    return [name] if isinstance(beamline.devices[name], UndulatorLock) else []


register_suite(
    Suite("lock", _locks, (Test("has a holder", has_holder), Test("locks", locks, moves=True)))
)
register_suite(Suite("lock of an undulator", _undulator_locks, (Test("is unlocked", is_unlocked),)))
