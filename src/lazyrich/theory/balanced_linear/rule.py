"""Which regime a λ-balanced network is in, from its relative scale and its shape."""

from __future__ import annotations

from functools import partial
from math import inf

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    labelled,
    require_range,
    require_whole,
    with_axis_attrs,
)
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name
from lazyrich.vocabulary.regimes import only, regimes_of_change

QUANTITIES = (
    Quantity(
        name="laziness",
        symbol="|λ|/2σ_1",
        meaning="relative scale of the layers in units of twice the target scale",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="aligned_ntk_change",
        symbol="√(1 + 4σ_1²/λ²) − 1",
        meaning="relative change of the tangent kernel of one aligned mode learned from zero",
        low=0.0,
        source=DERIVED,
    ),
)


def balanced_regime(
    init_relative_scale: ParameterLike,
    target_scale: ParameterLike,
    *,
    width: ParameterLike,
    outputs: int,
    inputs: int,
) -> xr.Dataset:
    """Lazy, intermediate or rich, and whether richness is delayed, from λ and the shape.

    One aligned mode of size a = u₀ = 0 at the start has the kernel `√(λ² + 4u²)`, which changes by
    `√(1 + 1/χ²) − 1` of itself until u = σ, with `χ = |λ|/2σ`: the thresholds of the library's
    regimes for this change are those of χ. But a layer that is large can only stay as it is if it
    reaches every output (λ > 0: h = k) or sees every input (λ < 0: h = m). Otherwise the network
    waits and then learns features: it is rich, and delayed.

    Args:
        init_relative_scale: λ, in the units of the map.
        target_scale: σ_1 ≥ 0, the largest singular value of the best map.
        width: h ≥ 1; at most k where λ > 0 and at most m where λ < 0.
        outputs: k.
        inputs: m.

    Returns:
        `regime`, `delayed`, `laziness` χ (infinite where σ_1 = 0) and `aligned_ntk_change`. It
        presumes a map that is small at the start, next to σ_1.

    Raises:
        InputError: a width for which no weights have this λ.

    Example:
        >>> found = balanced_regime([-100.0, 0.0, 100.0], 1.0, width=2, outputs=2, inputs=4)
        >>> found.regime.values.tolist(), found.delayed.values.tolist()
        (['rich', 'rich', 'lazy'], [True, False, False])

    References:
        Dominé et al., arXiv:2409.14623, for the role of the shape; the thresholds are ours.
    """
    k, m = require_whole("outputs", outputs, 1), require_whole("inputs", inputs, 1)
    scale = labelled("init_relative_scale", init_relative_scale)
    sigma, h = labelled("target_scale", target_scale), labelled("width", width)
    require_range("init_relative_scale", scale, -inf, inf)
    require_range("target_scale", sigma, 0, inf)
    require_range("width", h, 1, inf)
    regime, delayed, laziness, change = apply(
        partial(_judged, outputs=k, inputs=m), scale, sigma, h, output_core_dims=[()] * 4
    )
    found = dataset({"laziness": laziness, "aligned_ntk_change": change}, by_name(QUANTITIES))
    found["regime"] = regime.assign_attrs(long_name="regime of the network")
    found["delayed"] = delayed.assign_attrs(long_name="whether the network is lazy at first")
    return with_axis_attrs(found)


def _judged(
    balance: Array, sigma: Array, width: Array, *, outputs: int, inputs: int
) -> tuple[NDArray[np.str_], NDArray[np.bool_], Array, Array]:
    balance, sigma, width = np.broadcast_arrays(balance, sigma, width)
    needed = np.where(balance > 0, outputs, np.where(balance < 0, inputs, inf))
    if (width > needed).any():
        at = np.unravel_index(int(np.argmax(width > needed)), width.shape)
        of = "outputs" if balance[at] > 0 else "inputs"
        raise InputError(
            f"no weights have λ = {balance[at]:g} at width {width[at]:g}: h must be at most the "
            f"{of}, {needed[at]:g}"
        )
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        laziness = np.where(balance == 0, 0.0, np.abs(balance) / sigma / 2)
        inverse = np.where(sigma == 0, 0.0, 1 / laziness)  # nothing to learn
        change = np.where(
            inverse < 1, inverse**2 / (np.sqrt(1 + inverse**2) + 1), np.hypot(1, inverse) - 1
        )
    words = np.vectorize(lambda x: str(only(regimes_of_change(x, x))), otypes=[object])(change)
    delayed = (words == "lazy") & (width < needed) & (balance != 0) & (sigma > 0)
    return np.where(delayed, "rich", words.astype(str)), delayed, laziness, change
