"""Short scans on the simulated beamline with a fault in them, and what must hold after each.

`Laboratory` has a beamline of its own, a wire to each of its servers, a client process and a
witness who knows where the axes truly are. `FAULTS` are what it can do to a scan.
"""

import contextlib
import json
import queue
import re
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glidepath.catalog import read_journal
from glidepath.simulation import SimulatedBeamline, Wire, Witness
from glidepath.simulation.beam import mesh_current, sample_current
from glidepath.storage import read_columns
from glidepath.timeline import Quality

from .process import Process

VELOCITY = 2.0
PERIOD = 0.06
START, STOP = 400.0, 405.0
"""eV, two and a half seconds of flight; rows are not as long as the detectors' exposures were."""

SCAN_TIMEOUT = 120.0
"""Seconds after which a scan is taken as hanging."""

ANSWER_TIMEOUT = 180.0
"""Seconds in which the client must answer, which may have to begin, and to find its servers."""

STANDING_TIMEOUT = 5.0
"""Seconds after the end of a scan, or after the servers are well again, to be seen standing."""

FULL_DISK = 4096
"""Bytes of each file that a full disk still takes."""

JOURNAL_RETRY = 1.5
"""Seconds in which the journal must have noticed that there is room again."""

ON_THE_WAY = {"sampled": 1.2, "triggered": 2.0}
"""Seconds of a flight that are neither read nor flushed yet when nothing can be any more."""

ENDS = 2
"""Rows that the two ends of a flight may cost."""

JUMP = 0.5
"""eV in 5 ms that no axis moves."""

ENERGY_TOLERANCE = 0.005 + 0.02 * VELOCITY
"""eV between a row that has no bit and the truth: noise, ripple, and what 10 Hz cannot follow."""

LIGHT: Mapping[str, Any] = {"mesh": mesh_current, "sample": sample_current}
"""Functions that give what each detector reads in the light."""

LIGHT_SLACK = 0.04
"""Seconds by which a row may be off where the light changes."""

LIGHT_NOISE = 0.03
"""Share by which a detector's row may differ from the truth."""

SETTINGS = (
    *("PGM1:SetSweepStart", "PGM1:SetSweepEnd", "PGM1:SetSweepVel", "PGM1:SetIdOn"),
    *("UE48:BaseCmdLswitch", "m3.VELO", "m3.OFF"),
    *(f"KEI{n}:{name}" for n in (1, 2) for name in ("rbkIntegrTime", "rbkFiltAverCnt")),
    *("KEI1:rdCur.MDEL", "KEI2:rdCur.MDEL"),
    # The triggers are disarmed, the camera is idle.
    *("ZEBRA:PC_ARM_OUT", "ZEBRA:PC_ENC", "ZEBRA:PC_PULSE_SEL", "ZEBRA:PULSE1_DLY"),
    *("CAM1:cam1:Acquire", "CAM1:cam1:AcquireTime"),
)

WRITTEN = {
    **{f"KEI{n}:rbkIntegrTime": f"KEI{n}:setIntegrTime" for n in (1, 2)},
    **{f"KEI{n}:rbkFiltAverCnt": f"KEI{n}:setFiltAverCnt" for n in (1, 2)},
    "ZEBRA:PC_ARM_OUT": "ZEBRA:PC_DISARM",
}
"""Process variables to write, for settings that are not written where they are read."""

READ = {written: read for read, written in WRITTEN.items()}

STILL_MOVING = re.compile("may still be moving")
"""How a reason says that an axis was not seen standing."""

STAYS = 0.01
"""eV by which an axis may go on after the end of its scan."""

NOT_PUT_BACK = re.compile("put back|could not be set")
"""Pattern of a reason that says that a setting is not as it was."""


@dataclass(frozen=True)
class Axis:
    """An axis that can be flown, and its names in the simulation.

    Parameters
    ----------
    back_end
        What flies it.
    name
        Name of the device.
    true
        Name of the axis in the simulation, which sets the beam's energy.
    stall, frozen
        Process variables of its faults.
    """

    back_end: str
    name: str
    true: str
    stall: str
    frozen: str

    @property
    def can_be_triggered(self) -> bool:
        """Whether the trigger box has its encoder, and knows its motion."""
        return self.name in ("energy", "mono_motor")


AXES = (
    Axis("controller sweep", "energy", "PGM1", "FAULT:sweep_stall", "FAULT:readback_frozen"),
    Axis("constant velocity", "mono_motor", "m3", "FAULT:m3_stall", "FAULT:m3_frozen"),
    Axis(
        "sweep and separate gap",
        "energy_separate",
        "PGM1",
        "FAULT:sweep_stall",
        "FAULT:readback_frozen",
    ),
    Axis("trajectory controller", "mono_profile", "m3", "FAULT:m3_stall", "FAULT:m3_frozen"),
)


