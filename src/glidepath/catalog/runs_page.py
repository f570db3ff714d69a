"""The page of a Tiled server that lists its runs and lets a browser download them.

`LocalTiledServer` has it. For another server name it in its configuration,
``routers: ["glidepath.catalog.runs_page:router"]``, beside the formats in ``media_types``. The page
itself holds nothing: it asks the server for what it shows, with the key of who opened it.
"""

from functools import cache
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

router = APIRouter()


@router.get("/glidepath/runs", response_class=HTMLResponse, include_in_schema=False)
async def runs() -> str:
    """Return the page."""
    return _text()


@cache
def _text() -> str:
    return (Path(__file__).parent / "static" / "runs.html").read_text("utf-8")


__all__ = ["router"]
