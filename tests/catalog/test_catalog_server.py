"""The local server starts, keeps its key, says what is wrong, and never outlives its owner."""

import json
import socket
import stat
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from written_scan import Scan, close

from glidepath.catalog import (
    CatalogError,
    LocalTiledServer,
    Publisher,
    load_run,
    open_catalog,
    open_local_catalog,
)


def test_the_key_is_in_no_process_list_log_or_document(server, tmp_path):
    with urllib.request.urlopen(server.web_url, timeout=20) as page:
        assert page.status == 200
    publisher = Publisher(tmp_path / "journal", server.client)
    scan = Scan(publisher, tmp_path / "none.h5")
    scan.stop()
    assert publisher.wait_published(scan.uid)
    publisher.close()
    key = server.api_key.encode()
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert key not in command.read_bytes()
        except OSError:
            continue
    environment = Path(f"/proc/{server.process_id}/environ").read_bytes()
    assert key not in environment
    assert key not in server.log_file.read_bytes()
    assert key not in (tmp_path / "journal" / f"{scan.uid}.jsonl").read_bytes()
    client = server.client()
    assert server.api_key not in json.dumps(load_run(client, scan.uid).metadata, default=str)
    close(client)


def test_only_the_owner_can_read_key_and_log(server):
    for path in (server.folder / "config.yml", server.log_file):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_another_process_of_the_user_finds_the_server(server, tmp_path):
    client = open_local_catalog(server.data_root)
    assert client.context.api_key == server.api_key
    close(client)
    with pytest.raises(CatalogError, match="No Tiled server runs"):
        open_local_catalog(tmp_path)


def test_a_wrong_key_is_refused_in_one_sentence(server):
    with pytest.raises(CatalogError, match="refuses the API key") as caught:
        open_catalog(server.uri, "f00d")
    assert "f00d" not in str(caught.value)
    with pytest.raises(CatalogError, match="API key"):
        open_catalog(server.uri)


def test_a_key_that_may_write_passes_the_check_and_writes_nothing(server):
    client = open_catalog(server.uri, server.api_key, writable=True)
    before = len(client)
    close(open_catalog(server.uri, server.api_key, writable=True))
    assert len(client) == before
    close(client)


def test_an_address_without_a_server_is_named(unused_port):
    with pytest.raises(CatalogError, match=rf"No Tiled server answers at .*:{unused_port}"):
        open_catalog(f"http://127.0.0.1:{unused_port}", "f00d")
    with pytest.raises(CatalogError, match="not the address"):
        open_catalog("data.example")


def test_a_port_in_use_and_an_unwritable_root_are_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CatalogError, match=f"Port {port} .* cannot be used"):
            LocalTiledServer(tmp_path, port=port).start()
    (tmp_path / "file").touch()
    with pytest.raises(CatalogError, match="cannot keep its files"):
        LocalTiledServer(tmp_path / "file").start()


def test_a_file_outside_of_the_readable_folders_is_refused_before_the_scan(server, tmp_path):
    server.check_readable(server.data_root / "2026" / "new.h5")
    with pytest.raises(CatalogError, match="may not read"):
        server.check_readable(tmp_path / "elsewhere.h5")


def test_a_server_that_cannot_start_says_why(tmp_path):
    (tmp_path / "tiled" / "catalog.unfinished").mkdir(parents=True)
    server = LocalTiledServer(tmp_path)
    with pytest.raises(CatalogError, match=r"ended with status 1: .*Error.*unfinished"), server:
        pass
    assert server.process_id is None
    assert not (server.folder / "config.yml").exists()


def test_a_second_server_on_the_same_data_is_the_first_one(server):
    with LocalTiledServer(server.data_root) as second:
        assert (second.process_id, second.uri) == (server.process_id, server.uri)
        assert second.api_key == server.api_key
    assert server.process_id


def test_it_listens_on_the_loopback_only(server):
    port = f"{urllib.parse.urlsplit(server.uri).port:04X}"
    listening = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and address.endswith(f":{port}"):
                listening.append(address.partition(":")[0])
    assert listening == ["0100007F"]  # 127.0.0.1, in the byte order of the machine
