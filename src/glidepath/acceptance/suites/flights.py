"""Axes that fly: three velocities, up and down; the undulator keeps up; the lines of N2."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np

from glidepath.acceptance.axis import axes_of
from glidepath.acceptance.kept import kept_axis, kept_settings
from glidepath.acceptance.needs import Nitrogen
from glidepath.acceptance.outcomes import Failed, LeftOut
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.physics.nitrogen import fit_series
from glidepath.plans import flyscan, inspect
from glidepath.sentences import ScanError, sentence_of
from glidepath.timeline import HARMLESS, Quality
from glidepath.trajectory import PreflightError, Region, Trajectory

if TYPE_CHECKING:
    from glidepath.lookback import StoredRun

__all__ = ["Kept", "flown_range", "safe_range"]

SHARES = (24.0, 12.0, 6.0)
"""Seconds in which the safe range is flown where no velocities are declared."""

ROOM = 1.1
"""Run-ups that are kept free at both ends of the safe range."""

VELOCITY_BOUND = 0.05
"""Share by which a flown velocity may be off."""

MOST_BAD = 0.05
"""Share of the rows that may have a bit that is not harmless."""

LONGEST = 6.0
"""Seconds that a flight in one direction may take: long enough to see how it flies."""

OF_THE_BEAM = Quality.TOP_UP | Quality.BEAM_LOST
"""Bits that say something of the ring, and nothing of the axis."""

UNCOUNTED = HARMLESS | OF_THE_BEAM

PATIENCE = 60.0
"""Seconds within which a flight must have its first rows."""

ENDED = "ended by an acceptance test"


def flies(trial: Trial) -> str:
    """It flies at three velocities, up and down, as fast as it was asked, with good rows."""
    velocities = _velocities(trial)
    with Kept(trial):
        found = [_flown(trial, velocity) for velocity in velocities]
    return "; ".join(found)


def _velocities(trial: Trial) -> Sequence[float]:
    low, high = safe_range(trial)
    return trial.needs.velocities or [(high - low) / seconds for seconds in SHARES]


def _flown(trial: Trial, velocity: float) -> str:
    """Fly there and back at one velocity, and judge the rows."""
    start, stop = flown_range(trial, velocity)
    run = _run(trial, start, stop, velocity)
    columns = run.columns()
    unit = run.units.get(trial.name, "")
    bad = _bad_share(columns["quality"])
    flown = _speeds(columns, trial.name)
    worst = max(flown, key=lambda speed: abs(speed - velocity))
    label = f"at {velocity:g} {unit}/s"
    trial.keep(
        {
            f"velocity {label}": (worst, f"{unit}/s"),
            f"rows {label}": (len(columns["quality"]), ""),
            f"bad rows {label}": (100 * bad, "%"),
        }
    )
    said = f"{label}: {len(columns['quality'])} rows"
    if "tracking_error" in columns:
        tracking = float(np.nanmax(np.abs(columns["tracking_error"])))
        trial.figure(f"tracking error {label}", tracking, "eV")
        said += f", undulator within {tracking:.2g} eV"
    if abs(worst - velocity) > VELOCITY_BOUND * velocity:
        raise Failed(
            f"It was to fly at {velocity:g} {unit}/s and flew at {worst:.4g}, which is more than "
            f"{VELOCITY_BOUND:.0%} off."
        )
    if bad > MOST_BAD:
        raise Failed(
            f"{bad:.0%} of the rows {label} are marked {_bits(columns['quality'])}; at most "
            f"{MOST_BAD:.0%} may be."
        )
    return said


def _run(
    trial: Trial, start: float, stop: float, velocity: float, detectors: Sequence[Any] = ()
) -> "StoredRun":
    """Fly there and back; return the run."""
    session = trial.session
    read: Sequence[Any] = detectors or session.devices(session.beamline.detectors)
    plan = flyscan(
        read, trial.device, start, stop, velocity, passes=2, there_and_back=True, md=_md(trial)
    )
    try:
        session.run(plan)
    except (ScanError, ValueError) as error:
        raise Failed(sentence_of(error)) from error
    return session.last


def _md(trial: Trial) -> dict[str, Any]:
    return {"tested": trial.part}


def _bad_share(quality: Any) -> float:
    bits = np.asarray(quality).astype(np.uint16)
    return float(np.mean((bits & ~np.uint16(int(UNCOUNTED))) != 0)) if len(bits) else 1.0


def _bits(quality: Any) -> str:
    """Return the names of the bits that rows have and that are not harmless."""
    found = int(np.bitwise_or.reduce(np.asarray(quality).astype(np.uint16)))
    names = [bit.name for bit in Quality if bit & found and not bit & UNCOUNTED and bit.name]
    return " and ".join(names)


def _speeds(columns: Mapping[str, Any], axis: str) -> list[float]:
    """Return how fast each pass was flown."""
    found = []
    for number in np.unique(columns["pass_number"]):
        mine = columns["pass_number"] == number
        slope = np.polyfit(
            columns["sample_time"][mine] - columns["sample_time"][mine][0], columns[axis][mine], 1
        )[0]
        found.append(abs(float(slope)))
    return found


def is_ended(trial: Trial) -> str:
    """A flight that is ended on its way leaves the axis standing and its settings as before."""
    low, high = safe_range(trial)
    velocity = min(_velocities(trial))
    session, axis = trial.session, trial.device
    with Kept(trial) as kept:
        start, stop = flown_range(trial, velocity)
        read: list[Any] = session.devices(session.beamline.detectors)
        ending = _EndingInFlight(session)
        try:
            with ending:
                session.run(flyscan(read, axis, start, stop, velocity, md=_md(trial)))
        except ScanError:
            if not ending.done:
                raise
        except ValueError as error:
            raise Failed(sentence_of(error)) from error
        if not ending.done:
            raise LeftOut("The flight was over before it could be ended; declare a wider range.")
        first, then = kept.position(), kept.position(after=0.3)
        if abs(then - first) > kept.tolerance:
            raise Failed(
                f"A flight from {start:g} to {stop:g} was ended, and the axis still moves: it is "
                f"at {first:g}, and 0.3 s later at {then:g}."
            )
        if not low <= then <= high:
            raise Failed(f"A flight was ended, and the axis is at {then:g}, out of its safe range.")
        status = session.last.run.status
        if status != "abort":
            raise Failed(f"A flight was ended, and its run says {status!r}, not 'abort'.")
        return f"ended on its way, it stands at {then:.6g}; the run says so"


class _EndingInFlight:
    """Ends the scan of a session, as a user would, when it has its first rows."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._before = session.follower.start.get("uid")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._wait, name="acceptance", daemon=True)
        self.done = False

    def __enter__(self) -> "_EndingInFlight":
        self._thread.start()
        return self

    def _wait(self) -> None:
        follower = self._session.follower
        for _ in range(int(PATIENCE / 0.05)):
            if self._over.wait(0.05):
                return
            new = follower.start.get("uid") != self._before
            if new and follower.rows > 0 and self._session.RE.state == "running":
                self.done = True
                # It tells the terminal, where nobody has asked for it.
                with redirect_stdout(StringIO()):
                    self._session.RE.abort(ENDED)
                return

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def resolves(trial: Trial) -> str:
    """The lines of N2 are where they belong, and as narrow as they should be; up and down."""
    gas = trial.needs.nitrogen
    assert gas is not None
    with Kept(trial):
        run = _run(trial, gas.start, gas.stop, gas.velocity, _gas_detectors(trial, gas))
    passes = run.passes(run.display(gas.signal, gas.reference))
    fits = []
    for one in passes:
        try:
            fits.append(fit_series(one.position[~one.bad], one.value[~one.bad]))
        except ValueError as error:
            raise Failed(f"The lines of N2 were not found: {sentence_of(error)}") from error
    lines = [fit.first_line for fit in fits]
    power = float(np.mean([fit.resolving_power for fit in fits]))
    shift = float(np.mean([fit.shift for fit in fits]))
    apart = lines[0] - lines[-1]
    ratio = float(np.mean([fit.valley_to_peak for fit in fits]))
    trial.keep(
        {
            "first line": (float(np.mean(lines)), "eV"),
            "shift": (1e3 * shift, "meV"),
            "up minus down": (1e3 * apart, "meV"),
            "resolving power": (power, ""),
            "first valley over third peak": (ratio, ""),
        }
    )
    if abs(shift) > gas.shift:
        raise Failed(
            f"The first line of N2 is {1e3 * shift:+.0f} meV from where it belongs, more than "
            f"{1e3 * gas.shift:g} meV; calibrate the energy."
        )
    if power < gas.resolving_power:
        raise Failed(
            f"The resolving power is {power:.0f}, below the {gas.resolving_power:g} that it should "
            "be; look at the slits, the mirrors and cff."
        )
    return (
        f"resolving power {power:.0f}, {1e3 * shift:+.1f} meV off, up minus down "
        f"{1e3 * apart:+.1f} meV"
    )


