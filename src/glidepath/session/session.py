"""A run engine with a beamline's devices, a catalogue and a live view: everything at hand."""

import asyncio
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted
from ophyd_async.core import Device

from glidepath.beamlines import Beamline, load_beamline
from glidepath.catalog.left_behind import LeftBehind
from glidepath.configuration import VIEWS, Configuration, load_configuration
from glidepath.export.at_stop import ExportAtStop
from glidepath.live import PrimaryFollower, view_for
from glidepath.logbook import Experiment, Logbook, destinations_of
from glidepath.sentences import (
    ScanError,
    as_connection_error,
    as_sentence,
    errors,
    joined,
    sentence_of,
)
from glidepath.storage import ScanNumbers, run_folder, use_data_root, use_flush_periods

from .connections import Connections
from .interrupts import Interrupts, PauseOnInterrupt
from .lasting_metadata import LastingMetadata
from .log_file import LogFile
from .quick_start import not_imported
from .results import show_results
from .run_documents import DRAIN_TIMEOUT, RunDocuments, SharedCatalogue
from .run_preparation import RunPreparation

if TYPE_CHECKING:
    from glidepath.lookback import StoredRun

    from .run_list import RunList

LOOP_TIMEOUT = 5.0
"""Seconds in which the run engine's loop must have ended."""

JOURNAL_TIMEOUT = 2.0
"""Seconds in which the beginning and the end of a run are in its journal."""

EXPORT_COMMAND = (
    *(sys.executable, "-m", "glidepath", "export"),
    *("--nexus", "--documents", "--picture"),
)
"""What exports a run when it stops, in a process of its own."""

OUTBOX_COMMAND = (sys.executable, "-m", "glidepath", "outbox", "--retry")
"""What sends the entry of a run, after its export, if nobody waits for either."""

_log = logging.getLogger(__name__)


