"""A stand-in for an e-log, and the secrets that it asks for."""

from collections.abc import Iterator

import pytest
from stand_in import ElogServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ElogServer]:
    monkeypatch.setenv("GLIDEPATH_ICATPLUS_USER", "a.mueller")
    monkeypatch.setenv("GLIDEPATH_ICATPLUS_PASSWORD", "right")
    running = ElogServer()
    yield running
    running.close()
