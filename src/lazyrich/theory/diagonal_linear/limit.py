"""Where gradient flow of a diagonal linear network ends, from a uniform start: its implicit bias.

The network `f(x) = β·x` with `β = u^D − v^D`, elementwise, starts at `u = v = α`. Its flow moves in
the span of the data, `z = a Xᵀν` with n numbers ν, and β is a function of z alone:

    D = 2:  β = 2α² sinh z;        D > 2:  β = α^D [(1 − z)^{−p} − (1 + z)^{−p}],  p = D/(D − 2).

So the end is the minimum of a potential Q(β) under `Xβ = y`, found for ν by Newton's method, with
every power of α as a logarithm.
"""

from __future__ import annotations

from functools import partial
from math import inf

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.diagonal_linear._dual import end_of_flow
from lazyrich.theory.diagonal_linear._family import Family
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    labelled,
    real,
    require_free,
    require_range,
    with_axis_attrs,
)
from lazyrich.theory.two_layer_linear.readout import KNOWN as OF_LINEAR
from lazyrich.vocabulary.quantity import WOODWORTH2020, Quantity, by_name
from lazyrich.vocabulary.regimes import only, regimes_of_change
from lazyrich.vocabulary.shared import KERNEL_DISTANCE, NTK_CHANGE

QUANTITIES = (
    Quantity(
        name="l1_norm",
        symbol="‖β‖₁",
        meaning="sum of the sizes of the coefficients",
        units="y/x",
        low=0.0,
        source=WOODWORTH2020,
    ),
    Quantity(
        name="l2_norm",
        symbol="‖β‖₂",
        meaning="root of the sum of squares of the coefficients",
        units="y/x",
        low=0.0,
        source=WOODWORTH2020,
    ),
    Quantity(
        name="bias_potential",
        symbol="Q(β)",
        meaning="potential that the flow minimises among all fits",
        low=0.0,
        source=WOODWORTH2020,
    ),
)
KNOWN = by_name((NTK_CHANGE, KERNEL_DISTANCE), QUANTITIES) | {
    "end_to_end_map": OF_LINEAR["end_to_end_map"],
    "loss": OF_LINEAR["loss"],
}
LAZIEST = 230.0  # ln α^D per coefficient from which z, and no digit of β, leaves the floats
CONSISTENT = 1e-9  # of the targets: what no coefficients explain


def diagonal_limit(
    x: ArrayLike, y: ArrayLike, *, factors: ParameterLike, init_scale: ParameterLike
) -> xr.Dataset:
    """The end of gradient flow from `u = v = α`: the fit of the smallest potential Q.

    `β = u^D − v^D` on `‖Xβ − y‖²`. Q is the L₂ norm for large α (a kernel machine) and the L₁ norm
    for small α (sparse); the change of the tangent kernel `D² X diag(u^{2D−2} + v^{2D−2}) Xᵀ` says
    which.

    Args:
        x: inputs X, (n, m).
        y: targets, (n,), that some coefficients fit.
        factors: D ≥ 2, the number of factors of a coefficient.
        init_scale: α > 0; with a dim `m`, one for each coefficient.

    Returns:
        `end_to_end_map` β with dim `m`, its `l1_norm` and `l2_norm`, `bias_potential`, `loss`,
        `ntk_change` and `kernel_distance` at the end, and `regime` as coordinate.

    Raises:
        InputError: targets that nothing fits, by how much; numbers out of range.
        ConvergenceError: above 2 factors, a start so small that `1 − z` is lost in rounding.

    Example:
        >>> found = diagonal_limit([[1.0, 2.0]], [1.0], factors=2, init_scale=[1e-30, 1.0])
        >>> found.end_to_end_map.values.round(6)
        array([[0.      , 0.5     ],
               [0.199211, 0.400394]])
        >>> found.regime.values.tolist()
        ['rich', 'lazy']

    References:
        Woodworth et al., arXiv:2002.09277; the numerical method is ours.
    """
    inputs, targets = _checked(x, y)
    order, alpha = labelled("factors", factors), labelled("init_scale", init_scale)
    require_range("factors", order, 2, inf)
    require_range("init_scale", alpha, 0, inf)
    if not bool((alpha > 0).all()):
        raise InputError("`init_scale` must be > 0: at 0 the network stays what it is, got 0")
    m = inputs.shape[1]
    if alpha.sizes.get("m", m) != m:
        raise InputError(f"`init_scale` must have {m} entries along m, got {alpha.sizes['m']}")
    free = [one.isel(m=0, missing_dims="ignore") for one in (order, alpha)]
    require_free({*KNOWN, "m", "regime"}, *free)
    alpha = alpha if "m" in alpha.dims else alpha.expand_dims(m=m, axis=-1)
    found = apply(
        partial(_solved, inputs=inputs, targets=targets),
        *(order, alpha),
        input_core_dims=[(), ("m",)],
        output_core_dims=[("m",), *[()] * 7],
        vectorize=True,
        output_dtypes=[*[float] * 7, object],
    )
    names: tuple[str, ...] = ("end_to_end_map", *(one.name for one in QUANTITIES), "loss")
    names = (*names, NTK_CHANGE.name, KERNEL_DISTANCE.name)
    result = dataset(dict(zip(names, found[:-1], strict=True)), KNOWN)
    return with_axis_attrs(result.assign_coords(regime=found[-1].astype(str)))


