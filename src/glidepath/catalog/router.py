"""Lets a Tiled server take the news of many columns of a run in one request.

Tiled itself takes one column per request, and each request costs the server about 30 ms, nearly
all of it on the way to the column: middleware, authentication, finding the node. A table of 17
columns cannot be brought up to date twice a second like that, and to make the 200 columns of a
scan of 50 channels takes ten seconds. This router does to each column what Tiled's own requests
do, but goes the way once.

`LocalTiledServer` has it. For another server name it in its configuration,
``routers: ["glidepath.catalog.router:router"]``. A server without it, or with an access policy,
which may say something else for each column, gets Tiled's own requests.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Security
from pydantic import BaseModel
from starlette.status import HTTP_404_NOT_FOUND
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

SCOPES = ["write:metadata", "create:node", "register", "write:data"]
"""What Tiled's own requests ask for."""

router = APIRouter()


class Column(BaseModel):
    """What is new of one column.

    Parameters
    ----------
    stream, key
        Where the column is in the run; the stream is there already.
    metadata
        Metadata for a column that is new.
    data_source
        The data source as it is now. Assets that the catalogue knows already can be left out.
    patch
        Which part of the array is new.
    """

    stream: str
    key: str
    metadata: dict[str, Any]
    data_source: DataSource
    patch: ArrayPatch


async def run_at(
    path: str,
    request: Request,
    principal: Annotated[Any, Depends(get_current_principal)],
    root_tree: Annotated[Any, Depends(get_root_tree)],
    session_state: Annotated[Any, Depends(get_session_state)],
    access_tags: Annotated[Any, Depends(get_current_access_tags)],
    scopes: Annotated[Any, Depends(get_current_scopes)],
    _: Annotated[Any, Security(check_scopes, scopes=SCOPES)],
) -> Any:
    """Return the run's node, for somebody who may change it."""
    if getattr(request.app.state, "access_policy", None) is not None:
        raise HTTPException(HTTP_404_NOT_FOUND, "This server has an access policy.")
    return await get_entry(
        path,
        SCOPES,
        principal,
        access_tags,
        scopes,
        root_tree,
        session_state,
        request.state.metrics,
    )


@router.put(COLUMNS_PATH + "/{path:path}")
async def put_columns(run: Annotated[Any, Depends(run_at)], columns: list[Column]) -> None:
    """Make the columns that are new, bring the others up to date, in their order."""
    nodes: dict[str, tuple[Any, dict[str, Any]]] = {}
    for column in columns:
        if column.stream not in nodes:
            stream = await run.lookup_adapter([column.stream])
            # All at once: to find a node takes as long as to change it.
            nodes[column.stream] = (stream, dict(await stream.items_range(0, None)))
        stream, known = nodes[column.stream]
        node = known.get(column.key)
        if node is None:
            known[column.key] = await stream.create_node(
                column.data_source.structure_family,
                column.metadata,
                key=column.key,
                data_sources=[column.data_source],
            )
        else:
            (source,) = await node.data_sources()
            column.data_source.id = source.id
            await node.put_data_source(column.data_source, column.patch)


@router.delete(COLUMNS_PATH + "/{path:path}")
async def close_columns(run: Annotated[Any, Depends(run_at)]) -> None:
    """Tell everybody who listens to the run, its streams or their columns that this was all."""

    async def close(nodes: Iterable[Any], depth: int) -> None:
        for node in nodes:
            if depth:
                inside = await node.items_range(0, None)
                await close((child for _, child in inside), depth - 1)
            await node.close_stream()

    await close([run], 2)


__all__ = ["router"]
