"""The log of a data directory: libraries write there, the terminal is for sentences."""

import logging
from contextlib import suppress
from pathlib import Path

LOGGERS = ("glidepath", "bluesky", "ophyd_async", "aioca", "tiled")
"""What writes to the log file of a data directory instead of to the terminal."""


class LogFile(logging.FileHandler):
    """A log that a full disk does not make loud: the scan itself says what is wrong."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        for name in LOGGERS:
            logging.getLogger(name).addHandler(self)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Do without the line."""

    def close(self) -> None:
        """Let the libraries log as before."""
        for name in LOGGERS:
            logging.getLogger(name).removeHandler(self)
        # What a full disk did not take is written once more here.
        with suppress(OSError):
            super().close()


__all__ = ["LOGGERS", "LogFile"]
