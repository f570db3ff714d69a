"""What the terminal, another process and a browser show of a run."""

import html
import io
import json
import os
import re
import shutil
import subprocess
import time

import numpy as np
import pytest
from rich.console import Console
from written_documents import documents_of

from glidepath.live import JournalFollower, LiveView, NotebookView, PrimaryFollower
from glidepath.live.notebook import SpectrumWidget, module_text, style_text

ENERGY = np.linspace(400.0, 402.0, 101)
COLUMNS = {
    "energy": np.concatenate([ENERGY, ENERGY[::-1]]),
    "mesh": np.full(202, 2.0),
    "sample": np.tile(1.0 + np.exp(-0.5 * ((ENERGY - 401.0) / 0.2) ** 2), 2),
    "pass_number": np.repeat([1.0, 2.0], 101),
    "quality": np.where(np.arange(202) == 150, 64.0, 0.0),
}


def wait_until(condition, timeout=30.0):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_terminal_shows_the_newest_pass_normalised_and_counts_bad_rows(tmp_path):
    follower = PrimaryFollower()
    console = Console(file=io.StringIO(), force_terminal=True, width=90)
    with LiveView(follower, console):
        for name, document in documents_of(tmp_path, COLUMNS):
            follower(name, document)
    shown = console.file.getvalue()
    assert "sample / mesh, pass 2 (down)" in shown
    assert "202/202 rows" in shown
    assert "1 rows carry bits" in shown


def test_a_plan_without_a_scan_draws_nothing():
    follower = PrimaryFollower()
    console = Console(file=io.StringIO(), force_terminal=True, width=90)
    with LiveView(follower, console):
        follower("start", {"uid": "x"})
        follower("stop", {"uid": "y"})
    assert console.file.getvalue() == ""


def test_another_process_follows_the_journal_as_it_is_written(tmp_path):
    journal = tmp_path / "journal" / "run.jsonl"
    journal.parent.mkdir()
    lines = [
        json.dumps({"name": name, "doc": document}) + "\n"
        for name, document in documents_of(tmp_path, COLUMNS, steps=2)
    ]
    reader = JournalFollower(tmp_path)
    reader.poll()
    assert not reader.follower.running
    text = "".join(lines[:-1])
    # A line that is only half there is waited for.
    journal.write_text(text[:-20])
    reader.poll()
    assert reader.follower.running
    journal.write_text(text)
    reader.poll()
    assert reader.follower.rows == 202
    assert len(reader.follower.columns(["energy"])["energy"]) == 202
    journal.write_text("".join(lines))
    reader.poll()
    assert reader.follower.stop["exit_status"] == "success"


SPOILED = [b"\0" * 40, b'{"name": "stream_da', b"[]", b'{"name": "stop", "doc": 7}', b"\xff\xfe"]
"""Lines as a full disk, a kill or a hand leaves them."""


def test_a_spoiled_line_ends_nobody_who_follows(tmp_path, caplog):
    folder = tmp_path / "journal"
    folder.mkdir()
    lines = [
        json.dumps({"name": name, "doc": document}).encode()
        for name, document in documents_of(tmp_path, COLUMNS, steps=2)
    ]
    begun, (stop,) = [lines[0], *SPOILED, b'{"name": "stream_datum", "doc": {}}'], lines[-1:]
    journal = folder / "run.jsonl"
    journal.write_bytes(b"\n".join([*begun, *lines[1:-1]]) + b"\n")
    with JournalFollower(tmp_path) as reader:
        wait_until(lambda: reader.follower.rows == 202)
        with journal.open("ab") as file:
            file.write(stop + b"\n")
        wait_until(lambda: reader.follower.stop is not None)
    assert len(reader.follower.columns(["energy"])["energy"]) == 202
    damaged = [record for record in caplog.records if "is damaged" in record.getMessage()]
    assert len(damaged) == len(SPOILED) + 1