class Session:
    """Run engine, devices, catalogue and live view of a beamline, ready for a spectrum.

    Devices are attributes, connected when they are first used: ``s.energy``, ``s.mesh``. ``RE``
    is an ordinary Bluesky run engine: any plan, subscription and suspender works. What a run needs
    beside, the session gives without a word: a scan number, the journal and the catalogue, the
    baseline before and after it, the experiment in its metadata.

    The class is long because it is all that a user types: many short methods and properties, each
    of which hands on to what does the work.

    Parameters
    ----------
    beamline
        Python module of the beamline. Default: of the configuration.
    data
        Data directory. Default: of the configuration.
    tiled
        Address of a Tiled server. Default: of the configuration, else a local server, which is
        started beside and shared by all sessions of the data directory.
    catalogue
        Whether runs are put into Tiled; the journal is kept in any case.
    baseline
        Whether the beamline's baseline is read before and after every run.
    silent
        Whether every fly scan records the beamline's silent detectors beside those that it names.
        The attribute ``silent`` can be set at any time.
    live
        How a running scan is shown: one of `glidepath.configuration.VIEWS`, such as
        ``"matplotlib"``. True: as the configuration says; False: not at all. The attribute
        ``live`` can be set at any time.
    exports
        Whether files for other programs are made of a run when it stops, in a process of its own.
    interrupts
        What Ctrl-C does while the run engine works.
    left_behind
        Whether catalogue, exports and outbox are left to processes that go on when this one ends,
        so that closing the session waits for none of them.

    Raises
    ------
    ValueError
        If the configuration, the beamline or the data directory cannot be used, in one sentence.

    Examples
    --------
    >>> from glidepath import Session, flyscan  # doctest: +SKIP
    >>> with Session("my_beamline") as s:  # doctest: +SKIP
    ...     s.RE(flyscan([s.mesh, s.sample], s.energy, 370, 470, 0.1))
    """

    def __init__(
        self,
        beamline: str | None = None,
        data: Path | str | None = None,
        *,
        tiled: str | None = None,
        catalogue: bool = True,
        baseline: bool = True,
        silent: bool = True,
        live: bool | str = True,
        exports: bool = True,
        interrupts: type[Interrupts] = PauseOnInterrupt,
        left_behind: bool = False,
    ) -> None:
        # First of all: an attribute that is looked up while this fails must not recurse.
        self.beamline = Beamline("", {})
        self.configuration: Configuration = load_configuration(
            beamline=beamline, data=data, tiled=tiled
        )
        self.live = live
        self.beamline = load_beamline(
            self.configuration.beamline, mains_frequency=self.configuration.mains_frequency
        )
        self.root = use_data_root(self.configuration.data)
        self._log = LogFile(self.root / "glidepath.log")
        self.command = ""
        """What the user typed, for the metadata of the runs that come of it."""
        use_flush_periods(self.configuration.flush, self.configuration.flush_watched)
        numbers = ScanNumbers(self.root)
        self._loop = asyncio.new_event_loop()
        # The run engine takes any mapping, whatever its annotation says.
        lasting: Any = LastingMetadata(self.root)
        with not_imported("ophyd"):
            self.RE = RunEngine(
                lasting,
                loop=self._loop,
                context_managers=[interrupts, self._view],
                call_returns_result=True,
                scan_id_source=lambda _: numbers.next(),
            )
        self.follower = PrimaryFollower()
        self.RE.subscribe(self.follower)
        places = self.configuration.tiled, self.configuration.database
        self._catalogue = SharedCatalogue(self.root, *places)
        self._documents = RunDocuments(
            self.RE, self.root, self._catalogue.open if catalogue and not left_behind else None
        )
        if catalogue and left_behind:
            self._documents.hand_over_to(LeftBehind(self.root, *places))
        self._left_behind = left_behind
        destinations = destinations_of(self.root, self.configuration.logbook)
        # Without exports nobody makes the picture that an entry waits for.
        patience = {} if exports else {"picture_patience": 0.0}
        self._logbook = Logbook(self.root, destinations, self._folder_of, **patience)
        self.RE.subscribe(self._logbook)
        self._exporter = ExportAtStop(
            self.root / "journal",
            # With its data directory: the command would make the default one where it is called.
            (*EXPORT_COMMAND, "--data", str(self.root)),
            lambda _: self._logbook.delivery.wake(),
            (*OUTBOX_COMMAND, "--data", str(self.root)) if left_behind else None,
        )
        if exports:
            self.RE.subscribe(self._exporter, "stop")
        self._connections = Connections(self.beamline, self.call)
        self._preparation = RunPreparation(self._metadata)
        self.RE.preprocessors.append(self._preparation)
        if baseline:
            self.use_baseline()
        self.silent = self.beamline.silent if silent else ()
        self._preparation.companions = self._companions
        self._experiment = self._first_experiment()
        show_results(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and isinstance(error, Exception):
            _log.error("The session ends with an error.", exc_info=error)
        self.close()

    def __getattr__(self, name: str) -> Device:
        # Of what is no attribute: a device.
        if name.startswith("_") or name == "beamline":
            raise AttributeError(name)
        try:
            self._connections.check(name)
        except ValueError as error:
            raise AttributeError(str(error)) from None
        (device,) = self._connections.get([name])
        return device

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.beamline.devices})

    def close(self) -> None:
        """Drain the documents and end the run engine's loop. Safe to call twice."""
        if self._loop.is_closed():
            return
        self.drain()
        for sentence in self._logbook.close(send=not self._left_behind):
            errors.print(f"glidepath: {sentence}", style="yellow", markup=False, soft_wrap=True)
        self._catalogue.close()
        # Before the servers go: a lost connection is loud, a closed one is silent.
        self.call(_close_channels)
        self._loop.call_soon_threadsafe(self._loop.stop)
        deadline = time.monotonic() + LOOP_TIMEOUT
        while self._loop.is_running() and time.monotonic() < deadline:
            time.sleep(0.005)
        if not self._loop.is_running():
            self._loop.close()
        self._log.close()

    def check_catalogue(self) -> None:
        """Look whether the user's own Tiled server, if there is one, takes runs.

        Raises
        ------
        CatalogError
            If it does not, in one sentence.
        """
        if self.configuration.tiled is not None:
            self._catalogue.begin()

    def publish_to(self, connect: Callable[[], Any]) -> None:
        """Feed the documents of the runs to come to the catalogue that ``connect`` opens."""
        self._documents.publish_to(connect)

    def drain(self, timeout: float = DRAIN_TIMEOUT) -> None:
        """Wait (s) until the catalogue has what it can take, and say what it has not.

        No run can be recorded afterwards.
        """
        self._documents.drain(timeout)
        if not self._exporter.close(timeout):
            errors.print(
                "glidepath: the last run was not exported in time; 'glidepath export --data "
                f"{self.root} -1' does it.",
                style="yellow",
                markup=False,
                soft_wrap=True,
            )

    def devices(self, names: Iterable[str]) -> list[Device]:
        """Return devices by name, connected.

        Raises
        ------
        ValueError
            If there is no such device.
        ConnectionError
            If its server does not answer.
        """
        return self._connections.get(names)

    @property
    def light_path(self) -> list[Device]:
        """What must let the beam through, connected: the beamline's `PATH`, for ``path=``.

        Raises
        ------
        ConnectionError
            If a server does not answer.
        """
        return self.devices(self.beamline.path)

    def connect_all(self) -> list[str]:
        """Connect all devices; return a sentence for each that cannot be used now."""
        failed = self.call(lambda: self._connections.try_to_connect(self.beamline.devices))
        return self._connections.complaints(failed)

    def try_to_connect(self, names: Iterable[str]) -> dict[str, str]:
        """Connect devices as far as they can be; return why not, by name."""
        wanted = [name for name in names if name in self.beamline.devices]
        failed = self.call(lambda: self._connections.try_to_connect(wanted))
        return {name: joined(sentence_of(error)) for name, error in failed.items()}

    @property
    def live(self) -> str:
        """How a running scan is shown."""
        return self._live

    @live.setter
    def live(self, view: bool | str) -> None:
        chosen = self.configuration.view if view is True else view or "none"
        if chosen not in VIEWS:
            raise ValueError(f"There is no view {chosen!r}; there are {', '.join(VIEWS)}.")
        self._live = chosen

    @property
    def silent(self) -> tuple[str, ...]:
        """Names of the detectors that every fly scan records beside those that it names.

        At first those of the beamline, its `SILENT`. Set it to record others, or ``()`` for none.
        What it names is not drawn.

        Raises
        ------
        ValueError
            If there is no such device; what was set before stays.
        """
        return self._silent

    @silent.setter
    def silent(self, names: Iterable[str]) -> None:
        chosen = (names,) if isinstance(names, str) else tuple(names)
        for name in chosen:
            self._connections.check(name)
        self._silent = chosen

    def with_silent(self, detectors: Sequence[Device], axis: Device) -> list[Device]:
        """Return what a fly scan with these detectors records, the silent ones first."""
        from glidepath.plans.companions import beside

        return beside(self.call(self._companions), detectors, axis)

    @property
    def runs(self) -> "RunList":
        """The runs of the data directory."""
        from .run_list import RunList

        return RunList(self.root)

    @property
    def last(self) -> "StoredRun":
        """The newest run.

        Raises
        ------
        ValueError
            If there is none yet.
        """
        self._wait_for_journal()
        return self.runs[-1]

    def _wait_for_journal(self) -> None:
        """Wait until the journal has the newest run, and its end if it has just ended."""
        uid, stop = self.follower.start.get("uid"), self.follower.stop
        deadline = time.monotonic() + JOURNAL_TIMEOUT
        while uid and time.monotonic() < deadline:
            found = [run for run in self.runs(limit=5) if run.uid == uid]
            if any(stop is None or run.ended == run.ended for run in found):
                return
            time.sleep(0.02)

    def call(self, function: Callable[[], Any]) -> Any:
        """Run a coroutine function in the run engine's loop and return its result.

        Raises
        ------
        RuntimeError
            In a plan, which runs in that loop itself and would wait for ever.
        """
        if self._in_plan():
            raise RuntimeError(
                "A plan cannot wait for the session, for it runs in the run engine's loop; ask for "
                "devices and the like before the plan begins, as in `pgm = s.pgm`."
            )
        future = asyncio.run_coroutine_threadsafe(function(), self._loop)
        # Not result(): an exception of aioca is false, and a future takes it for none.
        error = future.exception()
        if error is not None:
            with as_connection_error():
                raise error
        return future.result()

    def _in_plan(self) -> bool:
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    @property
    def experiment(self) -> Experiment:
        """Who measures what for whom: in every run, and kept for the sessions to come."""
        return self._experiment

    @experiment.setter
    def experiment(self, experiment: Experiment) -> None:
        experiment.describe_in(self.RE.md)
        experiment.save(self.root)
        self._experiment = experiment

    @property
    def sample(self) -> Any:
        """The beamline's device of that name; where it has none, the sample that is measured.

        Set it to say what is measured from now on: ``s.sample = "N2 gas cell"``, or a mapping with
        ``name``, ``identifier`` and ``formula``. It is checked at once, kept for the sessions to
        come, and never moves or changes a device.

        Raises
        ------
        ExperimentError
            If it cannot be right; what was set before stays.
        """
        if "sample" in self.beamline.devices:
            return self.devices(["sample"])[0]
        return self._experiment.sample

    @sample.setter
    def sample(self, sample: Any) -> None:
        self.experiment = self._experiment.changed(sample=sample)

    def note(self, text: str) -> None:
        """Write a note into the logbook; it is about the last run of this session, if any.

        Raises
        ------
        ValueError
            If there is nothing to say.
        """
        users = self._experiment.users
        self._logbook.note(text, author=users[0].name if users else "")

    def _folder_of(self, start: Mapping[str, Any]) -> Path | None:
        folder = run_folder(self.root, start["uid"], start["scan_id"], start["time"])
        # Only the scans of Glidepath have one.
        return folder if folder.is_dir() else None

    def use_baseline(self) -> None:
        """Read the beamline's baseline devices before and after every run."""
        self._preparation.baseline = self._baseline

    def run(self, plan: Any) -> Mapping[str, Any]:
        """Run a plan of one run; return its stop document.

        Raises
        ------
        ScanError
            If the run was not a success, with its reason.
        ValueError
            If the plan refused to begin.
        """
        stops: list[Mapping[str, Any]] = []
        token = self.RE.subscribe(lambda _, document: stops.append(document), "stop")
        try:
            self.RE(plan)
        except RunEngineInterrupted:
            pass
        except Exception:
            # The reason is in the stop document, if this plan got as far as opening a run.
            if not stops or stops[-1].get("exit_status") == "success":
                raise
        finally:
            self.RE.unsubscribe(token)
        stop = stops[-1] if stops else {}
        if stop.get("exit_status") != "success":
            reason = stop.get("reason", "no run was made")
            raise ScanError(as_sentence(f"The scan did not end well: {reason}"))
        return stop

    def _view(self, _: RunEngine) -> AbstractContextManager[Any]:
        if self.live == "none":
            return nullcontext()
        try:
            return view_for(self.follower, self.live)
        except (ImportError, ValueError) as error:
            # A scan that cannot be watched is flown all the same.
            errors.print(f"glidepath: {sentence_of(error)}", style="yellow", markup=False)
            return view_for(self.follower)

    def _metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "display": {
                "reference": self.beamline.reference,
                "silent": list(dict.fromkeys([*self.beamline.silent, *self.silent])),
            },
            **self.beamline.for_export,
        }
        if self.command:
            found["command"] = self.command
        return found

    def _first_experiment(self) -> Experiment:
        experiment = Experiment.load(self.root)
        if self.configuration.experiment:
            experiment = experiment.changed(**self.configuration.experiment)
        if experiment != Experiment():
            # Where nobody has set one, the metadata are what the user made of them.
            experiment.describe_in(self.RE.md)
        return experiment

    async def _baseline(self) -> list[Device]:
        """Return the devices of the baseline that answer; say which do not, once each."""
        return await self._answering(self.beamline.baseline, "the baseline")

    async def _companions(self) -> list[Device]:
        """Return the silent detectors that answer; say which do not."""
        return await self._answering(self.silent, "the scan")

    async def _answering(self, names: Sequence[str], what: str) -> list[Device]:
        """Return those of some devices that answer; say which do not."""
        failed = await self._connections.try_to_connect(names)
        for sentence in self._connections.complaints(failed):
            errors.print(f"glidepath: {what} lacks {sentence}", style="yellow", markup=False)
        return [self.beamline.devices[name] for name in names if name not in failed]


async def _close_channels() -> None:
    from aioca import purge_channel_caches

    from glidepath.flyers import close_idle_channels

    close_idle_channels()
    purge_channel_caches()


__all__ = ["Session"]
