"""Kill -9 in mid scan: what a user finds, and how it is recovered, with the commands of a user."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from caproto.sync.client import write

from glidepath.catalog import (
    LocalTiledServer,
    list_runs,
    load_run,
    open_local_catalog,
    read_journal,
    read_primary,
    replay_all,
    replay_run,
)
from glidepath.storage import read_columns

pytestmark = pytest.mark.slow

GLIDEPATH = [sys.executable, "-m", "glidepath"]


def test_a_scan_that_was_killed_is_in_tiled_after_a_replay_and_none_begins_before_the_axis_stands(
    beamline, tmp_path
):
    environment = {
        **os.environ,
        **beamline.environment,
        "GLIDEPATH_PREFIX": beamline.prefix,
        "COLUMNS": "200",
        "PYTHONUNBUFFERED": "1",
    }
    # Valves that other tests have left closed are not what this is about.
    environment.pop("GLIDEPATH_VACUUM", None)

    def start(command):
        return subprocess.Popen(
            [*GLIDEPATH, *command.split(), "--data", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )

    with LocalTiledServer(tmp_path) as server:
        server.wait_ready()
        flying = start("fly energy 400 460 2 --detectors mesh --period 0.04")
        try:
            for line in flying.stdout:
                # Every flush is announced: 25 rows are more than one.
                if (shown := re.match(r"(\d+) of \d+ rows", line)) and int(shown[1]) > 25:
                    break
        finally:
            os.kill(flying.pid, signal.SIGKILL)
            flying.communicate(timeout=20)

        # Nobody stops the axis any more: it flies to its end, and nobody may begin meanwhile.
        another = start("fly energy 400 402 2 --detectors mesh --dry-run")
        replay = start("replay")
        said, _ = another.communicate(timeout=90)
        assert another.returncode == 2, said
        assert "is moving already: wait until it stands" in said
        with mock.patch.dict(os.environ, beamline.environment):
            write(f"{beamline.prefix}PGM1:MonoAktion.PROC", 0, repeater=False)
        said, _ = replay.communicate(timeout=90)
        assert replay.returncode == 0, said
        # Either of both: the process that the command had left behind, or the replay.
        assert re.search(r"put into Tiled.* from \d+ documents\.|is in Tiled already\.", said)

        (journal,) = (tmp_path / "journal").glob("*.jsonl")
        documents = list(read_journal(journal))
        assert "stop" not in [name for name, _ in documents]
        uid = documents[0][1]["uid"]
        resource = next(d for name, d in documents if name == "stream_resource")
        file = read_columns(
            Path(resource["uri"].removeprefix("file://localhost")), "/entry/data", ["energy"]
        )
        client = open_local_catalog(tmp_path)
        # Once more is nothing more.
        assert replay_all(tmp_path / "journal", client) == []
        assert replay_run(journal, client).action == "present"
        assert len(list_runs(client, 10)) == 1
        killed = load_run(client, uid)
        assert killed.metadata["stop"]["exit_status"] == "fail"
        assert "was killed" in killed.metadata["stop"]["reason"]
        energy = read_primary(killed)["energy"]
        client.context.http_client.close()
        # What was announced is in Tiled; the file has all that was flushed.
        assert 25 < len(energy) <= len(file["energy"])
        assert np.array_equal(energy, file["energy"][: len(energy)])
        assert np.all(np.diff(energy) > 0)
