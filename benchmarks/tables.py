"""Tables of results that fit a terminal of eighty columns with every figure whole."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

__all__ = ["compact"]


def compact(title: str, texts: Sequence[str], numbers: Sequence[str]) -> Table:
    """Return an empty table whose figures are never cut: the texts before them are wrapped.

    Parameters
    ----------
    title
        Its title.
    texts
        Headings of the first columns, which may be wrapped.
    numbers
        Headings of the columns of figures; a heading of several words is written one below the
        other.
    """
    result = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for heading in texts:
        result.add_column(heading, overflow="fold")
    for heading in numbers:
        result.add_column(heading.replace(" ", "\n"), justify="right", no_wrap=True)
    return result
