"""`glidepath bench`: what it finds, what it writes, what it says to mistakes."""

import json

import pytest
import typer
from typer.testing import CliRunner

from glidepath.cli import bench

GOOD = '''"""A benchmark."""

from rich.table import Table


def rows(quick=False):
    return [{"speed": 1.5 if quick else 2.5, "peer": None}]


def table(rows):
    result = Table("speed")
    for row in rows:
        result.add_row(str(row["speed"]))
    return result
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of benchmarks like the checkout's; each test imports a package of its own."""
    folder = tmp_path / f"benchmarks_{tmp_path.name}"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "fast.py").write_text(GOOD)
    (folder / "helper.py").write_text("def rows(number):\n    return []\n")
    (folder / "needs_more.py").write_text(f"import no_such_module\n{GOOD}")
    monkeypatch.setattr(bench, "benchmarks_folder", lambda: folder)
    monkeypatch.setattr(bench.sys, "path", list(bench.sys.path))
    return folder


def run(*arguments):
    app = typer.Typer()
    app.command()(bench.bench)
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_results_are_printed_and_written_with_the_environment(folder, tmp_path):
    file = tmp_path / "results.json"

    result = run("fast", "--json", file, "--quick")

    assert result.exit_code == 0, result.output
    assert "1.5" in result.stdout
    document = json.loads(file.read_text())
    assert set(document) == {"environment", "results"}
    assert document["results"] == [{"benchmark": "fast", "speed": 1.5, "peer": None}]
    assert {"date", "platform", "cpu_count", "python", "versions"} <= set(document["environment"])
    assert document["environment"]["versions"]["bluesky"]


def test_a_benchmark_that_is_named_twice_is_run_once(folder, tmp_path):
    file = tmp_path / "results.json"

    run("fast", "fast", "--json", file)

    assert len(json.loads(file.read_text())["results"]) == 1


def test_benchmarks_are_the_modules_that_keep_the_convention(folder):
    assert bench.find_benchmarks(folder) == ["fast", "needs_more"]
    assert bench.choose(folder, []) == ["fast", "needs_more"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["slow"], "There is no benchmark 'slow'; there are fast, needs_more."),
        (["helper"], "helper.py does not define rows(quick) and table(rows)"),
        (["needs_more"], "No module named 'no_such_module'"),
        (["fast", "--json", "/no/such/folder/file.json"], "cannot be written"),
    ],
)
def test_a_mistake_is_told_in_one_sentence_before_anything_is_measured(folder, arguments, sentence):
    result = run(*arguments)

    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Measuring" not in result.stdout
    assert "Traceback" not in result.stderr


def test_a_package_without_its_repository_says_so(tmp_path, monkeypatch):
    file = tmp_path / "site-packages" / "glidepath" / "cli" / "bench.py"
    monkeypatch.setattr(bench, "__file__", str(file))

    result = run()

    assert result.exit_code == 2
    assert "installed without its repository" in result.stderr


def test_the_checkout_has_the_benchmarks_of_this_folder():
    known = bench.find_benchmarks(bench.benchmarks_folder())

    assert {"accuracy", "document_counts", "overhead"} <= set(known)
