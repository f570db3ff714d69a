"""The one place that makes a sentence of an error, wherever it was raised.

A user's mistake, a server that is silent and a fault of Glidepath all reach the user through
`sentence_of`: on the command line, in a session, in the reason of a run. Classes of other packages
are known here by their names, so that nothing has to be imported to explain an error.
"""

import asyncio
import errno
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console

errors = Console(stderr=True, highlight=False, emoji=False)
"""Where complaints go."""

LONGEST = 600
"""Characters of a sentence that is taken from another package."""


class ScanError(Exception):
    """A scan that began did not end well; the text is its reason."""


def sentence_of(error: BaseException) -> str:
    """Return an error as one sentence that a user can act on.

    Parameters
    ----------
    error
        Anything that was raised, also by a server, a library or a fault of the program.

    Returns
    -------
    str
        One line that ends with one full stop. Texts that are sentences already stay as they
        are; what is none gets what is missing: which PV, which file, what to do.

    Examples
    --------
    >>> sentence_of(ValueError("start and stop must differ"))
    'start and stop must differ.'
    >>> sentence_of(KeyError("5"))
    "Glidepath met an error that it did not expect (KeyError: '5'); please report it."
    """
    error = cause_of(error)
    for kind, say in _KINDS:
        if any(_full_name(base) == kind for base in type(error).__mro__):
            said = say(error)
            if said:
                return as_sentence(said)
    if not _is_said(error):
        return as_sentence(_unexpected(error))
    return as_sentence(str(error))


def reason_of(error: BaseException) -> str:
    """Return why a scan ended, in one line: a sentence of the error, or what the user did."""
    error = cause_of(error)
    name = _full_name(type(error))
    return _REQUESTS.get(name) or sentence_of(error)


def cause_of(error: BaseException) -> BaseException:
    """Return the error that is behind one that only reports it: a failed status, a group of one."""
    while True:
        if _full_name(type(error)) in _WRAPPERS and error.__cause__ is not None:
            error = error.__cause__
        elif isinstance(error, BaseExceptionGroup):
            # The first one is told: the others most often follow from it.
            error = error.exceptions[0]
        else:
            return error


def as_sentence(text: str) -> str:
    """Return a text in one line that ends with exactly one full stop (or ``?`` or ``!``)."""
    line = " ".join(text.split())
    if line.endswith(("?", "!")):
        return line
    return f"{line.rstrip(' .;:,')}."


def joined(text: str) -> str:
    """Return a sentence without its full stop, to be put into another one."""
    return as_sentence(text).removesuffix(".")


@contextmanager
def as_connection_error(prefix: str = "") -> Iterator[None]:
    """Raise what a silent server causes as a `ConnectionError` whose text is a sentence."""
    try:
        yield
    except Exception as error:
        if not is_silence(error):
            raise
        raise ConnectionError(f"{prefix}{sentence_of(error)}") from error


def _full_name(kind: type) -> str:
    """Return package and name of a class: ``aioca.CANothing`` wherever in aioca it is."""
    package = kind.__module__.partition(".")[0]
    return kind.__name__ if package == "builtins" else f"{package}.{kind.__name__}"


_WRAPPERS = ("bluesky.FailedStatus",)
"""Errors that say only that another one was raised, which is their cause."""

_REQUESTS = {
    "bluesky.RequestAbort": "aborted by the user",
    "bluesky.RequestStop": "stopped by the user before its end",
    "bluesky.FailedPause": (
        "interrupted by the user where it could not be paused, so it was ended"
    ),
}

_BUG_KINDS = (
    AssertionError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
    UnicodeError,
    ZeroDivisionError,
)
"""Built-in errors whose text is for programmers, unless a class of ours is made of them."""


def is_silence(error: BaseException) -> bool:
    """Return whether an error says that a server does not answer."""
    if isinstance(error, TimeoutError):
        return True
    names = {_full_name(base) for base in type(error).__mro__}
    return bool(names & {"aioca.CANothing", "ophyd_async.NotConnectedError"})


def _is_said(error: BaseException) -> bool:
    """Return whether the text of an error was written for users."""
    text = str(error).strip()
    if not text:
        return False
    if _full_name(type(error)).startswith("glidepath."):
        return True
    return not isinstance(error, _BUG_KINDS) and len(text.split()) > 2


