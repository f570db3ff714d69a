"""Where the secrets of destinations come from: the environment, never a file of ours."""

import os

from .delivery import NotDelivered

PREFIX = "GLIDEPATH_"


def secret(destination: str, name: str) -> str:
    """Return a secret, such as ``GLIDEPATH_ICATPLUS_PASSWORD``; an empty text if there is none."""
    return os.environ.get(f"{PREFIX}{destination}_{name}".upper(), "")


def needed_secret(destination: str, name: str) -> str:
    """Return a secret.

    Raises
    ------
    NotDelivered
        If the environment does not have it; the message waits.
    """
    found = secret(destination, name)
    if not found:
        raise NotDelivered(
            f"The {name.lower()} for {destination} is not known; set "
            f"{PREFIX}{destination.upper()}_{name.upper()} in the environment.",
            sure=True,
        )
    return found


__all__ = ["needed_secret", "secret"]
