"""From a state to everything that is measured: output, loss, alignment, kernel, feature matrices.

References:
    Xu & Ziyin, arXiv:2401.07085 (alignment, kernel).
    Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271 (NFM, AGOP).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import apply, dataset
from lazyrich.theory.two_layer_linear._units import Units, scaled
from lazyrich.theory.two_layer_linear.data import MomentData
from lazyrich.theory.two_layer_linear.line import LineProblem
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import Blocks, GramState, gram_of
from lazyrich.vocabulary.losses import under
from lazyrich.vocabulary.quantity import BEAGLEHOLE2024, DERIVED, Quantity, by_name
from lazyrich.vocabulary.shared import QUANTITIES as SHARED

QUANTITIES = (
    Quantity(
        name="end_to_end_map",
        dims=("k", "m"),
        symbol="γUW",
        meaning="end-to-end map of the network, on a line its output per unit input",
        units="y/x",
    ),
    Quantity(
        name="excess_loss",
        symbol="L - L*",
        meaning="squared error above its minimum over all linear maps",
        units="y^2",
        low=0.0,
    ),
    Quantity(name="uu", symbol="‖u‖²", meaning="squared norm of the second layer", low=0.0),
    Quantity(name="uw", symbol="u·w", meaning="product of the two layers", dims=("k", "m")),
    Quantity(name="ww", symbol="‖w‖²", meaning="squared norm of the first layer", low=0.0),
    Quantity(
        name="balancedness",
        symbol="η_w‖u‖² − η_u‖w‖²",
        meaning="difference of the squared layer norms, conserved by gradient flow",
    ),
    Quantity(
        name="ntk_trace",
        symbol="tr Θ/E‖x‖²",
        meaning="trace of the tangent kernel per squared input, learning rates inside",
        units="1/time",
        low=0.0,
    ),
    Quantity(
        name="ntk_trace_plain",
        symbol="tr JJᵀ/E‖x‖²",
        meaning="trace of the tangent kernel per squared input, without learning rates",
        low=0.0,
    ),
    Quantity(
        name="nfm",
        symbol="WᵀW",
        meaning="neural feature matrix of layer 1",
        dims=("m", "m_"),
        source=BEAGLEHOLE2024,
    ),
    Quantity(
        name="agop",
        dims=("m", "m_"),
        symbol="E ∇f∇fᵀ",
        meaning="average gradient outer product of the network",
        source=BEAGLEHOLE2024,
    ),
    Quantity(
        name="propagator",
        dims=("row", "col"),
        symbol="Φ",
        meaning="propagator of the weights since the start, Θ = Φ Θ₀ for every neuron",
        source=DERIVED,
    ),
    Quantity(
        name="diverged_at",
        symbol="t_∞",
        meaning="step at which the run left the range of numbers, −1 if it did not",
        units="steps",
        low=-1,
        source=DERIVED,
    ),
)


KNOWN = by_name(SHARED, QUANTITIES)
KNOWN["loss"] = under("squared_error", KNOWN["loss"])


class LineReadout(NamedTuple):
    """The quantities of a network on a line, by their names in the vocabulary."""

    end_to_end_map: Array
    loss: Array
    excess_loss: Array
    alignment: Array
    uu: Array
    uw: Array
    ww: Array
    balancedness: Array
    ntk_trace: Array
    ntk_trace_plain: Array
    ntk_change: Array
    nfm: Array
    agop: Array
    nfa: Array


def line_readout(
    start: LineProblem,
    noise: Array,
    norms: tuple[Array, Array, Array],
    remaining: Array | None = None,
    ntk_change: Array | None = None,
) -> LineReadout:
    """All quantities of a network on a line that now has `‖u‖², u·w, ‖w‖²` = `norms`.

    Args:
        start: where it started; changes are measured from there.
        noise: smallest reachable loss.
        norms: the three numbers that are the state.
        remaining: `(f − f*)/(f₀ − f*)` where it is known without cancellation.
        ntk_change: the relative kernel change where it is known without cancellation.
    """
    uu, uw, ww = norms
    gamma, lr_u, lr_w = start.output_scale, start.lr_u, start.lr_w
    end_to_end_map = _product(gamma, uw)
    best = _ratio(start.mean_ay, start.mean_aa)
    if remaining is None:
        residual = end_to_end_map - best
    else:
        residual = np.where(remaining > 0, (gamma * start.uw - best) * remaining, 0.0)
    excess = _product(np.sqrt(start.mean_aa), residual) ** 2
    size_u, size_w = np.sqrt(uu), np.sqrt(ww)
    ntk_trace = _line_ntk(start, size_u, size_w)
    if ntk_change is None:
        before = _line_ntk(start, np.sqrt(start.uu), np.sqrt(start.ww))
        ntk_change = np.abs(_ratio(ntk_trace - before, before))
    alignment = np.clip(_ratio(uw, size_u * size_w), -1.0, 1.0)
    gone = (size_u * size_w == 0) & (start.sine_squared == 0) & (start.uu > 0) & (start.ww > 0)
    found = LineReadout(
        end_to_end_map=end_to_end_map,
        loss=noise + excess,
        excess_loss=excess,
        alignment=np.where(gone, np.sign(start.uw), alignment),  # parallel until they vanish
        uu=uu,
        uw=uw,
        ww=ww,
        balancedness=lr_w * uu - lr_u * ww,
        ntk_trace=ntk_trace,
        ntk_trace_plain=_product(gamma, size_u) ** 2 + _product(gamma, size_w) ** 2,
        ntk_change=ntk_change,
        nfm=ww,
        agop=end_to_end_map**2,
        nfa=np.where((ww > 0) & (end_to_end_map != 0), 1.0, 0.0),
    )
    return LineReadout(*np.broadcast_arrays(*found))  # the loss alone has an axis of E[y²]


def _line_ntk(start: LineProblem, size_u: Array, size_w: Array) -> Array:
    """`γ²(η_w‖u‖² + η_u‖w‖²)` as squares of roots, which overflow no sooner than the sum."""
    along_w = _product(start.output_scale, _product(np.sqrt(start.lr_w), size_u))
    along_u = _product(start.output_scale, _product(np.sqrt(start.lr_u), size_w))
    kernel: Array = along_w**2 + along_u**2
    return kernel


class Movement(NamedTuple):
    """Where a Gram matrix began, where it is and by how much it has changed, in `units`."""

    units: Units
    start: xr.DataArray
    gram: xr.DataArray
    change: xr.DataArray

    @classmethod
    def of(cls, units: Units, state: GramState, path: Path) -> Movement:
        """Of weights that began as the factor of `state`.

        They moved by δ, and `ΘΘᵀ` by `δΘᵀ + Θ₀δᵀ`; `UW` is known apart from them.
        """
        k, rows = state.outputs, units.rows(state.outputs, state.inputs)
        start = scaled(state.matrix, -(rows + rows.rename(row="col")))
        factor = scaled(state.factor, -rows)
        half = xr.dot(path.moved, path.theta.rename(row="col"), dim="neuron")
        other = xr.dot(factor, path.moved.rename(row="col"), dim="neuron")
        whole = gram_of(path.theta)
        above = _blocks_of(path.product, whole, k)
        gram = xr.where(above.notnull(), above, whole)
        still = (path.moved == 0).all(("row", "neuron"))
        gram = start.where(still, gram).transpose(..., "row", "col")
        return cls(units, start, gram, half + other)

    def line_kernel_change(self, network: LinearNetwork) -> xr.DataArray:
        """The relative change of the kernel where k = m = 1."""
        _, lr_u, lr_w = self.units.network(network.output_scale, network.lr_u, network.lr_w)

        def kernel(matrix: xr.DataArray) -> xr.DataArray:
            return lr_w * matrix.isel(row=0, col=0) + lr_u * matrix.isel(row=1, col=1)

        change: xr.DataArray = apply(_ratio, abs(kernel(self.change)), kernel(self.start))
        return change

    def blocks(self, outputs: int) -> Blocks:
        """Of the Gram matrix now, in the units of the user."""
        rows = self.units.rows(outputs, self.gram.sizes["row"] - outputs)
        return Blocks.of(scaled(self.gram, rows + rows.rename(row="col")), outputs)


class Path(NamedTuple):
    """The weights of the smallest network along a run, in units of their own."""

    theta: xr.DataArray
    moved: xr.DataArray  # since the start
    product: xr.DataArray  # U W, dims k and m

    @classmethod
    def at_start(cls, state: GramState, units: Units) -> Path:
        """Before anything has moved."""
        theta = scaled(state.factor, -units.rows(state.outputs, state.inputs))
        return cls(theta, xr.zeros_like(theta), scaled(state.blocks.uw, -(units.u + units.w)))


def _blocks_of(product: xr.DataArray, gram: xr.DataArray, k: int) -> xr.DataArray:
    """`UW` and its transpose where they stand in a Gram matrix, and NaN where the rest does."""
    right = product.rename(k="row", m="col").pad(row=(0, gram.sizes["row"] - k), col=(k, 0))
    left = right.rename(row="col", col="row")
    return right.where(right.notnull(), left).transpose(*gram.dims)


def _product(factor: Array, size: Array) -> Array:
    """Their product, 0 where either is 0, also if the other has left the range of floats."""
    zero = (factor == 0) | (size == 0)
    return np.where(zero, 0.0, factor * np.where(zero, 0.0, size))


def gram_quantities(
    state: GramState, network: LinearNetwork, data: MomentData, moved: Movement
) -> xr.Dataset:
    """All quantities of a network on general data whose Gram matrix has `moved`.

    `ntk_trace` is the mean over the data of the kernel's trace `tr Θ(x, x)`, per `E‖x‖²`;
    `ntk_change` is the Frobenius norm over all pairs of inputs, `(E‖Θ_t(x, x') − Θ_0(x, x')‖²)^½`
    relative to its value at the start.
    """
    k, units = state.outputs, moved.units
    now, user = Blocks.of(moved.gram, k), moved.blocks(k)
    gamma, lr_u, lr_w = units.network(network.output_scale, network.lr_u, network.lr_w)
    xx = scaled(xr.DataArray(data.sigma_xx, dims=("m", "m_")), -2 * units.x)
    excess = _excess_loss(gamma * now.uw, data, units)
    trace_u, trace_w = _trace(now.uu, "k"), _trace(now.ww, "m")
    power = _trace(xx, "m")
    seen = k * xr.dot(xx / power.where(power > 0, 1.0), now.ww, dim=("m", "m_"))
    vectors = now.uw.sizes["k"] == now.uw.sizes["m"] == 1
    inner = now.uw.sum(("k", "m"), skipna=False) if vectors else _norm(now.uw, "k", "m")
    end_to_end_map = scaled(gamma * now.uw, units.y - units.x)
    kernel = gamma**2 * (lr_w * trace_u + lr_u * seen)
    plain_u, plain_w = (
        scaled(gamma**2 * part, 2 * (units.y - units.x - other))
        for part, other in ((trace_u, units.w), (seen, units.u))
    )
    return dataset(
        {
            "end_to_end_map": end_to_end_map,
            "loss": data.noise + excess,
            "excess_loss": excess,
            "alignment": _cosine(inner, trace_u**0.5, trace_w**0.5),
            "uu": _trace(user.uu, "k"),
            "uw": user.uw,
            "ww": _trace(user.ww, "m"),
            "balancedness": scaled(
                lr_w * trace_u - lr_u * trace_w, 2 * (units.u + units.w - units.y) - units.t
            ),
            "ntk_trace": scaled(kernel, -2 * units.x - units.t),
            "ntk_trace_plain": plain_u + plain_w,
            "ntk_change": _kernel_change(moved, (lr_u, lr_w), xx, k),
            "nfm": user.ww,
            "agop": _square(end_to_end_map),
            "nfa": _feature_correlation(now),
        },
        KNOWN,
    )


def _excess_loss(end_to_end_map: xr.DataArray, data: MomentData, units: Units) -> xr.DataArray:
    """`tr (f − B) Σ_xx (f − B)ᵀ`, along the principal directions, in the units of the user."""
    best = scaled(xr.DataArray(data.best_map, dims=("k", "m")), units.x - units.y)
    powers, directions = data.spectrum
    turn = xr.DataArray(directions, dims=("m", "direction"))
    along = xr.dot(end_to_end_map - best, turn, dim="m")
    roots = scaled(xr.DataArray(powers**0.5, dims="direction"), -units.x)
    with np.errstate(over="ignore"):
        excess: xr.DataArray = scaled(_norm(along * roots, "k", "direction"), units.y) ** 2
    return excess


def _cosine(inner: xr.DataArray, size_u: xr.DataArray, size_w: xr.DataArray) -> xr.DataArray:
    cosine: xr.DataArray = apply(_ratio, apply(_ratio, inner, size_u), size_w)
    return cosine.clip(-1.0, 1.0)


def _kernel_change(
    moved: Movement, rates: tuple[xr.DataArray, xr.DataArray], xx: xr.DataArray, k: int
) -> xr.DataArray:
    """`‖Θ − Θ₀‖/‖Θ₀‖` over pairs of inputs, for `Θ(x, x') = (xᵀx') A + (xᵀ B x') I`.

    `E‖Θ‖² = tr(A²) tr(Σ²) + 2 tr(A) tr(Σ²B) + k tr(ΣBΣB)` over independent x and x'.
    """
    most = apply(np.maximum, *rates)
    lr_u, lr_w = (rate / most.where(most > 0, 1.0) for rate in rates)
    xx2 = _product_of(xx, xx)

    def size(gram: xr.DataArray) -> xr.DataArray:
        blocks = Blocks.of(gram, k)
        a, b = lr_w * blocks.uu, lr_u * blocks.ww
        unit = np.maximum(abs(a).max(("k", "k_")), abs(b).max(("m", "m_")))
        unit = unit.where(unit > 0, 1.0)
        a, b = a / unit, b / unit
        sandwich = _product_of(xx, b)
        square = xr.dot(sandwich, sandwich.rename(m="m_", m_="m"), dim=("m", "m_"))
        squared = (
            xr.dot(a, a, dim=("k", "k_")) * _trace(xx2, "m")
            + 2 * _trace(a, "k") * xr.dot(xx2, b, dim=("m", "m_"))
            + k * square
        )
        return unit * squared.clip(0.0) ** 0.5

    change: xr.DataArray = apply(_ratio, size(moved.change), size(moved.start))
    return change


def _feature_correlation(now: Blocks) -> xr.DataArray:
    """The cosine between `WᵀW` and `(UW)ᵀUW`; it does not see their sizes, nor overflow at them."""

    def unit(matrix: xr.DataArray, *dims: str) -> xr.DataArray:
        return apply(_ratio, matrix, abs(matrix).max(dims))

    uw, nfm = unit(now.uw, "k", "m"), unit(now.ww, "m", "m_")
    agop = _square(uw)
    sizes = _norm(nfm, "m", "m_") * _norm(agop, "m", "m_")
    return apply(_ratio, xr.dot(nfm, agop, dim=("m", "m_")), sizes)


def _square(matrix: xr.DataArray) -> xr.DataArray:
    """`AᵀA` of a map with dims k and m, by matrix products: they are the cost of a large one."""
    square: xr.DataArray = apply(
        lambda a: np.swapaxes(a, -1, -2) @ a,
        matrix,
        input_core_dims=[("k", "m")],
        output_core_dims=[("m", "m_")],
    )
    return square


def _product_of(first: xr.DataArray, second: xr.DataArray) -> xr.DataArray:
    """`AB` of two matrices with dims m and m_."""
    square = ("m", "m_")
    product: xr.DataArray = apply(
        np.matmul, first, second, input_core_dims=[square] * 2, output_core_dims=[square]
    )
    return product


def _trace(matrix: xr.DataArray, dim: str) -> xr.DataArray:
    index = xr.DataArray(np.arange(matrix.sizes[dim]), dims="diagonal")
    return matrix.isel({dim: index, f"{dim}_": index}).sum("diagonal", skipna=False)


def _norm(matrix: xr.DataArray, *dims: str) -> xr.DataArray:
    """The root of the sum of squares, which overflow no sooner than it does."""
    unit = abs(matrix).max(dims)
    unit = unit.where((unit > 0) & np.isfinite(unit), 1.0)
    return unit * ((matrix / unit) ** 2).sum(dims, skipna=False) ** 0.5


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Their quotient, 0 where the denominator is 0."""
    zero = denominator == 0
    with np.errstate(invalid="ignore", over="ignore"):  # ∞/∞ after divergence, which has a status
        return np.where(zero, 0.0, numerator / np.where(zero, 1.0, denominator))
