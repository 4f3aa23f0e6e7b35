"""How the six parametrisations look, in every figure alike.

A colour each, related within a pair; the kernel phase is dashed.
"""

from typing import Any

COLOURS = {
    "mean_field": "#0072B2",
    "ntk": "#56B4E9",
    "kaiming_plus": "#D55E00",
    "kaiming": "#E69F00",
    "xavier_plus": "#009E73",
    "xavier": "#CC79A7",
}
KERNEL = ("ntk", "kaiming", "xavier")
NESTED = (4.0, 2.8, 1.8, 1.0)  # line widths of curves on top of each other, the first below


def look(preset: str) -> dict[str, Any]:
    """Colour, dashes and label of a parametrisation's curve.

    Args:
        preset: its name.
    """
    dashes = "--" if preset in KERNEL else "-"
    return {"color": COLOURS[preset], "ls": dashes, "label": preset.replace("_", " ")}


def dodged(x: float, i: int, of: int, ratio: float = 1.04) -> float:
    """A place beside x on a logarithmic axis, so that error bars do not hide each other.

    Args:
        x: the place.
        i: which curve it is.
        of: how many there are.
        ratio: of two neighbouring places.
    """
    return x * ratio ** (i - (of - 1) / 2)
