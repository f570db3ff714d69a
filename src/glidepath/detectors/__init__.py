"""The place for detectors that are triggered or stream by themselves: cameras, counters.

There are none yet. Detectors that run freely and are sampled (electrometers) are in
`glidepath.devices`.
"""

__all__: list[str] = []
