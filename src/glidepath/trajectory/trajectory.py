"""What a scan flies: regions one after the other, in one or several passes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from .kspace import KRegion
from .region import ROUNDING, Region, number_of

MOST_PASSES = 1000

AnyRegion = Region | KRegion
"""What a pass consists of."""


@dataclass(frozen=True)
class Leg:
    """Regions that are flown in one movement: one direction, each beginning where the last ends.

    Parameters
    ----------
    regions
        At least one. A back end that knows only one velocity gets legs of one straight region.
    numbers
        Number of each region in its pass, from 1 on.
    pass_number
        Number of the pass, from 1 on.

    Raises
    ------
    ValueError
        If the regions are not contiguous.

    Examples
    --------
    >>> leg = Leg((Region(370, 395, 2.0), Region(395, 405, 0.2)), numbers=(1, 2))
    >>> leg.start, leg.stop, leg.duration
    (370.0, 405.0, 62.5)
    >>> leg.after(400.0).numbers
    (2,)
    """

    regions: tuple[AnyRegion, ...]
    numbers: tuple[int, ...] = (1,)
    pass_number: int = 1

    def __post_init__(self) -> None:
        if not self.regions or len(self.regions) != len(self.numbers):
            raise ValueError("A leg needs at least one region, and a number for each.")
        for one, following in zip(self.regions, self.regions[1:], strict=False):
            if not _joins(one, following):
                raise ValueError(
                    f"A region that ends at {one.stop:g} and one that begins at "
                    f"{following.start:g} cannot be flown in one movement."
                )

    @property
    def start(self) -> float:
        """Where it begins."""
        return self.regions[0].start

    @property
    def stop(self) -> float:
        """Where it ends."""
        return self.regions[-1].stop

    @property
    def direction(self) -> int:
        """1 for up, -1 for down."""
        return self.regions[0].direction

    @property
    def length(self) -> float:
        """Length of the range, positive."""
        return abs(self.stop - self.start)

    @property
    def duration(self) -> float:
        """Seconds between start and stop."""
        return sum(region.duration for region in self.regions)

    @property
    def velocity(self) -> float:
        """Largest speed in it, units per second."""
        return max(region.velocity for region in self.regions)

    def rows(self, period: float) -> int:
        """Return how many rows fit; ``period`` (s) is for regions without one of their own."""
        return sum(region.rows(period) for region in self.regions)

    @property
    def slowest(self) -> float:
        """Smallest speed in it, units per second."""
        return min(min(region.speeds) for region in self.regions)

    def after(self, position: float) -> "Leg | None":
        """Return what of it lies behind ``position`` on the way; None if nothing does."""
        rest = [
            (left, number)
            for region, number in zip(self.regions, self.numbers, strict=True)
            if (left := region.after(position)) is not None
        ]
        if not rest:
            return None
        regions, numbers = zip(*rest, strict=True)
        return replace(self, regions=regions, numbers=numbers)


@dataclass(frozen=True)
class Trajectory:
    """Regions in the order in which they are flown, and how often.

    Parameters
    ----------
    regions
        What one pass consists of.
    passes
        How often; each pass is a numbered part of the run.
    there_and_back
        Every second pass goes backwards.

    Raises
    ------
    ValueError
        If there is no region or no pass.

    Examples
    --------
    >>> three = Trajectory.of([(370, 395, 2.0), (395, 405, 0.2), (405, 470, 1.0)])
    >>> three.duration, three.rows(0.1)
    (127.5, 1275)
    >>> [leg.start for leg in Trajectory((Region(1, 2, 1),), 2, there_and_back=True).legs()]
    [1.0, 2.0]
    """

    regions: tuple[AnyRegion, ...]
    passes: int = 1
    there_and_back: bool = False

    def __post_init__(self) -> None:
        if not self.regions:
            raise ValueError("A scan needs at least one region: (start, stop, velocity).")
        number = number_of(self.passes)
        if not (1 <= number <= MOST_PASSES and number == int(number)):
            raise ValueError(
                f"A scan cannot have {self.passes!r} passes; give 1 or more, up to {MOST_PASSES}."
            )
        object.__setattr__(self, "passes", int(number))

    @classmethod
    def of(cls, regions: Any, **options: Any) -> "Trajectory":
        """Make one from regions of any kind, or tuples ``(start, stop, velocity[, period])``.

        Raises
        ------
        ValueError
            If something else is given; the text says what was expected.
        """
        if isinstance(regions, cls):
            if any(options.values()) and options != {"passes": 1, "there_and_back": False}:
                raise ValueError("A trajectory has its own passes: say them there, not here.")
            return regions
        if isinstance(regions, AnyRegion):
            regions = [regions]
        try:
            items = iter(regions)
        except TypeError:
            items = None
        if isinstance(regions, str | bytes) or items is None:
            raise ValueError(f"{regions!r} are no regions; give a list of (start, stop, velocity).")
        return cls(tuple(_region(item) for item in items), **options)

    @property
    def low(self) -> float:
        """Lowest position."""
        return min(min(region.start, region.stop) for region in self.regions)

    @property
    def high(self) -> float:
        """Highest position."""
        return max(max(region.start, region.stop) for region in self.regions)

    @property
    def velocity(self) -> float:
        """Largest speed, units per second."""
        return max(region.velocity for region in self.regions)

    @property
    def duration(self) -> float:
        """Seconds inside the regions, all passes; without run-ups and ways back."""
        return self.passes * sum(region.duration for region in self.regions)

    def rows(self, period: float) -> int:
        """Return how many rows fit; ``period`` (s) is for regions without one of their own."""
        return self.passes * sum(region.rows(period) for region in self.regions)

    def legs(self, *, joined: bool = False) -> Iterator[Leg]:
        """Yield what is flown in one movement each, in order.

        Parameters
        ----------
        joined
            Whether regions that join, in the same direction, can be flown in one movement. If
            not, a region in k is replaced by its straight pieces, which keep its number.
        """
        for number in range(1, self.passes + 1):
            parts: list[tuple[int, AnyRegion]] = list(enumerate(self.regions, start=1))
            if self.there_and_back and number % 2 == 0:
                parts = [(k, region.reversed()) for k, region in reversed(parts)]
            if not joined:
                parts = [(k, piece) for k, region in parts for piece in region.straight()]
            run = 0
            runs = []
            for k, (_, region) in enumerate(parts):
                run += not (joined and k and _joins(parts[k - 1][1], region))
                runs.append(run)
            for _, group in groupby(zip(runs, parts, strict=True), key=lambda item: item[0]):
                numbers, regions = zip(*(part for _, part in group), strict=True)
                yield Leg(regions, numbers, number)


def _joins(one: AnyRegion, following: AnyRegion) -> bool:
    # Ends may have been computed, from a wave number for example.
    apart = abs(one.stop - following.start) > ROUNDING * max(abs(one.stop), one.length)
    return not apart and one.direction == following.direction


def _region(item: Any) -> AnyRegion:
    if isinstance(item, AnyRegion):
        return item
    try:
        numbers = tuple(item)
    except TypeError:
        numbers = ()
    if isinstance(item, str | bytes) or len(numbers) not in (3, 4):
        raise ValueError(
            f"{item!r} is no region; give (start, stop, velocity) in units of the axis and units "
            "per second, such as (395, 405, 0.2)."
        )
    return Region(*numbers)


__all__ = ["AnyRegion", "Leg", "Trajectory"]