def _gas_detectors(trial: Trial, gas: Nitrogen) -> list[Any]:
    session = trial.session
    names = [name for name in (gas.signal, gas.reference) if name in session.beamline.devices]
    return session.devices(names or session.beamline.detectors)


class Kept:
    """Brings an axis back, for tests that run plans; settings too."""

    def __init__(self, trial: Trial) -> None:
        self._trial, self._call = trial, trial.session.call
        self._settings = kept_settings(trial.device)

    def __enter__(self) -> "Kept":
        self._axis = self._call(axes_of(self._trial.device)[self._trial.name])
        self.tolerance = self._call(lambda: self._axis.precise_to(self._trial.needs.tolerance))
        start = self.position()
        low, high = safe_range(self._trial)
        if not low <= start <= high:
            raise Failed(
                f"It is at {start:g}, outside its safe range {low:g} to {high:g}, so that it was "
                "not moved; bring it there by hand."
            )
        self._start = kept_axis(self._axis, self.tolerance)
        self._call(self._settings.__aenter__)
        self._call(self._start.__aenter__)
        return self

    def position(self, after: float = 0.0) -> float:
        """Return where the axis is, after some seconds."""
        threading.Event().wait(after)
        return float(self._call(self._axis.position))

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            self._call(lambda: self._start.__aexit__(kind, error, trace))
        finally:
            self._call(lambda: self._settings.__aexit__(None, None, None))


