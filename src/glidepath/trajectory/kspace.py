"""Regions beyond an absorption edge: rows equidistant in the photoelectron's wave number."""

from dataclasses import dataclass, replace
from math import floor

from glidepath.physics import K_SQUARED_PER_eV, photoelectron_energy, wave_number

from .region import ROUNDING, SMALLEST, Region, number_of

STRAIGHT_BOUND = 0.1
"""Share of the step in k by which a row of a straight piece may differ from it."""


@dataclass(frozen=True)
class KRegion:
    """A range flown at constant change of ``k = sqrt(0.262468424 (E - edge))`` per second.

    The energy is then a parabola of time, ``E = edge + k^2 / 0.262468424``: a back end that
    joins regions flies it as it is, at constant acceleration. For one that flies straight it is
    cut into `straight` pieces.

    Parameters
    ----------
    edge
        Energy of the absorption edge, eV.
    k_start, k_stop
        Ends of the range, 1/Angstrom, above zero; ``k_stop`` may be below ``k_start``.
    k_step
        Change of k from row to row, 1/Angstrom.
    dwell
        Length of a row, s.
    bound
        Share of ``k_step`` by which a row of a straight piece may differ from it.

    Raises
    ------
    ValueError
        If a number is not finite or not above zero, or the range is empty.

    Examples
    --------
    >>> region = KRegion(edge=7112.0, k_start=3.0, k_stop=12.0, k_step=0.05, dwell=0.5)
    >>> round(region.start, 2), round(region.stop, 2), region.rows()
    (7146.29, 7660.64, 180)
    >>> len(region.straight()), sum(piece.rows(0.5) for piece in region.straight())
    (8, 180)
    """

    edge: float
    k_start: float
    k_stop: float
    k_step: float
    dwell: float
    bound: float = STRAIGHT_BOUND

    def __post_init__(self) -> None:
        for name in ("edge", "k_start", "k_stop", "k_step", "dwell", "bound"):
            value = getattr(self, name)
            number = number_of(value)
            if not number >= SMALLEST:
                raise ValueError(
                    f"The {name} of a k region must be a number above zero, not {value!r}."
                )
            object.__setattr__(self, name, number)
        if self.k_start == self.k_stop:
            raise ValueError(
                f"The range from {self.k_start:g} to {self.k_stop:g} 1/Angstrom is empty; "
                "k_start and k_stop must differ."
            )

    @property
    def start(self) -> float:
        """Energy at its beginning, eV."""
        return float(photoelectron_energy(self.k_start, self.edge))

    @property
    def stop(self) -> float:
        """Energy at its end, eV."""
        return float(photoelectron_energy(self.k_stop, self.edge))

    @property
    def direction(self) -> int:
        """1 for up, -1 for down."""
        return 1 if self.k_stop > self.k_start else -1

    @property
    def length(self) -> float:
        """Length of the range, positive, eV."""
        return abs(self.stop - self.start)

    @property
    def duration(self) -> float:
        """Seconds between start and stop."""
        return abs(self.k_stop - self.k_start) / self.k_step * self.dwell

    @property
    def period(self) -> float:
        """Length of its rows, s."""
        return self.dwell

    @property
    def speeds(self) -> tuple[float, float]:
        """Speed at its start and at its stop, eV/s; it changes evenly in between."""
        per_k = 2 * self.k_step / self.dwell / K_SQUARED_PER_eV
        return self.k_start * per_k, self.k_stop * per_k

    @property
    def velocity(self) -> float:
        """Largest speed, eV/s."""
        return max(self.speeds)

    def rows(self, period: float | None = None) -> int:
        """Return how many rows fit into it; they have a length of their own, whatever is given."""
        return floor(abs(self.k_stop - self.k_start) / self.k_step * (1 + ROUNDING))

    def reversed(self) -> "KRegion":
        """Return the same range flown the other way."""
        return replace(self, k_start=self.k_stop, k_stop=self.k_start)

    def after(self, position: float) -> "KRegion | None":
        """Return what of it lies behind ``position`` (eV) on the way; None if nothing does."""
        if self.direction * (position - self.start) <= 0:
            return self
        if self.direction * (self.stop - position) <= ROUNDING * self.length:
            return None
        return replace(self, k_start=float(wave_number(position, self.edge)))

    def straight(self) -> tuple[Region, ...]:
        """Return straight regions of whole rows in its place, as few as keep the bound.

        A straight piece from k1 to k2 (k1 < k2) takes the time of the parabola between them, so
        that its mean step in k is right. At its ends the step is off by (k2 - k1) / (2 k1) and
        less: the pieces are as long as that stays below the bound, but at least one row. What
        does not fill a row at the end belongs to the last piece.
        """
        step, left = self.direction * self.k_step, self.rows()
        share = 2 * self.bound / (1 if step > 0 else 1 + 2 * self.bound)
        k, energy = self.k_start, self.start
        pieces = []
        while left > 0:
            limit = share * k / self.k_step * (1 + ROUNDING)
            if (self.k_stop - k) / step <= limit or left == 1:
                number, end, reached = left, self.k_stop, self.stop
            else:
                number = min(max(1, floor(limit)), left - 1)
                end = k + number * step
                reached = float(photoelectron_energy(end, self.edge))
            duration = (end - k) / step * self.dwell
            pieces.append(Region(energy, reached, abs(reached - energy) / duration, self.dwell))
            k, energy, left = end, reached, left - number
        return tuple(pieces) or (
            Region(self.start, self.stop, self.length / self.duration, self.dwell),
        )


