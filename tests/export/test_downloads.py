"""A run is downloaded from a Tiled server in the formats of other programs."""

import csv
import json
import shutil
import urllib.error
import urllib.request
import zipfile

import h5py
import numpy as np
import pytest
from PIL import Image
from test_nexus import assert_valid
from written_run import table_of, write_run

from glidepath.catalog import LocalTiledServer, replay_run
from glidepath.catalog.journal import encode
from glidepath.export import Run, check_crate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LocalTiledServer(tmp_path_factory.mktemp("downloads")) as running:
        yield running


def close(client):
    client.context.http_client.close()


def put(server, folder, *arguments, **keywords):
    """Write a run, bring it into the catalogue, and return its client."""
    documents = write_run(server.data_root / folder, *arguments, **keywords)
    uid = documents[0][1]["uid"]
    (server.data_root / "journal").mkdir(exist_ok=True)
    journal = server.data_root / "journal" / f"{uid}.jsonl"
    journal.write_bytes(b"".join(encode(name, document) for name, document in documents))
    client = server.client()
    replay_run(journal, client)
    return client[uid]


@pytest.fixture
def run(server, request):
    found = put(server, request.node.name, table_of(50))
    yield found
    close(found)


def link_of(server, run, **parameters):
    query = "&".join(f"{key}={value}" for key, value in parameters.items())
    uid = run.metadata["start"]["uid"]
    return f"{server.uri}/container/full/{uid}?{query}&api_key={server.api_key}"


def test_nexus_holds_the_data_and_is_valid(server, run, tmp_path):
    path = tmp_path / "x.nxs"
    run.export(str(path))
    table = table_of(50)
    with h5py.File(path) as file:
        entry = file["entry"]
        assert entry["definition"][()] == b"NXxas_tey"
        np.testing.assert_array_equal(entry["energy"][()], table["energy"])
        np.testing.assert_array_equal(entry["table/sample"][()], table["sample"])
        np.testing.assert_array_equal(entry["raw/mesh/value"][()], table["mesh"])
        assert entry["baseline/stop/ue48-gap"][()] == 35.4
        assert isinstance(entry["table"].get("mesh", getlink=True), h5py.HardLink)
    assert_valid(path)


def test_xdi_and_csv_hold_the_spectrum_and_the_table(run, tmp_path):
    table = table_of(50)
    run.export(str(tmp_path / "x.xdi"))
    text = (tmp_path / "x.xdi").read_text()
    assert text.startswith("# XDI/1.0 Glidepath/")
    numbers = np.loadtxt(text.splitlines())
    np.testing.assert_allclose(numbers[:, 0], table["energy"], rtol=1e-9)
    run.export(str(tmp_path / "x.csv"))
    with open(tmp_path / "x.csv", newline="") as file:
        names, *rows = csv.reader(file)
    column = [float(row[names.index("sample_A")]) for row in rows]
    np.testing.assert_array_equal(column, table["sample"])


def test_a_browser_saves_it_under_a_name(server, run):
    link = link_of(server, run, format="nxs", filename="n2.nxs")
    with urllib.request.urlopen(link, timeout=60) as answer:
        assert answer.headers["Content-Type"] == "application/x-nexus"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="n2.nxs"'
        assert answer.read(4) == b"\x89HDF"


def test_images_stay_where_they_are(server, tmp_path):
    run = put(server, "camera", table_of(5), images=True)
    run.export(str(tmp_path / "x.nxs"))
    with h5py.File(tmp_path / "x.nxs") as file:
        assert "camera_image" not in file["entry/table"]
        assert len(file["entry/energy"]) == 5
    close(run)


def test_what_a_format_cannot_hold_is_a_sentence(server):
    run = put(server, "empty", table_of(0))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(link_of(server, run, format="xdi"), timeout=60)
    with caught.value as answer:
        assert answer.code == 422
        assert b"has no row with a value for a spectrum" in answer.read()
    close(run)


