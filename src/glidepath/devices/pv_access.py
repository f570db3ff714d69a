"""PV Access is an optional extra: what is said where it is not installed."""

NO_PV_ACCESS = (
    "{name} is a PandA, which is reached over PV Access, but p4p is not installed; install "
    "glidepath[panda]."
)

NO_PV_ACCESS_CHANNEL = (
    "A channel is reached over PV Access, but p4p is not installed; install glidepath[panda]."
)

__all__ = ["NO_PV_ACCESS", "NO_PV_ACCESS_CHANNEL"]
