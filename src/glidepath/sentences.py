"""What is said to a user when something went wrong: one sentence, on standard error."""

from rich.console import Console

errors = Console(stderr=True, highlight=False, emoji=False)
"""Where complaints go."""


class ScanError(Exception):
    """A scan that began did not end well; the text is its reason."""


__all__ = ["ScanError", "errors"]
