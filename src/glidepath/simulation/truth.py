"""What the simulation alone knows: true energies and true limits of every exposure."""

import time
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Truth", "TruthWriter"]

_EXPOSURE = ("start", "stop", "mean_energy", "signal")
_TRAJECTORY = ("time", "energy", "undulator_energy", "gap")
_CHUNK = 16384
_FLUSH_SECONDS = 0.5


class TruthWriter:
    """Writes the truth file of a simulated beamline, readable at any time.

    Parameters
    ----------
    path
        The file; one that exists is replaced.
    detectors
        Names of the detectors whose exposures are recorded.
    """

    def __init__(self, path: str | Path, detectors: tuple[str, ...]) -> None:
        self._file = h5py.File(path, "w", libver="latest")
        self._pending: dict[str, list[NDArray[np.float64]]] = {}
        for group, columns in (
            *((f"exposures/{name}", _EXPOSURE) for name in detectors),
            ("trajectory", _TRAJECTORY),
        ):
            self._pending[group] = []
            for column in columns:
                self._file.create_dataset(
                    f"{group}/{column}", shape=(0,), maxshape=(None,), dtype="f8", chunks=(_CHUNK,)
                )
        self._file.swmr_mode = True
        self._flushed = time.monotonic()

    def add_exposure(
        self, name: str, start: float, stop: float, mean_energy: float, signal: float
    ) -> None:
        """Record one exposure: true limits (POSIX s), mean energy (eV), mean current (A)."""
        self._pending[f"exposures/{name}"].append(
            np.array([[start], [stop], [mean_energy], [signal]])
        )
        self._flush_sometimes()

    def add_trajectory(
        self,
        when: NDArray[np.float64],
        energy: NDArray[np.float64],
        undulator_energy: NDArray[np.float64],
        gap: NDArray[np.float64],
    ) -> None:
        """Record a stretch of the trajectory, all arrays of one length."""
        self._pending["trajectory"].append(np.stack([when, energy, undulator_energy, gap]))
        self._flush_sometimes()

    def _flush_sometimes(self) -> None:
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write everything to the file."""
        for group, blocks in self._pending.items():
            if not blocks:
                continue
            block = np.concatenate(blocks, axis=1)
            blocks.clear()
            columns = _TRAJECTORY if group == "trajectory" else _EXPOSURE
            for column, values in zip(columns, block, strict=True):
                dataset = self._file[f"{group}/{column}"]
                length = len(dataset)
                dataset.resize((length + len(values),))
                dataset[length:] = values
        self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write everything and close the file."""
        self.flush()
        self._file.close()


class Truth:
    """Reader of a truth file; times are those of the host's clock, without any clock offset.

    Parameters
    ----------
    path
        The file, finished or still growing; it is read as it is now.

    Attributes
    ----------
    time, trajectory_energy, undulator_energy, gap
        The trajectory: POSIX s, eV, eV, mm; float64 of shape (n,). While nothing moves there are
        few points, while something moves one each ms.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = h5py.File(path, "r", libver="latest", swmr=True)
        names = ("time", "energy", "undulator_energy", "gap")
        columns = [self._column(f"trajectory/{name}") for name in names]
        length = min(len(column) for column in columns)
        self.time, self.trajectory_energy, self.undulator_energy, self.gap = (
            column[:length] for column in columns
        )

    def __enter__(self) -> "Truth":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the detectors."""
        return tuple(self._file["exposures"])

    def _column(self, path: str) -> NDArray[np.float64]:
        dataset = self._file[path]
        # A file that is open in this process already would show its old length.
        dataset.refresh()
        return np.asarray(dataset[:])

    def _check(self, time: NDArray[np.float64]) -> None:
        if not len(self.time) or np.any(time < self.time[0]) or np.any(time > self.time[-1]):
            known = f"{self.time[0]:.3f} to {self.time[-1]:.3f}" if len(self.time) else "nothing"
            raise ValueError(
                f"The truth file knows {known} (POSIX s), but {np.min(time):.3f} to "
                f"{np.max(time):.3f} was asked."
            )

    def energy(self, time: ArrayLike) -> NDArray[np.float64]:
        """True photon energy in eV at ``time`` (POSIX s, any shape).

        Raises
        ------
        ValueError
            If the file does not cover the time.
        """
        time = np.asarray(time, dtype=np.float64)
        self._check(time)
        return np.interp(time, self.time, self.trajectory_energy)

    def mean_energy(self, start: ArrayLike, stop: ArrayLike) -> NDArray[np.float64]:
        """True mean photon energy in eV between ``start`` and ``stop`` (POSIX s, same shape).

        Raises
        ------
        ValueError
            If the file does not cover the times, or a ``stop`` is not after its ``start``.
        """
        start, stop = np.asarray(start, dtype=np.float64), np.asarray(stop, dtype=np.float64)
        self._check(start)
        self._check(stop)
        if not np.all(stop > start):
            raise ValueError("A mean energy needs every stop to be after its start.")
        return (self._integral(stop) - self._integral(start)) / (stop - start)

    def _integral(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """Integral of the energy above its first value, from the first time on, plus that value.

        Measured from the first point, so that sums of large numbers lose no digits.
        """
        reference = self.trajectory_energy[0]
        relative = self.trajectory_energy - reference
        steps = np.diff(self.time) * 0.5 * (relative[1:] + relative[:-1])
        total = np.concatenate([[0.0], np.cumsum(steps)])
        index = np.clip(np.searchsorted(self.time, time, side="right") - 1, 0, len(self.time) - 1)
        here = np.interp(time, self.time, relative)
        part = (time - self.time[index]) * 0.5 * (relative[index] + here)
        return total[index] + part + reference * (time - self.time[0])

    def exposures(self, name: str) -> dict[str, NDArray[np.float64]]:
        """Exposures of a detector, one array of float64 of shape (n,) for each quantity.

        ``start`` and ``stop`` in POSIX s, ``mean_energy`` in eV, and the mean current without
        noise, ``signal``, in A.

        Raises
        ------
        ValueError
            If there is no such detector.
        """
        if name not in self.detectors:
            raise ValueError(
                f"The truth file knows no detector {name}; it knows {', '.join(self.detectors)}."
            )
        columns = {key: self._column(f"exposures/{name}/{key}") for key in _EXPOSURE}
        length = min(len(column) for column in columns.values())
        return {key: column[:length] for key, column in columns.items()}
