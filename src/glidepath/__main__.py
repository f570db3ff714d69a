"""`python -m glidepath` is the command `glidepath`."""

import glidepath.early  # noqa: F401 (before all others)  # isort: skip

from glidepath.cli import main

main()
