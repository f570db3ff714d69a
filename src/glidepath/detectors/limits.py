"""What no triggered detector can do, refused in the same words for all of them."""

from .frame_source import FrameSettings, FrameSource


async def check_timing(detector: FrameSource, settings: FrameSettings) -> None:
    """Refuse (ValueError, one sentence) a trigger mode or a timing that a detector cannot do.

    Parameters
    ----------
    detector
        The detector, which is asked for its trigger modes and its dead time.
    settings
        What is wanted of it.
    """
    modes = await detector.trigger_modes()
    if settings.mode not in modes:
        raise ValueError(
            f"{detector.name} cannot be triggered by {settings.mode.value!r}; it can by "
            f"{', '.join(sorted(mode.value for mode in modes))}."
        )
    if not settings.exposure > 0:
        raise ValueError(f"{detector.name} cannot expose for {settings.exposure!r} s.")
    dead = await detector.dead_time()
    number = settings.frames
    needed = number * (settings.exposure + dead)
    # Rounding must not refuse what fits exactly.
    if needed > settings.period * (1 + 1e-6):
        longest = max(settings.period - dead, 0.0)
        what, advice = "an exposure", f"expose for at most {1e3 * longest:.4g} ms"
        if number > 1:
            what, advice = f"{number} frames", "make fewer frames a row"
        raise ValueError(
            f"{detector.name} needs {1e3 * needed:.4g} ms for {what} of "
            f"{1e3 * settings.exposure:.4g} ms and its dead time, but a trigger comes each "
            f"{1e3 * settings.period:.4g} ms; {advice} or fly slower."
        )


__all__ = ["check_timing"]