def test_a_run_whose_beginning_is_spoiled_is_not_taken_for_the_one_before(tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir()
    lines = [
        json.dumps({"name": name, "doc": document}) + "\n"
        for name, document in documents_of(tmp_path, COLUMNS)
    ]
    (folder / "1.jsonl").write_text("".join(lines[:-3] + lines[-1:]))
    os.utime(folder / "1.jsonl", (1, 1))
    reader = JournalFollower(tmp_path)
    reader.poll()
    before = reader.follower.rows, reader.follower.stop
    (folder / "2.jsonl").write_text("".join(["{spoiled\n", *lines[1:-1]]))
    reader.poll()
    assert (reader.follower.rows, reader.follower.stop) == before
    assert before[1] is not None


def test_an_error_that_nobody_expected_is_logged_once_and_the_next_look_comes(
    tmp_path, monkeypatch, caplog
):
    looks = []

    def poll(self):
        looks.append(1)
        raise RuntimeError("the disk is on fire")

    monkeypatch.setattr(JournalFollower, "poll", poll)
    with JournalFollower(tmp_path):
        wait_until(lambda: len(looks) > 3)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        f"The journals in {tmp_path / 'journal'} cannot be followed."
    ]


def spoil(root):
    """Let the files of the runs of a folder be there, and nothing in them."""
    files = list(root.rglob("*.h5"))
    assert files
    for file in files:
        file.write_bytes(b"")


def test_a_file_that_cannot_be_read_just_now_ends_no_view(tmp_path, sent):
    follower = PrimaryFollower()
    documents = documents_of(tmp_path, COLUMNS, steps=2)
    for name, document in documents[:-1]:
        follower(name, document)
    notebook = NotebookView(follower)
    notebook._push()
    (widget,) = sent
    follower(*documents[-1])
    spoil(tmp_path)
    with pytest.raises(OSError):
        follower.columns(["energy"])
    console = Console(file=io.StringIO(), width=90)
    assert LiveView(follower, console)._line() == "202 of 202 rows"
    notebook._keep()
    # The plot keeps what it got, and says how the run ended.
    assert widget.state["meta"]["status"] == "success"
    assert widget.state["meta"]["columns"] == widget.messages[0][0]["names"]


def test_a_column_that_is_not_in_its_file_cannot_be_read_now(tmp_path):
    follower = PrimaryFollower()
    for name, document in documents_of(tmp_path, COLUMNS):
        if name == "stream_resource" and document["data_key"] == "sample":
            parameters = {**document["parameters"], "dataset": "/entry/nothing"}
            document = {**document, "parameters": parameters}
        follower(name, document)
    assert len(follower.columns(["energy"])["energy"]) == 202
    with pytest.raises(OSError, match="cannot be read now"):
        follower.columns(["sample"])


def test_of_many_journals_the_newest_is_followed_and_a_new_one_is_taken_when_it_has_ended(tmp_path):
    folder = tmp_path / "journal"
    folder.mkdir()
    documents = documents_of(tmp_path, COLUMNS)

    def written(number, documents):
        path = folder / f"{number}.jsonl"
        begun = ("start", {**documents[0][1], "uid": f"run {number}"})
        lines = [{"name": n, "doc": d} for n, d in [begun, *documents[1:]]]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.utime(path, (number, number))
        return path

    for number in range(1, 6):
        written(number, documents)
    reader = JournalFollower(tmp_path)
    reader.poll()
    assert reader.follower.start["uid"] == "run 5"
    # A run that was killed has no end, and no process holds its journal.
    written(7, documents[:-1])
    reader.poll()
    assert reader.follower.start["uid"] == "run 7"
    written(8, documents)
    reader.poll()
    assert reader.follower.start["uid"] == "run 8"


def test_who_waits_hears_of_a_beginning_of_rows_and_of_the_end(tmp_path):
    follower = PrimaryFollower()
    heard = [follower.wait(0, 0.0)]
    for name, document in documents_of(tmp_path, COLUMNS, steps=2):
        follower(name, document)
        heard.append(follower.wait(heard[-1], 0.0))
    # Start, two announcements, stop: documents of other columns tell nothing new.
    assert len(set(heard)) == 5


class Sent:
    """A widget that keeps what is sent to the browser."""

    def __init__(self, **state):
        self.state = dict(state)
        self.meta = self.state.get("meta")
        self.messages = []

    def __setattr__(self, name, value):
        if name in ("meta", "table"):
            self.state[name] = value
        object.__setattr__(self, name, value)

    def send(self, content, buffers):
        self.messages.append((content, [np.frombuffer(buffer) for buffer in buffers]))


