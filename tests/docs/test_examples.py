"""Every example in the documentation runs."""

import re
import shlex
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).parents[2]
PAGES = sorted(ROOT.glob("docs/**/*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(page, language):
    return [text for kind, text in FENCE.findall(page.read_text()) if kind == language]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    from glidepath.catalog import LocalTiledServer

    with LocalTiledServer(tmp_path_factory.mktemp("data")) as server:
        yield server


@pytest.fixture
def namespace(beamline, RE, server):
    """What the pages take for granted: a run engine that feeds a catalogue, and devices."""
    import asyncio

    from glidepath.beamlines.simulated import make_devices
    from glidepath.catalog import Publisher
    from glidepath.plans import flyscan
    from glidepath.storage import use_data_root

    root = use_data_root(server.data_root)
    devices = make_devices(beamline.settings.prefix)

    async def connect():
        await asyncio.gather(*(device.connect() for device in devices.values()))

    asyncio.run_coroutine_threadsafe(connect(), RE.loop).result(30)
    publisher = Publisher(root / "journal", server.client)
    RE.subscribe(publisher)

    def run(plan):
        result = RE(plan)
        for uid in result.run_start_uids:
            assert publisher.wait_published(uid, 90.0)
        return result

    names = {"RE": run, "flyscan": flyscan, "data": root, **devices}
    yield names
    publisher.close()
    if "run" in names:
        # The example's client stays open as long as Python; here, others want silence.
        names.pop("run").context.http_client.close()


MY_BEAMLINE = """
import os

import glidepath.beamlines.simulated as here
from glidepath.devices.families import PhotonShutter

globals().update(vars(here))


def make_devices(prefix=None):
    shutter = PhotonShutter(f"{os.environ['GLIDEPATH_PREFIX']}PSH1:", "shutter")
    return {**here.make_devices(prefix), "shutter": shutter}
"""
"""The simulated beamline with a shutter."""

SESSION_PAGES = [ROOT / "docs" / "tour.md", ROOT / "docs" / "recipes.md"]
"""Pages for those who sit in a session."""


@pytest.mark.slow
# A page is several sessions, each with scans of its own.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", SESSION_PAGES, ids=lambda p: p.stem)
def test_python_examples_run_in_a_session(page, beamline, tmp_path, monkeypatch):
    from glidepath import Session
    from glidepath.shell.names import names_for
    from glidepath.shell.shell import names_in

    beamline.start_also("vacuum")
    (tmp_path / "my_beamline.py").write_text(MY_BEAMLINE)
    monkeypatch.chdir(tmp_path)
    for text in blocks(page, "python"):
        # Each as it would be typed into a session of its own.
        with Session("my_beamline", live=False, catalogue=False) as session:
            session.try_to_connect(names_in(text))
            exec(compile(text, str(page), "exec"), {**names_for(session), "s": session})


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if blocks(p, "python") and p not in SESSION_PAGES],
    ids=lambda p: p.stem,
)
def test_python_examples_run(page, namespace, beamline):
    if page.stem == "beam-based-alignment":
        beamline.start_also("accelerator")
    for text in blocks(page, "python"):
        exec(compile(text, str(page), "exec"), namespace)


def test_the_line_in_the_readme_passes_the_preflight(namespace, RE):
    (line,) = blocks(ROOT / "README.md", "python")

    class ReachedRunError(Exception):
        pass

    def until_the_run_opens(plan):
        # It would fly for a quarter of an hour.
        message = next(plan)
        while message.command != "open_run":
            message = plan.send((yield message))
        plan.close()
        raise ReachedRunError

    def run(plan):
        with pytest.raises(ReachedRunError):
            RE(until_the_run_opens(plan))

    exec(line, {**namespace, "RE": run})


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.stem)
def test_commands_in_the_pages_exist_and_take_these_options(page):
    from glidepath.cli.main import app

    group = typer.main.get_command(app)
    for text in blocks(page, "sh"):
        for line in text.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["glidepath"] and words[1:] != ["--help"]:
                # Commands are imported when called: before that only their names are known.
                command, options = group, words[1:]
                while hasattr(command, "resolve_command"):
                    context = typer.Context(command)
                    name, command, options = command.resolve_command(context, options)
                command.make_context(name, options, resilient_parsing=False)
            elif words[:1] == ["make"]:
                assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.stem)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
