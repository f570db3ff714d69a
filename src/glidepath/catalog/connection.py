"""Opens a Tiled catalogue within seconds, or says in one sentence why it cannot."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from glidepath.catalog.errors import CatalogError

COLUMNS_PATH = "/glidepath/columns"
"""Path of the request that `glidepath.catalog.router` takes, before the path of a run."""

PAGE_PATH = "/custom/glidepath/runs"
"""Path of the page of `glidepath.catalog.runs_page`, from a server's address on."""

RETRY_ATTEMPTS = 3
"""Attempts per request; Tiled's own default is 10."""
RETRY_TIMEOUT = 5.0
"""Seconds that the attempts for one request may take; Tiled's own default is 45."""


def bound_retries() -> None:
    """Let a request to a server that is gone fail after seconds instead of minutes.

    Tiled keeps its bounds in two module variables for the whole process. A user who sets the
    environment variables ``TILED_RETRY_ATTEMPTS`` and ``TILED_RETRY_TIMEOUT`` has the last word.
    """
    from tiled.client import utils

    if "TILED_RETRY_ATTEMPTS" not in os.environ:
        utils.TILED_RETRY_ATTEMPTS = RETRY_ATTEMPTS
    if "TILED_RETRY_TIMEOUT" not in os.environ:
        utils.TILED_RETRY_TIMEOUT = RETRY_TIMEOUT


def open_catalog(
    uri: str, api_key: str | None = None, *, writable: bool = False, timeout: float = 30.0
) -> Any:
    """Connect to a Tiled server.

    Parameters
    ----------
    uri
        Address of the server or of a container in it, e.g. ``http://127.0.0.1:8000``.
    api_key
        The key to present; None leaves it to ``TILED_API_KEY`` or to anonymous access.
    writable
        Also check that this key may write; nothing is written for that.
    timeout
        Seconds to wait for one answer of the server.

    Returns
    -------
    glidepath.catalog.run_catalog.RunCatalog
        The catalogue: runs by uid, its beginning, or number.

    Raises
    ------
    CatalogError
        Nothing answers there, the key is refused, there is no catalogue at the address, or
        (with ``writable``) the key may only read.
    """
    import httpx
    from tiled.client import from_context
    from tiled.client.context import CannotPrompt, Context

    from glidepath.catalog.run_catalog import as_run_catalog

    address = urlsplit(uri)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CatalogError(
            f"{_without_key(uri)!r} is not the address of a Tiled server; give one like "
            "'http://127.0.0.1:8000'."
        )
    bound_retries()
    shown = _without_key(uri)
    # A proxy cannot reach this machine's own loopback address.
    loopback = address.hostname in ("127.0.0.1", "localhost", "::1")
    context: Any = None
    client: Any = None
    try:
        context, path = Context.from_any_uri(
            uri,
            api_key=api_key,
            timeout=httpx.Timeout(timeout, connect=2.0, pool=5.0),
            show_progress=False,
            trust_env=not loopback,
        )
        opened = as_run_catalog(from_context(context, node_path_parts=path))
        if writable:
            _check_writable(opened, shown)
        # Only now: a client that is refused is closed below.
        client = opened
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise CatalogError(
                f"The Tiled server at {shown} refuses the API key; give the key of that server."
            ) from error
        if status == 404:
            raise CatalogError(
                f"The server at {shown} has no catalogue at that address; check the path."
            ) from error
        raise CatalogError(
            f"The Tiled server at {shown} answers with HTTP status {status}; look into its log."
        ) from error
    except httpx.TimeoutException as error:
        raise CatalogError(
            f"The Tiled server at {shown} does not answer within {timeout:g} s; check that it "
            "is healthy, or try again."
        ) from error
    except httpx.HTTPError as error:
        raise CatalogError(
            f"No Tiled server answers at {shown}; start one there or check the address."
        ) from error
    except (RuntimeError, CannotPrompt) as error:
        # Tiled's client itself refuses to go on without a key, or would ask somebody to log in.
        raise CatalogError(
            f"The Tiled server at {shown} needs an API key; give the key of that server."
        ) from error
    except (ValueError, KeyError, AttributeError) as error:
        if isinstance(error, CatalogError):
            raise
        raise CatalogError(
            f"What answers at {shown} is not a Tiled server; check the address."
        ) from error
    finally:
        if client is None and context is not None:
            context.http_client.close()
    return client


def _check_writable(client: Any, shown: str) -> None:
    # The server checks the permission before it looks at the body, and an empty body
    # creates nothing: the answer is 'may not' or 'makes no sense'.
    link = client.item["links"]["self"]
    response = client.context.http_client.post(link, json={})
    if response.status_code in (401, 403, 405):
        raise CatalogError(
            f"The Tiled server at {shown} allows only reading with this API key; give a key that "
            "may write."
        )


def _without_key(uri: str) -> str:
    return uri.split("?", 1)[0]