def xas_regions(
    edge: float,
    *,
    begin: float = -150.0,
    edge_begin: float = -30.0,
    edge_end: float = 50.0,
    k_max: float = 12.0,
    pre_step: float = 5.0,
    edge_step: float = 0.25,
    k_step: float = 0.05,
    dwell: float = 0.5,
) -> tuple[Region | KRegion, ...]:
    """Return the regions of an absorption spectrum: coarse, fine over the edge, then in k.

    The defaults are those of a hard X-ray EXAFS scan; `timeline.xas_grid` takes the same steps
    for bins.

    Parameters
    ----------
    edge
        Energy of the absorption edge, eV.
    begin
        Where the coarse region begins, relative to the edge, eV.
    edge_begin, edge_end
        Where the fine region begins and ends, relative to the edge, eV.
    k_max
        Where the region in k ends, 1/Angstrom.
    pre_step, edge_step
        Energy from row to row, eV, in the coarse and in the fine region.
    k_step
        From row to row in the third region, 1/Angstrom.
    dwell
        Length of a row, s.

    Raises
    ------
    ValueError
        If the regions do not follow each other, or a step or the dwell time is not above zero.

    Examples
    --------
    >>> pre, near, far = xas_regions(7112.0)
    >>> pre
    Region(start=6962.0, stop=7082.0, velocity=10.0, period=0.5)
    >>> near.velocity, round(far.k_start, 3), far.rows()
    (0.5, 3.623, 167)
    """
    if not begin < edge_begin < 0 < edge_end:
        raise ValueError(
            f"The regions of an absorption spectrum begin at {begin:g}, {edge_begin:g} and "
            f"{edge_end:g} eV from the edge; these must rise, the last one alone above zero."
        )
    k_start = float(wave_number(edge + edge_end, edge))
    if not k_max > k_start:
        raise ValueError(
            f"The region in k begins at {k_start:.3g} 1/Angstrom ({edge_end:g} eV above the edge) "
            f"and cannot end at {k_max:g}; choose a larger k_max or a smaller edge_end."
        )
    far = KRegion(edge, k_start, k_max, k_step, dwell)
    return (
        Region.stepped(edge + begin, edge + edge_begin, pre_step, dwell),
        # Where the next one begins, to the last digit.
        Region.stepped(edge + edge_begin, far.start, edge_step, dwell),
        far,
    )


__all__ = ["STRAIGHT_BOUND", "KRegion", "xas_regions"]
