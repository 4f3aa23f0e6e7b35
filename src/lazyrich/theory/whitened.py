"""Whether inputs are whitened, which some solutions rest on, and by how much they are not."""

from __future__ import annotations

from math import inf

import numpy as np

from lazyrich._errors import InputError
from lazyrich.theory.two_layer_linear.data import MomentData

TOLERANCE = 1e-9  # of Σ_xx from a multiple of 1: a solution is wrong by as much


def white_power(data: MomentData) -> float:
    """The c of whitened inputs, `Σ_xx = cI`.

    Args:
        data: moments of the data, in any units.

    Raises:
        InputError: inputs that are not whitened; the message says by how much.

    Example:
        >>> data = MomentData(sigma_xx=2 * np.eye(2), sigma_yx=[[1.0, 0.5]], mean_yy=1.0)
        >>> white_power(data)
        2.0
    """
    mean, off, (low, high) = whiteness(data)
    if off > TOLERANCE:
        raise InputError(
            f"the inputs must be whitened, Σ_xx = cI: its eigenvalues lie between {low:.4g} and "
            f"{high:.4g}, off by {off:.2g} of their mean, and the solution would be by about as "
            f"much. Whiten them, or use lazyrich.theory.two_layer_linear.flow"
        )
    return mean


def whiteness(data: MomentData) -> tuple[float, float, tuple[float, float]]:
    """The mean power of the inputs, how far the powers are off it, and their range.

    Args:
        data: moments of the data.

    Returns:
        `c = tr Σ_xx/m`; the largest `|λ − c|/c` of an eigenvalue of Σ_xx, infinite where there is
        no input; the smallest and the largest eigenvalue.
    """
    unit = float(np.abs(data.sigma_xx).max()) or 1.0  # or a sum might overflow
    powers = np.linalg.eigvalsh(data.sigma_xx / unit)
    mean = float(np.trace(data.sigma_xx / unit)) / len(powers)
    off = float(np.abs(powers - mean).max()) / mean if mean > 0 else inf
    return mean * unit, off, (float(unit * powers[0]), float(unit * powers[-1]))
