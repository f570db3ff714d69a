"""A run's folder is a whole run: copied or moved, it reads the same without any catalogue."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from event_model import compose_run
from typer.testing import CliRunner

from glidepath.catalog import (
    CatalogError,
    Publisher,
    load_run,
    read_baseline,
    read_primary,
    read_raw,
    rebin_run,
    summarise,
)
from glidepath.cli.main import app
from glidepath.export import Run
from glidepath.lookback import StoredRun
from glidepath.storage import (
    AlignedImages,
    Column,
    GrowingFile,
    Table,
    keep_documents,
    place_in_folder,
    run_folder,
)
from glidepath.storage.aligned_images import DATASET

ROWS, PERIOD, BEGIN = 40, 0.1, 1_700_000_000.0
EDGES = np.arange(400.0, 404.5, 0.5)


def columns():
    number = np.arange(ROWS)
    energy = 400.05 + 0.1 * number
    return {
        "energy": energy,
        "energy_lower": energy - 0.05,
        "energy_upper": energy + 0.05,
        "sample_time": BEGIN + PERIOD * (number + 0.5),
        "sample_duration": np.full(ROWS, PERIOD),
        "mesh": 1.0 + 0.1 * number,
        "quality": np.zeros(ROWS),
    }


def write_files(folder: Path, camera: Path, table: dict) -> None:
    """Write the run's own file, the camera's, and the one with its frames row by row."""
    main = [Column(name, "<u2" if name == "quality" else "<f8") for name in table]
    log = [Column("value"), Column("time")]
    tables = [Table("/entry/data", main, "NXdata")]
    tables += [Table(f"/entry/instrument/{name}", log, "NXlog") for name in ("energy", "mesh")]
    file = GrowingFile(folder / "glidepath.h5", tables)
    file.append(0, table)
    for number, name in enumerate(("energy", "mesh"), start=1):
        stamps = table["sample_time"] + PERIOD / 2
        file.append(number, {"value": table[name], "time": stamps})
    file.close()
    camera.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(camera, "w") as pixels:
        values = np.arange(1, ROWS * 12 + 1, dtype=np.uint16)
        pixels["/entry/data/data"] = values.reshape(ROWS, 4, 3)
    images = AlignedImages(folder / "images.h5", (4, 3), np.dtype(np.uint16))
    images.add(camera, "/entry/data/data", np.arange(ROWS))
    images.write()


def emit_stream(emit, run, name, places, configuration=None) -> None:
    """Emit a stream's descriptor and what points into its files: key -> (file, dataset)."""
    keys = {
        key: {
            "source": "test",
            "dtype": "array" if key == "camera_image" else "number",
            "shape": [4, 3] if key == "camera_image" else [],
            "external": "STREAM:",
            "units": "eV" if key.startswith("energy") else "",
        }
        for key in places
    }
    described = run.compose_descriptor(
        name=name, data_keys=keys, object_keys={}, configuration=configuration or {}
    )
    emit("descriptor", described.descriptor_doc)
    for key, (path, dataset) in places.items():
        resource, compose = run.compose_stream_resource(
            mimetype="application/x-hdf5",
            uri=f"file://localhost{path}",
            data_key=key,
            parameters={"dataset": dataset, "chunk_shape": [1000]},
        )
        emit("stream_resource", resource)
        emit(
            "stream_datum",
            compose(
                {"start": 0, "stop": ROWS},
                {"start": 1, "stop": ROWS + 1},
                descriptor=described.descriptor_doc,
            ),
        )


def channel_configuration(name: str, kind: str, aperture: float) -> dict:
    data = {f"{name}_kind": kind, f"{name}_latency": 0.0, f"{name}_aperture": aperture}
    key = {"source": "test", "dtype": "number", "shape": []}
    return {
        name: {
            "data": data,
            "timestamps": dict.fromkeys(data, BEGIN),
            "data_keys": dict.fromkeys(data, key),
        }
    }


