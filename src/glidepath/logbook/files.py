"""The two destinations that every data directory has: a Markdown logbook and ICAT's ingest file."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .delivery import NotDelivered, Refused
from .outbox import Message
from .run_record import RunRecord, iso

LOGBOOK = "logbook.md"
INGEST = "icat-ingest.xml"
"""Name of ICAT's ingest file in a run's folder."""

INGEST_VERSION = "1.1"


class MarkdownLogbook:
    """A text file in the data directory to which every run and every note is added.

    Parameters
    ----------
    root
        The data directory.
    """

    name = "markdown"

    def __init__(self, root: Path) -> None:
        self.path = Path(root) / LOGBOOK

    def send(self, message: Message) -> None:
        """Add an entry; it ends with the message's identifier, so a torn one is known."""
        first, *others = message.lines()
        entry = [f"## {first}", "", *(f"- {line}" for line in others)]
        run = message.run
        if message.kind == "note":
            entry = [f"### {first}", "", *(f"> {line}" for line in others)]
        elif run is not None and run.picture is not None:
            place = os.path.relpath(run.picture, self.path.parent)
            entry += ["", f"![{run.name}]({place})"]
        text = "\n".join([*entry, "", _mark(message), "", ""])
        try:
            with open(self.path, "ab") as file:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NotDelivered(
                f"{self.path} cannot be written ({error.strerror}); make room or rights there.",
                sure=False,
            ) from error

    def has(self, message: Message) -> bool:
        """Tell whether the file has this entry."""
        try:
            return _mark(message) in self.path.read_text("utf-8", errors="replace")
        except OSError:
            return False


def _mark(message: Message) -> str:
    return f"<!-- {message.identifier} -->"


class IngestFile:
    """Writes an ingest file of ICAT into the folder of each run, as HZB reads it.

    The format is version 1.1 of ``icat.ingest`` of python-icat.
    """

    name = "icat-ingest"

    def send(self, message: Message) -> None:
        """Write the file of a run; a note has none."""
        run = message.run
        if message.kind != "run" or run is None or not run.folder:
            return
        folder = Path(run.folder)
        if not folder.is_dir():
            raise Refused(f"The folder {folder} of {run.name} is gone.")
        new = folder / f".{INGEST}.{os.getpid()}"
        try:
            new.write_bytes(ingest_xml(run))
            os.replace(new, folder / INGEST)
        except OSError as error:
            raise NotDelivered(
                f"{folder / INGEST} cannot be written ({error.strerror}); make room or rights "
                "there.",
                sure=False,
            ) from error

    def has(self, message: Message) -> bool:
        """Return False: to write the file again gives the same file."""
        return False


def ingest_xml(run: RunRecord) -> bytes:
    """Return the ingest file of a run: one dataset with its parameters."""
    root = ElementTree.Element("icatingest", version=INGEST_VERSION)
    head = ElementTree.SubElement(root, "head")
    _text(head, "date", iso(run.end))
    _text(head, "generator", "Glidepath")
    data = ElementTree.SubElement(root, "data")
    dataset = ElementTree.SubElement(data, "dataset", id="Dataset_1")
    _text(dataset, "name", run.name)
    _text(dataset, "description", run.title)
    _text(dataset, "startDate", iso(run.begin))
    _text(dataset, "endDate", iso(run.end))
    said = run.experiment
    sample = said.get("sample")
    sample_name = sample.get("name") if isinstance(sample, Mapping) else sample
    if sample_name:
        ElementTree.SubElement(dataset, "sample", name=str(sample_name))
    if said.get("instrument") or said.get("beamline"):
        place = ElementTree.SubElement(dataset, "datasetInstruments")
        name = str(said.get("instrument") or said["beamline"])
        ElementTree.SubElement(place, "instrument", name=name)
    technique = said.get("technique")
    if isinstance(technique, Mapping) and technique.get("pid"):
        place = ElementTree.SubElement(dataset, "datasetTechniques")
        ElementTree.SubElement(place, "technique", pid=f"PaNET:{technique['pid']}")
    for name, value, units in _parameters(run):
        place = ElementTree.SubElement(dataset, "parameters")
        kind = "numericValue" if isinstance(value, int | float) else "stringValue"
        _text(place, kind, str(value))
        attributes = {"name": name} | ({"units": units} if units else {})
        ElementTree.SubElement(place, "type", attributes)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)


def _parameters(run: RunRecord) -> list[tuple[str, Any, str]]:
    said = run.experiment
    sample = said.get("sample")
    formula = sample.get("chemical_formula") if isinstance(sample, Mapping) else ""
    found = [
        ("Run uid", run.uid, ""),
        ("Scan number", run.scan_id, ""),
        ("Exit status", run.exit_status, ""),
        ("Reason", run.reason, ""),
        ("Element", said.get("element"), ""),
        ("Edge", said.get("edge"), ""),
        ("Mode", said.get("mode"), ""),
        ("Chemical formula", formula, ""),
        ("Duration", run.end - run.begin, "s"),
    ]
    return [(name, value, units) for name, value, units in found if value not in (None, "")]


def _text(parent: ElementTree.Element, tag: str, text: str) -> None:
    # XML knows no control characters.
    clean = "".join(letter for letter in text if letter >= " " or letter in "\n\t")
    ElementTree.SubElement(parent, tag).text = clean


__all__ = ["INGEST", "LOGBOOK", "IngestFile", "MarkdownLogbook", "ingest_xml"]