def safe_range(trial: Trial) -> tuple[float, float]:
    """Return the safe range of what is tested; without one the test is left out."""
    if trial.needs.safe is None:
        raise LeftOut(
            f"No safe range is declared for it: say SAFE_RANGES = {{{trial.part!r}: (low, high)}} "
            "in the beamline module."
        )
    return trial.needs.safe


def flown_range(trial: Trial, velocity: float) -> tuple[float, float]:
    """Return what is flown: its run-up and run-down are inside the safe range, too."""
    session = trial.session
    low, high = safe_range(trial)
    quarter = (high - low) / 4
    inner = Trajectory((Region(low + quarter, high - quarter, velocity),))
    read = session.devices(session.beamline.detectors)
    try:
        report = session.call(lambda: inspect(read, trial.device, inner))
    except PreflightError as error:
        raise Failed(sentence_of(error)) from error
    room = ROOM * report.run_up
    if report.objections:
        raise Failed(report.objections[0])
    if not high - low - 2 * room >= quarter:
        raise LeftOut(
            f"At {velocity:g} {report.unit}/s the run-up is {report.run_up:.3g} {report.unit}, for "
            f"which the safe range, {low:g} to {high:g}, is too short; declare a wider one or "
            "slower velocities."
        )
    middle, half = (low + high) / 2, min((high - low) / 2 - room, LONGEST * velocity / 2)
    return middle - half, middle + half


def _flying(beamline: Beamline, name: str) -> Iterable[str]:
    return [name] if name in beamline.axes and name in axes_of(beamline.devices[name]) else []


def _with_gas(beamline: Beamline, name: str) -> Iterable[str]:
    return _flying(beamline, name) if beamline.acceptance.get(name, {}).get("nitrogen") else []


register_suite(
    Suite(
        "axis that flies",
        _flying,
        (Test("flies", flies, moves=True), Test("is ended", is_ended, moves=True)),
    )
)
register_suite(Suite("axis with a gas cell", _with_gas, (Test("resolves", resolves, moves=True),)))
