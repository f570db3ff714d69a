"""Cameras behind areaDetector: the device, a series of its frames, statistics, records."""

from .device import Camera
from .drivers import DRIVERS, Driver
from .statistics import FWHM_PER_SIGMA, StatisticsSource
from .stock_plans import RunPaths

__all__ = ["DRIVERS", "FWHM_PER_SIGMA", "Camera", "Driver", "RunPaths", "StatisticsSource"]
