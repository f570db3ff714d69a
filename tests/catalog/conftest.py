"""A real Tiled server in its own process, and files that grow."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from written_scan import GrowingFile, close

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # Tiled takes four times as long without it

from glidepath.catalog import LocalTiledServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalTiledServer]:
    with LocalTiledServer(tmp_path_factory.mktemp("beamline")) as running:
        yield running


@pytest.fixture
def client(server: LocalTiledServer) -> Iterator[Any]:
    opened = server.client()
    yield opened
    close(opened)


@pytest.fixture
def growing_file(server: LocalTiledServer, request: pytest.FixtureRequest) -> Iterator[GrowingFile]:
    file = GrowingFile(server.data_root / request.node.name / "glidepath.h5")
    yield file
    file.close()


class GrowingProcess:
    """Another process that owns the file and lets it grow on command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        program = (
            "import sys; from pathlib import Path; from written_scan import GrowingFile\n"
            "file = GrowingFile(Path(sys.argv[1])); print('ready', flush=True)\n"
            "for line in sys.stdin:\n"
            "    file.grow(int(line)); print(file.rows, flush=True)\n"
            "file.close()\n"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == "ready\n"

    def grow(self, rows: int) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{rows}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=20)


@pytest.fixture
def growing_process(
    server: LocalTiledServer, request: pytest.FixtureRequest
) -> Iterator[GrowingProcess]:
    process = GrowingProcess(server.data_root / request.node.name / "glidepath.h5")
    yield process
    process.close()


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
