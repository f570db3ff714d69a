"""Elements, their absorption edges and chemical formulas: what names a spectrum."""

import re

_PERIODIC_TABLE = """
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb
Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr
Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og
"""

SYMBOLS = tuple(_PERIODIC_TABLE.split())
"""Symbols of the elements; the first has the atomic number 1."""

FIRST_WITH_EDGE = {
    "K": 1,
    "L1": 3,
    **dict.fromkeys(("L2", "L3", "L2,3"), 5),
    "M1": 11,
    **dict.fromkeys(("M2", "M3", "M2,3"), 13),
    **dict.fromkeys(("M4", "M5", "M4,5"), 21),
    "N1": 19,
    **dict.fromkeys(("N2", "N3", "N2,3"), 31),
    **dict.fromkeys(("N4", "N5", "N4,5"), 39),
    **dict.fromkeys(("N6", "N7", "N6,7"), 58),
    "O1": 37,
    **dict.fromkeys(("O2", "O3", "O2,3"), 49),
    **dict.fromkeys(("O4", "O5", "O4,5"), 71),
}
"""Edge -> atomic number of the first element whose free atom has electrons in that subshell."""

_ATOM = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")
_AFTER_GROUP = re.compile(r"\d+(?:\.\d+)?")


def atomic_number(symbol: str) -> int:
    """Return the atomic number of an element.

    Raises
    ------
    ValueError
        If there is no such element.
    """
    if symbol not in SYMBOLS:
        raise ValueError(f"{symbol!r} is no chemical element; give its symbol, such as N or Fe.")
    return SYMBOLS.index(symbol) + 1


def check_edge(symbol: str, edge: str) -> None:
    """Raise if an element has no such absorption edge.

    Raises
    ------
    ValueError
        In one sentence, which names the edges that the element has.
    """
    number = atomic_number(symbol)
    if edge not in FIRST_WITH_EDGE:
        raise ValueError(
            f"{edge!r} is no absorption edge; give one of {', '.join(FIRST_WITH_EDGE)}."
        )
    if number < FIRST_WITH_EDGE[edge]:
        has = [name for name, first in FIRST_WITH_EDGE.items() if number >= first]
        raise ValueError(f"{symbol} has no edge {edge}; it has {', '.join(has)}.")


def atoms_of(formula: str) -> dict[str, float]:
    """Return how many atoms of each element a chemical formula has.

    Understood are symbols with whole or decimal numbers, groups in round or square brackets,
    blanks, and parts such as crystal water after a dot: ``CuSO4·5H2O``.

    Raises
    ------
    ValueError
        In one sentence, if it is no formula.

    Examples
    --------
    >>> atoms_of("Ca(OH)2")
    {'Ca': 1.0, 'O': 2.0, 'H': 2.0}
    """
    total: dict[str, float] = {}
    for part in re.split(r"[·*]", formula.replace(" ", "")):
        factor, rest = _leading_number(part)
        for symbol, count in _group(formula, rest).items():
            total[symbol] = total.get(symbol, 0.0) + factor * count
    return total


def _leading_number(part: str) -> tuple[float, str]:
    number = _AFTER_GROUP.match(part)
    return (float(number[0]), part[number.end() :]) if number else (1.0, part)


def _group(formula: str, text: str) -> dict[str, float]:
    """Count the atoms of a text that holds whole groups."""
    stack: list[tuple[str, dict[str, float]]] = [("", {})]
    at = 0
    while at < len(text):
        if text[at] in "([":
            stack.append((text[at], {}))
            at += 1
        elif text[at] in ")]" and "([".index(stack[-1][0] or "(") == ")]".index(text[at]):
            if len(stack) == 1:
                raise _no_formula(formula)
            factor, rest = _leading_number(text[at + 1 :])
            at = len(text) - len(rest)
            _add(stack.pop()[1], stack[-1][1], factor)
        else:
            atom = _ATOM.match(text, at)
            if atom is None or atom[1] not in SYMBOLS:
                raise _no_formula(formula)
            _add({atom[1]: float(atom[2] or 1)}, stack[-1][1], 1.0)
            at = atom.end()
    if len(stack) > 1 or not stack[0][1]:
        raise _no_formula(formula)
    return stack[0][1]


def _add(counts: dict[str, float], to: dict[str, float], factor: float) -> None:
    for symbol, count in counts.items():
        to[symbol] = to.get(symbol, 0.0) + factor * count


def _no_formula(formula: str) -> ValueError:
    return ValueError(f"{formula!r} is no chemical formula; give one such as N2, Fe2O3 or Ca(OH)2.")


__all__ = ["FIRST_WITH_EDGE", "SYMBOLS", "atomic_number", "atoms_of", "check_edge"]
