"""Files are flushed more often while somebody watches, here or in another process."""

import pytest

from glidepath.storage import Pace, Presence, use_flush_periods, watching
from glidepath.storage import pace as module


@pytest.fixture(autouse=True)
def _as_before():
    yield
    use_flush_periods(module.ALONE, module.WATCHED)


@pytest.fixture
def clock(monkeypatch):
    """The time of this module, which passes when the test says so."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_view_in_this_process_makes_it_quick_and_its_end_slow_again(tmp_path):
    pace = Pace(tmp_path)
    assert pace.period == module.ALONE
    with watching(), watching():
        assert pace.period == module.WATCHED
    assert pace.period == module.ALONE


def test_a_view_in_another_process_is_seen_by_what_it_touches_and_forgotten(tmp_path, clock):
    pace, presence = Pace(tmp_path), Presence(tmp_path)
    presence.renew()
    clock.now += module.LOOK_PERIOD
    assert pace.period == module.WATCHED
    clock.now += module.REMEMBERED + module.LOOK_PERIOD
    assert pace.period == module.ALONE
    presence.renew()
    clock.now += module.LOOK_PERIOD
    assert pace.watched


def test_a_view_that_is_gone_since_long_does_not_count(tmp_path):
    Presence(tmp_path).renew()
    assert not Pace(tmp_path).watched


def test_a_folder_that_may_only_be_read_is_flushed_as_if_nobody_watched(tmp_path):
    Presence(tmp_path / "nowhere").renew()
    assert not Pace(tmp_path / "nowhere").watched


def test_the_configured_periods_hold_and_watching_is_never_slower(tmp_path):
    pace = Pace(tmp_path)
    use_flush_periods(2.0, 0.2)
    assert pace.period == 2.0
    with watching():
        assert pace.period == 0.2
    use_flush_periods(0.05, 0.1)
    with watching():
        assert pace.period == 0.05
