"""Who may see which run: a real Tiled server with accounts, keys and the tags of the guide."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import httpx
import pytest
from written_scan import GrowingFile, Scan, close

from glidepath.catalog import (
    CatalogError,
    Publisher,
    load_run,
    open_catalog,
    read_primary,
    search_runs,
)
from glidepath.logbook import Experiment

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "tiled_access"
PEOPLE = {"alice": "a", "bob": "b", "beamline": "c", "visitor": "d"}
ALICES, BOBS = "proposal-242-12345", "proposal-243-00001"
WRITER = ["read:metadata", "read:data", "write:metadata", "write:data", "create:node", "register"]
READER = ["read:metadata", "read:data"]


class Facility:
    """A Tiled server as the guide has it; only where passwords come from is another place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clients: list = []
        catalogue = f"sqlite:///{folder / 'catalog.db'}"
        (folder / "data").mkdir()
        variables = {
            "CATALOGUE": catalogue,
            "TABLES": f"duckdb:///{folder / 'tables.duckdb'}",
            "DATA": str(folder / "data"),
            "PEOPLE": f"sqlite:///{folder / 'people.db'}",
            "SECRET": secrets.token_hex(32),
        }
        text = (EXAMPLE / "config.yml").read_text()
        passwords = json.dumps(PEOPLE)
        text = text.replace(
            "tiled.authenticators:PAMAuthenticator",
            "tiled.authenticators:DictionaryAuthenticator\n"
            f"      args: {{users_to_passwords: {passwords}}}",
        )
        (folder / "config.yml").write_text(text)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TILED_")}
        self._environment = environment | variables
        self._run("-m", "tiled", "catalog", "init", catalogue)
        self.define_tags()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"
        log = open(folder / "log", "wb")  # noqa: SIM115
        with log:
            command = ("-m", "tiled", "serve", "config", "config.yml", "--port", str(port))
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=folder,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def define_tags(self) -> None:
        database = f"sqlite:///{self.folder / 'catalog.db'}"
        self._run(str(EXAMPLE / "define_tags.py"), str(EXAMPLE / "tags.yml"), database)

    def key(self, person: str, scopes: list[str], tags: list[str] | None = None) -> str:
        """Log a person in and return a new key with these scopes, for these tags only."""
        said = {"grant_type": "password", "username": person, "password": PEOPLE[person]}
        login = self._post("/auth/provider/facility/token", urllib.parse.urlencode(said).encode())
        asked = {"scopes": scopes, "access_tags": tags, "expires_in": 3600}
        token = {"Authorization": f"Bearer {login['access_token']}"}
        return self._post("/auth/apikey", json.dumps(asked).encode(), token)["secret"]

    def client(self, person: str, scopes: list[str], tags: list[str] | None = None):
        return self.opened(open_catalog(self.uri, self.key(person, scopes, tags)))

    def opened(self, client):
        """Keep a client until the end: its connections are closed then, and no sooner lost."""
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            close(client)
        self._process.terminate()
        self._process.wait(30)

    def _post(self, path: str, body: bytes, headers: dict[str, str] | None = None):
        form = "application/json" if headers else "application/x-www-form-urlencoded"
        request = urllib.request.Request(
            f"{self.uri}/api/v1{path}", body, {"Content-Type": form, **(headers or {})}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def _run(self, *command: str) -> None:
        subprocess.run(
            [sys.executable, *command], check=True, env=self._environment, capture_output=True
        )

    def _wait(self) -> None:
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(f"{self.uri}/healthz", timeout=5):
                    return
            except OSError:
                log = (self.folder / "log").read_text()
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.1)


@pytest.fixture(scope="module")
def facility(tmp_path_factory):
    running = Facility(tmp_path_factory.mktemp("facility"))
    yield running
    running.close()


def fly(facility, key, tags):
    """Bring a run into the catalogue as a session does; return its uid and the publisher."""
    publisher = Publisher(
        facility.folder / "journal",
        lambda: facility.opened(open_catalog(facility.uri, key, writable=True)),
    )
    name = secrets.token_hex(4)
    file = GrowingFile(facility.folder / "data" / name / "glidepath.h5")
    scan = Scan(publisher, file.path, **Experiment(access_tags=tags).to_start_document())
    file.grow(20)
    scan.announce(20)
    scan.stop()
    file.close()
    publisher.wait_published(scan.uid, 120)
    publisher.close()
    return scan.uid, publisher.status


@pytest.fixture(scope="module")
def runs(facility):
    """One run of each proposal, by whose it is."""
    key = facility.key("beamline", WRITER)
    found = {}
    for person, tag in (("alice", ALICES), ("bob", BOBS)):
        found[person], status = fly(facility, key, [tag])
        assert status.to_replay == (), status.error
    return found


def test_each_sees_the_runs_of_the_own_proposal_only(facility, runs):
    for person in ("alice", "bob"):
        client = facility.client(person, READER)
        assert list(search_runs(client)) == [runs[person]]
        table = read_primary(load_run(client, runs[person]))
        assert table["energy"].tolist() == list(range(20))
        other = runs["bob" if person == "alice" else "alice"]
        with pytest.raises(KeyError):
            client[other]
        with pytest.raises(CatalogError, match="There is no run"):
            load_run(client, other)
        close(client)


def test_who_belongs_to_none_sees_none(facility, runs):
    client = facility.client("visitor", READER)
    assert list(client) == []
    close(client)


def test_nobody_without_a_key_sees_anything(facility, runs):
    with pytest.raises(CatalogError, match="API key"):
        open_catalog(facility.uri)


def test_the_account_of_the_beamline_sees_all_and_a_key_for_one_tag_that_one(facility, runs):
    client = facility.client("beamline", READER)
    assert set(search_runs(client)) == set(runs.values())
    close(client)
    client = facility.client("beamline", READER, [ALICES, "public"])
    assert list(search_runs(client)) == [runs["alice"]]
    close(client)


def test_a_key_to_read_cannot_write_and_says_so_before_a_scan(facility, runs):
    key = facility.key("beamline", READER)
    with pytest.raises(CatalogError, match="allows only reading"):
        open_catalog(facility.uri, key, writable=True)


def test_a_key_for_metadata_reads_no_data(facility, runs):
    client = facility.client("alice", ["read:metadata"])
    run = load_run(client, runs["alice"])
    assert run.metadata["start"]["uid"] == runs["alice"]
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        read_primary(run)
    close(client)


def test_a_download_is_refused_to_others(facility, runs):
    link = f"{facility.uri}/api/v1/container/full/{runs['alice']}?format=csv&api_key="
    with urllib.request.urlopen(link + facility.key("alice", READER), timeout=60) as answer:
        assert answer.read().startswith(b"energy")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(link + facility.key("bob", READER), timeout=60)
    with caught.value as answer:
        assert answer.code == 404


def test_a_tag_that_nobody_defined_keeps_the_run_in_the_journal_and_is_said(facility, runs):
    uid, status = fly(facility, facility.key("beamline", WRITER), ["proposal-unknown"])
    assert status.to_replay == (uid,)
    assert "proposal-unknown" in status.error
    assert (facility.folder / "journal" / f"{uid}.jsonl").exists()


def test_a_user_cannot_give_a_run_to_another_proposal(facility, runs):
    uid, status = fly(facility, facility.key("alice", READER), [BOBS])
    assert status.to_replay == (uid,)
