"""`glidepath new-beamline`: what is written, what is refused, and that its tests pass at once."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from glidepath.beamlines import load_beamline
from glidepath.beamlines.beamline_answers import KINDS, AnswersError, read_answers, to_toml
from glidepath.beamlines.new_package import write_package
from glidepath.cli.main import app
from glidepath.configuration import load_configuration
from glidepath.logbook import Experiment

PAGE = Path(__file__).parents[2] / "docs" / "new-beamline.md"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ANSWERS, BOX = (text for kind, text in FENCE.findall(PAGE.read_text()) if kind == "toml")

MOTOR = {"devices": {"focus": {"class": "Motor", "pv": "m1"}}}

ENCODERS = {
    "energy": {"monochromator": "pgm", "grating": 3, "mirror": 4, "counts_per_degree": 100_000},
    "slide": {"motor": "slide", "input": 3, "counts_per_unit": 2500.5},
}

MORE = {
    "Zebra": {"axes": ENCODERS},
    "Panda": {"axes": ENCODERS},
    "SGM": {"timing": {"velocity": 1.0, "acceleration": 2}},
    "Ring": {"topup_prefix": "T:"},
    "TopUpRing": {"topup_prefix": "T:"},
    "Multiplexer": {"converter": "supply", "quadrupoles": ["Q1", "Q2"]},
    "BeamPositionMonitors": {"monitors": ["M1", "M2"]},
    "BeamSizeMonitor": {"um_per_pixel": [2.0, 3.0]},
}
"""What the classes need beside a PV."""

ALL = {
    "title": "Everything",
    "devices": {
        "pgm": {"class": "PGM", "pv": "P:"},
        "id": {"class": "Undulator", "pv": "U:", "gap_table": "table.csv"},
        "energy": {"class": "EnergyAxis", "monochromator": "pgm", "undulator": "id"},
        "slide": {"class": "Motor", "pv": "m7"},
        "supply": {"class": "PowerConverter", "pv": "S:"},
        **{
            f"d{number}": {"class": kind, "pv": f"X{number}:", **MORE.get(kind, {})}
            for number, kind in enumerate(KINDS)
            if kind not in ("PGM", "Undulator", "EnergyAxis", "Motor")
        },
    },
}


def written(table, folder, name="soft"):
    answers = read_answers(name, table, folder)
    return write_package(answers, folder / name, to_toml(table))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GLIDEPATH_PREFIX", raising=False)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0].endswith("tools")]:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_the_module_that_is_written_is_a_beamline(here, monkeypatch):
    written(tomllib.loads(ANSWERS), here)
    monkeypatch.chdir(here / "soft")
    real, simulated = (load_beamline("softtools.devices", prefix) for prefix in (None, "X:"))
    assert real.axes == ("energy",)
    assert real.detectors == ("mesh", "sample", "ring")
    assert real.path == ("valve",)
    assert real.devices["mesh"].current.source == "ca://K01:rdCur"
    assert simulated.devices["mesh"].current.source == "ca://X:KEI1:rdCur"
    assert simulated.devices["sample"].current.source == "ca://X:KEI2:rdCur"
    assert real.devices["ring"].countdown.source == "ca://TOPUPCC:estCntDwnS"


def test_every_class_can_be_written_and_made(here, monkeypatch):
    from glidepath.beamlines.make_gap_tables import gap_table_file

    (here / "table.csv").write_text(gap_table_file("UE48").read_text())
    files = written(ALL, here, "all_of_it")
    assert Path("all_of_ittools/table.csv") in files
    assert Path("answers.toml") in files
    monkeypatch.chdir(here / "all_of_it")
    for prefix in (None, "X:"):
        beamline = load_beamline("all_of_ittools.devices", prefix)
        assert list(beamline.devices) == list(ALL["devices"])


def test_what_is_written_of_trigger_boxes_and_of_a_multiplexer(here, monkeypatch):
    from glidepath.beamlines.make_gap_tables import gap_table_file

    (here / "table.csv").write_text(gap_table_file("UE48").read_text())
    written(ALL, here, "all_of_it")
    monkeypatch.chdir(here / "all_of_it")
    kinds = {}
    for prefix in (None, "X:"):
        devices = load_beamline("all_of_ittools.devices", prefix).devices
        kinds[prefix] = {type(device).__name__: device for device in devices.values()}
        for box in ("Zebra", "Panda"):
            axes = kinds[prefix][box].axes
            assert axes["slide"].inputs == (3,)
            assert axes["energy"].monochromator is devices["pgm"]
        assert kinds[prefix]["Multiplexer"].parts() == [devices["supply"]]
        assert kinds[prefix]["SGM"].timing.acceleration == 2
    real, simulated = kinds[None], kinds["X:"]
    assert real["Zebra"].axes["energy"].inputs == (3, 4)
    assert real["Zebra"].axes["energy"].grating.encoder.counts_per_unit == 100_000
    # The simulated monochromator has its own encoders, and the simulated ring its own names.
    assert simulated["Zebra"].axes["energy"].inputs == (1, 2)
    assert simulated["Zebra"].axes["energy"].grating.encoder.counts_per_unit == 360_000
    assert real["Multiplexer"].quadrupoles == ("Q1", "Q2")
    assert simulated["Multiplexer"].quadrupoles == ("Q4M1D1R", "Q3M1D1R")
    (supply,) = simulated["Multiplexer"].parts()
    assert supply.setpoint.source == "ca://X:QSPAZR:set"
    assert real["BeamSizeMonitor"].raw_sigma_x.source.startswith("ca://X")
    project = tomllib.loads(Path("pyproject.toml").read_text())
    assert project["project"]["dependencies"] == ["glidepath[panda]"]


def test_the_trigger_box_of_the_page_can_be_written(here, monkeypatch):
    slide = '[devices.slide]\nclass = "Motor"\npv = "m7"\n'
    written(tomllib.loads("\n".join([ANSWERS, slide, BOX])), here)
    monkeypatch.chdir(here / "soft")
    box = load_beamline("softtools.devices").devices["zebra"]
    assert box.axes["energy"].inputs == (1, 2)
    assert box.axes["slide"].inputs == (3,)


def test_what_is_written_can_be_written_again_from_its_answers(here):
    table = tomllib.loads(ANSWERS)
    written(table, here)
    kept = tomllib.loads((here / "soft" / "answers.toml").read_text())
    assert kept == table
    (here / "again").mkdir()
    written(kept, here / "again")
    first, second = ((here / place / "soft") for place in ("", "again"))
    files = [path for path in sorted(first.rglob("*")) if path.is_file()]
    assert len(files) == 10
    for path in files:
        assert path.read_text() == (second / path.relative_to(first)).read_text()


def test_the_configuration_that_is_written_can_be_read(here):
    written(tomllib.loads(ANSWERS), here)
    configuration = load_configuration(here / "soft", environment={})
    assert configuration.beamline == "softtools.devices"
    experiment = Experiment().changed(**configuration.experiment)
    assert (experiment.facility, experiment.beamline) == ("BESSY II", "Soft X-rays")


@pytest.mark.parametrize("table", [tomllib.loads(ANSWERS), ALL], ids=["page", "all"])
def test_what_is_written_is_well_formed(here, table):
    from glidepath.beamlines.make_gap_tables import gap_table_file

    (here / "table.csv").write_text(gap_table_file("UE48").read_text())
    written(table, here)
    for command in (["check", "--ignore", "D1"], ["format", "--check"]):
        arguments = [sys.executable, "-m", "ruff", *command, "--line-length", "100", "--no-cache"]
        done = subprocess.run([*arguments, "."], cwd=here / "soft", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


LAW = {"period_mm": 48, "periods": 62, "ring_energy_GeV": 1.7}


def _box(axis):
    return {"devices": {"a": {"class": "Zebra", "pv": "Z:", "axes": {"x": axis}}}}


@pytest.mark.parametrize(
    ("name", "table", "sentence"),
    [
        ("Soft", MOTOR, "cannot be named 'Soft'"),
        ("class", MOTOR, "'class', for that is a keyword of Python"),
        ("soft", {}, "without devices is none"),
        ("soft", {**MOTOR, "colour": "red"}, "Nothing is asked for 'colour'"),
        ("soft", {**MOTOR, "title": 'a "b"'}, "without quotes"),
        ("soft", {**MOTOR, "reference": "mesh"}, "'mesh' is none of the devices"),
        ("soft", {"devices": {"if": {"class": "Motor"}}}, "'if', for that is a keyword of Python"),
        *(
            ("soft", {"devices": {"a": {"class": "Undulator", "pv": "U:", **LAW, key: span}}}, said)
            for key, span, said in (
                ("gap_range", [200.0, 15.0], r"is \[200.0, 15.0\]; it must be the lowest and the"),
                ("gap_range", [15.0, 15.0], r"as \[lowest, highest\] in mm\."),
                ("gap_range", 15.0, r"is 15.0; it must be"),
                ("gap_velocities", [1.0, True], r"as \[lowest, highest\] in mm/s\."),
            )
        ),
        ("soft", {"devices": {"a b": {"class": "Motor"}}}, "cannot be named 'a b'"),
        ("soft", {"devices": {"a": {"class": "Warp"}}}, "a has the class 'Warp'; what can be"),
        ("soft", {"devices": {"a": {"class": "Motor"}}}, r"a \(Motor\) needs pv"),
        ("soft", {"devices": {"a": {"class": "Motor", "pv": 'x"y'}}}, "needs pv"),
        ("soft", {"devices": {"a": {"class": "Motor", "pv": "m1", "hue": 1}}}, "has no 'hue'"),
        ("soft", {"devices": {"a": {"class": "Motor", "pv": "m", "periods": 1}}}, "no periods"),
        ("soft", {"devices": {"a": {"class": "Undulator", "pv": "U:"}}}, "needs gap_table"),
        (
            "soft",
            {"devices": {"a": {"class": "Undulator", "pv": "U:", "gap_table": "no.csv"}}},
            "no gap table 'no.csv'",
        ),
        (
            "soft",
            {"devices": {"a": {"class": "EnergyAxis", "monochromator": "pgm"}}},
            "needs as its monochromator a device of the class PGM or SGM or DCM or KMC3DCM that",
        ),
        (
            "soft",
            {
                "devices": {
                    "a": {"class": "SGM", "pv": "S:"},
                    "b": {"class": "Undulator", "pv": "U:", **LAW},
                    "c": {"class": "EnergyAxis", "monochromator": "a", "undulator": "b"},
                }
            },
            'c needs coupling = "separate", for no undulator follows a SGM by itself',
        ),
        (
            "soft",
            {"devices": {"a": {"class": "BeamSizeMonitor", "pv": "B:"}}},
            r"a \(BeamSizeMonitor\) needs um_per_pixel = ...",
        ),
        (
            "soft",
            {"devices": {"a": {"class": "Multiplexer", "pv": "B:", "quadrupoles": ["Q1"]}}},
            "a needs as its converter a device of the class PowerConverter",
        ),
        ("soft", {"devices": {"a": {"class": "SGM", "pv": "S:", "timing": 3}}}, "say velocity in"),
        ("soft", _box({"motor": "m"}), "say monochromator, grating, mirror"),
        ("soft", _box({**ENCODERS["slide"], "input": 5}), "number of an input, 1 to 4"),
        ("soft", _box({**ENCODERS["slide"], "counts_per_unit": 0}), "must be a number above zero"),
        ("soft", _box(ENCODERS["slide"]), "need a Motor that is named before it, not 'slide'"),
    ],
)
def test_what_makes_no_beamline_is_one_sentence(tmp_path, name, table, sentence):
    with pytest.raises(AnswersError, match=sentence) as refused:
        written(table, tmp_path, name)
    assert str(refused.value).endswith(".")
    assert list(tmp_path.iterdir()) == []


def test_nothing_that_exists_is_overwritten(here):
    (here / "soft").mkdir()
    (here / "soft" / "mine.txt").write_text("mine")
    (here / "answers.toml").write_text(ANSWERS)
    done = CliRunner().invoke(app, ["new-beamline", "soft", "--answers", "answers.toml"])
    assert done.exit_code == 2
    assert "soft is there already; nothing was written" in done.stderr
    assert [path.name for path in (here / "soft").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "cannot be read"), ("title = ", "are no TOML"), ("", "without devices is none")],
)
def test_answers_that_cannot_be_used_are_one_sentence(here, text, sentence):
    if text is not None:
        (here / "answers.toml").write_text(text)
    done = CliRunner().invoke(app, ["new-beamline", "soft", "--answers", "answers.toml"])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert sentence in line
    assert not (here / "soft").exists()


def test_a_beamline_can_be_written_by_being_asked(here):
    typed = [
        *("Soft X-rays", "BESSY II", "ue481pgm1:", "UE48IT6R:", "", "", "", "focus=m1"),
        *("mesh=K01: sample=K02:", "valve=V03:", "", "shutter=PSH:", "MDIZ3T5G:", "TOPUPCC:", ""),
    ]
    done = CliRunner().invoke(app, ["new-beamline", "soft"], input="\n".join([*typed, ""]))
    assert done.exit_code == 0, done.output
    kept = tomllib.loads((here / "soft" / "answers.toml").read_text())
    assert kept["reference"] == "mesh"
    assert kept["devices"]["undulator"] == {
        "class": "Undulator",
        "pv": "UE48IT6R:",
        "period_mm": 48.0,
        "periods": 62,
        "ring_energy_GeV": 1.7,
    }
    assert kept["devices"]["ring"]["topup_prefix"] == "TOPUPCC:"
    assert list(kept["devices"]) == [
        *("pgm", "undulator", "energy", "focus", "mesh", "sample", "valve", "shutter", "ring"),
    ]


def typed(words, folder, environment=None, timeout=500):
    """Type a command at a terminal in a folder."""
    programs = {"glidepath": ["-m", "glidepath"], "python": []}
    program, *rest = words
    return subprocess.run(
        [sys.executable, *programs[program], *rest],
        cwd=folder,
        env={**os.environ, **(environment or {}), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_the_page_types_leads_to_green_tests_and_a_first_spectrum(tmp_path):
    from glidepath.simulation import SimulatedBeamline

    (tmp_path / "soft.toml").write_text(ANSWERS)
    first, second, _ = (text for kind, text in FENCE.findall(PAGE.read_text()) if kind == "sh")
    folder = tmp_path
    for line in first.splitlines():
        program, *words = shlex.split(line)
        if program == "cd":
            folder = folder / words[0]
            continue
        done = typed([program, *words], folder)
        assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b1[0-9] passed", done.stdout), done.stdout
    with SimulatedBeamline(vacuum=True) as simulated:
        for line in second.splitlines():
            done = typed(shlex.split(line), folder, simulated.environment)
            assert done.returncode == 0, done.stdout + done.stderr
    assert "success" in done.stdout
    assert list((folder / "data").rglob("glidepath.h5"))
    done = typed(["glidepath", "show", "-1"], folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Scan 1 (")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tests_of_a_beamline_with_one_of_each_class_are_green(here):
    pytest.importorskip("p4p")
    from glidepath.beamlines.make_gap_tables import gap_table_file

    (here / "table.csv").write_text(gap_table_file("UE48").read_text())
    written(ALL, here, "all_of_it")
    done = typed(["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"], here / "all_of_it")
    assert done.returncode == 0, done.stdout + done.stderr
    # All are read but the camera, which must be prepared first, and the PandA.
    assert re.search(rf"\b{len(ALL['devices']) - 2 + 6} passed", done.stdout), done.stdout
