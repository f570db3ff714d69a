"""What a simulated beamline can be told, in a form that travels to its server processes."""

import json
from dataclasses import asdict, dataclass

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Settings of one simulated beamline; see :class:`~glidepath.simulation.SimulatedBeamline`.

    Attributes
    ----------
    optics_port, detectors_port, link_port, repeater_port
        Ports on the loopback interface: Channel Access of the two servers, the link between
        them, and the repeater that clients register with.
    vacuum_port, accelerator_port
        Channel Access of the two servers that are started where they are asked for. 0: the
        addresses of clients do not have them.
    vacuum_link_port
        Port of the link by which the vacuum server tells the detectors where its valves and
        shutters are. 0: there are none, and the light gets through.
    panda_port, panda_search_port
        PV Access of the PandA: its server, and where it is searched for. 0: there is no PandA.
    """

    optics_port: int
    detectors_port: int
    link_port: int
    repeater_port: int
    prefix: str = "SIM:"
    seed: int = 1
    readback_Hz: float = 10.0  # noqa: N815 (the unit's own spelling)
    encoder_noise_eV: float = 0.0005  # noqa: N815
    ripple_eV: float = 0.002  # noqa: N815
    counts_per_degree: float = 360_000.0
    optics_clock_offset: float = 0.0
    detectors_clock_offset: float = 0.0
    arrival_delay: float = 0.0
    truth: str | None = None
    default_batching: bool = False
    start_energy_eV: float = 400.0  # noqa: N815
    undulator: str = "UE48"
    mains_Hz: float = 50.0  # noqa: N815
    detector_noise: float = 1.0
    panda_port: int = 0
    panda_search_port: int = 0
    vacuum_port: int = 0
    accelerator_port: int = 0
    vacuum_link_port: int = 0

    def port(self, name: str) -> int:
        """Return the Channel Access port of a server, by its name."""
        return int(getattr(self, f"{name}_port"))

    def to_json(self) -> str:
        """Return the settings as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Return the settings that :meth:`to_json` wrote."""
        return cls(**json.loads(text))
