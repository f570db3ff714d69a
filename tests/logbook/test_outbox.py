"""Each message once and in order, whatever happens to destinations, disk and process."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from itertools import islice
from pathlib import Path

import pytest
from event_model import compose_run
from stand_in import SESSION, ElogServer, wait_until

from glidepath.logbook import (
    ACCEPTANCE_TEST,
    Delivery,
    Elog,
    Experiment,
    IcatPlus,
    IngestFile,
    Logbook,
    MarkdownLogbook,
    Message,
    NotDelivered,
    Outbox,
    Refused,
    RunRecord,
    destinations_of,
    send_now,
)
from glidepath.logbook.delivery import growing_pauses

RUN = RunRecord("uid-1", 7, "flyscan", "flyscan energy", 1.7e9, 1.7e9 + 5, "success", "100 rows")


class Recorder:
    """A destination that does what it is told."""

    name = "recorder"

    def __init__(self, *outcomes: Exception | None) -> None:
        self.outcomes = list(outcomes)
        self.texts: list[str] = []
        self.asked = 0

    def send(self, message: Message) -> None:
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome is not None:
            raise outcome
        self.texts.append(message.text)

    def has(self, message: Message) -> bool:
        self.asked += 1
        return message.text in self.texts


def notes(count: int) -> list[Message]:
    return [Message("note", f"note {number}", created=1.7e9 + number) for number in range(count)]


def filled(root: Path, messages: list[Message], name: str = "recorder") -> Outbox:
    box = Outbox(root)
    for message in reversed(messages):
        box.put(name, message)
    return box


def delivered(box: Outbox, destination: object, **pauses: float) -> Delivery:
    delivery = Delivery(box, [destination], first_pause=0.01, **pauses)
    wait_until(lambda: not box.waiting(destination.name))
    delivery.close()
    return delivery


def test_messages_arrive_in_their_order_and_leave_the_disk(tmp_path):
    box, recorder = filled(tmp_path, notes(5)), Recorder()
    delivered(box, recorder)
    assert recorder.texts == [f"note {number}" for number in range(5)]
    assert [path.name for path in (tmp_path / "outbox" / "recorder").iterdir()] == [".lock"]


def test_failures_keep_the_order_and_repeat_nothing(tmp_path):
    trouble = NotDelivered("not now", sure=True)
    recorder = Recorder(trouble, None, trouble, trouble)
    delivered(filled(tmp_path, notes(5)), recorder)
    assert recorder.texts == [f"note {number}" for number in range(5)]
    assert recorder.asked == 0


def test_what_may_have_arrived_is_asked_for_before_it_is_sent_again(tmp_path):
    box = filled(tmp_path, notes(2))
    recorder = Recorder(NotDelivered("broke", sure=False))
    recorder.texts.append("note 0")  # it arrived; only its acknowledgement was lost
    delivered(box, recorder)
    assert recorder.texts == ["note 0", "note 1"]
    assert recorder.asked == 1


def test_pauses_grow_up_to_a_bound():
    assert list(islice(growing_pauses(1.0, 10.0), 6)) == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_what_is_refused_for_good_does_not_hold_up_the_others(tmp_path):
    box = filled(tmp_path, notes(3))
    recorder = Recorder(None, Refused("no such investigation"))
    delivered(box, recorder)
    assert recorder.texts == ["note 0", "note 2"]
    ((message, reason),) = box.refused("recorder")
    assert (message.text, reason) == ("note 1", "no such investigation")
    assert box.retry_refused("recorder") == 1
    delivered(box, recorder)
    assert recorder.texts == ["note 0", "note 2", "note 1"]


def test_an_error_that_nobody_expected_is_said_and_tried_again(tmp_path, caplog):
    recorder = Recorder(KeyError("sessionId"))
    outbox = filled(tmp_path, notes(2))
    delivered(outbox, recorder)
    assert recorder.texts == ["note 0", "note 1"]
    assert any("sessionId" in record.getMessage() for record in caplog.records)
    filled(tmp_path, notes(1))
    said: list[str] = []
    send_now(outbox, [Recorder(KeyError("sessionId"))], said.append)
    assert "sessionId" in said[0]
    assert len(outbox.waiting("recorder")) == 1


def test_a_spoiled_file_is_set_aside_and_the_others_are_sent(tmp_path, caplog):
    outbox, recorder = Outbox(tmp_path), Recorder()
    for message in notes(3):
        path = outbox.put("recorder", message)
        if message.text == "note 1":
            path.write_bytes(path.read_bytes()[:40])
    send_now(outbox, [recorder], lambda _: None)
    assert recorder.texts == ["note 0", "note 2"]
    assert "is no message" in caplog.text
    assert len(list((outbox.folder / "recorder").glob("*.unreadable"))) == 1


def test_a_destination_that_hangs_holds_up_no_other(tmp_path, server):
    server.behaviour = "hangs"
    box = filled(tmp_path, notes(3))
    filled(tmp_path, notes(3), "icatplus")
    recorder = Recorder()
    hanging = IcatPlus(server.url, investigation="4711", timeout=30)
    delivery = Delivery(box, [hanging, recorder], first_pause=0.01)
    wait_until(lambda: len(recorder.texts) == 3)
    assert len(box.waiting("icatplus")) == 3
    server.released.set()
    server.behaviour = "takes"
    wait_until(lambda: not box.waiting("icatplus"))
    delivery.close()
    assert len(server.entries) == 3


@pytest.mark.parametrize("trouble", ["500", "401", "503", "429", "hangs", "takes and hangs"])
def test_a_server_in_trouble_gets_each_message_once_when_it_is_well(tmp_path, server, trouble):
    server.behaviour = trouble
    box = filled(tmp_path, notes(3), "icatplus")
    destination = IcatPlus(server.url, investigation="4711", timeout=0.3)
    delivery = Delivery(box, [destination], first_pause=0.01, longest_pause=0.1)
    wait_until(lambda: delivery.standing["icatplus"].trouble)
    server.behaviour = "takes"
    wait_until(lambda: not box.waiting("icatplus"))
    delivery.close()
    numbers = [entry.partition("note ")[2][0] for entry in server.entries]
    assert numbers == ["0", "1", "2"]


def test_a_server_that_is_killed_and_comes_back_gets_each_message_once(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIDEPATH_ICATPLUS_USER", "a")
    monkeypatch.setenv("GLIDEPATH_ICATPLUS_PASSWORD", "right")
    first = ElogServer()
    port = first.port
    box = filled(tmp_path, notes(2), "icatplus")
    destination = IcatPlus(first.url, investigation="4711", timeout=1)
    delivery = Delivery(box, [destination], first_pause=0.01, longest_pause=0.1)
    wait_until(lambda: not box.waiting("icatplus"))
    first.close()
    box.put("icatplus", Message("note", "note 2"))
    delivery.wake()
    wait_until(lambda: "Nothing answers" in delivery.standing["icatplus"].trouble)
    second = ElogServer(port)
    wait_until(lambda: not box.waiting("icatplus"))
    delivery.close()
    second.close()
    assert [len(first.entries), len(second.entries)] == [2, 1]


def test_a_wrong_password_is_a_sentence_and_nothing_is_lost(tmp_path, server, monkeypatch):
    monkeypatch.setenv("GLIDEPATH_ICATPLUS_PASSWORD", "wrong")
    box = filled(tmp_path, notes(1), "icatplus")
    said: list[str] = []
    send_now(box, [IcatPlus(server.url, investigation="4711")], said.append)
    assert "does not accept user and password" in said[0]
    monkeypatch.delenv("GLIDEPATH_ICATPLUS_PASSWORD")
    send_now(box, [IcatPlus(server.url, investigation="4711")], said.append)
    assert "set GLIDEPATH_ICATPLUS_PASSWORD" in said[1]
    assert len(box.waiting("icatplus")) == 1


SENDER = """
    import sys
    from pathlib import Path
    from glidepath.logbook import Delivery, IcatPlus, Outbox

    box = Outbox(Path(sys.argv[1]))
    delivery = Delivery(box, [IcatPlus(sys.argv[2], investigation="4711", timeout=60)])
    sys.stdin.read()
