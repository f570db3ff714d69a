"""Lines of files that grow: each whole one once, and no error of a spoiled or missing file."""

import pytest

from glidepath.storage import GrowingLines, document_in, ends_with_stop

STOP = b'{"name": "stop", "doc": {"uid": "b"}}\n'


def test_lines_come_once_each_when_they_are_whole(tmp_path):
    path = tmp_path / "journal"
    lines = GrowingLines(path)
    assert lines.read() == []
    path.write_bytes(b"one\ntw")
    assert lines.read() == [b"one\n"]
    assert lines.read() == []
    with path.open("ab") as file:
        file.write(b"o\nthree\n")
    assert lines.read() == [b"two\n", b"three\n"]
    path.unlink()
    assert lines.read() == []


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\xff\xfe", b'{"name": "sta', b"[]", b"7", b"null"),
        *(b'{"name": "stop"}', b'{"name": 7, "doc": {}}', b'{"name": "stop", "doc": []}'),
    ],
)
def test_what_is_no_document_is_a_value_error_and_no_end(line, tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(STOP + line + b"\n")
    assert not ends_with_stop(path)
    with pytest.raises(ValueError):
        document_in(line)


def test_a_file_ends_with_a_stop_only_when_its_line_is_whole(tmp_path):
    path = tmp_path / "journal"
    assert not ends_with_stop(path)
    path.write_bytes(b"")
    assert not ends_with_stop(path)
    path.write_bytes(STOP[:-1])
    assert not ends_with_stop(path)
    path.write_bytes(b'{"name": "start", "doc": {}}\n' * 5000 + STOP)
    assert ends_with_stop(path)
    assert document_in(STOP) == ("stop", {"uid": "b"})
