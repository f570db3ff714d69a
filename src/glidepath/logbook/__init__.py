"""Who, what and for whom: the experiment, notes, and what is told to catalogues and e-logs."""

from .delivery import Delivery, Destination, NotDelivered, Refused, send_now
from .destinations import KINDS, destinations_of
from .elog import Elog
from .esrf import Esrf
from .experiment import MODES, TECHNIQUES, Experiment, ExperimentError, Proposal, Sample, User
from .files import IngestFile, MarkdownLogbook, ingest_xml
from .icat_plus import IcatPlus, Investigation
from .logbook import Logbook
from .outbox import Message, Outbox
from .run_record import RunRecord

__all__ = [
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