def record(root: Path, camera: str = "camera.h5", *, ended: bool = True) -> Path:
    """Let a publisher record a run in a data directory; return the run's folder."""
    metadata = {
        "scan_id": 7,
        "plan_name": "flyscan",
        "motors": ["energy"],
        "detectors": ["mesh"],
        "preflight": {"start": 400.0, "stop": 404.0, "unit": "eV", "rows": ROWS},
    }
    run = compose_run(metadata=metadata, time=BEGIN)
    folder = run_folder(root, run.start_doc["uid"], 7, BEGIN)
    folder.mkdir(parents=True)
    table = columns()
    write_files(folder, folder / camera, table)
    publisher = Publisher(root / "journal")
    publisher("start", run.start_doc)
    key = {"source": "test", "dtype": "number", "shape": [], "units": "mA"}
    baseline = run.compose_descriptor(name="baseline", data_keys={"ring": key})
    publisher("descriptor", baseline.descriptor_doc)
    for value in (299.0, 298.0):
        publisher("event", baseline.compose_event(data={"ring": value}, timestamps={"ring": 0.0}))
    own = folder / "glidepath.h5"
    places = {name: (own, f"/entry/data/{name}") for name in table}
    places["camera_image"] = (folder / "images.h5", DATASET)
    emit_stream(publisher, run, "primary", places)
    for name, kind, aperture in (("energy", "readback", 0.0), ("mesh", "detector", PERIOD)):
        group = f"/entry/instrument/{name}"
        raw = {f"{name}_value": (own, f"{group}/value")}
        raw[f"{name}_timestamp"] = own, f"{group}/time"
        emit_stream(publisher, run, name, raw, channel_configuration(name, kind, aperture))
    if ended:
        publisher("stop", run.compose_stop())
    publisher.close()
    return folder