"""


def test_killed_between_sending_and_acknowledging_each_message_arrives_once(tmp_path, server):
    server.behaviour = "takes and hangs"
    box = filled(tmp_path, notes(3), "icatplus")
    sender = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SENDER), str(tmp_path), server.url],
        stdin=subprocess.PIPE,
    )
    wait_until(lambda: len(server.entries) == 1)
    os.kill(sender.pid, signal.SIGKILL)
    sender.wait()
    sender.stdin.close()
    assert [entry.interrupted for entry in box.waiting("icatplus")] == [True, False, False]
    server.behaviour = "takes"
    delivered(box, IcatPlus(server.url, investigation="4711"))
    assert [entry.partition("note ")[2][0] for entry in server.entries] == ["0", "1", "2"]


def run_documents(**metadata):
    run = compose_run(metadata={"plan_name": "flyscan", "scan_id": 7, **metadata})
    return run.start_doc, run.compose_stop()


def test_a_full_disk_delays_and_loses_nothing(tmp_path, monkeypatch):
    recorder = Recorder()
    real_put, full = Outbox.put, [True]

    def put(self, destination, message):
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real_put(self, destination, message)

    monkeypatch.setattr(Outbox, "put", put)
    logbook = Logbook(tmp_path, [recorder], first_pause=0.01)
    for number in range(3):
        logbook.note(f"note {number}")
    time.sleep(0.05)
    assert recorder.texts == []
    full.clear()
    wait_until(lambda: len(recorder.texts) == 3)
    assert logbook.close() == []
    assert recorder.texts == ["note 0", "note 1", "note 2"]


def test_a_message_that_cannot_be_written_ends_nothing_and_the_next_arrive(tmp_path, caplog):
    recorder = Recorder()
    logbook = Logbook(tmp_path, [recorder], first_pause=0.01)
    logbook.note("note 0")
    # What a user says of a sample may be anything; JSON cannot hold all of it.
    start, stop = run_documents(sample={"name": "N2", "pressure": object()})
    logbook("start", start)
    logbook("stop", stop)
    logbook.note("note 1", author="somebody")
    logbook.note("note 2", RunRecord.of(*run_documents(), None))
    wait_until(lambda: len(recorder.texts) >= 2)
    assert logbook.close() == []
    assert recorder.texts == ["note 0", "note 2"]
    assert "could not be written and is left out" in caplog.text


def test_a_hanging_server_costs_the_run_engine_nothing(tmp_path, server):
    server.behaviour = "hangs"
    logbook = Logbook(tmp_path, [IcatPlus(server.url, investigation="4711", timeout=30)])
    called = []
    for _ in range(200):
        start, stop = run_documents()
        for name, document in (("start", start), ("event", {}), ("stop", stop)):
            begin = time.thread_time()
            logbook(name, document)
            called.append(time.thread_time() - begin)
    wait_until(lambda: len(logbook.outbox.waiting("icatplus")) == 200)
    waiting = logbook.close(timeout=0.5)
    assert waiting[0].startswith("200 entries wait for icatplus")
    # Processor time of the caller, not of the clock: nothing is sent or written there.
    assert sorted(called)[len(called) // 2] < 1e-3


def test_an_entry_says_what_people_look_for(tmp_path):
    experiment = Experiment(
        sample="N2 gas cell", users=["A. Müller", "B. Chen"], element="N", edge="K", mode="tey"
    )
    start, stop = run_documents(command="fly energy 400 410 1", **experiment.to_start_document())
    logbook = Logbook(tmp_path, destinations_of(tmp_path))
    logbook("start", start)
    logbook("stop", stop)
    logbook.note("beam was bad\n# no heading")
    assert logbook.close(10) == []
    text = (tmp_path / "logbook.md").read_text()
    for expected in (
        f"## Scan 7 ({start['uid'][:8]}): flyscan",
        "- Sample: N2 gas cell",
        "- Spectrum: N K tey",
        "- By: A. Müller, B. Chen",
        "- Command: fly energy 400 410 1",
        "- Ended: success",
        f"### Note (on scan 7, {start['uid'][:8]}",
        "> beam was bad",
    ):
        assert expected in text
    assert "\n# no heading" not in text


def test_markdown_knows_what_it_has(tmp_path):
    book, message = MarkdownLogbook(tmp_path), Message("note", "hello")
    assert not book.has(message)
    book.send(message)
    assert book.has(message)
    assert not book.has(Message("note", "hello"))


def test_elog_takes_an_entry_once_and_says_what_it_dislikes(tmp_path, server):
    elog = Elog(f"{server.url}/demo", {"Sample Type": "gas"})
    message = Message("run", run=RUN)
    elog.send(message)
    assert elog.has(message)
    assert not elog.has(Message("run", run=RUN))
    assert 'name="Sample_Type"' in server.entries[0]
    assert "Scan 7 (uid-1): flyscan energy" in server.entries[0]
    server.behaviour = "200"
    with pytest.raises(NotDelivered, match="did not take the entry"):
        elog.send(message)


def test_an_investigation_comes_from_icat(server):
    plus = IcatPlus(server.url)
    experiment = plus.describe(Experiment(sample="N2"), "PEAXIS:242-12345")
    assert experiment.investigation == "4711"
    assert experiment.proposal.number == "242-12345"
    assert experiment.proposal.title == "Nitrogen"
    with pytest.raises(ValueError, match="it has PEAXIS:242-12345"):
        plus.describe(Experiment(), "other")


def test_no_secret_reaches_documents_files_or_logs(tmp_path, server, caplog):
    caplog.set_level("DEBUG")
    server.behaviour = "500"
    box = filled(tmp_path, notes(1), "icatplus")
    said: list[str] = []
    send_now(box, [IcatPlus(server.url, investigation="4711")], said.append)
    written = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    for text in (caplog.text, written, *said):
        assert SESSION not in text
        assert "right" not in text


def test_a_run_without_investigation_is_refused_in_a_sentence(server):
    with pytest.raises(Refused, match="belongs to no investigation"):
        IcatPlus(server.url).send(Message("run", run=RUN))


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"icta": {}}, "is no destination; there are"),
        ({"icatplus": {"ulr": "x"}}, "cannot be used"),
    ],
)
def test_a_wrong_configuration_is_a_sentence(tmp_path, table, said):
    with pytest.raises(ValueError, match=said):
        destinations_of(tmp_path, table)


def test_the_ingest_file_has_what_icat_asks_for_in_its_order(tmp_path):
    etree = pytest.importorskip("lxml.etree", reason="lxml is in the extra 'dev'")
    experiment = Experiment(beamline="UE48", sample={"name": "N2 <gas>", "formula": "N2"})
    run = RunRecord(
        "uid-1",
        7,
        "flyscan",
        "flyscan energy\x07",
        1.7e9,
        1.7e9 + 5,
        "success",
        "100 rows",
        folder=str(tmp_path),
        experiment=experiment.to_start_document(),
    )
    IngestFile().send(Message("run", run=run))
    root = etree.parse(tmp_path / "icat-ingest.xml").getroot()
    assert (root.tag, root.get("version")) == ("icatingest", "1.1")
    dataset = root.find("data/dataset")
    order = ["name", "description", "startDate", "endDate", "sample", "datasetInstruments"]
    order += ["datasetTechniques"]
    assert [child.tag for child in dataset][:7] == order
    assert {child.tag for child in dataset[7:]} == {"parameters"}
    assert dataset.find("sample").get("name") == "N2 <gas>"
    assert dataset.find("datasetTechniques/technique").get("pid") == "PaNET:PaNET01196"
    found = {p.find("type").get("name"): p for p in dataset.iterfind("parameters")}
    duration = found["Duration"]
    assert duration.findtext("numericValue") == "5.0"
    assert duration.find("type").get("units") == "s"
    assert [child.tag for child in duration] == ["numericValue", "type"]


def test_runs_that_only_test_the_hardware_are_told_to_nobody(tmp_path):
    logbook = Logbook(tmp_path, [MarkdownLogbook(tmp_path)], picture_patience=0.0)
    for plan, more in (
        ("tested", {"purpose": ACCEPTANCE_TEST}),
        ("flown", {}),
        ("aligned", {"purpose": "alignment"}),
    ):
        logbook("start", {"uid": f"{plan}-uid", "time": 1.0, "plan_name": plan, **more})
        logbook("stop", {"run_start": f"{plan}-uid", "time": 2.0, "exit_status": "success"})
    assert logbook.close(timeout=30.0) == []
    text = (tmp_path / "logbook.md").read_text()
    assert text.count("## ") == 2
    assert "flown" in text
    assert "aligned" in text
    assert "tested" not in text
