"""Packs a run into one zip that is complete elsewhere: an RO-Crate with checksums."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .csv_table import csv_name, table_columns, write_csv
from .mapping import iso_time
from .nexus import master_name, write_nexus
from .relinked import has_sources_elsewhere, write_relinked
from .run import DOCUMENTS, ExportError, Run
from .spectrum import roles_of, spectrum_of
from .written import replaced
from .xdi import write_xdi, xdi_name

METADATA = "ro-crate-metadata.json"
CHECKSUMS = "sha256sums.txt"
CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "https://w3id.org/ro/crate/1.1"

NO_LICENSE = "No licence was chosen: ask the authors before you use these data."

FORMATS = {
    ".h5": "application/x-hdf5",
    ".nxs": "application/x-nexus",
    ".xdi": "text/plain",
    ".csv": "text/csv",
    ".png": "image/png",
    ".jsonl": "application/jsonl",
    ".txt": "text/plain",
    ".xml": "application/xml",
}
_PICTURES = ("*.png",)
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Crate:
    """A crate that was written.

    Attributes
    ----------
    path
        The zip.
    files
        Names of the files in it.
    remarks
        Sentences about what it does not hold.
    """

    path: Path
    files: tuple[str, ...]
    remarks: tuple[str, ...]


def crate_name(run: Run) -> str:
    """Return the name of a run's crate."""
    return master_name(run).removesuffix(".nxs") + ".crate.zip"


def write_crate(
    run: Run,
    path: Path,
    *,
    documents: bytes,
    license_url: str = NO_LICENSE,
    allowed: Callable[[Path], bool] = lambda path: True,
) -> Crate:
    """Write a run with all its files into a zip.

    Parameters
    ----------
    run
        The run; its files must be on this machine.
    path
        The zip, replaced in one step.
    documents
        The run's documents, one in each line: a journal.
    license_url
        Under which licence the data are given away: an address or a sentence.
    allowed
        Whether a file may be packed; one that may not is named in the remarks.

    Raises
    ------
    ExportError
        If none of the run's files is here, or the zip cannot be written.
    """
    every = run.files()
    hidden = [file for file in every if not allowed(file)]
    files = [file for file in every if file not in hidden and file.exists()]
    missing = [file for file in every if file not in hidden and not file.exists()]
    if not files and missing:
        raise ExportError(
            f"None of the files of {run.name} is on this machine ({missing[0]} is one); bring them "
            "back, or export it where they are."
        )
    names = _names(run, files)
    remarks = [f"The file {file.name} is missing and not in the crate." for file in missing]
    remarks += [
        f"The file {file.name} is outside of the folders that may be read here, and not in the "
        "crate."
        for file in hidden
    ]
    with TemporaryDirectory(prefix="glidepath-crate-") as folder:
        made = Path(folder)
        (made / DOCUMENTS).write_bytes(documents)
        master = write_nexus(
            run, made / master_name(run), place_of=lambda file: names.get(file, file.name)
        )
        remarks += [remark for remark in master.remarks if "is missing" not in remark]
        remarks += _readable(run, made)
        contents = {name: _as_packed(file, name, names, run, made) for file, name in names.items()}
        contents |= {file.name: file for file in sorted(made.iterdir()) if file.is_file()}
        for file in filter(allowed, _pictures(run)):
            contents.setdefault(file.name, file)
        with replaced(path) as new:
            _pack(new, contents, run, remarks, license_url)
    return Crate(path, tuple(sorted(contents)), tuple(remarks))


def _names(run: Run, files: list[Path]) -> dict[Path, str]:
    """Return the name in the crate of each file: as in the run's folder, or beside its files.

    HDF5 looks for a source that is not where it was beside the file that names it.
    """
    folder = run.folder
    names: dict[Path, str] = {}
    for file in files:
        inside = folder is not None and file.is_relative_to(folder)
        name = file.relative_to(folder).as_posix() if inside and folder else file.name
        if name in names.values():
            raise ExportError(
                f"Two files of {run.name} would be {name} in the crate; put the camera's files "
                "into the run's folder."
            )
        names[file] = name
    return names


def _as_packed(file: Path, name: str, names: Mapping[Path, str], run: Run, made: Path) -> Path:
    """Return a file as it goes into the crate: one that shows others, by their names there."""
    if run.folder is None or not has_sources_elsewhere(file, run.folder):
        return file
    new = made / "relinked" / name
    new.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(name).parent
    write_relinked(file, new, {one: os.path.relpath(at, folder) for one, at in names.items()})
    return new


