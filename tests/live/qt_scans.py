"""Flies scans while a Qt window shows them; prints what was seen as JSON, for `test_qt_window`."""

import json
import os
import signal
import sys

import matplotlib

matplotlib.use("qtagg")

from bluesky.utils import RunEngineInterrupted
from matplotlib.backends.qt_compat import QtCore, QtWidgets

from glidepath import Session, flyscan


def windows():
    """Return the windows that are open."""
    from matplotlib import pyplot

    return [pyplot.figure(number).canvas.manager.window for number in pyplot.get_fignums()]


def drawn():
    """Return how many points the longest line in a window has."""
    from matplotlib import pyplot

    lines = [
        line
        for number in pyplot.get_fignums()
        for axes in pyplot.figure(number).axes
        for line in axes.lines
    ]
    return max((len(line.get_xdata()) for line in lines), default=0)


class Look:
    """Looks in Qt's thread while a scan runs, and does something once there are so many rows."""

    def __init__(self, session, rows, action):
        self.session, self.rows, self.action, self.seen = session, rows, action, []
        self.timer = QtCore.QTimer()
        self.timer.timeout.connect(self.look)
        self.timer.start(20)

    def look(self):
        """Note what is drawn."""
        follower = self.session.follower
        if not follower.running or not follower.rows:
            return
        self.seen.append(drawn())
        if follower.rows >= self.rows and self.action is not None:
            action, self.action = self.action, None
            action()


def close_windows():
    """Close what is open, as a user does."""
    for window in windows():
        window.close()


def fly(session, rows, action):
    """Fly a scan; return what was seen of it."""
    look = Look(session, rows, action)
    plan = flyscan([session.mesh, session.sample], session.energy, 400, 401, 0.5, period=0.02)
    paused = False
    try:
        session.RE(plan)
    except RunEngineInterrupted:
        paused = session.RE.state == "paused"
        session.RE.resume()
    look.timer.stop()
    follower = session.follower
    return {
        "status": follower.stop["exit_status"],
        "rows": follower.rows,
        "expected": follower.expected,
        "paused": paused,
        "done": look.action is None,
        "drawn_in_flight": sorted({count for count in look.seen if count}),
        "drawn": drawn(),
        "windows": len(windows()),
    }


def main(data):
    """Fly with the window, close it in mid scan, fly with a new one, and press Ctrl-C."""
    options = {"catalogue": False, "exports": False, "baseline": False, "live": "matplotlib"}
    with Session("glidepath.beamlines.simulated", data, **options) as session:
        return {
            "seen": fly(session, 40, lambda: None),
            "closed": fly(session, 30, close_windows),
            "again": fly(session, 30, lambda: None),
            "paused": fly(session, 30, lambda: os.kill(os.getpid(), signal.SIGINT)),
        }


if __name__ == "__main__":
    # Without a display, as here, matplotlib takes Qt only from a program that has begun with it.
    application = QtWidgets.QApplication([])
    print("SEEN", json.dumps(main(sys.argv[1])))