@dataclass(frozen=True)
class Mode:
    """What makes a row.

    Parameters
    ----------
    name
        Name for people.
    detectors
        Names of what is sampled or triggered.
    arguments
        Arguments of the plan beside the range; the ``box`` of ``triggers`` is the name of a device.
    """

    name: str
    detectors: tuple[str, ...]
    # It does not count for the hash, because what is asked of a trigger box is a mapping.
    arguments: tuple[tuple[str, Any], ...] = field(hash=False)


MODES = (
    Mode("sampled", ("mesh", "sample", "ring"), (("period", PERIOD),)),
    Mode(
        "triggered",
        ("camera", "ring"),
        (("triggers", {"box": "zebra", "step": VELOCITY * PERIOD}),),
    ),
)

NOTHING = Quality(0)


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong.

    Parameters
    ----------
    name
        What goes wrong, in words for people.
    strike
        Function that does it; it gets the laboratory and the axis that flies.
    status
        Exit statuses with which the scan may end.
    says
        Pattern that the reason must match.
    marks
        Bits of which at least one must be in a row; empty: none needed.
    modes
        Names of the modes in which it is flown.
    at
        True energy (eV) at which it strikes; None: before the scan begins.
    leaves
        What may be left behind, once, until the servers are well again.
    in_flight
        Whether it means something only while the scan listens.
    lasts
        Seconds after which it is over; None: until the scan has ended.
    only
        Back ends to which it applies; empty: all.
    loses
        Names of the modes in which it may leave nothing to be recorded, if it ends the scan.
    """

    name: str
    strike: Callable[["Laboratory", Axis], None]
    status: tuple[str, ...] = ("success",)
    says: str = ""
    marks: Quality = NOTHING
    at: float | None = 401.0
    in_flight: bool = False
    modes: tuple[str, ...] = ("sampled",)
    loses: tuple[str, ...] = ()
    leaves: str = ""
    lasts: float | None = None
    only: tuple[str, ...] = ()

    def applies_to(self, axis: Axis) -> bool:
        """Tell whether it can strike an axis of this kind."""
        return not self.only or axis.back_end in self.only


@dataclass(frozen=True)
class Case:
    """One scan of the matrix."""

    fault: Fault
    axis: Axis
    mode: Mode

    def __str__(self) -> str:
        return f"{self.fault.name}, {self.axis.back_end}, {self.mode.name}"


@dataclass
class Outcome:
    """What became of one scan.

    Attributes
    ----------
    status, reason
        What the stop document says; "none" without one.
    standing_after
        Seconds from the fault to the axis standing, by the truth.
    ended_after
        Seconds from the fault to the end of the plan.
    rows, flown
        Rows in the file, and whole periods for which the axis truly was inside the range before
        the scan ended.
    owed
        The same until nothing could be recorded any more: rows that must not be missing.
    flagged
        Rows per quality bit.
    broken
        What did not hold, one sentence each.
    """

    fault: str
    back_end: str
    mode: str
    status: str = "none"
    reason: str = ""
    standing_after: float = float("nan")
    ended_after: float = float("nan")
    rows: int = 0
    flown: int = 0
    owed: int = 0
    flagged: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Rows that the axis flew through and that are missing; those at both ends always are."""
        return max(self.flown - self.rows, 0)


