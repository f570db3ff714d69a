"""An export that nobody waits for goes on when its program has ended, and what follows it too."""

import json
import sys
import time

from glidepath.export.at_stop import LOG, ExportAtStop, _left_running

WRITES = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('done'); print('said')"


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_both_commands_run_one_after_the_other_and_closing_waits_for_neither(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"name": "stop", "doc": {}}) + "\n")
    began, gate, sent = (tmp_path / name for name in ("began", "gate", "sent"))
    waits = (
        "import pathlib, time\n"
        f"pathlib.Path({str(began)!r}).touch()\n"
        f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.02)\n"
        "print('said')"
    )
    exporter = ExportAtStop(
        tmp_path,
        [sys.executable, "-c", waits],
        then=[sys.executable, "-c", WRITES, str(sent)],
    )
    exporter("stop", {"run_start": "a"})
    assert exporter.close(30.0)
    wait_for(began.exists)
    assert not sent.exists()
    gate.touch()
    wait_for(sent.exists)
    assert _left_running[-1].wait(60) == 0
    assert (tmp_path / LOG).read_text() == "said\nsaid\n"
    assert [one.succeeded for one in exporter.done] == [True]
