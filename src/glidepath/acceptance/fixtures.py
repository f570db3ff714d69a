"""Fixtures for tests of one's own, beside the ready-made ones: devices, safe ranges, a session."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from glidepath.session import Session

from .items import DOOR
from .runner import Runner

__all__ = ["devices", "figure", "may_move", "safe_ranges", "session"]


class _Devices(Mapping[str, Any]):
    """The devices of a session by name, each connected when it is used."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getitem__(self, name: str) -> Any:
        return self._session.devices([name])[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._session.beamline.devices)

    def __len__(self) -> int:
        return len(self._session.beamline.devices)


def _runner(config: pytest.Config) -> Runner:
    return config.stash[DOOR].runner


@pytest.fixture(scope="session")
def session(pytestconfig: pytest.Config) -> Session:
    """The session: run engine, devices, catalogue. ``session.call(f)`` awaits a coroutine of f."""
    return _runner(pytestconfig).session


@pytest.fixture(scope="session")
def devices(session: Session) -> Mapping[str, Any]:
    """The devices by name; one is connected when it is used."""
    return _Devices(session)


@pytest.fixture(scope="session")
def safe_ranges(session: Session) -> Mapping[str, tuple[float, float]]:
    """The ranges in which axes may be moved, as the beamline module declares them."""
    return session.beamline.safe_ranges


@pytest.fixture
def may_move(pytestconfig: pytest.Config) -> Callable[..., None]:
    """A function of names of devices: the test is left out if one of them may not be moved."""
    asked = pytestconfig.stash[DOOR].asked

    def check(*names: str) -> None:
        for name in names:
            if not asked.may_move(name):
                pytest.skip(f"{name} was not allowed to move; name it with --move.")

    return check


@pytest.fixture
def figure(record_property: Callable[[str, Any], None]) -> Callable[..., None]:
    """A function of a name, a number and a unit, which go into the report of pytest."""

    def keep(name: str, value: float, unit: str = "") -> None:
        record_property(name, f"{value:.6g} {unit}".strip())

    return keep
