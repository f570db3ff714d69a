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
    from glidepath.export import Roles, Run, Spectrum

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
        roles = _roles(mode, signal, i0, reference)
        formats = {"nexus": nexus or classic, "xdi": xdi, "csv": csv, "crate": crate}
        if not any(formats.values()):
            formats["nexus"] = True
        if output is not None and output.suffix and sum(formats.values()) > 1:
            raise ValueError("Several formats need a folder to go to; name one with --output.")
        if len(opened) > 1:
            _export_several(console, opened, roles, mode, formats, output, classic, step)
            return
        (run,), journal = opened, found[0].documents
        if documents:
            _keep_documents(run, journal)
        if picture:
            _draw(console, run, roles, mode)
        _export_one(console, run, journal, roles, mode, formats, output, classic, step, license_)


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


def _roles(
    mode: str | None, signal: str | None, i0: str | None, reference: str | None
) -> list["Roles"]:
    from glidepath.export import MODES, Roles

    if mode is not None and mode not in MODES:
        raise ValueError(f"{mode!r} is no mode; give one of {', '.join(MODES)}.")
    if signal is None:
        if i0 is not None or reference is not None:
            raise ValueError("--i0 and --reference need --signal: the column of the signal.")
        return []
    return [Roles(mode or "tey", signal, i0, reference)]


def _chosen(run: "Run", roles: Sequence["Roles"], mode: str | None) -> list["Roles"]:
    """Return the spectra that were asked for.

    Raises
    ------
    ValueError
        If the run has none of them.
    """
    from glidepath.export import roles_of

    found = [one for one in roles_of(run, roles) if mode is None or one.mode == mode]
    if mode is not None and not found:
        raise ValueError(
            f"{run.name.capitalize()} does not say what its spectrum of the mode {mode} is; name "
            "the columns with --signal and --i0."
        )
    return found


def _spectra(
    run: "Run", roles: Sequence["Roles"], mode: str | None, step: float | None
) -> list["Spectrum"]:
    from glidepath.export import spectrum_of

    chosen = _chosen(run, roles, mode)
    if not chosen:
        raise ValueError(
            f"{run.name.capitalize()} does not say which column is the signal; name it with "
            "--signal, and the incident intensity with --i0."
        )
    return [spectrum_of(run, one, step) for one in chosen]


def _export_one(
    console: Console,
    run: "Run",
    journal: Documents,
    roles: Sequence["Roles"],
    mode: str | None,
    formats: Mapping[str, bool],
    output: Path | None,
    classic: bool,
    step: float | None,
    license_: str | None,
) -> None:
    from glidepath.export import (
        crate_name,
        csv_name,
        spectrum_columns,
        table_columns,
        write_crate,
        write_csv,
        write_nexus,
        write_xdi,
        xdi_name,
    )
    from glidepath.export.crate import NO_LICENSE

    chosen = _chosen(run, roles, mode)
    if formats["nexus"]:
        place = None if output is None else _place(output, None, run)
        master = write_nexus(run, place, roles=chosen, classic=classic, step=step)
        _said(console, master.path, master.remarks)
    if formats["xdi"]:
        spectra = _spectra(run, roles, mode, step)
        if output is not None and output.suffix and len(spectra) > 1:
            raise ValueError("The run has several spectra; choose one with --mode.")
        for spectrum in spectra:
            name = xdi_name(run, spectrum)
            _said(console, write_xdi([run], spectrum, _place(output, name, run)))
    if formats["csv"]:
        columns = (
            table_columns(run)
            if step is None
            else spectrum_columns(run, _spectra(run, roles, mode, step)[0])
        )
        _said(console, write_csv(columns, _place(output, csv_name(run), run)))
    if formats["crate"]:
        packed = write_crate(
            run,
            _place(output, crate_name(run), run),
            documents=_lines(journal),
            license_url=license_ or NO_LICENSE,
        )
        _said(console, packed.path, packed.remarks)


def _export_several(
    console: Console,
    runs: Sequence["Run"],
    roles: Sequence["Roles"],
    mode: str | None,
    formats: Mapping[str, bool],
    output: Path | None,
    classic: bool,
    step: float | None,
) -> None:
    from glidepath.export import (
        Combined,
        average,
        csv_name,
        spectrum_columns,
        write_csv,
        write_nexus,
        write_xdi,
        xdi_name,
    )

    if formats["crate"]:
        raise ValueError("A crate holds one run; pack each by itself.")
    each = []
    for run in runs:
        chosen = _chosen(run, roles, mode)
        if not chosen:
            raise ValueError(
                f"{run.name.capitalize()} does not say which column is the signal; name it with "
                "--signal, and the incident intensity with --i0."
            )
        each.append(chosen[0])
    spectrum = average(runs, each, step)
    first = runs[0]
    if formats["nexus"]:
        combined = Combined(spectrum, [run.uid for run in runs])
        path = _place(output, f"average_of_{len(runs)}_{first.uid[:8]}.nxs", first)
        master = write_nexus(first, path, classic=classic, step=step, combined=combined)
        _said(console, master.path, master.remarks)
    if formats["xdi"]:
        name = xdi_name(first, spectrum).replace(".xdi", f"_average_of_{len(runs)}.xdi")
        _said(console, write_xdi(runs, spectrum, _place(output, name, first)))
    if formats["csv"]:
        name = csv_name(first, [spectrum]).replace(".csv", f"_average_of_{len(runs)}.csv")
        columns = spectrum_columns(first, spectrum)
        _said(console, write_csv(columns, _place(output, name, first)))


def _place(output: Path | None, name: str | None, run: "Run") -> Path:
    from glidepath.export import master_name

    name = name or master_name(run)
    if output is None:
        return Path(name)
    if output.suffix:
        return output
    output.mkdir(parents=True, exist_ok=True)
    return output / name


def _said(console: Console, path: Path, remarks: Sequence[str] = ()) -> None:
    console.print(f"Written: {path}", markup=False)
    for remark in remarks:
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


def _draw(console: Console, run: "Run", roles: Sequence["Roles"], mode: str | None) -> None:
    """Draw the first spectrum into the run's folder; a run without one has no picture."""
    import numpy as np

    from glidepath.export import spectrum_of
    from glidepath.pictures import save_spectrum

    chosen = _chosen(run, roles, mode)
    if run.folder is None or not chosen:
        return
    spectrum = spectrum_of(run, chosen[0])
    order = np.argsort(spectrum.energy, kind="stable")
    if np.isfinite(spectrum.intensity).sum() < 2:
        return
    path = run.folder / PICTURE
    of = f"{chosen[0].signal} / {chosen[0].i0}" if chosen[0].i0 else chosen[0].signal
    save_spectrum(
        path,
        spectrum.energy[order],
        spectrum.intensity[order],
        title=f"{run.start.get('title', '')} {run.name}".strip(),
        signal_label=of,
    )
    _said(console, path)


__all__ = ["export"]
