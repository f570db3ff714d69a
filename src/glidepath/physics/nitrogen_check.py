"""What an N2 spectrum says of a beamline: its energy scale and its resolution, against limits."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from .nitrogen import N2_RELATIVE_HEIGHTS, N2_LINES_eV, N2Fit, fit_series
from .uncertainty import with_error

__all__ = ["N2Check", "N2Judgement", "N2Limits", "N2Outcome", "check_series"]

LEAST_SHARE = 0.5
"""Share of a spectrum's variation that the series must account for, to be in it at all."""

LEAST_LIKENESS = 0.96
"""Cosine between the fitted heights of the lines and the known ones: 1 is the same pattern.

An absorption edge makes 0.94, a single line 0.65, a gas cell with far too much gas still 0.98.
"""

SURE = 2.0
"""A limit that is nearer than so many standard errors decides nothing."""


class N2Outcome(StrEnum):
    """What a check says."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "not decided"
    """The error is too large to tell, or there is no series in the spectrum."""


@dataclass(frozen=True)
class N2Limits:
    """What is demanded of an N2 spectrum; None: it is measured and not judged.

    Parameters
    ----------
    shift
        Largest distance of the first line from 400.88 eV, in eV.
    resolving_power
        Lowest energy of the first line over the Gaussian width.
    gaussian_fwhm
        Largest full width at half maximum of the monochromator's Gaussian, in eV.
    valley_to_peak
        Largest height of the first valley over that of the third peak.

    Raises
    ------
    ValueError
        If a limit is not a number above zero, or there is none.
    """

    shift: float | None = 0.05
    resolving_power: float | None = 4000.0
    gaussian_fwhm: float | None = None
    valley_to_peak: float | None = None

    def __post_init__(self) -> None:
        """Refuse what limits nothing."""
        given = {name: value for name, value in vars(self).items() if value is not None}
        for name, value in given.items():
            if not (math.isfinite(value) and value > 0):
                raise ValueError(
                    f"An N2 check cannot have the limit {value!r} for {name}; give a number above "
                    "zero, or None to leave it out."
                )
        if not given:
            raise ValueError(f"An N2 check needs a limit; give one of {', '.join(vars(self))}.")


@dataclass(frozen=True)
class N2Judgement:
    """One quantity and what is said of it.

    Attributes
    ----------
    name
        Of the quantity, as in `N2Limits`.
    value, error
        As measured, with its standard error.
    limit
        What it is compared with; None: it is not judged.
    at_least
        Whether the limit is the lowest value; else it is the largest absolute one.
    text
        The measured value, for people.
    limit_text
        The limit, for people.
    """

    name: str
    value: float
    error: float
    limit: float | None
    at_least: bool
    text: str
    limit_text: str

    @property
    def outcome(self) -> N2Outcome | None:
        """What is said of it; None if it is not judged."""
        if self.limit is None:
            return None
        value = self.value if self.at_least else -abs(self.value)
        room = value - (self.limit if self.at_least else -self.limit)
        # A comparison with what is not a number is false: nothing is decided then.
        if not (math.isfinite(self.error) and self.error > 0 and abs(room) > SURE * self.error):
            return N2Outcome.UNDECIDED
        return N2Outcome.PASSED if room > 0 else N2Outcome.FAILED

    def __str__(self) -> str:
        """Return it as a part of a sentence."""
        if self.limit is None:
            return self.text
        said = {
            N2Outcome.PASSED: "",
            N2Outcome.FAILED: "NOT ",
            N2Outcome.UNDECIDED: "too near to tell: ",
        }[self.outcome or N2Outcome.UNDECIDED]
        return f"{self.text} ({said}{self.limit_text})"


@dataclass(frozen=True)
class N2Check:
    """An N2 spectrum, judged.

    Attributes
    ----------
    limits
        What was demanded.
    fit
        What was fitted; None if the series is not in the spectrum.
    why_not
        Why there is no fit; empty if there is one.
    """

    limits: N2Limits
    fit: N2Fit | None
    why_not: str = ""

    @property
    def judgements(self) -> tuple[N2Judgement, ...]:
        """Each quantity with what is said of it; none without a fit."""
        return () if self.fit is None else tuple(_judged(self.fit, self.limits))

    @property
    def outcome(self) -> N2Outcome:
        """What is said of the whole: failed if anything has failed."""
        outcomes = {judgement.outcome for judgement in self.judgements}
        if N2Outcome.FAILED in outcomes:
            return N2Outcome.FAILED
        if self.fit is None or N2Outcome.UNDECIDED in outcomes:
            return N2Outcome.UNDECIDED
        return N2Outcome.PASSED

    def sentence(self) -> str:
        """Return the result in one line, without a full stop."""
        if self.fit is None:
            return f"N2 check {self.outcome}: {self.why_not.rstrip('.')}"
        return f"N2 check {self.outcome}: {'; '.join(map(str, self.judgements))}"

    def numbers(self) -> Mapping[str, tuple[float, str]]:
        """Return values, errors and limits: name -> (value, unit), those that are known."""
        found = {}
        for one in self.judgements:
            unit = "eV" if one.name in ("shift", "gaussian_fwhm") else ""
            found[one.name] = (one.value, unit)
            found[f"{one.name}_error"] = (one.error, unit)
            found[f"{one.name}_limit"] = (math.nan if one.limit is None else one.limit, unit)
        if self.fit is not None:
            found["first_line"] = (self.fit.first_line, "eV")
            found["first_line_error"] = (self.fit.first_line_error, "eV")
        return {name: known for name, known in found.items() if math.isfinite(known[0])}


def _judged(fit: N2Fit, limits: N2Limits) -> Iterator[N2Judgement]:
    yield N2Judgement(
        "shift",
        fit.shift,
        fit.first_line_error,
        limits.shift,
        False,
        f"first line {with_error(fit.first_line, fit.first_line_error)} eV, "
        f"{1e3 * fit.shift:+.1f} meV from {N2_LINES_eV[0]:.2f} eV",
        f"within {1e3 * (limits.shift or 0):g} meV",
    )
    yield N2Judgement(
        "resolving_power",
        fit.resolving_power,
        fit.resolving_power_error,
        limits.resolving_power,
        True,
        f"resolving power {with_error(fit.resolving_power, fit.resolving_power_error)}",
        f"at least {limits.resolving_power or 0:g}",
    )
    yield N2Judgement(
        "gaussian_fwhm",
        fit.gaussian_fwhm,
        fit.gaussian_fwhm_error,
        limits.gaussian_fwhm,
        False,
        f"Gaussian width {with_error(1e3 * fit.gaussian_fwhm, 1e3 * fit.gaussian_fwhm_error)} meV",
        f"at most {1e3 * (limits.gaussian_fwhm or 0):g} meV",
    )
    yield N2Judgement(
        "valley_to_peak",
        fit.valley_to_peak,
        fit.valley_to_peak_error,
        limits.valley_to_peak,
        False,
        f"first valley over third peak {with_error(fit.valley_to_peak, fit.valley_to_peak_error)}",
        f"at most {limits.valley_to_peak or 0:g}",
    )


def check_series(energy: ArrayLike, signal: ArrayLike, limits: N2Limits = N2Limits()) -> N2Check:
    """Fit the pi* series of N2 and judge what comes of it.

    Parameters
    ----------
    energy
        Photon energy in eV, shape (n,), in any order.
    signal
        Measured signal, shape (n,); what is not finite is left out.
    limits
        What is demanded.

    Returns
    -------
    N2Check
        Also where the series is not in the spectrum, which then says why.
    """
    at, measured = np.asarray(energy, dtype=np.float64), np.asarray(signal, dtype=np.float64)
    try:
        fit = fit_series(at, measured)
    except ValueError as error:
        return N2Check(limits, None, str(error))
    share = _share(fit, at, measured)
    if not share >= LEAST_SHARE:
        return N2Check(
            limits,
            None,
            "the N2 series is not in the spectrum, or is lost in its noise: it accounts for "
            f"{100 * max(share, 0.0):.0f} % of what changes in it; look whether there is gas in "
            "the cell, or measure longer",
        )
    if not _likeness(fit) >= LEAST_LIKENESS:
        return N2Check(
            limits,
            None,
            "what is in the spectrum has not the pattern of the N2 lines; look whether there is "
            "nitrogen in the cell and whether the range holds the whole series",
        )
    return N2Check(limits, fit)


def _likeness(fit: N2Fit) -> float:
    """Return how much the heights of the lines are like those of N2, from 0 to 1."""
    known, heights = np.asarray(N2_RELATIVE_HEIGHTS), fit.heights
    return float(heights @ known / (np.linalg.norm(heights) * np.linalg.norm(known)))


def _share(fit: N2Fit, energy: np.ndarray, signal: np.ndarray) -> float:
    """Return which share of the variation about a straight line the fitted series explains."""
    known = np.isfinite(energy) & np.isfinite(signal)
    inside = known & (energy > fit.first_line - 0.8) & (energy < fit.line_energies[-1] + 0.6)
    at, measured = energy[inside] - fit.first_line, signal[inside]
    if len(at) < 3 or not np.ptp(measured):
        return 0.0
    straight = np.polynomial.Polynomial.fit(at, measured, 1)
    left = np.sum((measured - fit.model(energy[inside])) ** 2)
    return float(1 - left / np.sum((measured - straight(at)) ** 2))