def _checked(x: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """The data, as few rows as their rank; refuses targets that no coefficients fit."""
    inputs, targets = real("x", x), real("y", y)
    if inputs.ndim != 2 or targets.shape != inputs.shape[:1]:
        raise InputError(
            f"`x` must have shape (n, m) and `y` (n,), got {inputs.shape} and {targets.shape}"
        )
    require_range("x", xr.DataArray(inputs), -inf, inf)
    require_range("y", xr.DataArray(targets), -inf, inf)
    if len(inputs) == (rank := int(np.linalg.matrix_rank(inputs))):
        return inputs, targets
    left, sizes, right = np.linalg.svd(inputs, full_matrices=False)
    turned = left[:, :rank].T @ targets
    off = float(np.linalg.norm(targets - left[:, :rank] @ turned))
    size = float(np.linalg.norm(targets))
    if off > CONSISTENT * size:
        raise InputError(
            f"some coefficients must fit `y` exactly: the {len(inputs)} inputs have rank {rank}, "
            f"and the best fit leaves {off / size:.2g} of the targets' norm. Take fewer samples "
            f"than inputs, or targets that are a linear function of them"
        )
    return sizes[:rank, None] * right[:rank], turned


def _solved(factors: float, alpha: Array, *, inputs: Array, targets: Array) -> tuple[object, ...]:
    """Everything that one network ends with."""
    least = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    unit = float(np.abs(least).max())
    if not unit:
        return (np.zeros(len(alpha)), *[0.0] * 6, "lazy")
    size = factors * np.log(alpha) - np.log(unit)
    above = max(0.0, float(size.max()) - LAZIEST)  # there everything goes with powers of the start
    family = Family(factors=factors, log_size=size - above)
    with np.errstate(over="ignore", invalid="ignore"):
        z, beta, growth = end_of_flow(family, inputs, targets / unit)
        potential = family.potential(z, beta) / family.pull * np.exp(-above)
        change, turned = (x * np.exp(-2 * above) for x in _kernel(family, inputs, growth))
    loss = float(np.sum((inputs @ (unit * beta) - targets) ** 2))
    norms = float(np.abs(beta).sum()), float(np.linalg.norm(beta))
    regime = only(regimes_of_change(change, change))
    of_map = (unit * beta, unit * norms[0], unit * norms[1], unit * float(potential.sum()))
    return (*of_map, loss / len(targets), change, turned, str(regime))


def _kernel(family: Family, inputs: Array, growth: Array) -> tuple[float, float]:
    """`‖Θ − Θ₀‖/‖Θ₀‖` and `1 − cos(Θ, Θ₀)` for `Θ = X diag(g) Xᵀ`."""
    first = (2 * family.factors - 2) / family.factors * family.log_size
    first = first - first.max()
    with np.errstate(divide="ignore"):
        more = first + growth + np.log(-np.expm1(-growth))  # ln(g − g₀)

    def kernel(logarithms: Array) -> tuple[Array, float]:
        top = float(logarithms.max())
        if top == -inf:
            return np.zeros((len(inputs),) * 2), 0.0
        return (inputs * np.exp(logarithms - top)) @ inputs.T, top

    (before, _), (change, size), (now, _) = map(kernel, (first, more, first + growth))
    norm = float(np.linalg.norm(before))
    turned = before / norm - now / np.linalg.norm(now)
    return float(np.linalg.norm(change) / norm * np.exp(size)), float(np.sum(turned**2) / 2)
