"""`glidepath export`: a run as NeXus, XDI, CSV, or packed into a crate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .errors import FAILED, errors_as_sentences
from .fly import catalogue
from .options import DataOption, TiledOption, data_directory

if TYPE_CHECKING:
    from glidepath.export import Choice, Run, Written

PICTURE = "spectrum.png"
"""Name of the picture in a run's folder, as `glidepath.logbook` looks for it."""

Documents = list[tuple[str, dict[str, Any]]]


def export(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN...",
            help="Uid (or its beginning), scan number, -1 for the newest run, or a run's folder. "
            "Several runs become one spectrum.",
        ),
    ] = None,
    nexus: Annotated[bool, typer.Option("--nexus", help="NeXus file (the default).")] = False,
    classic: Annotated[
        bool, typer.Option("--classic", help="NeXus by the classic definition NXxas.")
    ] = False,
    xdi: Annotated[bool, typer.Option("--xdi", help="XDI, for Athena and Larch.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Table as CSV.")] = False,
    crate: Annotated[
        bool, typer.Option("--crate", help="Zip of all there is, with checksums (RO-Crate).")
    ] = False,
    picture: Annotated[
        bool, typer.Option("--picture", help="Picture of the spectrum in the run's folder.")
    ] = False,
    documents: Annotated[
        bool,
        typer.Option("--documents", help="Also keep the run's documents in its folder."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(help="File to write, or folder. Default: NeXus beside the data."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Which spectrum: tey, pey, tfy, pfy, trans.")
    ] = None,
    signal: Annotated[str | None, typer.Option(help="Column of the signal.")] = None,
    i0: Annotated[str | None, typer.Option(help="Column of the incident intensity.")] = None,
    reference: Annotated[str | None, typer.Option(help="Column of the reference.")] = None,
    element: Annotated[str | None, typer.Option(help="Element, if the run does not say.")] = None,
    edge: Annotated[str | None, typer.Option(help="Edge, if the run does not say.")] = None,
    sample: Annotated[str | None, typer.Option(help="Sample, if the run does not say.")] = None,
    step: Annotated[
        float | None, typer.Option(help="Bin width (eV). Default: the rows as they are.")
    ] = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="Licence of a crate, as an address.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Crate, or its unpacked folder, to check instead.")
    ] = None,
    data: DataOption = None,
    tiled: TiledOption = None,
) -> None:
    """Export one run, or the common spectrum of several."""
    console = Console(highlight=False, emoji=False, soft_wrap=True)
    from glidepath.export import Choice

    with errors_as_sentences():
        if check is not None:
            _check(console, check)
            return
        if not runs:
            raise ValueError("Name a run, such as -1 for the newest, or a crate with --check.")
        root = data_directory(data)
        found = [_documents(one, root, tiled) for one in runs]
        said = {"element": element, "edge": edge, "sample": sample and {"name": sample}}
        opened = [_opened(one, said) for one in found]
        choice = Choice(mode, signal, i0, reference, step, classic)
        asked = {"nexus": nexus or classic, "xdi": xdi, "csv": csv, "crate": crate}
        formats = [kind for kind, wanted in asked.items() if wanted] or ["nexus"]
        if output is not None and output.suffix and len(formats) > 1:
            raise ValueError("Several formats need a folder to go to; name one with --output.")
        if len(opened) > 1:
            _export_several(console, opened, choice, formats, output)
            return
        (run,), journal = opened, found[0].documents
        if documents:
            _keep_documents(run, journal)
        if picture:
            _draw(console, run, choice)
        _export_one(console, run, journal, choice, formats, output, license_)


@dataclass
class Source:
    """What a run is read from.

    Attributes
    ----------
    documents
        As they were recorded.
    folder
        The run's folder, if the run was named by it.
    home
        The run's folder in a data directory.
    fetch
        Returns columns from a catalogue.
    """

    documents: Documents
    folder: Path | None = None
    home: Path | None = None
    fetch: Any = None


def _documents(run: str, data: Path, tiled: str | None) -> Source:
    """Find a run: by its folder, its journal, or its name in a data directory or a catalogue."""
    from glidepath.catalog import CatalogError, load_run
    from glidepath.catalog.journal_index import find_run_journal
    from glidepath.catalog.run_folder import documents_in

    place = Path(run)
    if place.is_dir():
        return Source(documents_in(place.absolute()), folder=place.absolute())
    if place.suffix == ".jsonl" and place.exists():
        return _journalled(place)
    if tiled is None:
        try:
            return _journalled(find_run_journal(data / "journal", run))
        except CatalogError as error:
            raise ValueError(
                f"{str(error).rstrip('.')}; name the data directory with --data, or a catalogue "
                "with --tiled."
            ) from error
    with catalogue(tiled, data) as connect:
        client = connect()
        found = load_run(client, run)
        documents = [(name, dict(doc)) for name, doc in found.documents()]
        return Source(documents, fetch=_Columns(found))


