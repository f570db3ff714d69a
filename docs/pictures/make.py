"""Makes the pictures of the guide from one flight over the simulated beamline.

Run ``python docs/pictures/make.py``; with a folder as argument they go there. The notebook's plot
is the widget's own JavaScript in a headless Chromium, fed with the messages that it got in the
flight: three quarters of them, and all of them.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

HERE = Path(__file__).parent

RANGE = (400.3, 402.3)
"""eV: the vibrational series of N2."""

VELOCITY, PERIOD = 0.4, 0.05
"""eV/s, and the length of a row in s."""

WIDTH, HEIGHT = 1000, 520
"""Pixels of the picture of a browser."""

PAGE = """<!doctype html><meta charset="utf-8"><style>body {{ margin: 12px }}
{style}</style><div id="plot"></div><script>const META = {meta}, MESSAGES = {messages};</script>
<script type="module">
{module}
const listeners = {{}};
const model = {{
  get: (name) => name === "meta" ? META : undefined,
  on: (name, callback) => {{ (listeners[name] = listeners[name] || []).push(callback); }},
  send: () => {{}},
}};
widget.initialize({{ model }});
widget.render({{ model, el: document.getElementById("plot") }});
for (const [message, columns] of MESSAGES) {{
  const buffers = columns.map((c) => new DataView(Float64Array.from(c, Number).buffer));
  listeners["msg:custom"].forEach((call) => call(message, buffers));
}}
</script>"""


class Widget:
    """Keeps what a notebook's plot is sent."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self.meta = meta
        self.table = b""
        self.messages: list[tuple[Mapping[str, Any], list[list[str]]]] = []

    def send(self, content: Mapping[str, Any], buffers: list[bytes]) -> None:
        """Take a message; numbers become text, because JSON knows no NaN."""
        import numpy as np

        columns = [[repr(float(value)) for value in np.frombuffer(b)] for b in buffers]
        self.messages.append((content, columns))


def make(folder: Path) -> list[Path]:
    """Fly and make all pictures in a folder; return their paths.

    Raises
    ------
    RuntimeError
        If there is no Chromium.
    """
    from glidepath.simulation import NOISE_OF_A_BEAMLINE, SimulatedBeamline

    if shutil.which("chromium") is None:
        raise RuntimeError("The pictures of the notebook need Chromium; install chromium.")
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="glidepath-pictures-")))
        beamline = stack.enter_context(SimulatedBeamline(detector_noise=NOISE_OF_A_BEAMLINE))
        os.environ.update(beamline.environment)
        os.environ["GLIDEPATH_PREFIX"] = beamline.settings.prefix
        return _fly_and_draw(folder, data)


def _fly_and_draw(folder: Path, data: Path) -> list[Path]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from rich.console import Console

    from glidepath import Session, flyscan
    from glidepath.live import FigureView, LiveView, NotebookView

    widgets: list[Widget] = []
    screen = Console(file=io.StringIO(), force_terminal=True, width=100, height=40)
    session = Session("glidepath.beamlines.simulated", data, catalogue=False, live=False)
    with (
        session as s,
        patch(
            "glidepath.live.notebook.SpectrumWidget",
            lambda meta: widgets.append(Widget(meta)) or widgets[-1],
        ),
        patch("IPython.display.display", lambda widget: None),
        NotebookView(s.follower),
        LiveView(s.follower, screen),
        FigureView(s.follower) as figure,
    ):
        FigureCanvasAgg(figure.figure)
        options = {"period": PERIOD, "passes": 2, "there_and_back": True}
        s.RE(flyscan([s.mesh, s.sample], s.energy, *RANGE, VELOCITY, **options))
    (widget,) = widgets
    last = StoredRunOf(data)
    pictures = [folder / name for name in ("terminal.svg", "matplotlib.png", "plot.png")]
    _draw_terminal(screen.file.getvalue(), pictures[0])  # type: ignore[attr-defined]
    figure.figure.savefig(pictures[1], dpi=100)
    last.plot(pictures[2], mode="average")
    half = len(widget.messages) * 3 // 4
    running = {**widget.meta, "running": True, "status": ""}
    for name, meta, messages in (
        ("notebook-running.png", running, widget.messages[:half]),
        ("notebook-ended.png", widget.meta, widget.messages),
    ):
        pictures.append(_draw_notebook(folder / name, meta, messages))
    return pictures


def StoredRunOf(data: Path) -> Any:  # noqa: N802 (as the class that it returns)
    """Return the newest run of a data directory."""
    from glidepath.lookback import StoredRun

    return StoredRun.of(data, -1)


def _draw_terminal(text: str, path: Path) -> None:
    """Draw the last frame that a terminal got, without fonts from elsewhere."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI
    from rich.text import Text

    # A frame begins where the cursor goes up over the one before.
    frame = re.split(r"(?:\x1b\[2K|\x1b\[1A)+", text)[-1]
    frame = re.sub(r"\x1b\[\?25[hl]", "", frame).strip("\r\n")
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(frame), soft_wrap=True)
    svg = console.export_svg(title="glidepath", theme=MONOKAI, unique_id="glidepath")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    path.write_text(svg.replace("Fira Code", "monospace"))


def _draw_notebook(path: Path, meta: Mapping[str, Any], messages: list[Any]) -> Path:
    from glidepath.live.notebook import module_text, style_text

    module = module_text().replace("export default {", "const widget = {")
    with tempfile.TemporaryDirectory(prefix="glidepath-browser-") as folder:
        page = Path(folder) / "page.html"
        page.write_text(
            PAGE.format(
                style=style_text(),
                module=module,
                meta=json.dumps(meta),
                messages=json.dumps(messages),
            )
        )
        done = subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--virtual-time-budget=4000"),
                *(f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}"),
                *("--hide-scrollbars", f"--screenshot={path.absolute()}", page.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=120,
        )
    if not path.exists():
        raise RuntimeError(f"Chromium made no picture: {done.stderr[-500:]}")
    return path


if __name__ == "__main__":
    for made in make(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE):
        print(made)
