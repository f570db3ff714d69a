"""Free ports on the loopback interface, so that several beamlines can run side by side."""

import random
import socket

__all__ = ["free_ports", "is_free"]

# Below the range from which systems choose the local ports of outgoing connections, so that no
# client takes a port between the moment it is found free and the moment a server uses it.
_FIRST, _LAST = 15000, 31999


def free_ports(count: int) -> list[int]:
    """Return ``count`` different ports that are free on 127.0.0.1, both for TCP and for UDP.

    Raises
    ------
    RuntimeError
        If not enough ports are free.
    """
    generator = random.SystemRandom()
    ports: list[int] = []
    for _ in range(100 * count):
        port = generator.randint(_FIRST, _LAST)
        if port not in ports and is_free(port):
            ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(
        f"{count} free ports were asked, but only {len(ports)} of {_FIRST} to {_LAST} are free; "
        "end some servers."
    )


def is_free(port: int) -> bool:
    """Whether nobody uses a port of 127.0.0.1, neither for TCP nor for UDP."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        try:
            stream.bind(("127.0.0.1", port))
            datagram.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