class _Client:
    """The client process, and a thread that hears what it says."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.told: queue.Queue[dict[str, Any]] = queue.Queue()
        self.got: queue.Queue[Any] = queue.Queue()
        self.over = threading.Event()
        self._reader = threading.Thread(target=self._read, name="laboratory", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while line := self._process.line():
            told = json.loads(line)
            if "got" in told:
                self.got.put(told["got"])
            else:
                self.told.put(told)
            if "ended" in told:
                self.over.set()
        self.over.set()
        self.told.put({"died": True})

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, **what: Any) -> None:
        self._process.tell(json.dumps(what))

    def kill(self) -> None:
        self._process.kill()
        self.close()

    def close(self) -> None:
        self._process.__exit__()
        self._reader.join()


class Laboratory:
    """A simulated beamline with a client, for one scan after the other.

    A context manager.

    The class is long because what is wrong in a scan can only be judged by whoever did it: what was
    changed, killed or frozen meanwhile says what the rows, the settings and the end may be like.

    Parameters
    ----------
    folder
        Folder for data, journal and log.
    seed
        Seed of the simulation's noise.
    """

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.folder = folder
        self.beamline = SimulatedBeamline(prefix="LAB:", seed=seed)
        settings = self.beamline.settings
        self.wires = {
            "optics": Wire(settings.optics_port, settings.repeater_port),
            "detectors": Wire(settings.detectors_port),
        }
        self.witness = Witness(settings.link_port)
        self._frozen: set[str] = set()
        self._killed: set[str] = set()
        self._before: dict[str, float] = {}
        self._found: dict[str, Any] = {}
        self._by_hand: dict[str, float] = {}
        self._logged = 0
        self._heard = 0
        self._later: list[threading.Thread] = []
        self._was_full = self._restarted = False
        self._disk_full, self._disk_limit = False, -1
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Laboratory":
        with contextlib.ExitStack() as stack:
            for wire in self.wires.values():
                stack.enter_context(wire)
            stack.enter_context(self.beamline)
            stack.enter_context(self.witness)
            ports = [wire.port for wire in self.wires.values()]
            self._environment = {
                **self.beamline.environment,
                "EPICS_CA_ADDR_LIST": " ".join(f"127.0.0.1:{port}" for port in ports),
                "GLIDEPATH_PREFIX": self.beamline.prefix,
            }
            self._errors = stack.enter_context((self.folder / "errors.txt").open("w+"))
            self._client = self._new_client()
            self._settings = dict(zip(SETTINGS, self.get(SETTINGS), strict=True))
            stack.callback(lambda: self._client.close())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._frozen):
            self.beamline.thaw(name)
        self._stack.close()

    def _new_client(self) -> "_Client":
        beamline = "glidepath.beamlines.simulated"
        command = [sys.executable, "-m", "glidepath.faults.client", beamline, str(self.folder)]
        return _Client(Process(command, self._environment, self._errors))

    # -- what faults are made of ---------------------------------------------------------------

    def set(self, pv: str, value: float) -> None:
        """Write to a process variable; `mend` puts it back."""
        self._before.setdefault(pv, *self.get([pv]))
        self.put(pv, value)

    def change(self, pv: str, value: float) -> None:
        """Change a setting by hand.

        A scan that has set it before puts back what it found. One that has not leaves it as
        somebody wanted it to be, or puts it back.
        """
        name = READ.get(pv, pv)
        if self.get([name]) == [self._found.get(name)]:
            self._by_hand[name] = value
        self.put(pv, value)

    def put(self, pv: str, value: float) -> None:
        """Write to a process variable."""
        self._ask(put=[self.beamline.prefix + pv, value])

    def send(self, pv: str, value: float) -> None:
        """Write to a process variable, and do not wait for what it leads to."""
        self._ask(send=[self.beamline.prefix + pv, value])

    def get(self, names: Sequence[str]) -> list[Any]:
        """Read process variables."""
        return self._ask(get=[self.beamline.prefix + name for name in names])

    def freeze(self, server: str) -> None:
        """Let a server hang until `mend`."""
        self._frozen.add(server)
        self.beamline.freeze(server)

    def kill(self, server: str) -> None:
        """Kill a server; `mend` starts it again."""
        self._killed.add(server)
        self._restarted = True
        self.beamline.kill(server)

    def restart(self, server: str, **changes: Any) -> None:
        """Kill a server and start it again, with other settings."""
        self._killed.add(server)
        self._restarted = True
        self.beamline.restart(server, **changes)

    def fill_disk(self) -> None:
        """Let the client write nothing more to any file, beyond its first bytes."""
        pid = self._client.pid
        _, self._disk_limit = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL_DISK, self._disk_limit))
        self._disk_full = self._was_full = True

    def _empty_disk(self) -> None:
        if self._disk_full:
            limits = (self._disk_limit, self._disk_limit)
            resource.prlimit(self._client.pid, resource.RLIMIT_FSIZE, limits)
            self._disk_full = False
            # The journal tries again once a second.
            time.sleep(JOURNAL_RETRY)

    def interrupt(self, how: str) -> None:
        """Call a method of the run engine: "abort", "stop", "halt" or "request_pause"."""
        self._client.tell(interrupt=how)

    def mend(self) -> None:
        """Make everything well again, and wait until it answers."""
        for wire in self.wires.values():
            wire.delay = 0.0
            wire.mend()
        for server in list(self._frozen):
            self.beamline.thaw(server)
        self._frozen.clear()
        self._empty_disk()
        if self._killed:
            # libca takes up to minutes to find all channels of a server that was dead again.
            self._client.kill()
            self._client = self._new_client()
        for server in list(self._killed):
            self.beamline.restart(server)
        self._killed.clear()
        before, self._before = self._before, {}
        for pv, value in before.items():
            self.put(pv, value)

    def _ask(self, **what: Any) -> Any:
        self._client.tell(**what)
        got = self._client.got.get(timeout=ANSWER_TIMEOUT)
        if isinstance(got, str):
            raise RuntimeError(f"{what}: {got}")
        return got

    def _log(self) -> str:
        path = self.folder / "glidepath.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # -- one scan ------------------------------------------------------------------------------

    def fly(self, case: Case) -> Outcome:
        """Fly one scan with a fault in it; return what became of it."""
        fault, axis = case.fault, case.axis
        outcome = Outcome(fault.name, axis.back_end, case.mode.name)
        self.put("BEAM:axis", [a.true for a in AXES].index(axis.true))
        self._found = dict(zip(SETTINGS, self.get(SETTINGS), strict=True))
        self._by_hand.clear()
        self._logged = len(self._log())
        self._client.over.clear()
        self._was_full = self._restarted = False
        if fault.at is None:
            fault.strike(self, axis)
        struck = begun = time.time()
        scan = {
            "detectors": list(case.mode.detectors),
            "axis": axis.name,
            "start": START,
            "stop": STOP,
            "velocity": VELOCITY,
            **dict(case.mode.arguments),
        }
        self._client.tell(scan=scan)
        healer: threading.Timer | None = None
        if fault.at is not None:
            self._wait_for_energy(axis, fault.at)
            struck = time.time()
            fault.strike(self, axis)
        if fault.lasts is not None:
            healer = threading.Timer(fault.lasts, self.heal)
            healer.start()
        ended = self._wait_for_end()
        if healer is not None:
            healer.join()
        self._forget_later()
        outcome.ended_after = ended["at"] - struck
        outcome.broken += self._complaints()
        self.mend()
        self._judge(outcome, fault, axis, ended, (begun, struck))
        return outcome

    def _complaints(self) -> list[str]:
        """Return what Python said of exceptions that nobody took, or of what was never awaited."""
        self._errors.seek(self._heard)
        said = self._errors.read()
        self._heard = self._errors.tell()
        return [
            f"the client said: {line}"
            for line in said.splitlines()
            if any(word in line for word in ("never retrieved", "never awaited", "Traceback"))
        ]

    def later(self, seconds: float, strike: Callable[[], Any]) -> None:
        """Let something happen in a while, unless the scan is over before."""
        over = self._client.over

        def work() -> None:
            if not over.wait(seconds):
                strike()

        thread = threading.Thread(target=work, name="later")
        self._later.append(thread)
        thread.start()

    def _forget_later(self) -> None:
        while self._later:
            self._later.pop().join()

    def heal(self) -> None:
        """End what lasts for a while: wires and frozen servers."""
        for wire in self.wires.values():
            wire.delay = 0.0
            wire.mend()
        for server in list(self._frozen):
            self.beamline.thaw(server)

    def _wait_for_energy(self, axis: Axis, energy: float) -> None:
        """Return when the axis truly passes an energy on its flight, or when the scan is over."""
        deadline = time.monotonic() + SCAN_TIMEOUT
        ready = False
        while time.monotonic() < deadline and not self._client.over.is_set():
            position = self.witness.positions(axis.true, time.time())
            # The way to the run-up may cross it, too.
            ready = ready or bool(position < START)
            if ready and position >= energy:
                return
            time.sleep(0.005)

    def _wait_for_end(self) -> dict[str, Any]:
        deadline = time.monotonic() + SCAN_TIMEOUT
        uid = ""
        while True:
            try:
                told = self._client.told.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise RuntimeError(f"The scan hangs; see {self.folder}/glidepath.log.") from None
            if "died" in told:
                self._errors.seek(self._heard)
                raise RuntimeError(f"The client process has died: {self._errors.read()[:3000]}")
            if "begun" in told:
                uid = told["begun"]
            if "ended" in told:
                return {**told["ended"], "uid": uid}

    def _judge(
        self,
        outcome: Outcome,
        fault: Fault,
        axis: Axis,
        ended: Mapping[str, Any],
        times: tuple[float, float],
    ) -> None:
        begun, struck = times
        broken = outcome.broken
        stop = ended["stop"] or {}
        outcome.status = stop.get("exit_status", "none")
        # The same text wherever this laboratory has its data.
        outcome.reason = stop.get("reason", ended["raised"]).replace(str(self.folder), "DATA")
        if ended["state"] != "idle":
            broken.append(f"the run engine is {ended['state']}")
        # What the disk does not take, of the journal and the outbox, is tried again and again.
        again = ("/journal/", "/outbox/") if self._was_full else ()
        left = [what for what in ended["left"] if not any(place in what for place in again)]
        if fault.leaves in left:
            left.remove(fault.leaves)
        broken += [f"left behind: {what}" for what in left]
        # After RE.halt the run engine itself closes the run, if there is one, without a reason.
        halted = "RunEngineInterrupted" in ended["raised"]
        if not halted and ("\n" in outcome.reason or not outcome.reason):
            broken.append("the reason is not one line")
        self._check_standing(outcome, axis, struck)
        if not (halted or self._restarted or STILL_MOVING.search(outcome.reason)):
            self._check_stayed(outcome, axis, ended["at"])
        # What a halted scan cannot say in its reason is in the log.
        logged = self._log()[self._logged :] if halted else ""
        self._check_settings(outcome, outcome.reason + logged)
        if not ended["uid"]:
            return
        documents = list(read_journal(self.folder / "journal" / f"{ended['uid']}.jsonl"))
        broken += check_documents(documents)
        path = file_of(documents)
        if path is not None:
            table = read_table(documents, path)
            self._check_rows(outcome, axis, table)
            outcome.flown = self._flown(axis, begun, ended["at"])
            ended_by_it = outcome.mode in fault.loses and outcome.status != "success"
            recorded = struck - ON_THE_WAY[outcome.mode] if ended_by_it else ended["at"]
            outcome.owed = self._flown(axis, begun, max(recorded, begun))
        if outcome.owed - outcome.rows > ENDS:
            broken.append(f"{outcome.owed - outcome.rows} rows are missing")
        if outcome.status not in fault.status:
            broken.append(f"the scan ended with {outcome.status!r}")
        # A triggered scan that is complete has nothing to say of what passed by.
        sampled = outcome.mode == "sampled" or fault.modes == TRIGGERED
        complete = not sampled and outcome.status == "success"
        if not complete and not re.search(fault.says, outcome.reason):
            broken.append(f"the reason does not say {fault.says!r}")
        # A triggered scan is ended where a sampled one goes on.
        bits = {bit.name for bit in Quality if bit & fault.marks and sampled}
        if bits and not bits & outcome.flagged.keys():
            broken.append(f"no row is marked {' or '.join(sorted(str(bit) for bit in bits))}")

    def _check_standing(self, outcome: Outcome, axis: Axis, struck: float) -> None:
        deadline = time.monotonic() + STANDING_TIMEOUT
        while True:
            now = time.time()
            when = np.arange(struck, now, 0.005)
            position = self.witness.positions(axis.true, when)
            steps = np.abs(np.diff(position))
            # An axis that jumps has not moved: another server tells of it now.
            moving = np.flatnonzero((steps > 1e-9) & (steps < JUMP))
            last = when[moving[-1] + 1] if len(moving) else struck
            if now - last > 0.3 or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        outcome.standing_after = max(last - struck, 0.0)
        if now - last <= 0.3:
            outcome.broken.append(f"{axis.name} still moves")

    def _check_stayed(self, outcome: Outcome, axis: Axis, ended: float) -> None:
        """Look whether an axis that stood when its scan ended has moved by itself since."""
        then, now = self.witness.positions(axis.true, np.array([ended, time.time()]))
        if abs(now - then) > STAYS:
            outcome.broken.append(f"{axis.name} went from {then:.3f} to {now:.3f} after its scan")

    def _check_settings(self, outcome: Outcome, said: str) -> None:
        for (name, was), is_now in zip(self._found.items(), self.get(SETTINGS), strict=True):
            right = is_now in (was, self._by_hand.get(name, was))
            if not (right or self._restarted or NOT_PUT_BACK.search(said)):
                outcome.broken.append(f"{name} was {was} and is {is_now}")
            if is_now != self._settings[name]:
                # The next scan begins as the first one did.
                self.put(WRITTEN.get(name, name), self._settings[name])

    def _check_rows(self, outcome: Outcome, axis: Axis, table: Mapping[str, NDArray]) -> None:
        quality = table["quality"].astype(int)
        outcome.rows = len(quality)
        outcome.flagged = {
            str(bit.name): int(np.sum(quality & bit > 0))
            for bit in Quality
            if np.any(quality & bit)
        }
        half = table["sample_duration"] / 2
        begin, end = table["sample_time"] - half, table["sample_time"] + half
        if len(begin):
            # Triggers that come faster than exposures can follow have rows without a frame.
            held = quality & Quality.NO_DATA == 0
            overlap = begin[held][1:] < end[held][:-1] - 1e-6
            if np.any(overlap) or np.any(np.diff(begin) <= 0):
                outcome.broken.append("rows overlap or are not in order")
            energy = table[axis.name]
            true = self._means(axis, begin, end)
            wrong = ~(np.abs(energy - true) <= ENERGY_TOLERANCE)
            unmarked = wrong & (quality == 0)
            if np.any(unmarked):
                worst = np.nanmax(np.abs(energy - true)[unmarked])
                outcome.broken.append(
                    f"{int(np.sum(unmarked))} rows without a bit are off the truth, by up to "
                    f"{worst:.3f} eV"
                )
            for detector, light in LIGHT.items():
                if detector not in table:
                    continue
                self._check_light(outcome, detector, light, table, quality)
            low, high = min(START, STOP), max(START, STOP)
            if np.any((energy < low) | (energy > high)):
                outcome.broken.append("rows lie outside of the range")

    def _check_light(
        self,
        outcome: Outcome,
        detector: str,
        light: Any,
        table: Mapping[str, NDArray],
        quality: NDArray,
    ) -> None:
        half = table["sample_duration"][:, None] / 2 + LIGHT_SLACK
        when = table["sample_time"][:, None] + half * np.linspace(-1, 1, 41)
        true = self.witness.current(light, when)
        value = table[detector]
        fits = (value >= (1 - LIGHT_NOISE) * true.min(axis=1)) & (
            value <= (1 + LIGHT_NOISE) * true.max(axis=1)
        )
        unmarked = int(np.sum(~fits & (quality == 0)))
        if unmarked:
            outcome.broken.append(f"{unmarked} rows without a bit: {detector} is not what it saw")

    def _flown(self, axis: Axis, begun: float, ended: float) -> int:
        """Return for how many whole periods the axis truly was inside the range."""
        when = np.arange(begun, ended, 0.002)
        position = self.witness.positions(axis.true, when)
        flying = np.append(np.diff(position) > 1e-9, False)
        inside = flying & (position >= START) & (position <= STOP)
        return floor(np.sum(inside) * 0.002 / PERIOD)

    def _means(self, axis: Axis, begin: NDArray, end: NDArray) -> NDArray:
        parts = (np.arange(20) + 0.5) / 20
        when = begin[:, None] + (end - begin)[:, None] * parts
        return np.mean(self.witness.positions(axis.true, when), axis=1)


def check_documents(documents: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return what is wrong with the documents of one run, one sentence each."""
    broken = []
    names = [name for name, _ in documents]
    if names.count("start") != 1 or names.count("stop") != 1 or names[-1] != "stop":
        broken.append("the run is not closed by one stop document")
        return broken
    streams = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    announced: dict[str, int] = {}
    rows: dict[str, int] = {}
    for name, document in documents:
        if name != "stream_datum":
            continue
        key = document["stream_resource"]
        indices, numbers = document["indices"], document["seq_nums"]
        if indices["start"] != announced.get(key, 0) or indices["stop"] <= indices["start"]:
            broken.append(f"indices of {streams[document['descriptor']]} are not contiguous")
        if (numbers["start"], numbers["stop"]) != (indices["start"] + 1, indices["stop"] + 1):
            broken.append(f"numbers of {streams[document['descriptor']]} are not its indices")
        announced[key] = indices["stop"]
        rows[streams[document["descriptor"]]] = indices["stop"]
    counted = documents[-1][1].get("num_events", {})
    for stream, number in rows.items():
        if counted.get(stream) != number:
            broken.append(f"the stop document counts {counted.get(stream)} of {number} {stream}")
    return broken


