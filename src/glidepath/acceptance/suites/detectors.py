"""Triggered detectors: what `glidepath.detectors.DetectorCheck` measures, with its figures."""

import time
from collections.abc import Iterable

from glidepath.acceptance.outcomes import Failed
from glidepath.acceptance.suite import Suite, Test, register_suite
from glidepath.acceptance.trial import Trial
from glidepath.beamlines import Beamline
from glidepath.detectors import DetectorCheck, Result, find_frame_source
from glidepath.devices import Pulses, Zebra
from glidepath.flyers import pulses_of

__all__ = ["pulse_sender"]


async def is_as_it_says(trial: Trial) -> str:
    """Trigger modes, dead time, highest rate, latency and files are as it says."""
    checked = find_frame_source(trial.device)
    assert checked is not None
    name = trial.asked.pulses
    if name is None:
        name = pulse_sender(trial.session.beamline)
    sender = None
    if name:
        device = trial.session.beamline.devices[name]
        await device.connect()
        sender = pulses_of(device)
    folder = trial.folder / f"{trial.name}_{time.strftime('%Y%m%d_%H%M%S')}"
    folder.mkdir(parents=True)
    exposure = trial.needs.exposure or trial.asked.exposure
    failed = []
    async for finding in DetectorCheck(checked, sender, exposure, folder).findings():
        put_in = f" (put in: {finding.put_in})" if finding.put_in else ""
        line = f"{finding.what}: {finding.found}{put_in}"
        trial.details.append(f"{finding.result} {line}")
        trial.keep(finding.figures)
        if finding.result is Result.FAIL:
            failed.append(line)
    if failed:
        raise Failed("; ".join(failed) + ".")
    return f"{len(trial.details)} things measured with exposures of {1e3 * exposure:g} ms"


def pulse_sender(beamline: Beamline) -> str:
    """Return the name of what sends pulses to detectors, the best first; empty if nothing does."""
    return next(
        (
            name
            for kind in (Pulses, Zebra)
            for name, device in beamline.devices.items()
            if isinstance(device, kind)
        ),
        "",
    )


def _triggered(beamline: Beamline, name: str) -> Iterable[str]:
    return [name] if find_frame_source(beamline.devices[name]) is not None else []


register_suite(
    Suite("triggered detector", _triggered, (Test("is as it says", is_as_it_says, moves=True),))
)
