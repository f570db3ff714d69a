"""What comes of a plan, as a prompt or a notebook shows it: a sentence."""

import sys
from typing import TYPE_CHECKING, Any

from bluesky.run_engine import RunEngineResult

if TYPE_CHECKING:
    from .session import Session


def sentence_of_result(session: "Session", result: RunEngineResult) -> str:
    """Return what came of a plan, in a sentence."""
    if not result.run_start_uids:
        return "Done; no run was made."
    start, stop = session.follower.start, session.follower.stop or {}
    if start.get("uid") != result.run_start_uids[-1]:
        return f"Done: {len(result.run_start_uids)} runs."
    rows = stop.get("num_events", {}).get("primary", 0)
    reason = str(stop.get("reason") or "").rstrip(".")
    what = f"Scan {start.get('scan_id')} ({start['uid'][:8]}): {stop.get('exit_status')}"
    return f"{what}; {reason}." if reason else f"{what}; {rows} rows."


def show_results(session: "Session", shell: Any = None) -> None:
    """Let IPython show what ``RE(...)`` returns as a sentence.

    Parameters
    ----------
    session
        Whose run engine it is.
    shell
        An IPython shell; None: the one that this program runs in, if there is any.
    """
    if shell is None:
        if "IPython" not in sys.modules:
            return
        from IPython.core.getipython import get_ipython

        shell = get_ipython()
    if shell is None:
        return

    def show(result: RunEngineResult, printer: Any, cycle: bool) -> None:
        printer.text(sentence_of_result(session, result))

    shell.display_formatter.formatters["text/plain"].for_type(RunEngineResult, show)


__all__ = ["sentence_of_result", "show_results"]
