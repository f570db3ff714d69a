"""The report of acceptance tests: a page for people, JUnit for machines, what has changed."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from .outcomes import Figure, Outcome, Result
from .record import counts

__all__ = ["about_session", "changes", "write_html", "write_junit"]

FEWEST = 3
"""Earlier values of a figure from which it is known how much it scatters."""

SCATTERS, SHARE = 5.0, 0.1
"""A figure has changed if it is further from the median of the earlier ones than so many of their
median deviations, and than this share of it."""

DEVIATION = 1.4826
"""Standard deviation of normal values in units of their median deviation."""

PICTURE = (90.0, 18.0)
"""Width and height of the picture of a history."""


def changes(outcomes: Sequence[Outcome], earlier: Sequence[Sequence[Outcome]]) -> list[str]:
    """Return what has changed since the last time, a sentence each.

    Parameters
    ----------
    outcomes
        Of now.
    earlier
        Of earlier runs, the oldest first. What was left out then or now is not compared.
    """
    found = []
    for outcome in outcomes:
        before = _before(outcome, earlier)
        if not before or outcome.result is Result.LEFT_OUT:
            continue
        when = f"on {_date(before[-1].time)}"
        if outcome.result is not before[-1].result:
            if outcome.result is Result.FAIL:
                found.append(f"{outcome.title}: passed {when} and fails now. {outcome.sentence}")
            else:
                found.append(f"{outcome.title}: failed {when} and passes now.")
        for name, figure in outcome.figures.items():
            values = [one.figures[name].value for one in before if name in one.figures]
            if _has_changed(figure.value, values):
                median = Figure(float(np.median(values)), figure.unit)
                found.append(f"{outcome.title}: {name} is {figure}, and was {median}.")
    return found


def _before(outcome: Outcome, earlier: Sequence[Sequence[Outcome]]) -> list[Outcome]:
    """Return what came of the same test earlier, where it was made."""
    return [
        one
        for run in earlier
        for one in run
        if (one.device, one.title) == (outcome.device, outcome.title)
        and one.result is not Result.LEFT_OUT
    ]


def _has_changed(value: float, earlier: Sequence[float]) -> bool:
    if len(earlier) < FEWEST:
        return False
    middle = float(np.median(earlier))
    scatter = DEVIATION * float(np.median(np.abs(np.asarray(earlier) - middle)))
    return abs(value - middle) > max(SCATTERS * scatter, SHARE * abs(middle))


def write_html(
    path: Path,
    outcomes: Sequence[Outcome],
    earlier: Sequence[Sequence[Outcome]],
    about: Mapping[str, str],
) -> None:
    """Write the page.

    Parameters
    ----------
    path
        The file.
    outcomes, earlier
        See `changes`.
    about
        What is said at its top: name -> text.
    """
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("glidepath.acceptance"), autoescape=True)
    devices = list(dict.fromkeys(outcome.device for outcome in outcomes))
    page = environment.get_template("report.html").render(
        about=about,
        counts=counts(outcomes),
        changes=changes(outcomes, earlier),
        compared=bool(earlier),
        devices={
            device: [_Line.of(one, earlier) for one in outcomes if one.device == device]
            for device in devices
        },
        when=time.strftime("%Y-%m-%d %H:%M:%S"),
    )
    path.write_text(page, encoding="utf-8")


@dataclass(frozen=True)
class _Shown:
    """One figure on the page."""

    name: str
    now: str
    last: str
    points: str


@dataclass(frozen=True)
class _Line:
    """One test on the page."""

    title: str
    result: str
    kind: str
    sentence: str
    details: tuple[str, ...]
    figures: tuple[_Shown, ...]
    seconds: str
    history: str

    @classmethod
    def of(cls, outcome: Outcome, earlier: Sequence[Sequence[Outcome]]) -> "_Line":
        before = _before(outcome, earlier)
        return cls(
            outcome.title,
            str(outcome.result),
            outcome.result.name.lower(),
            outcome.sentence,
            outcome.details,
            tuple(_shown(name, figure, before) for name, figure in outcome.figures.items()),
            f"{outcome.seconds:.1f}",
            "".join("●" if one.result is Result.PASS else "✗" for one in before[-12:]),
        )


def _shown(name: str, figure: Figure, before: Sequence[Outcome]) -> _Shown:
    values = [one.figures[name].value for one in before if name in one.figures]
    last = str(Figure(values[-1], figure.unit)) if values else ""
    return _Shown(name, str(figure), last, _points([*values, figure.value]))


def _points(values: Sequence[float]) -> str:
    """Return the points of a line in an SVG picture; nothing for fewer than two values."""
    known = [value for value in values if np.isfinite(value)]
    if len(known) < 2:
        return ""
    low, span = min(known), (max(known) - min(known)) or 1.0
    width, height = PICTURE
    step = (width - 4) / (len(known) - 1)
    return " ".join(
        f"{2 + number * step:.1f},{height - 2 - (height - 4) * (value - low) / span:.1f}"
        for number, value in enumerate(known)
    )


def write_junit(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the outcomes as JUnit's XML, a suite for each device, as other tools read it."""
    root = ElementTree.Element("testsuites")
    for device in dict.fromkeys(outcome.device for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.device == device]
        number = counts(mine)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=device,
            tests=str(len(mine)),
            failures=str(number["failed"]),
            skipped=str(number["left_out"]),
            errors="0",
            time=f"{sum(outcome.seconds for outcome in mine):.3f}",
        )
        for outcome in mine:
            _add_case(suite, outcome)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add_case(suite: ElementTree.Element, outcome: Outcome) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=outcome.device,
        name=outcome.title,
        time=f"{outcome.seconds:.3f}",
    )
    if outcome.figures:
        properties = ElementTree.SubElement(case, "properties")
        for name, figure in outcome.figures.items():
            ElementTree.SubElement(properties, "property", name=name, value=str(figure))
    if outcome.result is Result.FAIL:
        ElementTree.SubElement(case, "failure", message=_plain(outcome.sentence))
    elif outcome.result is Result.LEFT_OUT:
        ElementTree.SubElement(case, "skipped", message=_plain(outcome.sentence))
    if outcome.details:
        ElementTree.SubElement(case, "system-out").text = _plain("\n".join(outcome.details))


def _plain(text: str) -> str:
    """Return a text without the characters that XML cannot hold."""
    return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd]", "?", text)


def _date(when: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(when))


def about_session(session: Any, moved: Iterable[str]) -> dict[str, str]:
    """Return what a report says of a session: beamline, what may move, versions."""
    from glidepath import __version__

    return {
        "beamline": session.beamline.name,
        "data": str(session.root),
        "allowed to move": ", ".join(sorted(moved)) or "nothing",
        "glidepath": __version__,
    }
