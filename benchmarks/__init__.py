"""Measurements of Glidepath and of its peers; see `glidepath bench`."""

__all__: list[str] = []
