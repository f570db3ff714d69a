"""Lets a Tiled server take the new rows of many columns in one request.

Tiled itself takes one column per request, and each request costs the server about 30 ms, nearly
all of it on the way to the column: middleware, authentication, finding the node. A table of 17
columns cannot be brought up to date twice a second like that. This router does to each column
what Tiled's own request does, but goes the way once. `LocalTiledServer` has it; for another
server name it in its configuration, ``routers: ["glidepath.catalog.router:router"]``. A server
without it gets a request for each column.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Security
from pydantic import BaseModel
from starlette.status import HTTP_409_CONFLICT
from tiled.catalog.adapter import CatalogArrayAdapter
from tiled.server.authentication import (
    check_scopes,
    get_current_access_tags,
    get_current_principal,
    get_current_scopes,
    get_session_state,
)
from tiled.server.dependencies import get_entry, get_root_tree
from tiled.server.schemas import DataSource
from tiled.stream_messages import ArrayPatch

from glidepath.catalog.connection import COLUMNS_PATH

SCOPES = ["write:metadata", "register"]
"""What Tiled asks for to change a data source."""

router = APIRouter()


class Column(BaseModel):
    """What is new of one column.

    Parameters
    ----------
    stream, key
        Where the column is in the run.
    data_source
        As it is now, with the id of the one to replace.
    patch
        Which part is new.
    """

    stream: str
    key: str
    data_source: DataSource
    patch: ArrayPatch


@router.put(COLUMNS_PATH + "/{path:path}")
async def put_columns(
    path: str,
    columns: list[Column],
    request: Request,
    principal: Annotated[Any, Depends(get_current_principal)],
    root_tree: Annotated[Any, Depends(get_root_tree)],
    session_state: Annotated[Any, Depends(get_session_state)],
    access_tags: Annotated[Any, Depends(get_current_access_tags)],
    scopes: Annotated[Any, Depends(get_current_scopes)],
    _: Annotated[Any, Security(check_scopes, scopes=SCOPES)],
) -> None:
    """Replace the data sources of columns of the run at ``path``, in their order."""
    policy = getattr(request.app.state, "access_policy", None)

    async def entry_at(*segments: str) -> Any:
        return await get_entry(
            "/".join([path, *segments]),
            SCOPES,
            principal,
            access_tags,
            scopes,
            root_tree,
            session_state,
            request.state.metrics,
            None,
            policy,
        )

    streams: dict[str, Mapping[str, Any]] = {}
    for column in columns:
        if policy is not None:
            # It may say something else for each column.
            entry = await entry_at(column.stream, column.key)
        else:
            if column.stream not in streams:
                # All at once: to find a node takes as long as to change it.
                stream = await entry_at(column.stream)
                streams[column.stream] = dict(await stream.items_range(0, None))
            entry = streams[column.stream].get(column.key)
        if not isinstance(entry, CatalogArrayAdapter):
            raise HTTPException(
                HTTP_409_CONFLICT, f"{path}/{column.stream} has no column {column.key!r}."
            )
        await entry.put_data_source(column.data_source, column.patch)


__all__ = ["router"]