@pytest.fixture
def sent(monkeypatch):
    made = []
    monkeypatch.setattr(
        "glidepath.live.notebook.SpectrumWidget",
        lambda **state: made.append(Sent(**state)) or made[-1],
    )
    monkeypatch.setattr("IPython.display.display", lambda widget: None)
    return made


def test_a_notebook_gets_each_row_once_and_all_of_them_at_the_end(tmp_path, sent):
    follower = PrimaryFollower()
    view = NotebookView(follower)
    for name, document in documents_of(tmp_path, COLUMNS, steps=4):
        follower(name, document)
        view._push()
    view._keep()
    (widget,) = sent
    rows = np.concatenate([parts[0] for _, parts in widget.messages])
    assert rows.tolist() == COLUMNS["energy"].tolist()
    assert widget.messages[0][0]["first"] == 0
    names = widget.state["meta"]["columns"]
    table = np.frombuffer(widget.state["table"]).reshape(len(names), -1)
    assert table[names.index("sample")].tolist() == COLUMNS["sample"].tolist()
    assert widget.state["meta"]["running"] is False


def test_the_browser_gets_the_plot_and_its_style_sheet_with_the_widget():
    state = SpectrumWidget(meta={"axis": "energy"}).get_state()
    assert "class SpectrumPlot" in state["_esm"]
    assert ".uplot" in state["_css"]
    assert ".glidepath-spectrum" in state["_css"]
    assert state["meta"] == {"axis": "energy"}


PAGE = """<!doctype html><meta charset="utf-8"><style>{style}</style><div id="plot"></div>
<script type="module">
{module}
</script>
<script>const META = {meta}, COLUMNS = {columns};</script>"""

FEED = """
const listeners = {};
const model = {
  get: (name) => name === "meta" ? META : undefined,
  on: (name, callback) => { (listeners[name] = listeners[name] || []).push(callback); },
  send: () => {},
};
widget.initialize({ model });
widget.render({ model, el: document.getElementById("plot") });
const buffers = Object.values(COLUMNS).map((column) => {
  // As Jupyter sends them: a view that does not begin at a multiple of eight bytes.
  const bytes = new Uint8Array(3 + 8 * column.length);
  bytes.set(new Uint8Array(Float64Array.from(column).buffer), 3);
  return new DataView(bytes.buffer, 3);
});
listeners["msg:custom"].forEach((call) =>
  call({ kind: "rows", run: "a", first: 0, names: Object.keys(COLUMNS) }, buffers));
setTimeout(() => {
  const passes = passesOf(stores.get(model).table, META, { normalise: true });
  const report = document.body.appendChild(document.createElement("pre"));
  report.id = "report";
  report.textContent = JSON.stringify({
    canvases: document.querySelectorAll("canvas").length,
    state: document.querySelector(".state").textContent,
    legend: [...document.querySelectorAll(".u-legend .u-label")].map((e) => e.textContent),
    mean: meanOf(passes),
  });
}, 400);
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="Chromium is not installed.")
def test_a_browser_draws_passes_their_sum_and_hollow_rows(tmp_path):
    meta = {
        "axis": "energy",
        "signal": "sample",
        "reference": "mesh",
        "unit": "eV",
        "harmless": 1,
        "columns": list(COLUMNS),
        "expected": 202,
        "title": "Scan 1",
        "running": True,
        "status": "",
    }
    module = module_text().replace("export default {", "const widget = {") + FEED
    columns = {name: column.tolist() for name, column in COLUMNS.items()}
    page = tmp_path / "page.html"
    data = PAGE.format(
        style=style_text(), module="", meta=json.dumps(meta), columns=json.dumps(columns)
    )
    # The data first: a module runs when the page has been read, so the order does not matter.
    page.write_text(data.replace('<script type="module">\n', f'<script type="module">\n{module}'))
    done = subprocess.run(
        [
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--virtual-time-budget=4000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1000,600"),
            *(f"--screenshot={tmp_path / 'plot.png'}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    report = json.loads(html.unescape(found[1]))
    assert report["canvases"] == 1
    assert report["state"] == "202 of 202 rows, 1 with bits"
    assert {"pass 1", "pass 2 (down)", "sum", "rows with bits"} <= set(report["legend"])
    middle = report["mean"]["y"][50]
    assert middle == pytest.approx(1.0, abs=0.02)
