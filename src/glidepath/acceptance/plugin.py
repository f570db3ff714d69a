"""The pytest plugin: ``pytest --beamline my.module`` tests the hardware of a beamline.

Only the options are here, so that it costs nothing where it is not asked for.
"""

from typing import Any

NAME = "glidepath-acceptance"


def pytest_addoption(parser: Any) -> None:
    """Add the options."""
    group = parser.getgroup("glidepath", "acceptance tests of a beamline (glidepath)")
    group.addoption(
        "--beamline",
        metavar="MODULE",
        help="Make acceptance tests of the devices of this beamline module.",
    )
    group.addoption(
        "--devices",
        metavar="NAMES",
        help="Only these devices, separated by commas. Default: all.",
    )
    group.addoption(
        "--move",
        metavar="NAMES",
        default="",
        help="Devices, or axes of them, that may be moved or let run, separated by commas. "
        "Default: none, everything is only read.",
    )
    group.addoption(
        "--beamline-data",
        metavar="FOLDER",
        help="Data directory of Glidepath. Default: of its configuration.",
    )
    group.addoption(
        "--detector-exposure",
        type=float,
        default=0.02,
        metavar="SECONDS",
        help="Exposure of detectors in their tests. Default: 0.02.",
    )
    group.addoption(
        "--detector-pulses",
        metavar="NAME",
        help="What sends pulses to detectors; '' for nothing. Default: the first that there is.",
    )
    group.addoption(
        "--acceptance-report",
        metavar="FOLDER",
        help="Where the report is written. Default: a new folder in the data directory.",
    )
    group.addoption(
        "--no-catalogue",
        action="store_true",
        help="Keep what is found in the journal only, not in Tiled.",
    )


def pytest_configure(config: Any) -> None:
    """Load the rest if a beamline is given."""
    if config.getoption("--beamline") and not config.pluginmanager.has_plugin(NAME):
        config.addinivalue_line("markers", "acceptance: a test of the hardware of a beamline")
        from . import fixtures
        from .items import Door

        config.pluginmanager.register(Door(config), NAME)
        config.pluginmanager.register(fixtures, f"{NAME}-fixtures")
