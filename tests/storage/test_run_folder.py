"""Every run has its own folder below the data directory, whatever its uid says."""

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glidepath.storage import check_data_directory, data_root, paths, run_folder, use_data_root

UID = "0123abcd-4567-89ef-0123-456789abcdef"


@pytest.fixture(autouse=True)
def fresh_session(monkeypatch, tmp_path):
    monkeypatch.setattr(paths._Session, "root", None)
    monkeypatch.delenv("GLIDEPATH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_folder_is_named_by_date_number_and_uid():
    time = datetime(2026, 3, 4, 23, 59).timestamp()
    folder = run_folder(Path("/data"), UID, 42, time)
    assert folder == Path("/data/2026/03/04/000042_0123abcd")


@settings(derandomize=True, database=None, deadline=None, max_examples=200)
@given(
    st.one_of(
        st.text(max_size=80),
        st.text("./\\-~0aA\n\x00", max_size=40),
        st.from_regex(r"[0-9A-Za-z-]{8,64}\Z"),
    ),
    st.integers(0, 10**9),
    st.floats(0, 4e9),
)
def test_no_uid_leads_out_of_the_data_directory(uid, scan_id, time):
    root = Path("/data/root")
    if not (8 <= len(uid) <= 64 and uid.isascii() and uid.replace("-", "a").isalnum()):
        with pytest.raises(ValueError, match="is no uid of a run"):
            run_folder(root, uid, scan_id, time)
        return
    folder = run_folder(root, uid, scan_id, time)
    assert folder.resolve().is_relative_to(root)
    assert len(folder.relative_to(root).parts) == 4
    assert folder.name == f"{scan_id:06d}_{uid[:8]}"


def test_the_data_directory_is_the_one_given_else_the_environments_else_here(monkeypatch, tmp_path):
    assert data_root() == tmp_path / "glidepath-data"
    monkeypatch.setattr(paths._Session, "root", None)
    monkeypatch.setenv("GLIDEPATH_DATA", str(tmp_path / "environment"))
    assert data_root() == tmp_path / "environment"
    assert use_data_root(tmp_path / "given" / "deep") == tmp_path / "given" / "deep"
    assert data_root() == tmp_path / "given" / "deep"
    assert data_root().is_dir()


def test_a_relative_data_directory_does_not_move_with_python(monkeypatch, tmp_path):
    use_data_root("here")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert data_root() == tmp_path / "here"


def test_a_data_directory_that_cannot_be_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ValueError, match="name another one") as caught:
            check_data_directory(path)
        assert str(path) in str(caught.value)
        assert str(caught.value).endswith(".")
    with pytest.raises(ValueError, match="name another one"):
        use_data_root(tmp_path / "file")
    assert data_root() == tmp_path / "glidepath-data"


def test_a_data_directory_without_permission_is_refused_with_a_sentence(monkeypatch, tmp_path):
    # Asked of the system, not tried: the administrator may write everywhere.
    monkeypatch.setattr(paths.os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match="cannot be written to; name another one"):
        check_data_directory(tmp_path)
