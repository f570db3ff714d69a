"""A catalogue in PostgreSQL: made, migrated, shared; what goes wrong is said, nothing is lost."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from benchmarks.postgresql import PostgreSQLServer, binaries
from written_scan import GrowingFile, Scan, close, wait_for

from glidepath.catalog import (
    CatalogError,
    LocalTiledServer,
    Publisher,
    load_run,
    read_baseline,
    read_primary,
    replay_all,
    search_runs,
)
from glidepath.catalog.database import PostgreSQL
from glidepath.catalog.server import remembered_database

# Said by alembic of the configuration that Tiled gives it.
pytestmark = pytest.mark.filterwarnings("ignore:No path_separator:DeprecationWarning")

installed = pytest.mark.skipif(binaries() is None, reason="PostgreSQL is not installed here")


@pytest.mark.parametrize(
    ("address", "where"),
    [
        (
            "postgresql://me@db.org:5433/runs",
            PostgreSQL("runs", "db.org", 5433, "me"),
        ),
        ("postgres://localhost/runs", PostgreSQL("runs", "localhost")),
        ("postgresql:///runs", PostgreSQL("runs")),
        ("postgresql:///runs?host=/run/postgresql", PostgreSQL("runs", "/run/postgresql")),
        ("postgresql://a%40b@[::1]/my-runs", PostgreSQL("my-runs", "::1", None, "a@b")),
    ],
)
def test_an_address_is_read_and_written_the_same(address, where):
    assert PostgreSQL.of(address) == where
    assert PostgreSQL.of(str(where)) == where
    assert PostgreSQL.of(where.uri) == where


@pytest.mark.parametrize(
    "address",
    [
        "runs",
        "mysql://localhost/runs",
        "postgresql://localhost",
        "postgresql://h:x/runs",
        "",
        "a/b",
    ],
)
def test_what_is_no_address_is_a_sentence(address, tmp_path):
    with pytest.raises(CatalogError, match="The address of a database is postgresql://"):
        LocalTiledServer(tmp_path, database=address)


@pytest.mark.parametrize("form", ["me:secret@host/runs", "host/runs?password=secret"])
def test_a_password_in_an_address_is_refused_and_not_repeated(form):
    with pytest.raises(CatalogError, match=r"must hold no password.*PGPASSWORD") as caught:
        PostgreSQL.of(f"postgresql://{form}")
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def postgresql():
    with PostgreSQLServer() as server:
        os.environ["PGPASSWORD"] = server.password
        yield server
        del os.environ["PGPASSWORD"]


@pytest.fixture
def database(postgresql, request):
    """An address of a database that does not exist yet."""
    return postgresql.address(f"Runs-{request.node.name}"[:60])


def write_scan(server, folder, rows=10, **metadata):
    """Write a whole scan into a server's catalogue; return its uid."""
    publisher = Publisher(server.data_root / "journal", server.client)
    file = GrowingFile(server.data_root / folder / "glidepath.h5")
    scan = Scan(publisher, file.path, **metadata)
    file.grow(rows)
    scan.announce(rows)
    scan.stop()
    file.close()
    assert publisher.wait_published(scan.uid, 120)
    publisher.close()
    return scan.uid


