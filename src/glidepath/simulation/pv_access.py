"""Process variables over PV Access, in blocks that a PVI tree tells clients of.

Names, types and the tree are those of FastCS (``fastcs/transports/epics/pva``), which serves real
PandAs: ``PREFIX:PVI`` names the blocks, each block's own ``PVI`` its variables.
"""

from collections.abc import Callable, Sequence
from typing import Any

from p4p import Type, Value
from p4p.nt import NTEnum, NTScalar, NTTable
from p4p.nt.common import alarm, timeStamp
from p4p.server import Server, StaticProvider
from p4p.server.asyncio import SharedPV

from .channels import Clock

__all__ = ["Block", "PvaServer", "Variable"]

_HOST = "127.0.0.1"

OnPut = Callable[[Any], None]


class Variable:
    """One process variable; made by :class:`Block`.

    Parameters
    ----------
    clock
        Clock of the server.
    type_
        Its normative type.
    value
        What it holds at first.
    choices
        Choices of an enumeration.
    writable
        Whether clients may put.
    on_put
        Called with a client's value.
    posts
        Whether it shows a client's value at once; otherwise whoever owns it does.

    Attributes
    ----------
    value
        Its present value; that of a choice is its text, that of a table a dictionary of columns.
    writable
        As above.
    pv
        What is served, once it is open.
    """

    def __init__(
        self,
        clock: Clock,
        type_: Type,
        value: Any,
        *,
        choices: Sequence[str] = (),
        writable: bool = False,
        on_put: OnPut | None = None,
        posts: bool = True,
    ) -> None:
        self._clock, self._type, self._choices = clock, type_, choices
        self._on_put, self._posts = on_put, posts
        self.writable = writable or on_put is not None
        self.value = value
        self.pv: SharedPV

    def open(self) -> None:
        """Make it ready to be served; needs a running event loop."""
        self.pv = SharedPV(handler=self, initial=self._packed(self.value, first=True))

    def _packed(self, value: Any, first: bool = False) -> Value:
        seconds = self._clock.now()
        stamp = {"secondsPastEpoch": int(seconds), "nanoseconds": int(seconds % 1 * 1e9)}
        if self._choices:
            chosen = {"index": list(self._choices).index(value)}
            value = {**chosen, "choices": self._choices} if first else chosen
        return Value(self._type, {"value": value, "timeStamp": stamp})

    def post(self, value: Any) -> None:
        """Publish a value."""
        self.value = value
        self.pv.post(self._packed(value))

    def change(self, value: Any) -> None:
        """Publish a value if it differs from the present one."""
        if value != self.value:
            self.post(value)

    def put(self, pv: SharedPV, operation: Any) -> None:
        """Take a client's value (p4p calls this in the event loop)."""
        if not self.writable:
            operation.done(error="it is read-only")
            return
        content = operation.value()["value"]
        if self._choices:
            value: Any = self._choices[content["index"]]
        else:
            value = content.todict() if isinstance(content, Value) else content
        if self._posts:
            self.post(value)
        if self._on_put is not None:
            self._on_put(value)
        operation.done()


class Block:
    """Variables that belong together, and blocks inside.

    Parameters
    ----------
    clock
        Clock of the server.
    name
        What the names of its variables begin with, such as ``SIM:PANDA:Seq:1:``.
    """

    def __init__(self, clock: Clock, name: str) -> None:
        self._clock, self._name = clock, name
        self._blocks: dict[str, Block] = {}
        self._variables: dict[str, Variable] = {}

    def __getitem__(self, field: str) -> Variable:
        """Return a variable."""
        return self._variables[field]

    def block(self, name: str) -> "Block":
        """Add a block, or return it; a number makes it one of several of a kind."""
        if name not in self._blocks:
            self._blocks[name] = Block(self._clock, f"{self._name}{_pascal(name)}:")
        return self._blocks[name]

    def _add(self, field: str, type_: Type, value: Any, **options: Any) -> Variable:
        self._variables[field] = variable = Variable(self._clock, type_, value, **options)
        return variable

    def scalar(
        self, field: str, value: Any, *, writable: bool = False, on_put: OnPut | None = None
    ) -> Variable:
        """Add a number, a truth value or a text, by the type of its first value."""
        code = {bool: "?", int: "i", float: "d", str: "s"}[type(value)]
        type_ = NTScalar.buildType(code, display=True, form=code == "d")
        return self._add(field, type_, value, writable=writable, on_put=on_put)

    def choice(
        self,
        field: str,
        value: str,
        choices: Sequence[str],
        *,
        writable: bool = False,
        on_put: OnPut | None = None,
    ) -> Variable:
        """Add a variable with named choices."""
        type_ = NTEnum.buildType()
        return self._add(field, type_, value, choices=choices, writable=writable, on_put=on_put)

    def table(
        self,
        field: str,
        columns: Sequence[tuple[str, str]],
        value: dict[str, Any],
        on_put: OnPut | None = None,
    ) -> Variable:
        """Add a table; ``columns`` are names and type codes of p4p. It shows no put by itself."""
        type_ = NTTable(columns=list(columns)).type
        return self._add(field, type_, value, on_put=on_put, posts=False)

    def add_to(self, provider: StaticProvider) -> None:
        """Serve all variables, and the tree that leads to them."""
        entries: dict[str, dict[str, str]] = {}
        for name, block in self._blocks.items():
            block.add_to(provider)
            key = f"__{name}" if name.isdigit() else name
            entries[key] = {"d": f"{block._name}PVI"}
        for field, variable in self._variables.items():
            variable.open()
            pv = self._name + _pascal(field)
            provider.add(pv, variable.pv)
            entries[field] = {"rw" if variable.writable else "r": pv}
        provider.add(f"{self._name}PVI", SharedPV(initial=_pvi(entries)))


def _pascal(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _pvi(entries: dict[str, dict[str, str]]) -> Value:
    tree = [
        (name, ("S", "structure", [(access, "s") for access in entry]))
        for name, entry in entries.items()
    ]
    type_ = Type(
        [
            ("alarm", alarm),
            ("timeStamp", timeStamp),
            ("display", ("S", None, [("description", "s")])),
            ("value", ("S", "structure", tree)),
        ]
    )
    return Value(type_, {"value": entries})


class PvaServer:
    """A PV Access server on the loopback; serves as soon as it is made.

    Parameters
    ----------
    root
        What it serves.
    port, search_port
        TCP port of the server, and UDP port at which it is searched for.
    """

    def __init__(self, root: Block, port: int, search_port: int) -> None:
        self._provider = StaticProvider()
        root.add_to(self._provider)
        self._server = Server(
            providers=[self._provider],
            useenv=False,
            conf={
                "EPICS_PVAS_INTF_ADDR_LIST": _HOST,
                "EPICS_PVAS_BEACON_ADDR_LIST": _HOST,
                "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
                "EPICS_PVAS_SERVER_PORT": str(port),
                "EPICS_PVAS_BROADCAST_PORT": str(search_port),
            },
        )

    def close(self) -> None:
        """Hang up and end."""
        self._server.stop()
