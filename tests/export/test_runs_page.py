"""The page of the runs, in a real browser: each button brings a file, or a sentence."""

import shutil
import uuid
import zipfile

import h5py
import numpy as np
import pytest
from browser import Browser
from PIL import Image
from test_downloads import put
from tiled.structures.core import Spec
from written_run import table_of

from glidepath.catalog import LocalTiledServer
from glidepath.catalog.server import page_url
from glidepath.export import check_crate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed."),
]

SAID = "document.getElementById('said')"
LABELS = ["NeXus", "XDI", "CSV", "crate", "picture"]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with LocalTiledServer(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def runs(server):
    """A whole run, one that was aborted before its first row, and one that has not ended."""
    found = [
        put(server, "whole", table_of(50), images=True, start={"scan_id": 7}),
        put(server, "empty", table_of(0), start={"scan_id": 8}, exit_status="abort"),
    ]
    client = server.client()
    start = dict(found[0].metadata["start"]) | {"uid": str(uuid.uuid4()), "scan_id": 9}
    client.create_container(
        start["uid"], metadata={"start": start}, specs=[Spec("BlueskyRun", "3.0")]
    )
    yield [one.metadata["start"]["uid"] for one in found]
    for one in [*found, client]:
        one.context.http_client.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(browser, server, runs):
    browser.open(page_url(server))
    browser.until(lambda: browser.evaluate("document.querySelectorAll('#runs tr').length") == 3)
    return browser


def row_of(scan):
    """Return JavaScript for the row of a scan: the numbers are in the first column."""
    return f"[...document.querySelectorAll('#runs tr')].find(r => r.cells[0].textContent == {scan})"


def button_of(scan, label):
    return f"[...({row_of(scan)}).querySelectorAll('button')].find(b => b.textContent == '{label}')"


def labels_of(page, scan):
    buttons = f"[...({row_of(scan)}).querySelectorAll('button')]"
    return page.evaluate(f"{buttons}.map(b => b.textContent)")


def test_the_page_lists_runs_and_gives_no_key_away(page):
    cells = page.evaluate(f"[...({row_of(7)}).cells].map(c => c.textContent)")
    assert cells[2:7] == ["flyscan energy", "N2 gas cell", "N K", "", "success"]
    assert labels_of(page, 7) == LABELS
    assert labels_of(page, 8) == LABELS
    assert labels_of(page, 9) == []
    assert "api_key" not in page.evaluate("location.href")


def test_each_format_is_downloaded(page, runs, tmp_path):
    name = f"000007_{runs[0][:8]}"
    names = [f"{name}.{ending}" for ending in ("nxs", "xdi", "csv", "crate.zip", "png")]
    for label, expected in zip(LABELS, names, strict=True):
        page.click(button_of(7, label))
        path = page.downloads / expected
        page.until(path.exists)
        said = page.until(lambda: page.evaluate(f"{SAID}.className || {SAID}.textContent"))
        assert said != "wrong", page.evaluate(f"{SAID}.textContent")
    table = table_of(50)
    with h5py.File(page.downloads / names[0]) as file:
        np.testing.assert_array_equal(file["entry/energy"][()], table["energy"])
    assert (page.downloads / names[1]).read_text().startswith("# XDI/1.0")
    assert len((page.downloads / names[2]).read_text().splitlines()) == 51
    assert check_crate(page.downloads / names[3]) == []
    with zipfile.ZipFile(page.downloads / names[3]) as archive:
        assert {"glidepath.h5", "images.h5", "camera.h5"} <= set(archive.namelist())
    with Image.open(page.downloads / names[4]) as picture:
        assert len(picture.convert("RGB").getcolors(maxcolors=2**24)) > 50


def test_what_cannot_be_had_is_a_sentence_on_the_page(page):
    page.click(button_of(8, "XDI"))
    page.until(lambda: page.evaluate(f"{SAID}.className") == "wrong")
    assert "has no row with a value for a spectrum" in page.evaluate(f"{SAID}.textContent")
    page.click(button_of(8, "picture"))
    page.until(lambda: "no spectrum to draw" in page.evaluate(f"{SAID}.textContent"))
    page.click(button_of(8, "NeXus"))
    page.until(lambda: ".nxs is downloaded" in page.evaluate(f"{SAID}.textContent"))


def test_a_wrong_key_is_a_sentence_on_the_page(browser, server, runs):
    browser.open(page_url(server).replace(server.api_key, "abc"))
    browser.until(lambda: "wants a key" in (browser.evaluate(f"({SAID} || 0).textContent") or ""))
    assert browser.evaluate("document.querySelectorAll('#runs tr').length") == 0
