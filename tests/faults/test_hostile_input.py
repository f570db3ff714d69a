"""Whatever is typed: it can be flown, or one sentence says why not and nothing has moved."""

import asyncio
import os
import sys
import tempfile
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ophyd_async.core import get_mock_put, set_mock_value
from typer.testing import CliRunner

from glidepath.beamlines import Beamline, BeamlineError, load_beamline
from glidepath.cli.main import app
from glidepath.devices import GapTableError, read_gap_table
from glidepath.plans import flyscan, xas_flyscan
from glidepath.storage import check_data_directory, run_folder

NUMBERS = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, 1e-320, 1e-9, 0.02, 1.0, 400.0, 402.5, 1e9, 1e300, -400.0]),
    st.integers(),
    st.integers(min_value=10**20, max_value=10**400),
)
STRANGE = st.one_of(
    NUMBERS,
    st.none(),
    st.booleans(),
    st.text(max_size=8),
    st.binary(max_size=4),
    st.complex_numbers(),
    st.sampled_from(
        [
            [],
            {},
            (1.0,),
            object(),
            float,
            Decimal("NaN"),
            Decimal("1e500"),
            Fraction(1, 3),
            np.float32(1.5),
            np.array(400.0),
            np.array([400.0, 401.0]),
            np.datetime64("NaT"),
            "400",
            "４００",
            "nan",
            "\x00",
            "../../etc",
        ]
    ),
)
SENSIBLE = st.floats(399.0, 405.0)


@pytest.fixture(scope="module")
def loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def devices(loop):
    """The simulated beamline's devices without any server: what is put is noted."""
    from glidepath.beamlines.simulated import make_devices

    devices = make_devices("MOCK:")

    async def connect():
        await asyncio.gather(*(device.connect(mock=True) for device in devices.values()))

    loop.run_until_complete(connect())
    # They stand: nobody has to be waited for.
    for motor in ("mono_motor", "mono_profile"):
        set_mock_value(devices[motor].motor_done_move, True)
    return devices


def begins(loop, plan):
    """Carry out a plan up to its first message that does something."""

    async def wait(functions):
        futures = [function() for function in functions]
        await asyncio.wait(futures)
        return futures

    try:
        message = next(plan)
        while message.command == "wait_for":
            message = plan.send(loop.run_until_complete(wait(message.args[0])))
    finally:
        plan.close()


def check_sentence(error):
    text = str(error)
    assert text.strip(), repr(error)
    assert "\n" not in text
    assert "Traceback" not in text
    assert len(text) < 2000


def is_refused_in_a_sentence_or_begins(loop, devices, make_plan):
    moved = [
        devices["pgm"].setpoint,
        devices["pgm"].sweep.action,
        devices["mono_motor"].user_setpoint,
    ]
    for signal in moved:
        get_mock_put(signal).reset_mock()

    async def plan_in_loop():
        return make_plan()

    try:
        begins(loop, loop.run_until_complete(plan_in_loop()))
    except ValueError as error:
        check_sentence(error)
    for signal in moved:
        get_mock_put(signal).assert_not_called()


@settings(max_examples=150)
@given(
    start=STRANGE, stop=STRANGE, velocity=STRANGE, axis=st.sampled_from(["energy", "mono_motor"])
)
def test_any_range_is_flown_or_refused_in_one_sentence(loop, devices, start, stop, velocity, axis):
    is_refused_in_a_sentence_or_begins(
        loop, devices, lambda: flyscan([devices["mesh"]], devices[axis], start, stop, velocity)
    )


@settings(max_examples=150)
@given(
    start=SENSIBLE,
    stop=SENSIBLE,
    velocity=st.floats(0.01, 10.0),
    options=st.fixed_dictionaries(
        {},
        optional={
            "period": STRANGE,
            "passes": STRANGE,
            "there_and_back": STRANGE,
            "clock_bound": STRANGE,
            "refly": STRANGE,
            "triggers": st.one_of(
                STRANGE,
                st.fixed_dictionaries(
                    {"box": STRANGE},
                    optional={"step": STRANGE, "period": STRANGE, "exposure": STRANGE},
                ),
            ),
            "md": st.dictionaries(st.text(max_size=5), STRANGE, max_size=2),
        },
    ),
)
def test_any_option_is_taken_or_refused_in_one_sentence(
    loop, devices, start, stop, velocity, options
):
    is_refused_in_a_sentence_or_begins(
        loop,
        devices,
        lambda: flyscan([devices["mesh"]], devices["energy"], start, stop, velocity, **options),
    )


