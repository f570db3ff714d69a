"""A PV Access server in a process of its own, whose variables are set by lines on its input."""

import os
import subprocess
import sys


class PvAccessServer:
    """Variables ``P:double``, ``P:enum`` and ``P:wave`` on a port of their own."""

    def __init__(self, port: int) -> None:
        self.environment = {
            "EPICS_PVA_ADDR_LIST": f"127.0.0.1:{port}",
            "EPICS_PVA_AUTO_ADDR_LIST": "NO",
            "EPICS_PVA_BROADCAST_PORT": str(port),
        }
        self._own = {
            "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_BEACON_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_PVAS_BROADCAST_PORT": str(port),
        }

    def __enter__(self) -> "PvAccessServer":
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | self._own,
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def put(self, name: str, value: float, timestamp: float = 0.0, severity: int = 0) -> None:
        """Post a value; done when this returns."""
        self._process.stdin.write(f"{name} {value} {timestamp} {severity}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """End without warning, as a crash would."""
        self._process.kill()
        self._process.wait()

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.stdin.close()
        self._process.stdout.close()


def serve() -> None:
    from p4p.nt import NTEnum, NTScalar
    from p4p.server import Server
    from p4p.server.thread import SharedPV

    scalar, wave, choice = NTScalar("d", display=True), NTScalar("ad"), NTEnum()
    variables = {
        "P:double": SharedPV(nt=scalar, initial=0.0, timestamp=1_700_000_000.0),
        "P:enum": SharedPV(nt=choice, initial={"index": 1, "choices": ["off", "on", "wild"]}),
        "P:wave": SharedPV(nt=wave, initial=[1.0, 2.0, 3.0], timestamp=1_700_000_000.0),
    }
    with Server(providers=[variables]):
        print("ready", flush=True)
        for line in sys.stdin:
            name, value, timestamp, severity = line.split()
            found = variables[name].current()
            raw = getattr(found, "raw", found)
            if name == "P:enum":
                raw["value.index"] = int(float(value))
            else:
                raw["value"] = float(value)
                raw["timeStamp.secondsPastEpoch"] = int(float(timestamp))
                raw["timeStamp.nanoseconds"] = round(float(timestamp) % 1 * 1e9)
                raw["alarm.severity"] = int(severity)
            variables[name].post(raw)
            print("done", flush=True)


if __name__ == "__main__":
    serve()