def test_a_run_without_rows_is_downloaded(server, tmp_path):
    """The catalogue has no node for a column that has no row."""
    run = put(server, "no-rows", table_of(0), exit_status="abort")
    run.export(str(tmp_path / "x.nxs"))
    with h5py.File(tmp_path / "x.nxs") as file:
        assert file["entry/energy"].shape == (0,)
    run.export(str(tmp_path / "x.zip"))
    assert check_crate(tmp_path / "x.zip") == []
    close(run)


def test_a_run_that_was_killed_and_knows_no_spectrum_can_be_downloaded(server, tmp_path):
    run = put(server, "killed", table_of(5), start={"spectra": {}}, exit_status=None)
    run.export(str(tmp_path / "x.nxs"))
    with h5py.File(tmp_path / "x.nxs") as file:
        assert file["entry/entry_identifier_uuid"][()].decode() == run.metadata["start"]["uid"]
        assert len(file["entry/table/energy"]) == 5
    close(run)


def test_a_file_that_the_server_may_not_read_is_not_given_away(server, tmp_path):
    """The catalogue may name any path; only what lies below the readable folders is served."""
    run = put(server, tmp_path / "elsewhere", table_of(5))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(link_of(server, run, format="csv"), timeout=60)
    with caught.value as answer:
        assert answer.code == 422
        assert b"outside of the folders" in answer.read()
    close(run)


def test_a_crate_holds_the_files_and_is_complete_elsewhere(server, tmp_path):
    columns = table_of(20)
    run = put(server, "crate", columns, images=True)
    run.export(str(tmp_path / "x.crate.zip"))
    close(run)
    assert check_crate(tmp_path / "x.crate.zip") == []
    shutil.unpack_archive(tmp_path / "x.crate.zip", tmp_path / "elsewhere")
    shutil.rmtree(server.data_root / "crate")
    (master,) = (tmp_path / "elsewhere").glob("*.nxs")
    assert_valid(master)
    with h5py.File(master) as file:
        pixels = file["entry/instrument/camera_image/data"][()]
        np.testing.assert_array_equal(pixels[3].ravel(), np.arange(37, 49))
    again = Run.open_folder(tmp_path / "elsewhere")
    np.testing.assert_array_equal(again.table.read("sample"), columns["sample"])
    assert again.missing_files() == []


def test_a_crate_gives_no_file_away_that_the_server_may_not_read(server, tmp_path):
    """A file of the run may show pixels of any other file; that one is packed where it may be."""
    run = put(server, "shows-others", table_of(5), images=True)
    folder = server.data_root / "shows-others"
    (folder / "camera.h5").rename(tmp_path / "secret.h5")
    (folder / "camera.h5").symlink_to(tmp_path / "secret.h5")
    run.export(str(tmp_path / "x.zip"))
    close(run)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert "glidepath.h5" in archive.namelist()
        assert "camera.h5" not in archive.namelist()
        metadata = json.loads(archive.read("ro-crate-metadata.json"))
    root = next(item for item in metadata["@graph"] if item["@id"] == "./")
    assert "camera.h5 is outside of the folders" in root["description"]


def test_a_crate_of_a_run_that_is_all_elsewhere_is_a_sentence(server, tmp_path):
    run = put(server, tmp_path / "elsewhere", table_of(5))
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(link_of(server, run, format="zip"), timeout=60)
    with caught.value as answer:
        assert answer.code == 422
        assert b"outside of the folders" in answer.read()
    close(run)


def test_a_browser_saves_a_crate_and_a_picture(server, run, tmp_path):
    link = link_of(server, run, format="zip", filename="n2.crate.zip")
    with urllib.request.urlopen(link, timeout=120) as answer:
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="n2.crate.zip"'
        (tmp_path / "n2.zip").write_bytes(answer.read())
    assert check_crate(tmp_path / "n2.zip") == []
    with urllib.request.urlopen(link_of(server, run, format="png"), timeout=120) as answer:
        assert answer.headers["Content-Type"] == "image/png"
        (tmp_path / "n2.png").write_bytes(answer.read())
    with Image.open(tmp_path / "n2.png") as picture:
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 50
