"""Gram matrices of Gaussian weights at any width, by Bartlett's decomposition.

If `Θ ∈ R^{n×d}` has independent N(0, 1) entries, `ΘΘᵀ = L Lᵀ` in distribution with `L` lower
triangular, `L_ii² ~ χ²(d − i)` and `L_ij ~ N(0, 1)` below the diagonal. Width 10^12 costs what
width 10 does.

References:
    M. S. Bartlett, On the theory of statistical regression, Proc. R. Soc. Edinburgh 53, 1933.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.theory.labels import (
    ParameterLike,
    labelled,
    require_free,
    require_range,
    require_whole,
)

LARGEST_WIDTH = 2**53  # above it float64 skips integers
OF_MATRICES = ("row", "col", "neuron")  # dims that no axis may have

SeedLike = int | np.random.Generator


def bartlett_factor(
    width: ParameterLike, *, size: int, draws: int | None, seed: SeedLike
) -> xr.DataArray:
    """Draw the triangular factor of a `size × size` Wishart matrix with `width` degrees of freedom.

    Columns beyond the width are zero, so that narrow networks get their low rank.

    Returns:
        factor with dims (draw, *dims of `width`, row, col), without `draw` if `draws` is None.
    """
    widths = _checked_width(width)
    draws = None if draws is None else require_whole("draws", draws, 1)
    generator = _checked_generator(seed)
    if draws is not None and "draw" in widths.dims:
        raise InputError(
            "`width` has a dim `draw`, which is the one of `draws`. "
            "Rename that of the width: width.rename(draw=...)."
        )
    lead_dims = (() if draws is None else ("draw",)) + tuple(map(str, widths.dims))
    lead_shape = (() if draws is None else (draws,)) + widths.shape
    freedom = widths.values[..., None] - np.arange(size)  # (*width, size)
    exists = freedom > 0
    normals = np.tril(generator.standard_normal((*lead_shape, size, size)), -1)
    diagonal = np.sqrt(generator.chisquare(np.where(exists, freedom, 1), (*lead_shape, size)))
    factor = (normals + diagonal[..., None] * np.eye(size)) * exists[..., None, :]
    return xr.DataArray(factor, dims=(*lead_dims, "row", "col"), coords=widths.coords)


def _checked_generator(seed: SeedLike) -> np.random.Generator:
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise InputError(
            f"`seed` must be a whole number ≥ 0 or a NumPy generator, got {seed!r}"
        ) from None


def _checked_width(width: ParameterLike) -> xr.DataArray:
    widths = labelled("width", width)
    require_free(OF_MATRICES, widths)
    require_range("width", widths, 1, LARGEST_WIDTH)
    if bool((widths != np.round(widths)).any()):
        raise InputError(f"`width` must be a whole number, got {widths.values}")
    return widths
