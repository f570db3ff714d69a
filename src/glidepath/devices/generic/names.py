"""PV names of a family: defaults, and one mapping to name others instead of a subclass."""

from collections.abc import Mapping

__all__ = ["pv_names"]


def pv_names(
    prefix: str, defaults: Mapping[str, str], others: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the PV names of a device by what they are for.

    Parameters
    ----------
    prefix
        Replaces ``{}`` in every name.
    defaults
        What a PV is for -> its name, such as ``{"status": "{}State1"}``.
    others
        Names that replace defaults. A name without ``{}`` is complete as it is.

    Raises
    ------
    ValueError
        If a name is given for something that the family does not have.

    Examples
    --------
    >>> pv_names("V1:", {"toggle": "{}SetTa", "status": "{}State1"}, {"status": "{}State"})
    {'toggle': 'V1:SetTa', 'status': 'V1:State'}
    """
    unknown = [key for key in others or () if key not in defaults]
    if unknown:
        raise ValueError(
            f"There is no PV for {unknown[0]!r} to be named at {prefix!r}; "
            f"name one of {', '.join(defaults)}."
        )
    names = {**defaults, **(others or {})}
    return {key: name.replace("{}", prefix) for key, name in names.items()}