def _unexpected(error: BaseException) -> str:
    kind, text = type(error).__name__, " ".join(str(error).split())[:LONGEST]
    what = f"{kind}: {text}" if text else kind
    where = _place(error)
    return (
        f"Glidepath met an error that it did not expect{where} ({joined(what)}); please report it"
    )


def _place(error: BaseException) -> str:
    """Return where in this package an error was raised: the last line that is ours."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if re.search(r"[/\\]glidepath[/\\]", frame.filename)
    ]
    if not ours:
        return ""
    file = re.split(r"[/\\]glidepath[/\\]", ours[-1].filename)[-1]
    return f" in {file}, line {ours[-1].lineno}"


def _no_channel_access(error: Any) -> str:
    """Say which PV did not answer, and what is known of it, of an error of aioca."""
    name = str(getattr(error, "name", "") or "A PV")
    text = str(error).removeprefix(f"{name}: ").strip()
    if re.search(r"write access|no.*access", text, re.IGNORECASE):
        return f"{name} may not be written by this computer or user: {joined(text)}"
    return f"{name} does not answer: {joined(text)}"


def _not_connected(error: Any) -> str:
    """Say which PVs of a device do not answer, of ophyd-async's tree of errors."""
    missing = list(dict.fromkeys(_leaves(error)))
    if not missing:
        return f"No server answers: {joined(str(error))}" if str(error) else ""
    shown = ", ".join(missing[:4])
    more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
    verb = "does" if len(missing) == 1 else "do"
    return (
        f"{shown}{more} {verb} not answer; check that the IOC runs and that EPICS_CA_ADDR_LIST "
        "names its address"
    )


def _leaves(error: Any) -> Iterator[str]:
    """Yield the sources at the ends of a tree of `NotConnectedError`."""
    inner = getattr(error, "sub_errors", None) or (error.args[0] if error.args else "")
    if isinstance(inner, Mapping):
        for name, part in inner.items():
            found = list(_leaves(part))
            yield from found or [str(name)]
    elif isinstance(inner, str) and "://" in inner:
        yield inner.partition("://")[2].split()[0].rstrip(",;:")


def _timed_out(error: Any) -> str:
    text = str(error).strip()
    # All that ophyd-async says of a signal that does not answer in time is its source.
    if "://" in text and " " not in text:
        return f"{text} does not answer"
    if not text:
        return "Something was not done in time; check that the servers answer, and try again"
    return ""


def _full_disk(error: Any) -> str:
    """Say what a system error means and which file it is about."""
    where = f" ({error.filename})" if getattr(error, "filename", None) else ""
    meaning = {
        errno.ENOSPC: f"The disk is full{where}; make room and try again",
        errno.EDQUOT: f"Your quota on this disk is used up{where}; make room and try again",
        errno.EACCES: f"This file may not be used{where}; check its rights or name another place",
        errno.EROFS: f"The disk can only be read{where}; name another place",
        errno.EMFILE: "Too many files are open; raise the limit with 'ulimit -n 4096'",
        errno.ENOLCK: (
            f"The file system has no locks{where}; set HDF5_USE_FILE_LOCKING=FALSE or name a "
            "data directory on a local disk"
        ),
    }
    if error.errno in meaning:
        return meaning[error.errno]
    if error.errno is not None and not _full_name(type(error)).startswith("glidepath."):
        return f"{error.strerror or type(error).__name__}{where}"
    return ""


def _one_of_arguments(error: Any) -> str:
    """Say what is wrong with a value, of an error of pydantic."""
    found = error.errors()
    first = found[0]
    where = ".".join(str(part) for part in first.get("loc", ())) or "a value"
    return f"{where}: {first.get('msg', error)}, not {first.get('input')!r}"


def _cancelled(error: BaseException) -> str:
    return "It was ended before it was done"


_KINDS: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("aioca.CANothing", _no_channel_access),
    ("ophyd_async.NotConnectedError", _not_connected),
    ("pydantic_core.ValidationError", _one_of_arguments),
    ("TimeoutError", _timed_out),
    ("OSError", _full_disk),
    (_full_name(asyncio.CancelledError), _cancelled),
)
"""Classes of errors, first match first, and what is said of them; nothing: their own text."""


__all__ = [
    "ScanError",
    "as_connection_error",
    "as_sentence",
    "cause_of",
    "errors",
    "is_silence",
    "joined",
    "reason_of",
    "sentence_of",
]
