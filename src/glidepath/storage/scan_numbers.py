"""Gives each scan of a data directory a number of its own, whoever scans there.

The last number lies in a small file of the data directory. It is overwritten where it is, so that
a full disk takes it, in one of two places in turn, so that a power cut in the middle of a write
spoils one of them only. If the file is gone or spoilt, the folders of the runs tell the number.
"""

import re
import zlib
from pathlib import Path

from .locks import FileLock

FILE = "scan_numbers.txt"
_LOCK = "scan_numbers.lock"
_LEGACY = "scan_id.json"
"""Where version 0.1 kept the number."""
_LOCK_TIMEOUT = 20.0
_SLOT = 32
_FOLDER_NAME = re.compile(r"(\d{6,})_[0-9A-Za-z-]{8}")


class ScanNumberError(OSError):
    """No number can be given; the text is a sentence."""


class ScanNumbers:
    """The numbers of the scans of one data directory.

    Parameters
    ----------
    root
        The data directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._last = 0
        self._has_looked = False

    def next(self) -> int:
        """Return a number that no scan of this data directory has had, and keep it.

        Raises
        ------
        ScanNumberError
            It cannot be kept: two scans could get the same one.
        """
        lock = FileLock(self.root / _LOCK)
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT)
        except BlockingIOError as error:
            raise ScanNumberError(
                f"Another process has held {lock.path} for {_LOCK_TIMEOUT:g} s, so the scan gets "
                "no number; end that process and try again."
            ) from error
        except OSError as error:
            raise self._no_number(error) from error
        with lock:
            number = 1 + max(self._last, self._read())
            try:
                self._write(number)
            except OSError as error:
                raise self._no_number(error) from error
            self._last = number
        return number

    def _no_number(self, error: OSError) -> ScanNumberError:
        return ScanNumberError(
            f"The scan gets no number, because {self.root} cannot be written ({error.strerror}); "
            "make room there, or name another data directory."
        )

    def _read(self) -> int:
        try:
            text = (self.root / FILE).read_bytes()
        except FileNotFoundError:
            text = b""
        slots = [_number_in(text[at : at + _SLOT]) for at in (0, _SLOT)]
        known = [number for number in slots if number is not None]
        # A power cut can take back what was written last: the folders are asked once, too.
        if len(known) < 2 or not self._has_looked:
            self._has_looked = True
            known += [_highest_folder(self.root), _legacy_number(self.root)]
        return max(known)

    def _write(self, number: int) -> None:
        path = self.root / FILE
        if not path.exists() or path.stat().st_size < 2 * _SLOT:
            # Room for both places from the beginning: later writes need no new block.
            path.write_bytes(_slot(number) * 2)
            return
        with path.open("r+b", buffering=0) as file:
            file.seek(number % 2 * _SLOT)
            file.write(_slot(number))


def _slot(number: int) -> bytes:
    digits = b"%020d" % number
    return b"%b %08x  \n" % (digits, zlib.crc32(digits))


def _number_in(slot: bytes) -> int | None:
    digits, check = slot[:20], slot[21:29]
    if digits.isdigit() and check == b"%08x" % zlib.crc32(digits):
        return int(digits)
    return None


def _highest_folder(root: Path) -> int:
    """Return the highest number among the folders of the runs, 0 if there are none.

    Numbers rise with time, but clocks are set and folders are copied: all days are looked at.
    """
    found = (_FOLDER_NAME.fullmatch(path.name) for path in root.glob("[0-9]*/[0-9]*/[0-9]*/*_*"))
    return max((int(match[1]) for match in found if match), default=0)


def _legacy_number(root: Path) -> int:
    try:
        return int((root / _LEGACY).read_text())
    except (OSError, ValueError):
        return 0


__all__ = ["FILE", "ScanNumberError", "ScanNumbers"]
