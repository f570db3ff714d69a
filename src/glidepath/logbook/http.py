"""Requests to e-logs: what an answer, or none, means for a message."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx

from .delivery import NotDelivered, Refused

TIMEOUT = 10.0
"""Seconds to wait for an answer."""


_hidden: set[str] = set()


def hidden(token: str) -> str:
    """Return a token that is part of addresses, and keep it out of the logs of httpx."""
    if not _hidden:
        logging.getLogger("httpx").addFilter(
            lambda record: not any(token in record.getMessage() for token in _hidden)
        )
    _hidden.add(token)
    return token


class Expired(Exception):  # noqa: N818 (an outcome, not a fault)
    """The server does not know the session any more: log in again."""


@contextlib.contextmanager
def client(timeout: float = TIMEOUT) -> Iterator[httpx.Client]:
    """Give a client whose connections end with it."""
    with httpx.Client(timeout=timeout, follow_redirects=False) as opened:
        yield opened


def request(
    opened: httpx.Client, method: str, url: str, *, changes: bool, **more: Any
) -> httpx.Response:
    """Send a request and return its answer, which is a success or a redirection.

    Parameters
    ----------
    opened
        The client, from `client`.
    method, url, more
        As for httpx.
    changes
        Whether the request may have put an entry into the logbook though no answer came.

    Raises
    ------
    NotDelivered
        If the server does not answer, or has an error of its own.
    Refused
        If the server says that the request makes no sense.
    Expired
        If it does not know who asks.
    """
    host = urlsplit(url).netloc
    try:
        response = opened.request(method, url, **more)
    except httpx.ConnectError as error:
        raise NotDelivered(f"Nothing answers at {host}; it is tried again.", sure=True) from error
    except httpx.TimeoutException as error:
        raise NotDelivered(
            f"{host} does not answer within {opened.timeout.read:g} s; it is tried again.",
            sure=not changes,
        ) from error
    except httpx.HTTPError as error:
        raise NotDelivered(
            f"The connection to {host} broke ({type(error).__name__}); it is tried again.",
            sure=not changes,
        ) from error
    status = response.status_code
    if status in (401, 403):
        raise Expired(f"{host} refuses the login (HTTP status {status}).")
    if status in (408, 429) or status >= 500:
        raise NotDelivered(
            f"{host} answers with HTTP status {status}; it is tried again.", sure=status < 500
        )
    if status >= 400:
        raise Refused(f"{host} answers with HTTP status {status}: it does not take this entry.")
    return response


__all__ = ["TIMEOUT", "Expired", "client", "hidden", "request"]
