"""Opens HDF5 files, also on file systems without locks, and mends those of writers that died."""

import os
import re
import struct
from pathlib import Path
from typing import Any

import h5py

from .locks import WITHOUT_LOCKS, FileLock

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The bytes with which every HDF5 file begins."""
FLAGS_FROM_VERSION = 2
"""Version of the superblock from which on byte 11 says who has opened the file."""
WRITING, SWMR = 0x01, 0x04
"""Bits of that byte: somebody writes; others may read meanwhile."""

_HEAD = struct.Struct("<8s4B")
_ERRNO = re.compile(r"errno = (\d+)")


def open_hdf5(path: Path, mode: str = "r", **options: Any) -> h5py.File:
    """Open a file as `h5py.File` does, without its lock where the file system has none.

    Parameters
    ----------
    path, mode, options
        As of `h5py.File`.

    Raises
    ------
    OSError
        As `h5py.File` does.
    """
    try:
        return h5py.File(path, mode, **options)
    except OSError as error:
        number = _ERRNO.search(str(error))
        if number is None or int(number[1]) not in WITHOUT_LOCKS:
            raise
        return h5py.File(path, mode, locking=False, **options)


def open_to_read(path: Path) -> h5py.File:
    """Open a file that may be growing, or whose writer may have been killed, for reading.

    Raises
    ------
    OSError
        There is no such file, or it cannot be read now.
    """
    return open_hdf5(path, "r", libver="latest", swmr=True)


def repair(path: Path) -> bool:
    """Let plain readers open the file of a writer that was killed: what ``h5clear -s`` does.

    Such a file says for ever that somebody writes it. Only this mark is taken away; the data are
    those of the last flush.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    bool
        Whether there was anything to mend.

    Raises
    ------
    ValueError
        It is no HDF5 file, it is damaged, or somebody writes it just now.
    OSError
        It cannot be read or written.
    """
    lock = FileLock(path)
    try:
        lock.acquire()
    except BlockingIOError as error:
        raise ValueError(
            f"{path} is being written just now; repair it when its scan has ended."
        ) from error
    with lock, path.open("r+b", buffering=0) as file:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(SIGNATURE):
            raise ValueError(f"{path} is no HDF5 file; name one that a scan has written.")
        _, version, offset_size, _, flags = _HEAD.unpack(head)
        if version < FLAGS_FROM_VERSION or not flags & (WRITING | SWMR):
            return False
        # Four addresses follow the head, then the checksum of all before it.
        size = _HEAD.size + 4 * offset_size
        file.seek(0)
        superblock = bytearray(file.read(size + 4))
        (checksum,) = struct.unpack_from("<I", superblock, size)
        if len(superblock) != size + 4 or checksum != lookup3(bytes(superblock[:size])):
            raise ValueError(
                f"The beginning of {path} is damaged; take it from a copy, or read it with "
                "swmr=True as far as that goes."
            )
        superblock[_HEAD.size - 1] &= ~(WRITING | SWMR) & 0xFF
        struct.pack_into("<I", superblock, size, lookup3(bytes(superblock[:size])))
        file.seek(0)
        file.write(superblock)
        os.fsync(file.fileno())
    return True


def lookup3(data: bytes) -> int:
    """Return the checksum of HDF5's metadata, 32 bits.

    Source: Bob Jenkins, lookup3.c (2006), function hashlittle with an initial value of 0; HDF5
    file format specification, version 3.0, section II.A, names it.
    """
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    words = data[: (len(data) - 1) // 12 * 12] if data else b""
    for first, second, third in struct.iter_unpack("<3I", words):
        a, b, c = (a + first) & _MASK, (b + second) & _MASK, (c + third) & _MASK
        for turn, which in zip((4, 6, 8, 16, 19, 4), range(6), strict=True):
            if which % 3 == 0:
                a, c = ((a - c) & _MASK) ^ _turned(c, turn), (c + b) & _MASK
            elif which % 3 == 1:
                b, a = ((b - a) & _MASK) ^ _turned(a, turn), (a + c) & _MASK
            else:
                c, b = ((c - b) & _MASK) ^ _turned(b, turn), (b + a) & _MASK
    tail = data[len(words) :]
    if not tail:
        return c
    first, second, third = struct.unpack("<3I", tail.ljust(12, b"\0"))
    a, b, c = (a + first) & _MASK, (b + second) & _MASK, (c + third) & _MASK
    c = ((c ^ b) - _turned(b, 14)) & _MASK
    a = ((a ^ c) - _turned(c, 11)) & _MASK
    b = ((b ^ a) - _turned(a, 25)) & _MASK
    c = ((c ^ b) - _turned(b, 16)) & _MASK
    a = ((a ^ c) - _turned(c, 4)) & _MASK
    b = ((b ^ a) - _turned(a, 14)) & _MASK
    return ((c ^ b) - _turned(b, 24)) & _MASK


_MASK = 0xFFFFFFFF


def _turned(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _MASK


__all__ = ["open_hdf5", "open_to_read", "repair"]
