"""Who, what and for whom: the experiment, notes, and what is told to catalogues and e-logs."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .delivery import Delivery, Destination, NotDelivered, Refused, send_now
from .destinations import KINDS, destinations_of
from .experiment import MODES, TECHNIQUES, Experiment, ExperimentError, Proposal, Sample, User
from .files import IngestFile, MarkdownLogbook, ingest_xml
from .logbook import ACCEPTANCE_TEST, Logbook
from .outbox import Message, Outbox
from .run_record import RunRecord

if TYPE_CHECKING:
    from .elog import Elog
    from .esrf import Esrf
    from .icat_plus import IcatPlus, Investigation

__all__ = [
    "ACCEPTANCE_TEST",
    "KINDS",
    "MODES",
    "TECHNIQUES",
    "Delivery",
    "Destination",
    "Elog",
    "Esrf",
    "Experiment",
    "ExperimentError",
    "IcatPlus",
    "IngestFile",
    "Investigation",
    "Logbook",
    "MarkdownLogbook",
    "Message",
    "NotDelivered",
    "Outbox",
    "Proposal",
    "Refused",
    "RunRecord",
    "Sample",
    "User",
    "destinations_of",
    "ingest_xml",
    "send_now",
]

_HOME = {"Elog": "elog", "Esrf": "esrf", "IcatPlus": "icat_plus", "Investigation": "icat_plus"}
"""Those that speak to a server: they are imported when they are first used."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
