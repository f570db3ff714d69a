"""What a back end is: how one kind of axis is planned, flown, halted and left as it was."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

from glidepath.trajectory import Envelope, Leg, Motion


class FlightError(RuntimeError):
    """The axis did not fly as it was told; the text says where it is and what it did."""


@dataclass(frozen=True)
class MotionPlan:
    """How one leg is flown: made once, before anything moves, and carried to the flight.

    A back end adds what it is going to set.

    Attributes
    ----------
    leg
        What is flown.
    envelope
        What the axis can do when it flies that, and what it costs.
    """

    leg: Leg
    envelope: Envelope

    @property
    def motion(self) -> Motion:
        """Where the axis is at each instant of the flight, from rest to rest."""
        envelope = self.envelope
        if envelope.motion is not None:
            return envelope.motion
        return Motion.plain(self.leg, envelope.run_up, envelope.run_up_time)


PlanT = TypeVar("PlanT", bound=MotionPlan)


class BackEnd(ABC, Generic[PlanT]):
    """How one kind of axis flies a leg: straight, or through all its regions.

    `prepare`, `start` and `follow` come in this order, with the plan that `plan` has made, and
    may be cancelled at any time, only by `halt`. `halt` and `restore` may come at any time, and
    twice.

    Attributes
    ----------
    joins
        Whether it flies a leg of several regions in one movement; if not, it gets legs of one
        region only.
    """

    joins: ClassVar[bool] = False

    @abstractmethod
    async def plan(self, leg: Leg) -> PlanT:
        """Return how the axis flies a leg, and what it can do. Nothing moves.

        What makes the flight impossible belongs to the envelope, so that a user hears of all of
        it at once; `PreflightError` is for what leaves nothing to report on.
        """

    @abstractmethod
    async def moving(self) -> str:
        """Return the name of what moves at this moment, of all that it would move; or nothing."""

    @abstractmethod
    async def prepare(self, plan: PlanT) -> None:
        """Go to the run-up of the leg and set up the flight."""

    @abstractmethod
    async def start(self, plan: PlanT) -> None:
        """Start, and return when the axis is under way."""

    @abstractmethod
    async def follow(self, plan: PlanT) -> None:
        """Return when the axis has passed the stop, or raise `FlightError`."""

    @abstractmethod
    async def halt(self) -> None:
        """Make the axis stand; return when it does."""

    @abstractmethod
    async def restore(self) -> None:
        """Put back the settings that were changed for the flight."""


__all__ = ["BackEnd", "FlightError", "MotionPlan", "PlanT"]
