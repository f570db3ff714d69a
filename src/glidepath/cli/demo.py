"""`glidepath demo`: everything once, on a simulated beamline, down to a fitted N2 line."""

import os
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from .errors import errors_as_sentences
from .options import open_session
from .serve import wait_for_interrupt

SIMULATED = "glidepath.beamlines.simulated"

PERIOD = 0.02
"""Row length (s): one power-line cycle, short enough to resolve the N2 series at speed."""


def demo(
    start: Annotated[float, typer.Option(help="Begin of the range (eV).")] = 370.0,
    stop: Annotated[float, typer.Option(help="End of the range (eV).")] = 470.0,
    velocity: Annotated[float, typer.Option(help="Speed (eV/s).")] = 2.5,
    data: Annotated[Path, typer.Option(help="Data directory.")] = Path("demo-data"),
    keep: Annotated[
        bool, typer.Option("--keep", help="Stay up afterwards for browsing, until Ctrl-C.")
    ] = False,
) -> None:
    """Fly a simulated beamline over the N2 edge, through EPICS, Bluesky and Tiled."""
    from glidepath.catalog import LocalTiledServer
    from glidepath.live import LiveView
    from glidepath.plans import flyscan, inspect
    from glidepath.simulation import NOISE_OF_A_BEAMLINE, SimulatedBeamline
    from glidepath.storage import check_data_directory
    from glidepath.trajectory import Region, Trajectory

    from .report import print_end, print_preflight

    console = Console(highlight=False, emoji=False)
    with errors_as_sentences():
        trajectory = Trajectory((Region(start, stop, velocity),))
        root = check_data_directory(data)
        server = LocalTiledServer(root).start()
        try:
            with SimulatedBeamline(detector_noise=NOISE_OF_A_BEAMLINE) as simulation:
                console.print(
                    f"Simulated beamline {simulation.settings.prefix} at "
                    f"{simulation.environment['EPICS_CA_ADDR_LIST']}, Tiled at {server.uri}."
                )
                os.environ.update(simulation.environment)
                with open_session(SIMULATED, root, catalogue=False) as session:
                    (energy,) = session.devices(["energy"])
                    detectors = session.devices(session.beamline.detectors)
                    report = session.call(lambda: inspect(detectors, energy, trajectory, PERIOD))
                    print_preflight(console, report)
                    report.check()
                    # The server may still be starting: the documents wait for it, not the scan.
                    session.publish_to(lambda: server.wait_ready().client())
                    plan = flyscan(
                        detectors,
                        energy,
                        start,
                        stop,
                        velocity,
                        period=PERIOD,
                        md={"sample": "N2 gas cell", "title": "N2 1s edge"},
                    )
                    with LiveView(session.follower, console, "sample", "mesh"):
                        stopped = session.run(plan)
                    print_end(console, session.follower.start, stopped)
                    uid = session.follower.start["uid"]
                    session.drain()
                _show(console, server, uid, root)
                if keep:
                    console.print("The beamline and Tiled stay up; Ctrl-C ends both.")
                    wait_for_interrupt()
        finally:
            server.stop()


def _show(console: Console, server: Any, uid: str, root: Path) -> None:
    """Read the run back from Tiled, normalise, fit, draw, and say where everything is."""
    import numpy as np

    from glidepath.catalog import load_run, read_primary
    from glidepath.lookback.fits import with_error
    from glidepath.physics.nitrogen import N2_LINES_eV, fit_series
    from glidepath.pictures import save_spectrum
    from glidepath.sentences import sentence_of
    from glidepath.timeline import good_rows

    run = load_run(server.client(), uid)
    table = read_primary(run)
    document = run.metadata["start"]
    with np.errstate(divide="ignore", invalid="ignore"):
        normalised = table["sample"] / table["mesh"]
    console.print(f"Read back from Tiled: {len(normalised)} rows.")
    good = good_rows(table["quality"])
    energy = table["energy"]
    fit = None
    inside = np.nanmin(energy) < N2_LINES_eV[0] - 0.8 and np.nanmax(energy) > N2_LINES_eV[-1] + 0.6
    if inside:
        try:
            fit = fit_series(energy[good], normalised[good])
        except ValueError as error:
            console.print(
                f"Nothing was fitted: {sentence_of(error)} {good.sum()} of {len(good)} rows are "
                "good; they are not where the undulator does not follow, so fly slower.",
                soft_wrap=True,
            )
    else:
        console.print("The N2 series is not wholly inside this range: nothing to fit.")
    if fit is not None:
        console.print(
            f"First N2 line: {with_error(fit.first_line, fit.first_line_error)} eV fitted, "
            f"{N2_LINES_eV[0]:.4f} eV true; Gaussian width "
            f"{with_error(1e3 * fit.gaussian_fwhm, 1e3 * fit.gaussian_fwhm_error)} meV.",
            soft_wrap=True,
        )
    file = _file_of(run)
    picture = file.with_name("spectrum.png")
    when = datetime.fromtimestamp(document["time"])
    save_spectrum(
        picture,
        energy,
        normalised,
        title=f"N$_2$ 1s, scan {document['scan_id']} ({uid[:8]}), {when:%Y-%m-%d %H:%M:%S}, "
        f"{document['plan_args']['velocity']:g} eV/s",
        signal_label="sample / mesh",
        tracking_error=table.get("tracking_error"),
        fit=fit,
        quality=table["quality"],
    )
    folder = os.path.relpath(root)
    console.print(
        f"\nPicture  {os.path.relpath(picture)}\n"
        f"Data     {os.path.relpath(file)} (HDF5, NeXus-shaped)\n"
        f"Browse   glidepath serve --data {folder}   (then open the address that it prints)\n"
        "Python   while that runs:\n"
        "           from glidepath.catalog import load_run, open_local_catalog, read_primary\n"
        f'           run = load_run(open_local_catalog("{folder}"), "{uid[:8]}")\n'
        '           table = read_primary(run)   # table["energy"], table["sample"], ...\n'
        f"Web page now  {server.web_url}\n\n"
        "Next\n"
        "  glidepath shell --sim                 a prompt with this beamline: try %fly and %last\n"
        f"  glidepath runs --data {folder}        what was measured; show, plot, fit take -1\n"
        f"  glidepath plot -1 --data {folder}     this spectrum, here in the terminal",
        soft_wrap=True,
    )


def _file_of(run: Any) -> Path:
    """Return the HDF5 file of a run."""
    from urllib.parse import unquote, urlparse

    (source, *_) = run["primary"]["energy"].include_data_sources().data_sources()
    return Path(unquote(urlparse(source.assets[0].data_uri).path))


__all__ = ["demo"]
