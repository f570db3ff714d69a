"""The constants of nature that several laws share, so that they agree to the last digit."""

from typing import Final

__all__ = ["HC_EV_NM"]

HC_EV_NM: Final = 1239.841984332
"""Planck's constant times the speed of light, eV nm (CODATA 2018, exact values of h, c and e)."""
