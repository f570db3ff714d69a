"""`python -m glidepath` is the command `glidepath`."""

from glidepath.cli import main

main()