@settings(max_examples=150)
@given(
    regions=st.one_of(
        STRANGE,
        st.lists(st.one_of(STRANGE, st.tuples(SENSIBLE, SENSIBLE, NUMBERS)), max_size=3),
        st.lists(st.lists(STRANGE, max_size=5), max_size=3),
    )
)
def test_any_regions_are_flown_or_refused_in_one_sentence(loop, devices, regions):
    is_refused_in_a_sentence_or_begins(
        loop, devices, lambda: xas_flyscan([devices["mesh"]], devices["energy"], regions)
    )


@settings(max_examples=60)
@given(
    detectors=st.lists(
        st.one_of(STRANGE, st.sampled_from(["mesh", "pgm", "ring", "zebra", "camera"])), max_size=3
    ),
    axis=st.one_of(STRANGE, st.sampled_from(["energy", "ring", "mesh"])),
)
def test_any_devices_are_flown_or_refused_in_one_sentence(loop, devices, detectors, axis):
    def device(what):
        return devices.get(what, what) if isinstance(what, str) else what

    is_refused_in_a_sentence_or_begins(
        loop, devices, lambda: flyscan([device(d) for d in detectors], device(axis), 400, 402, 1.0)
    )


@given(
    uid=st.one_of(
        st.text(max_size=80), st.sampled_from(["../../../etc", "a/../../b", "........", "/"])
    ),
    scan_id=st.integers(),
    time=st.floats(0, 4e9),
)
def test_no_run_gets_a_folder_outside_of_the_data_directory(uid, scan_id, time):
    root = Path("/data")
    try:
        folder = run_folder(root, uid, scan_id, time)
    except ValueError as error:
        check_sentence(error)
        return
    assert Path(os.path.normpath(folder)).is_relative_to(root)
    assert len(folder.relative_to(root).parts) == 4


@given(name=st.text(max_size=30))
def test_any_data_directory_is_made_or_refused_in_one_sentence(name):
    with tempfile.TemporaryDirectory() as place:
        before = os.getcwd()
        os.chdir(place)
        try:
            check_data_directory(Path(place, "data", "x" + name.replace("/", "_")))
        except ValueError as error:
            check_sentence(error)
        finally:
            os.chdir(before)


MODULE_NAMES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["", ".", "..", "a..b", ".a", "os.path.join", "\x00", "../beamline", "glidepath"]
    ),
)


@given(name=MODULE_NAMES)
def test_any_name_of_a_beamline_is_loaded_or_refused_in_one_sentence(name):
    try:
        load_beamline(name)
    except BeamlineError as error:
        check_sentence(error)


def leave():
    raise SystemExit("no")


def fail():
    raise RuntimeError("two\nlines")


@given(
    content=st.fixed_dictionaries(
        {},
        optional={
            "make_devices": st.one_of(
                STRANGE,
                st.just(lambda: {}),
                st.just(lambda prefix: None),
                st.just(lambda prefix: 5),
                st.just(lambda prefix: {"a": 1}),
                st.just(lambda prefix: {1: None}),
                st.just(lambda prefix: fail()),
                st.just(lambda prefix: leave()),
                st.just(lambda prefix: {}),
            ),
            "DETECTORS": STRANGE,
            "AXES": STRANGE,
            "BASELINE": STRANGE,
        },
    )
)
def test_any_beamline_module_is_used_or_refused_in_one_sentence(content):
    module = ModuleType("hostile_beamline")
    vars(module).update(content)
    sys.modules["hostile_beamline"] = module
    try:
        found = load_beamline("hostile_beamline")
    except BeamlineError as error:
        check_sentence(error)
    else:
        assert isinstance(found, Beamline)
    finally:
        del sys.modules["hostile_beamline"]


