"""Rows of a scan come more often while somebody watches; packages that nobody needs stay away."""

import sys

import pytest

from glidepath import Session, flyscan
from glidepath.live import JournalFollower
from glidepath.session.quick_start import not_imported
from glidepath.storage import watching

SIMULATED = "glidepath.beamlines.simulated"


def announcements(session):
    """Fly for four seconds; return how often rows were announced."""
    seen = set()

    def note(name, document):
        if name == "descriptor" and document["name"] == "primary":
            seen.clear()
            seen.add(document["uid"])
        elif name == "stream_datum" and document["descriptor"] in seen:
            seen.add(document["indices"]["stop"])

    token = session.RE.subscribe(note)
    session.RE(flyscan([session.mesh], session.energy, 400, 402, 0.5, period=0.02))
    session.RE.unsubscribe(token)
    return len(seen) - 1


@pytest.mark.slow
def test_a_scan_that_is_watched_here_or_elsewhere_announces_its_rows_more_often(beamline, tmp_path):
    options = {"catalogue": False, "baseline": False, "live": False, "exports": False}
    with Session(SIMULATED, tmp_path, **options) as session:
        alone = announcements(session)
        with watching():
            here = announcements(session)
        with JournalFollower(tmp_path):
            elsewhere = announcements(session)
        with JournalFollower(tmp_path, watched=False):
            unseen = announcements(session)
    # Every 0.5 s, or every 0.1 s as far as a busy machine gets.
    assert max(alone, unseen) <= 12
    assert min(here, elsewhere) > 1.4 * max(alone, unseen)


def test_a_package_that_nobody_needs_looks_as_if_it_were_not_there_for_a_moment(
    tmp_path, monkeypatch
):
    (tmp_path / "heavy_package.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with not_imported("heavy_package"), pytest.raises(ImportError):
        __import__("heavy_package")
    __import__("heavy_package")
    with not_imported("heavy_package"):
        __import__("heavy_package")
    assert sys.modules.pop("heavy_package") is not None
