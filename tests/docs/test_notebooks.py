"""The notebooks of the documentation run in a real Jupyter kernel, from first to last cell."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"

# The kernel's client leaves what it closes to the garbage collector.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def executed(name, tmp_path, monkeypatch, beamline):
    """Run a notebook against the simulated beamline; return all of its outputs."""
    monkeypatch.setenv("GLIDEPATH_DATA", str(tmp_path / "data"))
    for variable, value in beamline.environment.items():
        monkeypatch.setenv(variable, value)
    notebook = nbformat.read(FOLDER / name, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources=resources)
    client.execute()
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def text_of(outputs):
    shown = [output.get("text", "") for output in outputs]
    shown += [output.get("data", {}).get("text/plain", "") for output in outputs]
    return "\n".join(shown)


def test_no_notebook_is_kept_with_outputs():
    books = sorted(FOLDER.glob("*.ipynb"))
    assert len(books) == 3
    for book in books:
        for cell in nbformat.read(book, as_version=4).cells:
            assert not cell.get("outputs"), book.name


def test_a_spectrum_is_taken_and_fitted(beamline, tmp_path, monkeypatch):
    outputs = executed("1-take-a-spectrum.ipynb", tmp_path, monkeypatch, beamline)
    text = text_of(outputs)
    assert "First line      400.8" in text
    assert "±" in text
    assert any(WIDGET in output.get("data", {}) for output in outputs)


def test_a_run_says_what_it_is_worth(beamline, tmp_path, monkeypatch):
    text = text_of(executed("2-trust-it.ipynb", tmp_path, monkeypatch, beamline))
    assert "up - down: " in text
    assert "success" in text


def test_a_camera_follows_triggers(beamline, tmp_path, monkeypatch):
    text = text_of(executed("3-triggers-and-a-camera.ipynb", tmp_path, monkeypatch, beamline))
    assert "mono_motor_lower" in text
    assert "camera" in text