def everything(place):
    """Return all that can be read of a run's folder."""
    run = load_run(place)
    found = read_primary(run) | {"image": run["primary"]["camera_image"][:]}
    found |= {f"baseline {key}": value for key, value in read_baseline(run).items()}
    for channel in ("energy", "mesh"):
        found[f"{channel} time"], found[f"{channel} value"] = read_raw(run, channel)
    return found | {f"binned {k}": v for k, v in rebin_run(run, EDGES).columns.items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for key, values in left.items():
        np.testing.assert_array_equal(values, right[key], err_msg=key)


@pytest.mark.parametrize("camera", ["camera.h5", "camera/images_0001.h5"])
@pytest.mark.parametrize("transfer", ["copy", "move"])
def test_a_folder_that_was_transferred_reads_the_same(tmp_path, camera, transfer):
    folder = record(tmp_path / "data", camera)
    before = everything(folder)
    np.testing.assert_array_equal(before["mesh"], columns()["mesh"])
    np.testing.assert_array_equal(before["image"].ravel(), np.arange(1, ROWS * 12 + 1))
    assert before["baseline ring"].tolist() == [299.0, 298.0]
    assert np.isfinite(before["binned mesh_error"]).all()
    new = tmp_path / "elsewhere" / "of any name"
    if transfer == "copy":
        shutil.copytree(folder, new)
    else:
        new.parent.mkdir()
        shutil.move(folder, new)
    shutil.rmtree(tmp_path / "data")
    assert_same(everything(new), before)
    assert_same(everything(new / "glidepath.h5"), before)
    assert summarise(load_run(str(new))).exit_status == "success"
    assert len(load_run(new)["primary"]["camera_image"][10:20]) == 10


def test_a_copy_reads_its_own_files_though_the_first_still_exist(tmp_path):
    folder = record(tmp_path / "data")
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    with h5py.File(copied / "glidepath.h5", "r+") as file:
        file["/entry/data/mesh"][:] = 5.0
    assert set(read_primary(load_run(copied), ["mesh"])["mesh"]) == {5.0}
    assert set(StoredRun.in_folder(copied).table()["mesh"]) == {5.0}
    assert set(Run.open_folder(copied).table.read("mesh")) == {5.0}
    np.testing.assert_array_equal(read_primary(load_run(folder))["mesh"], columns()["mesh"])
    shutil.copytree(tmp_path / "data", tmp_path / "all")
    (again,) = StoredRun.find(tmp_path / "all", "-1")
    assert all(file.is_relative_to(tmp_path / "all") for file in again.files)


def test_a_camera_file_that_is_missing_or_another_is_said_and_the_rest_reads(tmp_path):
    folder = record(tmp_path / "data")
    new = tmp_path / "new"
    shutil.copytree(folder, new)
    (new / "camera.h5").unlink()
    run = load_run(new)
    np.testing.assert_array_equal(read_primary(run)["mesh"], columns()["mesh"])
    with pytest.raises(CatalogError, match=r"images.h5 are in .*camera.h5, but there is no such"):
        run["primary"]["camera_image"][:]
    with h5py.File(new / "camera.h5", "w") as file:
        file["/entry/data/data"] = np.full((ROWS, 4, 3), 9, np.uint16)
    with pytest.raises(CatalogError, match="its pixels are others"):
        run["primary"]["camera_image"][:]
    (new / "images.h5").unlink()
    with pytest.raises(CatalogError, match=r"images.h5 of this run is missing; copy or move"):
        run["primary"]["camera_image"][:]


def test_the_folder_of_a_run_whose_process_was_killed_has_its_documents(tmp_path):
    folder = record(tmp_path / "data", ended=False)
    shutil.copytree(folder, tmp_path / "new")
    run = load_run(tmp_path / "new")
    assert run.metadata["stop"] is None
    np.testing.assert_array_equal(read_primary(run)["mesh"], columns()["mesh"])


def test_a_run_of_before_is_found_by_its_journal_and_no_run_is_a_sentence(tmp_path):
    folder = record(tmp_path / "data")
    (folder / "documents.jsonl").unlink()
    np.testing.assert_array_equal(read_primary(load_run(folder))["mesh"], columns()["mesh"])
    shutil.copytree(folder, tmp_path / "new")
    with pytest.raises(CatalogError, match=r"not the folder of a run: it has no documents.jsonl"):
        load_run(tmp_path / "new")
    with pytest.raises(CatalogError, match="There is no folder"):
        load_run(tmp_path / "nothing")


def test_where_there_are_no_second_names_the_documents_are_copied(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    folder = record(tmp_path / "data")
    (journal,) = (tmp_path / "data" / "journal").glob("*.jsonl")
    kept = folder / "documents.jsonl"
    assert not kept.samefile(journal)
    assert kept.read_bytes() == journal.read_bytes()


def test_documents_that_are_kept_twice_are_the_same_file(tmp_path):
    (tmp_path / "j.jsonl").write_text("1\n")
    for _ in range(2):
        keep_documents(tmp_path / "j.jsonl", tmp_path)
    assert (tmp_path / "documents.jsonl").samefile(tmp_path / "j.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["documents.jsonl", "j.jsonl"]


def test_a_file_from_elsewhere_is_where_it_was_unless_it_was_put_into_the_folder(tmp_path):
    camera = tmp_path / "disk" / "camera.h5"
    uid = "1f2e3d4c-0000"
    assert place_in_folder(tmp_path, camera, uid) == camera
    (tmp_path / "camera.h5").touch()
    assert place_in_folder(tmp_path, camera, uid) == tmp_path / "camera.h5"
    inside = Path("/data/2026/11/29/000001_1f2e3d4c/camera/x.h5")
    assert place_in_folder(tmp_path, inside, uid) == tmp_path / "camera" / "x.h5"


def test_commands_take_a_folder_in_place_of_a_number(tmp_path):
    folder = record(tmp_path / "data")
    new = tmp_path / "new"
    shutil.move(folder, new)
    shutil.rmtree(tmp_path / "data")
    runner = CliRunner()

    def done(*words):
        result = runner.invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    done("rebin", new, "--step", "0.5", "--output", tmp_path / "x.csv")
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert len(lines) == 9
    done("plot", new, "-o", tmp_path / "x.png", "--data", tmp_path)
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "flyscan" in done("show", new)
    done("export", new, "--csv", "--output", tmp_path / "table.csv")
    assert len((tmp_path / "table.csv").read_text().splitlines()) > ROWS
    refused = runner.invoke(app, ["rebin", str(new), "--name", "x"])
    assert refused.exit_code != 0
