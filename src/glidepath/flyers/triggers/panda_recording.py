"""What a PandA's position capture writes during one part of a leg: begun, read while it grows."""

import asyncio
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ophyd_async.fastcs.panda import PandaCaptureMode

from glidepath.devices.settings import SettingError, Settings, confirm
from glidepath.devices.signals import ask
from glidepath.storage import data_root

from .capture_file import CaptureFile
from .panda_wiring import PandaWiring
from .trigger_source import TriggerError

Floats = NDArray[np.float64]

FLUSH_PERIOD = 0.1
"""Seconds after which its server writes what has come."""

QUIET = 0.4
"""Seconds without a new row after which nothing more is expected of a capture that has ended."""

START_UNCERTAINTY = 0.001
"""Seconds by which the begin that the file tells may differ from the clock of the server."""

START_PATIENCE = 1.0
"""Seconds within which its server closes a file."""

RECENT = 1e9
"""POSIX s; a time stamp before that is none."""

START_BOUND = 1.0
"""Seconds that it may lie beside the arming: if more, the clock of the box is not set."""


class PandaRecording:
    """Lets the position capture write one file after the other, and reads the newest.

    Parameters
    ----------
    wiring
        The blocks of the box.
    settings
        Settings of the box, which are put back when the scan has ended.
    """

    def __init__(self, wiring: PandaWiring, settings: Settings) -> None:
        self._wiring, self._settings = wiring, settings
        self._file: CaptureFile | None = None
        self.folder: Path | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a file to read."""
        return self._file is not None

    @property
    def path(self) -> Path | None:
        """The file that is read; None if there is none."""
        return None if self._file is None else self._file.path

    @property
    def rows(self) -> int:
        """Rows that were read of it."""
        return 0 if self._file is None else self._file.rows

    async def begin(self) -> tuple[float, float]:
        """Begin to capture; know when the clock of the box began, and that there is a file.

        The file says exactly when, but its server writes that where a reader sees it only when the
        file is closed. So a first file is begun and closed; a server that connects again while the
        box is armed gets all that has been captured since, and writes the second one.

        Returns
        -------
        tuple
            The begin (POSIX s), and how well it is known (s).

        Raises
        ------
        TriggerError, TimeoutError
            If there is no file in time, or it lacks what should be in it.
        """
        path = await self._new_path()
        first = CaptureFile(path.with_name(f"{path.stem}_start.h5"), self._wiring.datasets)
        await self._write_to(first.path)
        begin = time.monotonic()
        await self._wiring.switch_capture(True)
        taken = time.monotonic() - begin
        zero = await self.armed_at()
        await self.until_there(first)
        await self._write(False)
        start = await self._start_of(first)
        self._file = file = CaptureFile(path, self._wiring.datasets)
        await self._write_to(path)
        await self.until_there(file)
        # It was armed between the command and its completion: its own time lies between them. If
        # its clock is set (PTP, NTP), the file knows it better.
        if start is not None and abs(start - zero) <= taken + START_BOUND:
            return start, START_UNCERTAINTY
        return zero, taken

    async def _new_path(self) -> Path:
        """Let its server write into the folder; return the next file, as this machine sees it."""
        data, folder = self._wiring.blocks.data, self.folder or data_root()
        name, bound = self._wiring.name, self._wiring.bound
        names = (f"{name}_{number:03d}.h5" for number in count(1))
        path = next(folder / name for name in names if not (folder / name).exists())
        await self._settings.set_all(
            [
                (data.create_directory, 0),
                (data.hdf_directory, str(self._wiring.box.at_server(folder))),
                (data.capture_mode, PandaCaptureMode.FOREVER),
                (data.num_capture, 0),
                (data.flush_period, FLUSH_PERIOD),
            ],
            within=bound,
        )
        try:
            await confirm(name, data.directory_exists, True, bound)
        except SettingError:
            raise TriggerError(
                f"The server of {name} cannot write to {folder}: let it see this folder, "
                "or give the box at_server=..."
            ) from None
        return path

    async def _write_to(self, path: Path) -> None:
        name = self._wiring.blocks.data.hdf_file_name
        await self._settings.set(name, path.name, within=self._wiring.bound)
        await self._write(True)

    async def _write(self, on: bool) -> None:
        """Let its server begin or end a file; not one of the settings that are put back."""
        data, bound = self._wiring.blocks.data, self._wiring.bound
        await data.capture.set(on, timeout=bound)
        await confirm(self._wiring.name, data.capture, on, bound)

    async def armed_at(self) -> float:
        """Return when it was armed by the clock of its EPICS server, or else by ours (POSIX s)."""
        arm = self._wiring.blocks.pcap.arm
        stamp = float((await arm.read(cached=False))[arm.name]["timestamp"])
        # Some servers give their choices no time.
        return stamp if stamp > RECENT else time.time()

    async def until_there(self, file: CaptureFile) -> None:
        """Return when a file can be read.

        Raises
        ------
        TriggerError
            If it cannot in time, or does not have all the datasets.
        """
        name, bound = self._wiring.name, self._wiring.bound
        deadline = time.monotonic() + bound
        try:
            while not await asyncio.to_thread(file.is_there):
                if time.monotonic() > deadline:
                    raise TriggerError(
                        f"{name} is armed, but its server has not made the file {file.path} "
                        f"within {bound:g} s; look at its log."
                    )
                await asyncio.sleep(0.02)
        except KeyError as error:
            raise TriggerError(
                f"{name} does not capture what it should: {error.args[0]}; look whether the "
                "capture settings that its EPICS server shows have reached the box."
            ) from error

    async def _start_of(self, file: CaptureFile) -> float | None:
        """Return when the times of a file begin, once its server has closed it; then remove it."""
        deadline = time.monotonic() + START_PATIENCE
        while True:
            await asyncio.to_thread(file.close)
            start = await asyncio.to_thread(file.start)
            if start is not None or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        await asyncio.to_thread(file.close)
        with suppress(OSError):
            file.path.unlink()
        return start

    async def read(self) -> Floats:
        """Return the rows that came since the last time: shape (datasets of the wiring, n)."""
        if self._file is None:
            return np.empty((len(self._wiring.datasets), 0))
        return await asyncio.to_thread(self._file.read)

    async def read_to_end(self, due: int, enough: int) -> Floats:
        """Return what is still on its way after the end of the capture; see `read`.

        Parameters
        ----------
        due
            Rows that are expected: these are waited for, as long as they come.
        enough
            Rows that must be there before what its server says that it has written is believed.
        """
        blocks = [np.empty((len(self._wiring.datasets), 0))]
        grown = time.monotonic()
        written = self._wiring.blocks.data.num_captured
        while self.rows < due or time.monotonic() - grown < QUIET:
            blocks.append(await self.read())
            if blocks[-1].shape[1]:
                grown = time.monotonic()
            quiet = time.monotonic() - grown
            if quiet > self._wiring.bound:
                break
            if quiet > QUIET and self.rows >= enough and self.rows >= await ask(written):
                break
            await asyncio.sleep(0.02)
        return np.concatenate(blocks, axis=1)

    async def end(self) -> None:
        """Let its server end the file, once the capture is disarmed; harmless if there is none."""
        await self._write(False)

    async def close(self) -> None:
        """Read the file no more; its server may go on writing it."""
        if self._file is not None:
            file, self._file = self._file, None
            await asyncio.to_thread(file.close)


__all__ = ["PandaRecording"]