@installed
@pytest.mark.slow
class TestPostgreSQL:
    def test_the_database_is_made_and_has_the_runs_again_after_a_restart(
        self, postgresql, database, tmp_path
    ):
        with LocalTiledServer(tmp_path, database=database) as server:
            uid = write_scan(server, "one")
            key = postgresql.password.encode()
            for path in (server.folder / "config.yml", server.log_file):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                assert key not in path.read_bytes()
        assert not (tmp_path / "tiled" / "catalog.db").exists()
        # Nobody has to say again where the catalogue is.
        with LocalTiledServer(tmp_path) as server:
            client = server.client()
            run = load_run(client, uid)
            assert read_primary(run)["energy"].tolist() == list(range(10))
            assert run.metadata["stop"]["exit_status"] == "success"
            close(client)

    def test_events_are_kept_in_it_too(self, postgresql, database, tmp_path):
        with LocalTiledServer(tmp_path, database=database) as server:
            uid = write_scan(server, "one")
            client = server.client()
            assert read_baseline(load_run(client, uid))["ring_current"].tolist() == [299.5]
            close(client)
        assert not list((tmp_path / "tiled").glob("tables.*"))
        tables = "select count(*) from pg_tables where tablename like 'table_%'"
        assert postgresql.sql(tables, PostgreSQL.of(database).name) == "1"

    def test_runs_are_found(self, database, tmp_path):
        with LocalTiledServer(tmp_path, database=database) as server:
            uid = write_scan(
                server,
                "one",
                sample={"name": "N2 gas cell"},
                element="N",
                edge="K",
                users=[{"name": "B. Other"}, {"name": "A. Müller", "identifier": "mue"}],
                proposal={"proposal_id": "242-12345"},
            )
            write_scan(server, "two", sample={"name": "Fe foil"}, element="Fe", edge="L3")
            client = server.client()
            for asked in (
                {"sample": "N2 gas cell"},
                {"element": "N", "edge": "K"},
                {"user": "Müller"},
                {"user": "mue"},
                {"proposal": "242-12345", "exit_status": "success"},
            ):
                assert list(search_runs(client, **asked)) == [uid], asked
            assert len(search_runs(client, plan_name="flyscan")) == 2
            assert len(search_runs(client, since=4e9)) == 0
            assert list(search_runs(client))[-1] == uid
            close(client)

    def test_an_old_one_is_migrated(self, database, tmp_path):
        with LocalTiledServer(tmp_path, database=database) as server:
            uid = write_scan(server, "one")
        to_revision_before(PostgreSQL.of(database).uri.replace(":", "+asyncpg:", 1))
        with LocalTiledServer(tmp_path) as server:
            client = server.client()
            assert load_run(client, uid).metadata["start"]["uid"] == uid
            close(client)

    def test_two_servers_that_start_at_once_share_one_new_database(self, database, tmp_path):
        servers = [LocalTiledServer(tmp_path / name, database=database) for name in "ab"]
        for server in servers:
            server.start()
        try:
            uids = [write_scan(server.wait_ready(), "one") for server in servers]
            for server in servers:
                client = server.client()
                assert set(search_runs(client)) == set(uids)
                close(client)
        finally:
            for server in servers:
                server.stop()

    def test_two_writers_at_once_lose_nothing(self, database, tmp_path):
        uids = []
        with LocalTiledServer(tmp_path, database=database) as server:
            writers = [
                threading.Thread(
                    target=lambda name=name: uids.extend(
                        write_scan(server, f"{name}{n}", rows=100) for n in range(5)
                    )
                )
                for name in ("a", "b")
            ]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.join()
            client = server.client()
            assert len(set(uids)) == 10
            for uid in uids:
                assert len(read_primary(load_run(client, uid))["energy"]) == 100
            close(client)

    def test_a_database_that_restarts_in_mid_scan_costs_no_row(
        self, postgresql, database, tmp_path
    ):
        with LocalTiledServer(tmp_path, database=database) as server:
            publisher = Publisher(tmp_path / "journal", server.client)
            file = GrowingFile(tmp_path / "run" / "glidepath.h5")
            scan = Scan(publisher, file.path)
            file.grow(10)
            scan.announce(10)
            client = server.client()
            wait_for(lambda: scan.uid in list(client), 60)
            postgresql.stop()
            postgresql.start()
            file.grow(10)
            scan.announce(20)
            scan.stop()
            file.close()
            published = publisher.wait_published(scan.uid, 120)
            publisher.close()
            # What was not taken is known to be missing, and is brought by a replay.
            assert published or scan.uid in publisher.status.to_replay
            replay_all(tmp_path / "journal", client)
            run = load_run(client, scan.uid)
            assert len(read_primary(run)["energy"]) == 20
            assert run.metadata["stop"]["exit_status"] == "success"
            close(client)

    def test_a_tiled_server_that_is_killed_in_mid_scan_costs_no_row(self, database, tmp_path):
        server = LocalTiledServer(tmp_path, database=database).start()
        server.wait_ready()
        publisher = Publisher(tmp_path / "journal", lambda: server.start().wait_ready().client())
        file = GrowingFile(tmp_path / "run" / "glidepath.h5")
        scan = Scan(publisher, file.path)
        file.grow(10)
        scan.announce(10)
        os.kill(server.process_id, 9)
        wait_for(lambda: server.process_id is None)
        file.grow(10)
        scan.announce(20)
        scan.stop()
        file.close()
        publisher.wait_published(scan.uid, 120)
        publisher.close(60)
        with server:
            client = server.client()
            replay_all(tmp_path / "journal", client)
            assert len(read_primary(load_run(client, scan.uid))["energy"]) == 20
            close(client)
        server.stop()

    def test_runs_of_a_file_come_along_when_the_catalogue_moves_to_it(self, database, tmp_path):
        with LocalTiledServer(tmp_path) as server:
            uid = write_scan(server, "one")
        with LocalTiledServer(tmp_path, database=database) as server:
            client = server.client()
            assert list(client) == []
            assert [one.action for one in replay_all(tmp_path / "journal", client, every=True)] == [
                "written"
            ]
            assert load_run(client, uid).metadata["start"]["uid"] == uid
            close(client)

    def test_a_moved_data_directory_is_read_where_it_is(self, database, tmp_path):
        old, new = tmp_path / "old", tmp_path / "new"
        with LocalTiledServer(old, database=database) as server:
            uid = write_scan(server, "2026/01/01/one")
        old.rename(new)
        subprocess.run(
            [sys.executable, "-m", "glidepath", "relocate", str(old), str(new)], check=True
        )
        assert remembered_database(new) == PostgreSQL.of(database)
        with LocalTiledServer(new) as server:
            client = server.client()
            assert read_primary(load_run(client, uid))["energy"].tolist() == list(range(10))
            close(client)

    def test_another_database_than_before_is_refused(self, postgresql, database, tmp_path):
        with LocalTiledServer(tmp_path, database=database):
            with pytest.raises(CatalogError, match="is in postgresql://"):
                LocalTiledServer(tmp_path, database=postgresql.address("other")).start()
            (tmp_path / "tiled" / "database").unlink()
            with pytest.raises(CatalogError, match="runs already with another catalogue"):
                LocalTiledServer(tmp_path, database=postgresql.address("other")).start()

    def test_what_it_refuses_is_said(self, postgresql, tmp_path, monkeypatch):
        postgresql.sql("create role poor login password 'poor'")

        def refusal(address):
            with (
                pytest.raises(CatalogError) as caught,
                LocalTiledServer(tmp_path, database=address),
            ):
                pass
            # What could not be used is not remembered.
            assert remembered_database(tmp_path) is None
            return str(caught.value)

        monkeypatch.setenv("PGPASSWORD", "wrong")
        assert "refuses the user glide" in refusal(postgresql.address("runs"))
        monkeypatch.setenv("PGPASSWORD", "poor")
        said = refusal(postgresql.address("not-yet", "poor"))
        assert "There is no database 'not-yet'" in said
        assert "let its administrator make it" in said
        postgresql.sql('create database "not-mine"')
        assert "does not let its tables be made" in refusal(postgresql.address("not-mine", "poor"))
        unused = postgresql.address("runs").replace(str(postgresql.port), "1")
        assert "No PostgreSQL can be used on 127.0.0.1:1" in refusal(unused)


