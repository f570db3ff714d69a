"""What views share that draw in a thread of their own: the thread, and which scan is theirs."""

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from .follower import PrimaryFollower


class ViewThread(ABC):
    """A thread that shows what a follower knows, while it is entered.

    Parameters
    ----------
    follower
        What is shown. A scan that has ended when this is made is not.
    name
        Of the thread.
    """

    def __init__(self, follower: PrimaryFollower, name: str) -> None:
        self._follower = follower
        self._before = follower.start if follower.stop is not None else {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopping.set()
        self._follower.wake()
        # A view may draw without the thread, which has not begun then.
        if self._thread.ident is not None:
            self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """Show what comes, until it is told to stop."""

    @property
    def _has_scan(self) -> bool:
        """Whether a fly scan has begun since this view was made: other plans draw nothing."""
        start = self._follower.start
        return start is not self._before and "preflight" in start

    def _wait_for_scan(self, period: float) -> int:
        """Wait until a fly scan begins, or the view is told to stop.

        Parameters
        ----------
        period
            Seconds between two looks where no news come.

        Returns
        -------
        int
            What to wait for news with; see `PrimaryFollower.wait`.
        """
        seen = 0
        while not self._has_scan and not self._stopping.is_set():
            seen = self._follower.wait(seen, period)
        return seen


__all__ = ["ViewThread"]