@pytest.mark.parametrize("line", ["import sys; sys.exit(3)", "raise KeyError", "def (", "1/0"])
def test_a_beamline_module_that_fails_while_it_is_imported_is_one_sentence(
    tmp_path, monkeypatch, line
):
    (tmp_path / "broken_beamline.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BeamlineError) as raised:
        load_beamline("broken_beamline")
    check_sentence(raised.value)


FIELDS = st.one_of(
    st.text(max_size=5),
    st.sampled_from(["1", "0", "-1", "1.5", "nan", "inf", "1e400", "400", "34", "horizontal", "٣"]),
)
HEADERS = st.lists(
    st.one_of(
        st.sampled_from(
            ["# undulator: UE48", "# periods: 62", "# who: me", "# when: today", "# how: measured"]
        ),
        st.text(max_size=12),
        st.just("# periods: " + "9" * 5000),
    ),
    max_size=7,
)
COMPLETE = ["# undulator: UE48", "# periods: 62", "# who: me", "# when: today", "# how: measured"]
NAMES = st.one_of(
    st.just("harmonic,polarisation,energy_eV,gap_mm"),
    st.just("harmonic,polarisation,energy_eV,gap_mm,shift_mm"),
    st.lists(FIELDS, max_size=5).map(",".join),
)


@settings(max_examples=200)
@given(
    header=st.one_of(HEADERS, st.just(COMPLETE)),
    names=NAMES,
    rows=st.lists(st.lists(FIELDS, min_size=3, max_size=6).map(",".join), max_size=4),
    tail=st.binary(max_size=3),
)
def test_any_gap_table_is_read_or_refused_in_one_sentence(
    tmp_path_factory, header, names, rows, tail
):
    file = tmp_path_factory.getbasetemp() / "hostile_table.csv"
    file.write_bytes("\n".join([*header, names, *rows]).encode(errors="replace") + tail)
    try:
        read_gap_table(file)
    except GapTableError as error:
        check_sentence(error)


WORDS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["nan", "inf", "-inf", "1e400", "400", "-1", "0", "４", "1:2", "400:402:1", "a:b:c"]
    ),
)


@settings(max_examples=100)
@given(
    command=st.sampled_from(["fly", "preflight"]),
    words=st.lists(WORDS, max_size=4),
    options=st.lists(
        st.tuples(
            st.sampled_from(
                [
                    "--region",
                    "--passes",
                    "--period",
                    "--detectors",
                    "--step",
                    "--exposure",
                    "--trigger",
                ]
            ),
            WORDS,
        ),
        max_size=2,
    ),
)
def test_any_words_on_the_command_line_end_with_status_2_and_make_no_file(command, words, options):
    with tempfile.TemporaryDirectory() as place:
        line = [command, *words, *(word for option in options for word in option)]
        line += ["--beamline", "no.such.beamline", "--data", f"{place}/data"]
        done = CliRunner().invoke(app, line)
        if done.exit_code == 0:
            assert "--help" in words or "-h" in words
            return
        assert done.exit_code == 2, (line, done.output, done.exception)
        assert "Traceback" not in done.output
        assert not list(Path(place).rglob("*.h5"))


@settings(max_examples=60)
@given(
    line=st.one_of(
        st.tuples(st.just("rebin"), st.just("-1"), st.just("--grid"), WORDS),
        st.tuples(st.just("rebin"), st.just("-1"), st.just("--grid"), st.just("xas")),
        st.tuples(st.just("rebin"), st.just("-1"), st.just("--step"), WORDS),
        st.tuples(st.just("bench"), WORDS),
        st.tuples(st.just("check"), WORDS),
        st.tuples(st.just("focus"), WORDS, WORDS),
        st.tuples(
            st.just("sim"), st.just("--readback-hz"), st.sampled_from(["nan", "0", "-1", "x"])
        ),
        st.tuples(WORDS),
    )
)
def test_other_commands_refuse_what_they_cannot_do_with_status_2(line):
    with tempfile.TemporaryDirectory() as place:
        occupied = Path(place, "file")
        occupied.touch()
        # A data directory that cannot be: what is checked before it, is; nothing else begins.
        data = ["--data", str(occupied / "data")] if line[0] in ("rebin", "focus") else []
        done = CliRunner().invoke(app, [*line, *data])
        if line[0].startswith("-h") or "-h" in line or "--help" in line or "--version" in line:
            return
        assert done.exit_code == 2, (line, done.output, done.exception)
        assert "Traceback" not in done.output