def _journalled(journal: Path) -> Source:
    """Return the run of a journal; its folder is in the data directory that the journal is in."""
    from glidepath.export import read_documents
    from glidepath.storage import run_folder

    documents = read_documents(journal)
    start = next((doc for name, doc in documents if name == "start"), {})
    home = None
    if start.get("scan_id") is not None:
        root = journal.absolute().parent.parent
        home = run_folder(root, start["uid"], start["scan_id"], start["time"])
    return Source(documents, home=home if home is not None and home.is_dir() else None)


class _Columns:
    """Fetches columns of a run from its catalogue, when its files are elsewhere."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def __call__(self, stream: str, key: str) -> Any:
        from glidepath.catalog import read_stream

        return read_stream(self._run, stream, [key])[key]


def _opened(source: Source, said: Mapping[str, Any]) -> "Run":
    """Return a run, with what the user adds to its start document."""
    from glidepath.export import Run

    known = {key: value for key, value in said.items() if value}
    added = [(n, doc | known if n == "start" else doc) for n, doc in source.documents]
    return Run(added, fetch=source.fetch, folder=source.folder, home=source.home)


def _export_one(
    console: Console,
    run: "Run",
    journal: Documents,
    choice: "Choice",
    formats: Sequence[str],
    output: Path | None,
    license_: str | None,
) -> None:
    from glidepath.export import crate_name, csv_name, write_run

    for kind in formats:
        if kind == "xdi":
            _export_xdi(console, run, choice, output)
            continue
        names = {"nexus": None, "csv": csv_name(run), "crate": crate_name(run)}
        place = None if kind == "nexus" and output is None else _place(output, names[kind], run)
        _said(
            console,
            write_run(run, place, kind, choice, documents=_lines(journal), license_url=license_),
        )


def _export_xdi(console: Console, run: "Run", choice: "Choice", output: Path | None) -> None:
    """Write a file for each spectrum that is meant."""
    from glidepath.export import Written, spectrum_of, write_xdi, xdi_name
    from glidepath.export.files import not_finished

    choice.first(run)
    spectra = [spectrum_of(run, roles, choice.step) for roles in choice.roles(run)]
    if output is not None and output.suffix and len(spectra) > 1:
        raise ValueError("The run has several spectra; choose one with --mode.")
    for spectrum in spectra:
        path = _place(output, xdi_name(run, spectrum), run)
        _said(console, Written(write_xdi([run], spectrum, path), not_finished([run])))


def _export_several(
    console: Console,
    runs: Sequence["Run"],
    choice: "Choice",
    formats: Sequence[str],
    output: Path | None,
) -> None:
    from glidepath.export import write_average

    first = runs[0]
    endings = {"nexus": ".nxs", "xdi": ".xdi", "csv": ".csv", "crate": ".zip"}
    for kind in formats:
        name = f"average_of_{len(runs)}_{first.uid[:8]}{endings[kind]}"
        _said(console, write_average(runs, _place(output, name, first), kind, choice))


def _place(output: Path | None, name: str | None, run: "Run") -> Path:
    from glidepath.export import master_name

    name = name or master_name(run)
    if output is None:
        return Path(name)
    if output.suffix:
        return output
    output.mkdir(parents=True, exist_ok=True)
    return output / name


def _said(console: Console, written: "Written") -> None:
    console.print(f"Written: {written.path}", markup=False)
    for remark in written.remarks:
        console.print(f"Note: {remark}", markup=False)


def _check(console: Console, path: Path) -> None:
    from glidepath.export import check_crate

    wrong = check_crate(path)
    for sentence in wrong:
        console.print(sentence, markup=False)
    if wrong:
        raise typer.Exit(FAILED)
    console.print(f"{path} is complete, and every checksum agrees.", markup=False)


def _lines(documents: Documents) -> bytes:
    from glidepath.catalog.journal import encode

    return b"".join(encode(name, document) for name, document in documents)


def _keep_documents(run: "Run", documents: Documents) -> None:
    """Put the documents beside the data, so that a copied folder is complete."""
    from glidepath.export import DOCUMENTS
    from glidepath.export.written import replaced

    if run.folder is not None:
        with replaced(run.folder / DOCUMENTS) as new:
            new.write_bytes(_lines(documents))


def _draw(console: Console, run: "Run", choice: "Choice") -> None:
    """Draw the first spectrum into the run's folder; a run without one has no picture."""
    from glidepath.export import Written
    from glidepath.lookback.run_picture import draw_run

    if run.folder is not None and draw_run(run, run.folder / PICTURE, choice):
        _said(console, Written(run.folder / PICTURE))


__all__ = ["export"]