def to_revision_before(uri):
    """Bring a catalogue's tables back to the revision before the newest."""
    from tiled.alembic_utils import downgrade
    from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
    from tiled.catalog.core import ALL_REVISIONS

    downgrade(Path(ALEMBIC_INI_TEMPLATE_PATH), Path(ALEMBIC_DIR), uri, ALL_REVISIONS[1])


@pytest.mark.slow
def test_a_file_of_an_older_release_is_migrated_and_a_copy_of_it_kept(tmp_path):
    with LocalTiledServer(tmp_path) as server:
        uid = write_scan(server, "one")
    folder = tmp_path / "tiled"
    to_revision_before(f"sqlite+aiosqlite:///{folder / 'catalog.db'}")
    before = (folder / "catalog.db").read_bytes()
    with LocalTiledServer(tmp_path) as server:
        client = server.client()
        assert load_run(client, uid).metadata["start"]["uid"] == uid
        close(client)
    assert (folder / "catalog.before-migration-1.db").read_bytes() == before


@pytest.mark.slow
def test_the_command_says_where_the_catalogue_is_wrong(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "glidepath", "serve", "--data", str(tmp_path / "d")),
            *("--database", "postgresql://me:secret@host/runs"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "must hold no password" in done.stderr
    assert "secret" not in done.stderr + json.dumps(done.stdout)
