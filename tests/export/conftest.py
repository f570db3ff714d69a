"""Tests of the export share `written_run`."""
