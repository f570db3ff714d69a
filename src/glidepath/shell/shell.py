"""Makes IPython a place to measure in: names, completion, sentences in place of tracebacks."""

import ast
import logging
import traceback
from collections.abc import Iterable
from typing import Any

from bluesky.utils import RunEngineInterrupted
from IPython.core.interactiveshell import InteractiveShell
from IPython.terminal.interactiveshell import TerminalInteractiveShell
from IPython.utils import generics
from ophyd_async.core import Device
from traitlets.config import Config

from glidepath.sentences import errors, sentence_of
from glidepath.session import Session
from glidepath.session.results import sentence_of_result, show_results

from .magics import WAYS_ON, ScanMagics
from .names import names_for

PAUSED = f"The scan is paused: the axis stands. {WAYS_ON}"

WELCOME = (
    "Glidepath at {beamline}, data in {data}.\n"
    "  %wa  where the axes are    %pre / %fly energy 400 402 2 0.02    %last  plot and fit\n"
    "  %why  what happened        %ct  read the detectors              runs   what was measured\n"
    "  RE(flyscan([{detectors}], {axis}, 400, 402, 0.5)); Ctrl-C pauses; {axis}.<TAB> completes.\n"
)

_log = logging.getLogger(__name__)

_PLUMBING = frozenset(
    {
        *("add_children_as_readables", "add_readables", "add_config", "children", "connect"),
        *("log", "parent", "set_name", "get_child_backends", "connected", "DEFAULT_NAME"),
        *("read_configuration", "describe_configuration", "set_attribute_names"),
        *("channels", "derived", "parts", "movable_logic", "hints"),
        *("clear_sub", "subscribe", "subscribe_reading"),
    }
)
"""Attributes of ophyd-async's devices that are of no use at a prompt."""


def start(session: Session) -> None:
    """Open a shell; return when the user leaves it."""
    configuration = Config()
    configuration.TerminalInteractiveShell.confirm_exit = False
    configuration.TerminalInteractiveShell.enable_tip = False
    # Completion by what objects are, not by what their source text promises.
    configuration.Completer.use_jedi = False
    shell: Any = TerminalInteractiveShell.instance(
        config=configuration, banner1=_welcome(session), banner2=""
    )
    if session.live == "matplotlib":
        _use_qt(session, shell)
    install(session, shell)
    shell.show_banner()
    shell.mainloop()


def _use_qt(session: Session, shell: Any) -> None:
    """Lend the prompt to Qt's loop before the first scan, or say why there will be no window."""
    from glidepath.live.figure import no_window

    try:
        shell.run_line_magic("matplotlib", "qt")
    except ImportError as error:
        session.live = "terminal"
        errors.print(
            f"glidepath: {no_window(error)} Scans are shown in the terminal.",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )


def install(session: Session, shell: InteractiveShell) -> None:
    """Make an IPython shell one of a session: names, magics, completion, sentences.

    Parameters
    ----------
    session
        What is at hand.
    shell
        A terminal's shell or a notebook's.
    """
    shell.push(names_for(session))
    shell.register_magics(ScanMagics(shell, session))
    shell.events.register("pre_run_cell", _Preparation(session))
    shell.set_custom_exc((Exception,), _say)
    show_results(session, shell)


class _Preparation:
    """Before a cell is run: connects the devices that it names, remembers what was typed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __call__(self, info: Any) -> None:
        """Look at the text of the cell."""
        text = info.raw_cell or ""
        self._session.command = text.strip()
        used = [name for name in names_in(text) if name in self._session.beamline.devices]
        for name, complaint in self._session.try_to_connect(used).items():
            errors.print(f"{name} cannot be used: {complaint}", style="yellow", markup=False)


def names_in(cell: str) -> list[str]:
    """Return the names that a cell uses, each once, in their order."""
    try:
        tree = ast.parse(cell)
    except SyntaxError:
        # Magics and shell commands: words are near enough.
        return list(dict.fromkeys(_words(cell)))
    found = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(found))


def _words(text: str) -> Iterable[str]:
    word = ""
    for character in f"{text} ":
        if character.isalnum() or character == "_":
            word += character
        elif word:
            yield word
            word = ""


def _say(
    shell: InteractiveShell, kind: type[BaseException], error: BaseException, trace: Any, **_: Any
) -> list[str]:
    """Show an error: a sentence, or the traceback of a mistake in what the user wrote."""
    if isinstance(error, RunEngineInterrupted):
        errors.print(PAUSED, style="yellow", markup=False)
        return []
    if _is_of_user(kind, trace):
        shell.showtraceback((kind, error, trace), tb_offset=1, running_compiled_code=True)
        return []
    _log.error("An error at the prompt.", exc_info=(kind, error, trace))
    errors.print(sentence_of(error), style="red", markup=False, soft_wrap=True)
    return traceback.format_exception(kind, error, trace)


_MISTAKES = (ArithmeticError, AttributeError, ImportError, LookupError, NameError, SyntaxError)
"""What a line of Python that is wrong raises, beside TypeError."""


def _is_of_user(kind: type[BaseException], trace: Any) -> bool:
    """Return whether an error is a mistake in the Python that the user wrote."""
    frames = traceback.extract_tb(trace)
    deepest = frames[-1].filename if frames else ""
    typed = "ipykernel" in deepest or deepest.startswith("<ipython") or deepest == "<string>"
    return issubclass(kind, (*_MISTAKES, TypeError)) and typed


def _welcome(session: Session) -> str:
    beamline = session.beamline
    said = WELCOME.format(
        beamline=beamline.name,
        data=session.root,
        detectors=", ".join(beamline.detectors[:2]) or "detector",
        axis=beamline.axes[0] if beamline.axes else "axis",
    )
    dead = [run for run in session.runs(limit=1) if run.status == "killed"]
    return said + "".join(f"The newest run, {run.uid[:8]}: {run.reason}\n" for run in dead)


@generics.complete_object.register(Device)
def _complete_device(device: Device, words: list[str]) -> list[str]:
    """Complete a device by its children and its actions, not by the plumbing."""
    return [word for word in words if word not in _PLUMBING and not word.startswith("_")]


__all__ = ["install", "names_in", "sentence_of_result", "start"]
