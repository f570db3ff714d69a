"""How a plan is asked for triggers: by `Triggers`, or by a mapping where only plain values pass."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any, TypeVar

from bluesky.protocols import Readable

from glidepath.flyers import Triggers
from glidepath.trajectory import PreflightError

TriggersAsked = Triggers | Mapping[str, Readable[Any] | float] | None
"""``{"box": zebra, "step": 0.05}`` is ``Triggers(zebra, step=0.05)``: a queue knows no classes."""

OLD = ("trigger", "step", "exposure")
"""Keywords of version 0.1."""

F = TypeVar("F", bound=Callable[..., Any])


def request_of(asked: Triggers | Mapping[str, Any]) -> Triggers:
    """Return what was asked for.

    Raises
    ------
    PreflightError
        If it is neither `Triggers` nor a mapping of its arguments.
    """
    if isinstance(asked, Triggers):
        return asked
    known = {"box", "step", "period", "exposure"}
    if not isinstance(asked, Mapping) or "box" not in asked or set(asked) - known:
        raise PreflightError(
            f"{asked!r} asks for no triggers; give triggers=Triggers(box, step=...) or "
            "Triggers(box, period=...)."
        )
    return Triggers(**asked)


def old_keywords(function: F) -> F:
    """Let a function that takes ``triggers`` say so to those who call it as in version 0.1."""

    def check(given: Mapping[str, Any]) -> None:
        old = [name for name in OLD if name in given]
        if old:
            raise TypeError(
                f"{function.__name__} has no {' and no '.join(old)} any more; give "
                "triggers=Triggers(box, step=..., exposure=...), or period=... in place of step."
            )

    @wraps(function)
    def plan(*args: Any, **kwargs: Any) -> Any:
        check(kwargs)
        return (yield from function(*args, **kwargs))

    @wraps(function)
    async def other(*args: Any, **kwargs: Any) -> Any:
        check(kwargs)
        return await function(*args, **kwargs)

    return plan if isgeneratorfunction(function) else other  # type: ignore[return-value]


__all__ = ["TriggersAsked", "old_keywords", "request_of"]
