"""A small real IOC in a process of its own, whose records are set by lines on its input."""

import contextlib
import ctypes
import os
import subprocess
import sys
import tempfile

DATABASE = """
record(ao, "T:double") {{ field(HIGH, "100") field(HSV, "MINOR") }}
record(ao, "T:double") {{ field(VAL, "{start}") field(PINI, "YES") }}
record(longout, "T:long") {{ field(VAL, "{start}") field(PINI, "YES") }}
record(int64out, "T:int64") {{ field(VAL, "{start}") field(PINI, "YES") }}
record(mbbo, "T:enum") {{ field(ZRST, "off") field(ONST, "on") field(TWST, "wild") }}
record(stringout, "T:text") {{ field(VAL, "something") field(PINI, "YES") }}
record(waveform, "T:float") {{ field(FTVL, "FLOAT") field(NELM, "1") field(PINI, "YES") }}
record(waveform, "T:short") {{ field(FTVL, "SHORT") field(NELM, "1") field(PINI, "YES") }}
record(waveform, "T:char") {{ field(FTVL, "CHAR") field(NELM, "1") field(PINI, "YES") }}
record(waveform, "T:wave") {{ field(FTVL, "DOUBLE") field(NELM, "8") field(PINI, "YES") }}
"""


class SmallIoc:
    """An IOC on a port of its own; a context manager.

    ``start`` is the first value of its scalars, ``prefix`` replaces the ``T:`` of its records.
    """

    def __init__(self, port: int, start: int = 0, prefix: str = "T:") -> None:
        self._arguments = [str(start), prefix]
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith("EPICS_")} | {
            "EPICS_CAS_SERVER_PORT": str(port),
            "EPICS_CAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
            "EPICS_CAS_BEACON_ADDR_LIST": "127.0.0.1",
            "EPICS_CAS_BEACON_PORT": os.environ["EPICS_CA_REPEATER_PORT"],
        }

    def __enter__(self) -> "SmallIoc":
        self._process = subprocess.Popen(
            [sys.executable, __file__, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        assert self._process.stdout.readline() == "ready\n"
        return self

    def put(self, name: str, value: object) -> None:
        """Set a record and process it; done when this returns."""
        self._process.stdin.write(f"{name} {value}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def kill(self) -> None:
        """End without warning, as a crash would."""
        self._process.kill()
        self._process.wait()

    def __exit__(self, *_: object) -> None:
        self.kill()
        # What a `put` wrote when the server was gone is still in the buffer.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()


def serve(start: str, prefix: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    # The IOC's C code prints to both.
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    from epicscorelibs import ioc

    with tempfile.NamedTemporaryFile("w", suffix=".db") as database:
        database.write(DATABASE.format(start=start).replace('"T:', f'"{prefix}'))
        database.flush()
        ioc.start_ioc(database.name)
    put = ioc.dbCore.dbpf
    put.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, _, value = line.strip().partition(" ")
        failed = put(name.encode(), value.encode())
        print("failed" if failed else "done", file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    serve(*sys.argv[1:])
