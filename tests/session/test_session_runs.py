"""What a session says of a plan is of this plan, and its scans have numbers of their own."""

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest

from glidepath.session import ScanError, Session


def _empty_run():
    yield from bps.open_run()
    yield from bps.close_run("success", "Nothing to do.")


def _refused(error):
    yield from bps.null()
    raise error


@pytest.fixture
def session(tmp_path):
    with Session("glidepath.beamlines.simulated", tmp_path) as opened:
        yield opened


def test_a_refused_plan_never_returns_what_the_plan_before_it_did(session):
    first = session.run(_empty_run())
    assert first["reason"] == "Nothing to do."
    with pytest.raises(ValueError, match="Beyond the range"):
        session.run(_refused(ValueError("Beyond the range.")))
    with pytest.raises(ScanError, match="no run was made"):
        session.run(bps.null())
    assert session.run(_empty_run())["uid"] != first["uid"]


def test_a_run_that_fails_says_why_after_one_that_went_well(session):
    session.run(_empty_run())
    with pytest.raises(ScanError, match="The axis stalled"):
        session.run(bpp.run_wrapper(_refused(RuntimeError("The axis stalled."))))


def test_sessions_of_one_data_directory_never_share_a_scan_number(session, tmp_path):
    with Session("glidepath.beamlines.simulated", tmp_path) as other:
        numbers = []
        for taking in (session, other, other, session):
            taking.run(_empty_run())
            numbers.append(taking.follower.start["scan_id"])
    assert numbers == [1, 2, 3, 4]
