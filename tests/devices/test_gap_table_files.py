"""Gap tables as files: what is written is read again, and each mistake is one sentence."""

import numpy as np
import pytest

from glidepath.beamlines.make_gap_tables import UNDULATORS, gap_table_file, make_gap_tables
from glidepath.devices import GapTableError, read_gap_table, write_gap_table
from glidepath.physics import UE48, GapTable

HEADER = "# undulator: UE48\n# periods: 62\n# who: me\n# when: 2026-03-01\n# how: measured\n"
NAMES = "harmonic,polarisation,energy_eV,gap_mm\n"
POINTS = "1,horizontal,400,34\n1,horizontal,410,34.6\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "table.csv"


def test_a_small_table_is_read(file):
    file.write_text(HEADER + NAMES + "\n 1 , horizontal , 410, 34.6\n# a remark\n" + POINTS[:20])
    table = read_gap_table(file)
    assert table.provenance["who"] == "me"
    assert float(table.gap(400.0)) == 34.0
    assert float(table.curve().shift(405.0)) == 0.0
    assert table.curve().periods == 62


WHOLE = HEADER + NAMES + POINTS
SAVED = {
    "byte-order mark": b"\xef\xbb\xbf" + WHOLE.encode(),
    "UTF-16": WHOLE.encode("utf-16"),
    "semicolons and decimal commas": WHOLE.replace(",", ";").replace(".", ",").encode(),
    "tabs": WHOLE.replace(",", "\t").encode(),
    "quotes": WHOLE.replace("horizontal", '"horizontal"').replace("gap_mm", '"gap_mm"').encode(),
    "padded": "".join(f"{line},,\n" for line in [*WHOLE.splitlines(), ""]).encode(),
    "spaces before the sign": WHOLE.replace("# ", "  # ").encode(),
    "line ends of others": WHOLE.replace("\n", "\r").encode(),
    "keV": WHOLE.replace("_eV", "_keV").replace("400", "0.400").replace("410", "0.410").encode(),
}


@pytest.mark.parametrize("name", SAVED)
def test_a_table_is_read_as_spreadsheets_save_it(file, name):
    file.write_bytes(SAVED[name])
    table = read_gap_table(file)
    curve = table.curve()
    assert list(curve.energies) == pytest.approx([400.0, 410.0])
    assert list(curve.gaps) == pytest.approx([34.0, 34.6])
    assert (curve.polarisation, curve.periods, table.provenance["who"]) == ("horizontal", 62, "me")


def test_what_is_written_is_read_again(file):
    provenance = {"undulator": "UE48", "who": "me", "when": "today", "how": "by\nhand"}
    table = GapTable.from_law(UE48, np.arange(20.0, 60.0), provenance=provenance)
    write_gap_table(file, table)
    again = read_gap_table(file)
    assert again.provenance == {**provenance, "how": "by hand", "periods": "62"}
    assert again.polarisations == table.polarisations
    for curve in table.curves:
        read = again.curve(curve.harmonic, curve.polarisation)
        np.testing.assert_allclose(read.energies, curve.energies, atol=1e-5)
        np.testing.assert_allclose(read.shifts, curve.shifts, atol=1e-4)


def test_a_table_without_an_origin_is_not_written(file):
    with pytest.raises(GapTableError, match="does not say undulator and who and when and how"):
        write_gap_table(file, GapTable.from_law(UE48, [20.0, 30.0]))
    assert not file.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "does not say undulator and periods and who and when and how; add a line"),
        (HEADER.replace("# who: me\n", "") + NAMES + POINTS, "does not say who; add a line '# who"),
        (HEADER.replace("62", "many") + NAMES + POINTS, "has 'many' periods"),
        (HEADER, "has no line with the names of its columns"),
        (HEADER + NAMES, "has no points below its header"),
        (HEADER + NAMES.replace("gap_mm", "gap") + POINTS, "has the columns .* it needs harmonic"),
        (HEADER + NAMES + "1,horizontal,400\n", "Line 7 of .* has 3 fields instead of 4"),
        (HEADER + NAMES + "1,horizontal,400,wide\n", "Line 7 of .* has 'wide' as gap_mm"),
        (HEADER + NAMES + "1,horizontal,nan,34\n", "Line 7 of .* has 'nan' as energy_eV"),
        (HEADER + NAMES + "1.5,horizontal,400,34\n", r"Line 7 of .* has the harmonic 1\.5"),
        (HEADER + NAMES + "1,,400,34\n", "Line 7 of .* names no polarisation"),
        (HEADER + NAMES + POINTS[:20], "harmonic 1, horizontal, needs at least two points"),
        (HEADER + NAMES + POINTS + "1,horizontal,420,30\n", "is not monotonic: 410 eV at 34.6 mm"),
        (HEADER + NAMES + "1,horizontal,1_400,34\n", "Line 7 of .* has '1_400' as energy_eV"),
        (
            HEADER + NAMES + "1,horizontal,0.40,34\n1,horizontal,0.41,34.6\n",
            r"ends at 0\.41 eV, which looks like keV; name its column energy_keV",
        ),
        (HEADER + NAMES + POINTS + POINTS, "is not monotonic: 400 eV at 34 mm is followed by 400"),
    ],
)
def test_a_malformed_table_is_one_sentence(file, text, sentence):
    file.write_text(text)
    with pytest.raises(GapTableError, match=sentence) as raised:
        read_gap_table(file)
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_one_sentence(file):
    with pytest.raises(GapTableError, match=r"cannot be read: No such file or directory\.$"):
        read_gap_table(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GapTableError, match=r"cannot be read: it is no text in UTF-8\.$"):
        read_gap_table(file)


@pytest.mark.parametrize("undulator", UNDULATORS)
def test_the_tables_that_are_installed_are_those_that_are_made(tmp_path, undulator):
    make_gap_tables(tmp_path)
    made = gap_table_file(undulator, tmp_path).read_text()
    assert gap_table_file(undulator).read_text() == made