def file_of(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> Path | None:
    """Return the file of a run, if it has one."""
    for name, document in documents:
        if name == "stream_resource":
            return Path(document["uri"].removeprefix("file://localhost"))
    return None


def read_table(
    documents: Iterable[tuple[str, Mapping[str, Any]]], path: Path
) -> dict[str, NDArray]:
    """Return the primary table of a run's file."""
    for name, document in documents:
        if name == "descriptor" and document["name"] == "primary":
            # Images lie in files of their own.
            columns = [key for key, what in document["data_keys"].items() if not what["shape"]]
            return read_columns(path, "/entry/data", columns)
    return {}


def markdown(outcomes: Iterable[Outcome]) -> str:
    """Return outcomes as a table in Markdown."""
    lines = [
        "| fault | back end | mode | ended | standing after (s) | rows kept | rows lost | marked "
        "| reason |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for o in outcomes:
        marked = ", ".join(f"{count} {bit}" for bit, count in o.flagged.items()) or "-"
        reason = o.reason.replace("|", "/")
        lines.append(
            f"| {o.fault} | {o.back_end} | {o.mode} | {o.status} | {o.standing_after:.1f} "
            f"| {o.rows} | {o.lost} | {marked} | {reason} |"
        )
    return "\n".join(lines) + "\n"


def record(outcomes: Iterable[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes as what JSON can hold."""
    return [{**asdict(outcome), "lost": outcome.lost} for outcome in outcomes]


# -- the faults ----------------------------------------------------------------------------------


def _answer_late(lab: Laboratory, axis: Axis) -> None:
    for wire in lab.wires.values():
        wire.delay = 0.5


def _nothing(lab: Laboratory, axis: Axis) -> None:
    """Do nothing: the scan that all others are compared with."""


SWEEP = ("controller sweep",)

SAMPLED, TRIGGERED, EVERY_MODE = ("sampled",), ("triggered",), ("sampled", "triggered")

FAULTS = (
    Fault("none", _nothing, at=None, modes=EVERY_MODE),
    # The axis.
    Fault(
        "sweep never ready",
        lambda lab, axis: lab.set("FAULT:sweep_init_never_ready", 1),
        ("fail",),
        "did not get ready",
        at=None,
        only=SWEEP,
    ),
    Fault(
        "state of the sweep before stays for 1.5 s",
        lambda lab, axis: lab.set("FAULT:sweep_stale", 1.5),
        at=None,
        only=SWEEP,
    ),
    Fault(
        "stall in mid flight",
        lambda lab, axis: lab.set(axis.stall, 1),
        ("fail",),
        "stall|stands",
        modes=EVERY_MODE,
    ),
    Fault(
        "readback frozen",
        lambda lab, axis: lab.set(axis.frozen, 1),
        ("fail",),
        "stalled at|does not follow",
        Quality.HELD,
        loses=EVERY_MODE,
    ),
    Fault(
        "gap lags by 1 s",
        lambda lab, axis: lab.set("FAULT:gap_lag", 1.0),
        marks=Quality.TRACKING,
        at=None,
        only=SWEEP,
    ),
    # The server of the optics.
    Fault(
        "optics killed",
        lambda lab, axis: lab.kill("optics"),
        ("fail",),
        "do(es)? not answer|No value came",
        modes=EVERY_MODE,
        loses=EVERY_MODE,
    ),
    Fault(
        "optics frozen",
        lambda lab, axis: lab.freeze("optics"),
        ("fail",),
        "do(es)? not answer|No value came",
        loses=EVERY_MODE,
    ),
    Fault(
        "optics frozen for 2 s",
        lambda lab, axis: lab.freeze("optics"),
        ("success", "fail"),
        "HELD|do(es)? not answer|no progress",
        Quality.HELD,
        loses=EVERY_MODE,
        lasts=2.0,
    ),
    Fault(
        "optics restarted with other values",
        lambda lab, axis: lab.restart("optics", start_energy_eV=450.0),
        ("fail",),
        loses=EVERY_MODE,
    ),
    Fault(
        "clock of the optics steps by 0.5 s",
        lambda lab, axis: lab.set("FAULT:optics_clock_step", 0.5),
        says="clock of the server of .*energy|clock of the server of .*mono",
        marks=Quality.CLOCK,
        in_flight=True,
    ),
    Fault(
        "clock of the optics steps by -0.5 s",
        lambda lab, axis: lab.set("FAULT:optics_clock_step", -0.5),
        ("fail",),
        "clock of the server of .*energy|clock of the server of .*mono",
        in_flight=True,
        loses=EVERY_MODE,
    ),
    Fault(
        "connection to the optics broken for 2 s",
        lambda lab, axis: lab.wires["optics"].cut(),
        ("success", "fail"),
        "connection lost|do(es)? not answer",
        Quality.NO_DATA,
        loses=EVERY_MODE,
        lasts=2.0,
    ),
    Fault(
        "answers 0.5 s late",
        _answer_late,
    ),
    # The server of the detectors.
    Fault(
        "detectors killed",
        lambda lab, axis: lab.kill("detectors"),
        ("success", "fail"),
        "mesh|sample|KEI|camera|zebra|ZEBRA|CAM",
        Quality.NO_DATA,
        at=404.4,
        modes=EVERY_MODE,
        loses=TRIGGERED,
    ),
    Fault(
        "detectors frozen",
        lambda lab, axis: lab.freeze("detectors"),
        ("success", "fail"),
        "mesh|sample|KEI|camera|zebra|ZEBRA|CAM",
        Quality.HELD | Quality.NO_DATA,
        # ophyd-async waits for the end of Capture with nobody to tell it to stop.
        leaves="tasks: AsyncStatusBase.__init__.<locals>.wait_with_error_message",
        at=403.0,
        modes=EVERY_MODE,
        loses=TRIGGERED,
    ),
    Fault(
        "detectors frozen for 2 s",
        lambda lab, axis: lab.freeze("detectors"),
        ("success", "fail"),
        lasts=2.0,
        modes=EVERY_MODE,
    ),
    Fault(
        "detectors restarted with other values",
        lambda lab, axis: lab.restart("detectors"),
        ("success", "fail"),
        "mesh|sample|KEI",
        Quality.NO_DATA,
    ),
    Fault(
        "integration time changed by hand",
        lambda lab, axis: lab.change("KEI2:setIntegrTime", 9.0),
        says="exposure of sample was changed",
        in_flight=True,
        marks=Quality.CHANGED,
    ),
    Fault(
        "clock of the detectors steps by -0.5 s",
        lambda lab, axis: lab.set("FAULT:detectors_clock_step", -0.5),
        says="clock of the server of .*mesh",
        in_flight=True,
        marks=Quality.CLOCK,
    ),
    Fault(
        "connection to the detectors broken for 2 s",
        lambda lab, axis: lab.wires["detectors"].cut(),
        ("success", "fail"),
        "mesh|sample|KEI|camera|zebra|ZEBRA|CAM",
        Quality.NO_DATA,
        lasts=2.0,
        modes=EVERY_MODE,
    ),
    Fault(
        "cable to the detectors pulled for 2 s",
        lambda lab, axis: lab.wires["detectors"].hold(),
        lasts=2.0,
    ),
    Fault(
        "electrometer out of range",
        lambda lab, axis: lab.set("KEI1:setRangeCur", 1e-12),
        marks=Quality.OVERFLOW,
    ),
    # This machine.
    Fault(
        "disk full",
        lambda lab, axis: lab.fill_disk(),
        ("fail",),
        "cannot be written",
        at=403.0,
        loses=SAMPLED,
    ),
    # The triggers.
    Fault(
        "trigger box never arms",
        lambda lab, axis: lab.set("FAULT:zebra_never_arms", 1),
        ("fail",),
        "zebra",
        at=None,
        modes=("triggered",),
    ),
    Fault(
        "trigger box makes a pulse too few",
        lambda lab, axis: lab.set("FAULT:zebra_lost_pulse", 10),
        ("success", "fail"),
        "LOST_TRIGGER",
        Quality.LOST_TRIGGER,
        at=None,
        modes=("triggered",),
    ),
)

USUAL = (
    "none, controller sweep, triggered",
    "stall in mid flight, constant velocity, sampled",
    "stall in mid flight, trajectory controller, sampled",
    "readback frozen, constant velocity, sampled",
    "optics killed, constant velocity, sampled",
    "optics frozen for 2 s, controller sweep, sampled",
    "connection to the optics broken for 2 s, sweep and separate gap, sampled",
    "clock of the optics steps by 0.5 s, controller sweep, sampled",
    "clock of the optics steps by -0.5 s, controller sweep, sampled",
    "clock of the detectors steps by -0.5 s, controller sweep, sampled",
    "integration time changed by hand, controller sweep, sampled",
    "detectors killed, controller sweep, triggered",
    "electrometer out of range, controller sweep, sampled",
    "disk full, controller sweep, sampled",
)
"""The cases that the tests fly: something of everything, within a minute."""

LONG = ("killed", "frozen", "restarted", "broken", "never", "lags")
"""Words in the names of faults that take longer than others."""


def cases(all_of_them: bool = False, in_order: bool = False) -> list[Case]:
    """Return the cases of the matrix, those that take long first.

    Parameters
    ----------
    all_of_them
        Every fault with every axis and mode to which it applies; else the usual ones.
    in_order
        Whether they come in the order of the catalogue instead.
    """
    found = [
        Case(fault, axis, mode)
        for fault in FAULTS
        for axis in AXES
        for mode in MODES
        if fault.applies_to(axis)
        and mode.name in fault.modes
        and (mode.name == "sampled" or axis.can_be_triggered)
        and (all_of_them or f"{fault.name}, {axis.back_end}, {mode.name}" in USUAL)
    ]
    if in_order:
        return found
    return sorted(
        found, key=lambda case: any(word in case.fault.name for word in LONG), reverse=True
    )


__all__ = [
    "AXES",
    "EVERY_MODE",
    "FAULTS",
    "MODES",
    "SAMPLED",
    "TRIGGERED",
    "Axis",
    "Case",
    "Fault",
    "Laboratory",
    "Mode",
    "Outcome",
    "cases",
    "markdown",
    "record",
]