def _readable(run: Run, folder: Path) -> Iterator[str]:
    """Write the table and the spectra as text; say what could not be written."""
    columns = table_columns(run)
    if columns:
        write_csv(columns, folder / csv_name(run))
    for roles in roles_of(run):
        spectrum = spectrum_of(run, roles)
        try:
            write_xdi([run], spectrum, folder / xdi_name(run, spectrum))
        except ExportError as error:
            yield str(error)


def _pictures(run: Run) -> list[Path]:
    if run.folder is None:
        return []
    return sorted(file for pattern in _PICTURES for file in run.folder.glob(pattern))


def _pack(
    new: Path, contents: Mapping[str, Path], run: Run, remarks: list[str], license_url: str
) -> None:
    sums = {name: _sha256(file) for name, file in contents.items()}
    listed = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    metadata = _metadata(run, contents, sums, remarks, license_url)
    with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(METADATA, json.dumps(metadata, indent=2, ensure_ascii=False))
        archive.writestr(CHECKSUMS, listed)
        for name in sorted(contents):
            archive.write(contents[name], name)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _metadata(
    run: Run,
    contents: Mapping[str, Path],
    sums: Mapping[str, str],
    remarks: list[str],
    license_url: str,
) -> dict[str, Any]:
    """Return the crate's JSON-LD."""
    people = list(_people(run))
    root: dict[str, Any] = {
        "@id": "./",
        "@type": "Dataset",
        "name": str(run.start.get("title") or run.name),
        "description": " ".join([run.verdict().rstrip(".") + ".", *remarks]),
        "datePublished": datetime.now(UTC).date().isoformat(),
        "dateCreated": iso_time(run.start["time"]),
        "identifier": run.uid,
        "license": {"@id": license_url} if "://" in license_url else license_url,
        "author": [{"@id": person["@id"]} for person in people],
        "keywords": [
            str(run.start[key]) for key in ("element", "edge", "mode") if run.start.get(key)
        ],
        "hasPart": [{"@id": name} for name in sorted(contents)],
    }
    technique = run.start.get("technique")
    if isinstance(technique, Mapping) and technique.get("pid"):
        root["measurementTechnique"] = f"http://purl.org/pan-science/PaNET/{technique['pid']}"
    files = [
        {
            "@id": name,
            "@type": "File",
            "name": name,
            "contentSize": str(file.stat().st_size),
            "encodingFormat": FORMATS.get(file.suffix, "application/octet-stream"),
            "sha256": sums[name],
        }
        for name, file in sorted(contents.items())
    ]
    descriptor = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": PROFILE},
        "about": {"@id": "./"},
    }
    return {"@context": CONTEXT, "@graph": [descriptor, root, *files, *people]}


def _people(run: Run) -> Iterator[dict[str, Any]]:
    for number, user in enumerate(run.start.get("users") or (), start=1):
        if isinstance(user, Mapping) and user.get("name"):
            orcid = user.get("orcid")
            person = {
                "@id": f"https://orcid.org/{orcid}" if orcid else f"#person-{number}",
                "@type": "Person",
                "name": user["name"],
            }
            if user.get("affiliation"):
                person["affiliation"] = user["affiliation"]
            yield person


def check_crate(path: Path) -> list[str]:
    """Return what is wrong with a crate, or with the folder it was unpacked to, in sentences.

    Raises
    ------
    ExportError
        If it is not there, or is no crate.
    """
    if not path.exists():
        raise ExportError(f"There is no file or folder {path}.")
    try:
        if path.is_dir():
            listed = (path / CHECKSUMS).read_text("utf-8")
            return list(_compare(listed, lambda name: _sha256(path / name)))
        with zipfile.ZipFile(path) as archive:

            def digest(name: str) -> str:
                with archive.open(name) as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

            return list(_compare(archive.read(CHECKSUMS).decode(), digest))
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise ExportError(
            f"{path} is no crate of Glidepath: it has no {CHECKSUMS}; name a zip that "
            "'glidepath export --crate' wrote, or its unpacked folder."
        ) from error


def _compare(listed: str, digest: Any) -> Iterator[str]:
    for line in listed.splitlines():
        expected, _, name = line.partition("  ")
        try:
            found = digest(name)
        except (OSError, KeyError):
            yield f"The file {name} is missing."
        except zipfile.BadZipFile:
            yield f"The file {name} is damaged."
        else:
            if found != expected:
                yield f"The file {name} is not the one that was packed: its checksum differs."


__all__ = ["Crate", "check_crate", "crate_name", "write_crate"]
