"""Every fault of the simulated families, the motor and the monochromator, and which test finds it.

Run ``python -m glidepath.faults.acceptance_matrix --output docs/acceptance-matrix.md``; it takes
about ten minutes. The status is 1 if a fault is not found that should be. The tests make a part
of it.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from glidepath.acceptance import Asked, Outcome, Result, Runner, planned_tests
from glidepath.acceptance.axis import axes_of
from glidepath.cli.bench import check_writable, environment
from glidepath.session import Session
from glidepath.simulation import SimulatedBeamline

__all__ = ["CASES", "Case", "Found", "Matrix", "beamline_of_all_families", "page"]

MODULE = "glidepath.faults.acceptance_devices"

AGAIN = 15.0
"""Seconds within which a device must be as before when its fault is over."""

PAGE = """# Faults and the tests that find them

Each fault of the simulated families, of the motor and of the monochromator was switched on, and
the [acceptance tests](acceptance.md) of the device were made, in their order, until one failed.
Written by `python -m glidepath.faults.acceptance_matrix` on {date}, Python {python}, Glidepath
{version}.

{count} faults: {found} are found by a test, {harmless} do no harm, {missed} are missed.
Without any fault all tests of these devices pass.

{table}
"""


@dataclass(frozen=True)
class Case:
    """A fault.

    Attributes
    ----------
    device
        Whose tests are made.
    pv
        What is set, without the prefix: ``FAULT:...`` or a PV that somebody else sets.
    value
        The fault.
    expected
        Name of the part and the test that is to find it; empty: none can.
    why_not
        Why none can, if that is so.
    well
        Value without the fault.
    cure
        PVs that are set afterwards, where the device does not come back by itself.
    only
        Names of the tests that are made; empty: all.
    when_moving
        Readback, without the prefix, that must change before the fault strikes; empty: it strikes
        before the tests.
    """

    device: str
    pv: str
    value: Any
    expected: str = ""
    why_not: str = ""
    well: Any = "none"
    cure: Mapping[str, Any] = field(default_factory=dict, hash=False)
    only: tuple[str, ...] = ()
    when_moving: str = ""

    def __str__(self) -> str:
        return f"{self.device}: {self.pv} = {self.value}"


@dataclass(frozen=True)
class Found:
    """What became of a case.

    Attributes
    ----------
    case
        The fault.
    outcome
        Of the first test that failed; None: none did.
    after
        What did not work when the fault was over; empty: all did.
    """

    case: Case
    outcome: Outcome | None
    after: str = ""

    @property
    def title(self) -> str:
        """The test that found it, or an empty text."""
        return "" if self.outcome is None else self.outcome.title

    @property
    def as_expected(self) -> bool:
        """Whether the test found it that should, and the device was well again."""
        return self.title == self.case.expected and not self.after


def _cases() -> Iterator[Case]:
    yield from _barriers()
    with_status = (
        ("m1", "M1:Tx", "m1-tx"),
        ("aperture", "AU1:M1", "aperture-top"),
        ("pinholes", "PIN1:PH_2", "pinholes-axes-2"),
        ("exit_slit", "ES1", "exit_slit"),
    )
    for device, fault, axis in with_status:
        for value in ("stuck", "late status", "no status", "stops short", "tripped"):
            if (device, value) != ("exit_slit", "tripped"):
                yield _of_axis(device, fault, value, axis)
    # Without power it is closed, which is outside its limits.
    yield Case("exit_slit", "FAULT:ES1", "tripped", "exit_slit has limits")
    without = (
        ("slits", "SLIT1:Top", "slits-top"),
        ("filters", "FIL1:PH_1", "filters-axes-1"),
        ("steerer", "HS4P1D4R", "steerer"),
        ("converter", "QSPAZR", "converter"),
        ("kicker", "KIK1", "kicker"),
    )
    for device, fault, axis in without:
        for value in ("stuck", "stops short", "tripped"):
            yield _of_axis(device, fault, value, axis)
    for value in ("stuck", "no status", "stops short"):
        cure = {"HEX1:pmac.AOUT": "&1a"}
        yield Case("hexapod", "FAULT:HEX1", value, "hexapod-x moves", cure=cure)
    yield Case("mux", "FAULT:PMUXZR", "stuck", "mux switches")
    yield Case("engine", "FAULT:TOPUPCC", "no beam", "engine injects")
    yield from _switches()
    yield from _optics()


def _barriers() -> Iterator[Case]:
    finds = {
        "stuck": "toggles",
        "late status": "toggles",
        "no status": "toggles",
        "half-way": "toggles",
        "switch fault": "has a state",
        "goes back": "toggles",
    }
    for device, name in (("valve", "V1"), ("photon_shutter", "PSH1"), ("beam_shutter", "BS1")):
        close = {"BS1:close": 1} if name == "BS1" else {f"{name}:SetTa": 1}
        for value, test in finds.items():
            # What was opened, or hangs, when the fault is over is closed.
            cure = close if value in ("no status", "half-way") else {}
            yield Case(device, f"FAULT:{name}", value, f"{device} {test}", cure=cure)
    yield Case("beam_shutter", "BS1:permit1", 0, "beam_shutter has permits", well=1)


def _of_axis(device: str, fault: str, value: str, axis: str) -> Case:
    return Case(device, f"FAULT:{fault}", value, f"{axis} moves")


def _switches() -> Iterator[Case]:
    yield Case("kicker", "KIK1:stat1", 0, "kicker is on", well=1)
    yield Case("delay", "PAHB:switch", 0, "delay is on", well=1)
    yield Case("undulator_lock", "UE48:BaseCmdHmLock", 1, "undulator_lock is unlocked", well=0)
    for server, device in (("vacuum", "m1"), ("optics", "focus")):
        pv = f"FAULT:{server}_clock_step"
        part = "m1-tx" if device == "m1" else device
        yield Case(device, pv, 5.0, f"{part} moves", well=0.0)
    pv = "FAULT:accelerator_clock_step"
    yield Case("tune", pv, 5.0, "tune has time stamps", well=0.0)
    yield Case("tune", pv, -5.0, "tune has the time", well=0.0)
    yield Case("mesh", "FAULT:KEI1_silent", 1, "mesh updates", well=0)


def _optics() -> Iterator[Case]:
    yield Case("focus", "FAULT:m1_frozen", 1, "focus moves", well=0)
    # A stall is one of a movement.
    only = ("connects", "moves")
    yield Case("focus", "FAULT:m1_stall", 1, "focus moves", "", 0, {}, only, "m1.RBV")
    frozen = "FAULT:readback_frozen"
    yield Case("energy", frozen, 1, "energy moves", well=0)
    flies = ("connects", "flies")
    yield Case("energy", "FAULT:sweep_init_never_ready", 1, "energy flies", well=0, only=flies)
    yield Case("energy", "FAULT:sweep_stall", 1, "energy flies", well=0, only=flies)
    yield Case("energy", "FAULT:gap_lag", 3.0, "energy flies", well=0.05, only=flies)
    yield Case("energy", "FAULT:gap_stall", 1, "energy moves", well=0)
    why = "the state of the sweep before stays for longer, which a flight waits for"
    yield Case("energy", "FAULT:sweep_stale", 2.0, "", why, well=0.2, only=flies)


CASES = tuple(_cases())


@contextmanager
def beamline_of_all_families() -> Iterator[SimulatedBeamline]:
    """Give a simulated beamline with all its servers; its addresses are in the environment."""
    with SimulatedBeamline(seed=3, vacuum=True, accelerator=True) as simulated:
        variables = {**simulated.environment, "GLIDEPATH_PREFIX": simulated.prefix}
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield simulated
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


class Matrix:
    """Makes the tests of devices with a fault, in a session of their own.

    A context manager. The simulated beamline is the environment's.

    Parameters
    ----------
    folder
        Data directory.
    prefix
        Of the simulated beamline.
    """

    def __init__(self, folder: Path, prefix: str) -> None:
        self._prefix = prefix
        self.session = Session(
            MODULE,
            folder,
            catalogue=False,
            baseline=False,
            silent=False,
            live=False,
            exports=False,
        )
        self.runner = Runner(self.session, Asked(frozenset(self.session.beamline.devices)))

    def __enter__(self) -> "Matrix":
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def outcomes(self, device: str, only: Sequence[str] = ()) -> list[Outcome]:
        """Return what comes of all tests of a device, or of some, by their names."""
        return list(self._outcomes(device, only))

    def _outcomes(self, device: str, only: Sequence[str]) -> Iterator[Outcome]:
        for planned in planned_tests(self.session.beamline, [device]):
            if not only or planned.test.name in only:
                yield self.runner.run(planned)

    def find(self, case: Case) -> Found:
        """Switch a fault on, make tests until one fails, and switch it off again."""
        # Connected and listened to before: a server that is new to a client is another matter.
        where = self._where(case.device)
        striking = asyncio.run_coroutine_threadsafe(self._strike(case), self.session.RE.loop)
        if not case.when_moving:
            striking.result()
        try:
            outcomes = self._outcomes(case.device, case.only)
            failed = next((one for one in outcomes if one.result is Result.FAIL), None)
        finally:
            striking.cancel()
            self.put(case.pv, case.well)
            for pv, value in case.cure.items():
                self.put(pv, value)
        return Found(case, failed, self._well_again(case, where))

    def bring_to_the_middle(self, device: str) -> None:
        """Bring the axes of a device to the middle of their safe ranges, wherever others left them.

        Raises
        ------
        Exception
            What an axis says that cannot be moved.
        """
        safe = self.session.beamline.safe_ranges
        axes = [axis for axis in axes_of(self.session.beamline.devices[device]) if axis in safe]
        self._bring(device, {axis: sum(safe[axis]) / 2 for axis in axes}, "")

    def _where(self, device: str) -> tuple[dict[str, float], str]:
        """Return where the axes of a device are, and whether it is open or closed."""
        connected: Any = self.session.devices([device])[0]
        safe = self.session.beamline.safe_ranges

        async def look() -> tuple[dict[str, float], str]:
            makers = {name: make for name, make in axes_of(connected).items() if name in safe}
            positions = {name: await (await make()).position() for name, make in makers.items()}
            return positions, await connected.state() if hasattr(connected, "state") else ""

        positions, state = self.session.call(look)
        return positions, state if state in ("open", "closed") else ""

    def _bring(self, device: str, positions: Mapping[str, float], state: str) -> None:
        """Bring a device somewhere."""
        connected: Any = self.session.devices([device])[0]

        async def bring() -> None:
            makers = axes_of(connected)
            for name, position in positions.items():
                await (await makers[name]()).go(position)
            if state:
                await connected.set(state)

        self.session.call(bring)

    def _well_again(self, case: Case, where: tuple[dict[str, float], str]) -> str:
        """Bring a device back to where it was before the fault; return what does not work."""
        deadline = time.monotonic() + AGAIN
        while True:
            try:
                self._bring(case.device, *where)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                return ""
            if time.monotonic() > deadline:
                return problem
            time.sleep(0.5)

    async def _strike(self, case: Case) -> None:
        """Switch a fault on, when the axis moves if that is said."""
        import aioca

        if case.when_moving:
            seen: list[float] = []
            moved = asyncio.Event()

            def note(value: float) -> None:
                seen.append(value)
                if value != seen[0]:
                    moved.set()

            monitor = aioca.camonitor(f"{self._prefix}{case.when_moving}", note)
            try:
                await moved.wait()
            finally:
                monitor.close()
        await self._put(case.pv, case.value)

    async def _put(self, pv: str, value: Any) -> None:
        import aioca

        await aioca.caput(f"{self._prefix}{pv}", value, wait=True, timeout=20)

    def put(self, pv: str, value: Any) -> None:
        """Set a PV of the simulation, by its name without the prefix."""
        self.session.call(lambda: self._put(pv, value))


def page(found: Sequence[Found]) -> str:
    """Return the page of the documentation."""
    known = environment()
    head = ["| device | fault | found by | message |", "|---|---|---|---|"]
    lines = [_line(one) for one in found]
    return PAGE.format(
        date=known["date"][:10],
        python=known["python"],
        version=known["versions"]["glidepath"],
        count=len(found),
        found=sum(one.outcome is not None for one in found),
        harmless=sum(one.outcome is None and bool(one.case.why_not) for one in found),
        missed=sum(one.outcome is None and not one.case.why_not for one in found),
        table="\n".join([*head, *lines]),
    )


def _line(found: Found) -> str:
    case = found.case
    sentence = case.why_not if found.outcome is None else found.outcome.sentence
    fault = f"`{case.pv}` = {case.value}"
    return f"| {case.device} | {fault} | {found.title or '-'} | {sentence.replace('|', '/')} |"


def make(
    cases: Sequence[Case], folder: Path, told: Callable[[Found], None]
) -> tuple[list[Outcome], list[Found]]:
    """Make all tests without a fault, then each case; return what failed without, and the cases."""
    with beamline_of_all_families() as simulated, Matrix(folder, simulated.prefix) as matrix:
        well = [
            outcome
            for device in dict.fromkeys(case.device for case in cases)
            for outcome in matrix.outcomes(device)
        ]
        found = []
        for case in cases:
            found.append(matrix.find(case))
            told(found[-1])
        return [one for one in well if one.result is Result.FAIL], found


def main() -> None:
    """Make the matrix from the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/acceptance-matrix.md"))
    parser.add_argument("--only", default="", help="cases whose text has this in it")
    wanted = parser.parse_args()
    try:
        check_writable(wanted.output)
    except ValueError as error:
        parser.error(str(error))
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    chosen = [case for case in CASES if wanted.only in str(case)]

    def told(found: Found) -> None:
        sentence = "" if found.outcome is None else found.outcome.sentence
        mark = "" if found.as_expected else f"  NOT AS EXPECTED ({found.case.expected})"
        after = f" [{found.after}]" if found.after else ""
        console.print(f"{found.case}: {found.title}: {sentence}{mark}{after}", markup=False)

    with tempfile.TemporaryDirectory() as place:
        failed, found = make(chosen, Path(place), told)
    for outcome in failed:
        console.print(f"without a fault: {outcome.title}: {outcome.sentence}", markup=False)
    wanted.output.write_text(page(found))
    sys.exit(1 if failed or not all(one.as_expected for one in found) else 0)


if __name__ == "__main__":
    main()
