"""Records a new user's first ten minutes: types into a real terminal, and makes a page of it.

Run ``python docs/recording/make.py``; it needs tmux. What stands in the boxes of the page is what
the terminal showed, but for the name of the temporary folder and for empty lines.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "first-session.md"

WIDTH, HEIGHT = 110, 45

PATIENCE = 120.0
"""Seconds in which a prompt must come back."""

HEAD = """# A first session, recorded

What a newcomer typed in ten minutes, and what came back: recorded from a real terminal by
`docs/recording/make.py`. [The tour](tour.md) explains the same steps.
"""


@dataclass(frozen=True)
class Step:
    """One thing that the user does.

    Attributes
    ----------
    said
        Why, for the page.
    typed
        What is typed, without Enter.
    prompt
        What the terminal shows when it is done, as a regular expression.
    interrupt
        What the terminal shows when Ctrl-C is pressed, as a regular expression; empty: it is not.
    keys
        Keys that are pressed in place of Enter, and what clears the line afterwards.
    """

    said: str
    typed: str
    prompt: str = r"In \[\d+\]: $"
    interrupt: str = ""
    keys: tuple[str, ...] = ()


SHELL = r"\$ $"

STEPS = (
    Step("One command starts a simulated beamline and opens a prompt.", "glidepath shell --sim"),
    Step("Where is everything?", "%wa"),
    Step("What does a detector read just now?", "%ct"),
    Step("What belongs to the monochromator's energy? Tab completes.", "energy.", keys=("Tab",)),
    Step("What would a scan do? Nothing moves yet.", "%pre energy 400 403 0.5 0.02"),
    Step("Then fly it.", "%fly energy 400 403 0.5 0.02"),
    Step("Look at it, with a fit of the nitrogen series.", "%last"),
    Step("A mistake is a sentence, and nothing has moved.", "%fly energy 400 403 50"),
    Step("A misspelt name, too.", "%fly enrgy 400 403 0.5"),
    Step(
        "The same as a plan, up and down.",
        "RE(flyscan([mesh, sample], energy, 400.3, 402.3, 0.5, passes=2, there_and_back=True))",
    ),
    Step(
        "A scan that is too long: Ctrl-C after some seconds.",
        "%fly energy 400 430 0.5 0.1",
        interrupt=r"\b[3-9]\d/600 rows",
    ),
    Step("End it.", "RE.abort()"),
    Step("What happened?", "%why"),
    Step(
        "Who measures what, for all runs to come.",
        's.experiment = s.experiment.changed(sample="N2", element="N", edge="K")',
    ),
    Step("Which runs are there?", "runs"),
    Step("The newest success as a table.", "runs[2].table().tail(3)"),
    Step("That is all for now.", "exit", SHELL),
    Step("The command line finds the runs again.", "glidepath runs", SHELL),
    Step("What was the last one?", "glidepath show -1 | head -20", SHELL),
    Step(
        "And its spectrum as a picture.", "glidepath plot 2 --mode average -o spectrum.png", SHELL
    ),
)


class Terminal:
    """A terminal of tmux, with a shell in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self._name = f"recording-{os.getpid()}"
        self._folder = folder
        start = ("new-session", "-d", "-s", self._name, "-x", str(WIDTH), "-y", str(HEIGHT))
        python = Path(sys.executable).parent
        self._environment = {
            **os.environ,
            "PS1": "$ ",
            "PATH": os.environ["PATH"] + f":{python}",
            "IPYTHONDIR": str(folder / ".ipython"),
        }
        self._tmux(*start, "env 'PS1=$ ' bash --norc --noprofile")
        self._tmux("set-option", "-t", self._name, "history-limit", "20000")
        self.wait(SHELL)

    def _tmux(self, *words: str) -> str:
        # A server of its own: one that runs already has another environment.
        command = ["tmux", "-L", self._name, *words]
        return subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=self._environment,
        ).stdout

    def text(self) -> str:
        """Return all that the terminal has shown, without the empty lines below the cursor."""
        shown = self._tmux("capture-pane", "-p", "-J", "-S", "-", "-t", self._name)
        return shown.rstrip().replace(str(self._folder), "~/beamtime")

    def wait(self, prompt: str) -> None:
        """Wait until the last line is a prompt, and stays one."""
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while quiet < 5:
            quiet = quiet + 1 if re.search(prompt, self.text() + " ") else 0
            if time.monotonic() > deadline:
                raise TimeoutError(f"No prompt came back:\n{self.text()[-2000:]}")
            time.sleep(0.2)

    def _wait_for(self, pattern: str, line: int) -> None:
        """Wait until something is shown from a line on."""
        deadline = time.monotonic() + PATIENCE
        while not re.search(pattern, "\n".join(self.text().splitlines()[line:])):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{pattern} was not shown:\n{self.text()[-2000:]}")
            time.sleep(0.2)

    def do(self, step: Step) -> str:
        """Do one step; return what it added to the terminal."""
        before = len(self.text().splitlines())
        self._tmux("send-keys", "-t", self._name, "-l", step.typed)
        if step.keys:
            self._tmux("send-keys", "-t", self._name, *step.keys)
            time.sleep(2.0)
            shown = self.text()
            self._tmux("send-keys", "-t", self._name, "Escape")
            self._tmux("send-keys", "-t", self._name, "C-u")
            self._tmux("send-keys", "-t", self._name, "C-c")
            self.wait(step.prompt)
            return _since(shown, before)
        self._tmux("send-keys", "-t", self._name, "Enter")
        if step.interrupt:
            self._wait_for(step.interrupt, before)
            self._tmux("send-keys", "-t", self._name, "C-c")
        # The prompt of before is still the last line for a moment.
        time.sleep(1.0)
        self.wait(step.prompt)
        return _since(self.text(), before)

    def close(self) -> None:
        """End the terminal and what runs in it."""
        self._tmux("kill-server")


def _since(text: str, line: int) -> str:
    """Return a text from the line with the prompt on, without the prompt at its end."""
    lines = [one.rstrip() for one in text.splitlines()[max(line - 1, 0) :]]
    while lines and (not lines[-1] or re.fullmatch(r"\$|In \[\d+\]:", lines[-1])):
        lines.pop()
    return re.sub(r"\n\n+", "\n\n", "\n".join(lines))


def main() -> None:
    """Record and write the page."""
    parts = [HEAD]
    # What the shell and the commands leave behind may still write when the folder goes.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        terminal = Terminal(Path(folder).resolve())
        try:
            for step in STEPS:
                shown = terminal.do(step)
                print(shown, flush=True)
                parts.append(f"{step.said}\n\n```\n{shown}\n```\n")
        finally:
            terminal.close()
    PAGE.write_text("\n".join(parts))


if __name__ == "__main__":
    main()
