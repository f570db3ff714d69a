"""Every fault with every back end and mode to which it applies, and what became of each scan.

Run ``python -m glidepath.faults.matrix --output docs/reliability-matrix.md``; it takes about half
an hour. The status is 1 if a scan broke a rule. The tests fly a part of it.
"""

import argparse
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console

from glidepath.cli.bench import check_writable, environment

from .laboratory import Case, Laboratory, Outcome, cases, markdown

LABORATORIES = 4
"""Most of a scan with a fault is waiting: so many are flown side by side."""

PAGE = """# Fault matrix

What became of short scans ({range}) into which a fault was put: on the simulated
beamline, over real Channel Access, by a session in a process of its own. Written by
`python -m glidepath.faults.matrix` on {date}, Python {python}, Glidepath {version};
[reliability](reliability.md) says what is promised and how it is judged.

{count} scans, {broken} of them broke a rule.

- *standing after*: seconds from the fault to the axis standing, by the truth of the simulation;
  where a scan goes on, that is the end of its flight.
- *rows kept*, *rows lost*: rows in the file, and whole rows that the axis truly flew through until
  the scan ended and that are not there. A triggered scan has no rows without its trigger box.

{table}"""


def fly(
    chosen: Sequence[Case],
    folder: Path,
    told: Callable[[Case, Outcome], None],
    laboratories: int = LABORATORIES,
) -> list[Outcome]:
    """Fly cases in several laboratories; return their outcomes, in order.

    A laboratory that breaks down breaks a rule, too: the next case gets a new one.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(chosen)):
        waiting.put(number)
    outcomes: dict[int, Outcome] = {}

    def numbers() -> Iterator[int]:
        while True:
            try:
                yield waiting.get_nowait()
            except queue.Empty:
                return

    def work(own: int) -> None:
        place = folder / str(own)
        place.mkdir()
        mine = numbers()
        number = next(mine, None)
        while number is not None:
            try:
                with Laboratory(place, seed=own) as laboratory:
                    while number is not None:
                        done(number, laboratory.fly(chosen[number]))
                        number = next(mine, None)
            except Exception as error:
                if number is None:
                    raise
                done(number, _broken(chosen[number], error))
                number = next(mine, None)

    def done(number: int, outcome: Outcome) -> None:
        outcomes[number] = outcome
        told(chosen[number], outcome)

    threads = [
        threading.Thread(target=work, args=(number,), name=f"laboratory {number}")
        for number in range(min(laboratories, len(chosen)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcomes[number] for number in sorted(outcomes)]


def _broken(case: Case, error: Exception) -> Outcome:
    outcome = Outcome(case.fault.name, case.axis.back_end, case.mode.name)
    outcome.broken.append(f"{type(error).__name__}: {error}")
    return outcome


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the page of the documentation."""
    from .laboratory import START, STOP, VELOCITY

    known = environment()
    # In the order of the catalogue of faults, not in the one in which it is quickest to fly them.
    order = {str(case): number for number, case in enumerate(cases(True, in_order=True))}
    places = {order.get(f"{o.fault}, {o.back_end}, {o.mode}"): o for o in outcomes}
    found = [places[place] for place in sorted(p for p in places if p is not None)]
    return PAGE.format(
        range=f"{START:g} to {STOP:g} eV at {VELOCITY:g} eV/s",
        date=known["date"][:10],
        python=known["python"],
        version=known["versions"]["glidepath"],
        count=len(found),
        broken=sum(bool(outcome.broken) for outcome in found),
        table=markdown(found),
    )


def main() -> None:
    """Fly from the command line."""
    parser = argparse.ArgumentParser(prog="python -m glidepath.faults.matrix", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("docs/reliability-matrix.md"))
    parser.add_argument("--usual", action="store_true", help="only what the tests fly")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    wanted = parser.parse_args()
    try:
        check_writable(wanted.output)
    except ValueError as error:
        parser.error(str(error))
    console = Console(highlight=False, soft_wrap=True, emoji=False)
    chosen = [c for c in cases(all_of_them=not wanted.usual) if wanted.only in c.fault.name]
    flown = 0

    def told(case: Case, outcome: Outcome) -> None:
        nonlocal flown
        flown += 1
        verdict = "; ".join(outcome.broken) or "all holds"
        console.print(
            f"{flown}/{len(chosen)} {case}: {outcome.status} after {outcome.ended_after:.1f} s, "
            f"{outcome.rows} rows; {verdict} ({outcome.reason})",
            markup=False,
        )

    with tempfile.TemporaryDirectory() as place:
        outcomes = fly(chosen, Path(place), told)
    wanted.output.write_text(page(outcomes))
    sys.exit(1 if any(outcome.broken for outcome in outcomes) else 0)


if __name__ == "__main__":
    main()
