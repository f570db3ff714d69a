"""The page on trigger boxes says what is set, and only that."""

import re
from pathlib import Path

from glidepath.beamlines.simulated import make_devices
from glidepath.flyers.triggers.compare_plan import compare_plan
from glidepath.flyers.triggers.panda_fields import NEUTRAL
from glidepath.flyers.triggers.zebra_settings import compare_settings, probe_settings
from glidepath.physics import Encoder, LinearGeometry
from glidepath.trajectory import Leg, Region

PAGE = Path(__file__).parents[2] / "docs" / "trigger-boxes.md"


def test_the_table_of_neutral_fields_is_the_one_that_scans_use():
    rows = re.findall(r"^\| ([A-Z]+) \| (\S+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    assert rows == [(neutral.block, neutral.field, neutral.why) for neutral in NEUTRAL]


def test_the_table_of_the_zebra_has_each_setting_that_a_scan_sets():
    devices = make_devices("ANY:")
    box = devices["zebra"]
    leg, geometry = Leg((Region(400.0, 401.0, 1.0),)), LinearGeometry(Encoder(100_000))
    plan = compare_plan("box", leg, geometry, step=0.1, period=None, exposure=0.01)
    settings = [*probe_settings(box, (1,)), *compare_settings(box, plan, (1.0, 0.0))]
    names = {s.source.removeprefix("ca://ANY:ZEBRA:").removesuffix(":RBV") for s, _ in settings}
    rows = re.findall(r"^\| `([A-Z0-9_:]+)` \| .+ \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) == len(set(rows))
    assert set(rows) == names
