"""What an acceptance test says of a device: passed, failed or left out, with figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Failed", "Figure", "LeftOut", "Outcome", "Result"]


class Result(StrEnum):
    """How a test ended."""

    PASS = "pass"
    FAIL = "FAIL"
    LEFT_OUT = "left out"


class Failed(AssertionError):  # noqa: N818 (it is an outcome, as pytest's are)
    """A device does not do what it should; the text is one sentence with figures."""


class LeftOut(Exception):  # noqa: N818
    """A test does not apply here, or may not be made; the text is one sentence."""


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes
    ----------
    value
        The number.
    unit
        Its unit, or an empty text.
    """

    value: float
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.value:.4g} {self.unit}".strip()


@dataclass(frozen=True)
class Outcome:
    """What became of one test.

    Attributes
    ----------
    device
        Name of the device in the beamline module.
    part
        Name of what was tested: the device, or a part of it such as an axis of a mirror.
    test
        Name of the test, such as ``"moves"``.
    result
        How it ended.
    sentence
        What was found, or why it failed or was left out.
    figures
        Name -> what was measured.
    details
        Lines with more, such as those of the test of a detector.
    seconds
        How long it took.
    time
        When it ended, POSIX s.
    """

    device: str
    part: str
    test: str
    result: Result
    sentence: str
    figures: Mapping[str, Figure] = field(default_factory=dict)
    details: tuple[str, ...] = ()
    seconds: float = 0.0
    time: float = 0.0

    @property
    def title(self) -> str:
        """Part and test, such as ``"m1-tx moves"``."""
        return f"{self.part} {self.test}"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "result": str(self.result), "details": list(self.details)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Outcome":
        """Return what `to_json` was made of."""
        figures = {name: Figure(**figure) for name, figure in found["figures"].items()}
        return cls(
            **{
                **found,
                "result": Result(found["result"]),
                "figures": figures,
                "details": tuple(found["details"]),
            }
        )
