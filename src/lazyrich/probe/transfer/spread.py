"""Whether initial weights fall as one over the root of the fan-in, and what brings them there.

The outputs of a hidden layer keep their size over widths if its entries fall as 1/√fan-in, as
PyTorch draws them, and muP, and all that follow Glorot or He. A fixed standard deviation, as
GPT-2's 0.02, makes them grow with the width: branches drown the stream that they are added to.
No learning rate makes up for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, log, nan, prod, sqrt

import numpy as np

from lazyrich.probe.transfer.family import Anatomy
from lazyrich.probe.transfer.layout import Layout, Role

TOLERATED = 0.1  # of a spread, as a logarithm
DEVIATIONS = 3.0  # of the spread of so many random entries
FOLLOWED = 0.5  # of an excess of the weights, that the outputs have to show

Sizes = Mapping[str, float]
"""Place → root mean square of its outputs at the start."""


def excess(
    name: str, small: Anatomy, wide: Anatomy, small_sizes: Sizes, wide_sizes: Sizes
) -> float:
    """How many times the entries of a matrix are too large in the wide network, for its fan-in.

    Args:
        name: name of the parameter.
        small: the small network.
        wide: the wide one.
        small_sizes: sizes of the outputs of the first.
        wide_sizes: sizes of the outputs of the second.

    Returns:
        1, or another power of √(growth), where chance explains the rest; NaN where the outputs of
        the layer do not show it, since the layer divides by the width itself.
    """
    spreads = small.spreads[name], wide.spreads[name]
    if small.size == wide.size or not all(spreads):
        return 1.0
    grown = _growth(small.shapes[name], wide.shapes[name])
    found = log(spreads[1] / spreads[0] * sqrt(grown))
    chance = TOLERATED + DEVIATIONS * sqrt(0.5 / prod(small.shapes[name]))
    if abs(found) <= chance:
        return 1.0
    power = round(2 * found / log(grown)) / 2 * log(grown)
    found = power if abs(found - power) <= chance else found
    before, after = small_sizes[small.places[name]], wide_sizes[wide.places[name]]
    followed = log(after / before) / found if before and after else 0.0
    return exp(found) if followed >= FOLLOWED else nan


def spread_factors(
    layout: Layout, small: Anatomy, wide: Anatomy, small_sizes: Sizes, wide_sizes: Sizes
) -> dict[str, float]:
    """Factors on the init of hidden matrices of the wide network, where it is not 1.

    Args:
        layout: layout of the family.
        small: the same as in `excess`.
        wide: the same as in `excess`.
        small_sizes: the same as in `excess`.
        wide_sizes: the same as in `excess`.
    """
    hidden = (name for name, role in layout.roles.items() if role == Role.HIDDEN)
    found = {n: excess(n, small, wide, small_sizes, wide_sizes) for n in hidden}
    return {name: 1 / times for name, times in found.items() if times == times and times != 1}


def misfit(small: Sizes, wide: Sizes) -> float:
    """How far what the layers of a wide network take is from what those of the small one take.

    Args:
        small: place → root mean square of its inputs at the start.
        wide: the same of the wide network.

    Example:
        >>> round(misfit({"0": 1.0, "2": 1.0}, {"0": 1.0, "2": 2.0}), 3)
        0.693
    """
    pairs = [(size, wide.get(place, 0.0)) for place, size in small.items()]
    return sum((abs(log(b / a)) for a, b in pairs if a and b), start=0.0)


def _growth(small: tuple[int, ...], wide: tuple[int, ...]) -> float:
    """By how much the fan-in grows: the mean factor of the sizes that do."""
    grown = [n / m for m, n in zip(small, wide, strict=True) if m != n]
    return float(np.exp(np.log(grown).mean()))
