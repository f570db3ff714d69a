"""Runs that were really flown go through the exporter and both validators."""

import contextlib
import shutil
import threading

import h5py
import numpy as np
import pytest
from test_nexus import assert_valid, default_plot

from glidepath import Triggers
from glidepath.catalog.journal import encode
from glidepath.export import Run, check_crate, write_crate, write_nexus
from glidepath.plans import flyscan

pytestmark = pytest.mark.slow

KNOWN = {
    "element": "N",
    "edge": "K",
    "mode": "tey",
    "sample": {"name": "N2 gas cell"},
    "spectra": {"tey": {"signal": "sample", "i0": "mesh"}},
}
TRIGGERED = KNOWN | {"spectra": {"tey": {"signal": "quad_sample", "i0": "quad_mesh"}}}


def flown(simulated, plan, **metadata):
    """Fly a plan; return the documents of its run."""
    from bluesky.utils import FailedStatus, RunEngineInterrupted

    simulated.documents.clear()
    engine = simulated.run_engine
    engine.md.update(KNOWN | {"scan_id": engine.md.get("scan_id", 0)} | metadata)
    with contextlib.suppress(FailedStatus, RunEngineInterrupted):
        engine(plan)
    return [(name, dict(document)) for name, document in simulated.documents]


def exported(documents, tmp_path):
    """Write both definitions; return the run and the file of the new family."""
    run = Run(documents, home=tmp_path)
    assert_valid(write_nexus(run, run.folder / "classic.nxs", classic=True).path, classic=True)
    master = write_nexus(run)
    assert master.definitions == ("NXxas_tey",), master.remarks
    assert master.remarks == ()
    assert_valid(master.path)
    return run, master.path


def test_a_sampled_run_is_valid(simulated, tmp_path):
    s = simulated
    documents = flown(s, flyscan([s.mesh, s.sample], s.energy, 400.0, 402.0, 1.0))
    run, path = exported(documents, tmp_path)
    energy, intensity = default_plot(path)
    table = run.table
    np.testing.assert_array_equal(energy, table.read("energy"))
    np.testing.assert_allclose(intensity, table.read("sample") / table.read("mesh"), rtol=1e-12)
    with h5py.File(run.folder / "glidepath.h5", swmr=True) as growing:
        begun = growing["entry/start_time"][()].decode()
    with h5py.File(path) as file:
        # The growing file has it from the start on.
        assert file["entry/start_time"][()].decode()[:19] == begun[:19]


def test_triggered_runs_with_and_without_a_camera_are_valid(simulated, tmp_path):
    s = simulated
    for detectors in ([s.quad], [s.quad, s.camera]):
        plan = flyscan(
            detectors, s.energy, 400.0, 404.0, 1.0, triggers=Triggers(s.zebra, step=0.05)
        )
        documents = flown(s, plan, **TRIGGERED)
        assert documents[-1][1]["exit_status"] == "success", documents[-1][1]["reason"]
        run, path = exported(documents, tmp_path)
        assert len(default_plot(path)[0]) == run.table.rows
    with h5py.File(path) as file:
        images = file["entry/instrument/camera_image/data"]
        assert images.shape[0] == run.table.rows
        assert images[3].any()


def test_a_copied_run_reads_the_same_and_says_when_its_camera_file_is_missing(simulated, tmp_path):
    """The folder is copied, the original deleted: values and checksums agree."""
    s = simulated
    plan = flyscan(
        [s.quad, s.camera], s.energy, 400.0, 402.0, 1.0, triggers=Triggers(s.zebra, step=0.1)
    )
    documents = flown(s, plan, **TRIGGERED)
    run, path = exported(documents, tmp_path)
    lines = b"".join(encode(name, document) for name, document in documents)
    crate = write_crate(run, tmp_path / "run.zip", documents=lines)
    assert crate.remarks == ()
    (run.folder / "documents.jsonl").write_bytes(lines)
    cameras = [file for file in run.files() if file.name not in ("glidepath.h5", "images.h5")]
    assert cameras
    inside = all(file.is_relative_to(run.folder) for file in cameras)
    with h5py.File(path) as file:
        pixels = file["entry/instrument/camera_image/data"][()]
        table = {name: file["entry/table"][name][()] for name in file["entry/table"]}
    copy = tmp_path / "archive" / "copy"
    shutil.copytree(run.folder, copy)
    shutil.rmtree(run.folder)
    shutil.unpack_archive(tmp_path / "run.zip", tmp_path / "unpacked")
    assert check_crate(tmp_path / "unpacked") == []
    places = [copy, tmp_path / "unpacked"] if inside else [tmp_path / "unpacked"]
    for folder in places:
        (master,) = (one for one in folder.glob("*.nxs") if one.name != "classic.nxs")
        with h5py.File(master) as file:
            np.testing.assert_array_equal(file["entry/instrument/camera_image/data"][()], pixels)
            for name, values in table.items():
                np.testing.assert_array_equal(file["entry/table"][name][()], values)
        assert Run.open_folder(folder).missing_files() == []
        assert_valid(master)
    others = [
        file
        for file in Run.open_folder(folder).files()
        if file.name not in ("glidepath.h5", "images.h5")
    ]
    lost = others[0]
    lost.unlink()
    left = Run.open_folder(folder)
    assert left.missing_files() == [lost]
    assert check_crate(folder) == [f"The file {lost.relative_to(folder)} is missing."]
    (remark,) = write_nexus(left).remarks
    assert f"{lost.name} is missing" in remark


def aborted(simulated, plan, when):
    """Fly a plan, and abort it at the first document for which ``when`` is true."""
    engine = simulated.run_engine
    enders = []

    def look(name, document):
        if not enders and when(name, document):
            # Not from the run engine's own thread, which waits for the end.
            enders.append(threading.Thread(target=engine.abort, args=("enough",)))
            enders[0].start()

    token = engine.subscribe(look)
    try:
        documents = flown(simulated, plan)
    finally:
        engine.unsubscribe(token)
        for ender in enders:
            ender.join(60)
    assert documents[-1][1]["exit_status"] == "abort"
    return documents


def test_a_run_that_was_aborted_after_three_rows_is_valid(simulated, tmp_path):
    s = simulated

    def after_three_rows(name, document):
        primary = [d["uid"] for d in s.named("descriptor") if d["name"] == "primary"]
        announced = name == "stream_datum" and document["descriptor"] in primary
        return announced and document["indices"]["stop"] >= 3

    plan = flyscan([s.mesh, s.sample], s.energy, 400.0, 410.0, 1.0, period=0.1)
    run, path = exported(aborted(s, plan, after_three_rows), tmp_path)
    assert 3 <= run.table.rows < 90
    assert len(default_plot(path)[0]) == run.table.rows


def test_a_run_that_ended_before_its_first_row_is_valid(simulated, tmp_path):
    s = simulated
    # The meter does not expose so long: the scan ends before it flies.
    plan = flyscan([s.mesh, s.sample], s.energy, 400.0, 410.0, 0.1, period=5.0)
    documents = flown(s, plan)
    assert documents[-1][1]["exit_status"] == "fail"
    run, path = exported(documents, tmp_path)
    assert run.table.rows == 0
    with h5py.File(path) as file:
        assert file["entry/energy"].shape == (0,)
