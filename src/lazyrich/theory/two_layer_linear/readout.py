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
    """Where a Gram matrix is, and by how much it has changed, without cancellation."""

    gram: xr.DataArray
    change: xr.DataArray

    @classmethod
    def of(cls, start: GramState, theta: xr.DataArray) -> Movement:
        """The matrix `ΘΘᵀ` of weights that began as the factor of `start`.

        With `δ = Θ − Θ₀` it has changed by `δΘᵀ + Θ₀δᵀ`.
        """
        step = theta - start.factor
        still = (step == 0).all(("row", "neuron"))
        half = xr.dot(step, theta.rename(row="col"), dim="neuron")
        other = xr.dot(start.factor, step.rename(row="col"), dim="neuron")
        gram = start.matrix.where(still, gram_of(theta))
        return cls(gram.transpose(..., "row", "col"), half + other)

    def line_kernel_change(self, start: GramState, network: LinearNetwork) -> xr.DataArray:
        """The relative change of the kernel where k = m = 1."""

        def kernel(matrix: xr.DataArray) -> xr.DataArray:
            own_u, own_w = matrix.isel(row=0, col=0), matrix.isel(row=1, col=1)
            return network.lr_w * own_u + network.lr_u * own_w

        change: xr.DataArray = apply(_ratio, abs(kernel(self.change)), kernel(start.matrix))
        return change


def _product(factor: Array, size: Array) -> Array:
    """Their product, 0 where either is 0, also if the other has left the range of floats."""
    zero = (factor == 0) | (size == 0)
    return np.where(zero, 0.0, factor * np.where(zero, 0.0, size))


def gram_quantities(
    start: GramState, network: LinearNetwork, data: MomentData, moved: Movement
) -> xr.Dataset:
    """All quantities of a network on general data whose Gram matrix has `moved`.

    `ntk_trace` is the mean over the data of the kernel's trace `tr Θ(x, x)`, per `E‖x‖²`;
    `ntk_change` is the Frobenius norm over all pairs of inputs, `(E‖Θ_t(x, x') − Θ_0(x, x')‖²)^½`
    relative to its value at the start.
    """
    k = start.outputs
    now, change = Blocks.of(moved.gram, k), Blocks.of(moved.change, k)
    gamma, lr_u, lr_w = network.output_scale, network.lr_u, network.lr_w
    xx = xr.DataArray(data.sigma_xx, dims=("m", "m_"))
    best = xr.DataArray(data.best_map, dims=("k", "m"))
    gap = gamma * now.uw - best
    powers, directions = data.spectrum
    along = xr.dot(gap, xr.DataArray(directions, dims=("m", "direction")), dim="m")
    excess = (along**2 * xr.DataArray(powers, dims="direction")).sum(("k", "direction"))
    trace_u = _trace(now.uu, "k")
    trace_w = _trace(now.ww, "m")
    power = float(np.trace(data.sigma_xx)) or 1.0
    seen = k * xr.dot(xx, now.ww, dim=("m", "m_")) / power
    vectors = now.uw.sizes["k"] == now.uw.sizes["m"] == 1
    inner = now.uw.sum(("k", "m")) if vectors else _norm(now.uw, "k", "m")
    agop = gamma**2 * xr.dot(now.uw, now.uw.rename(m="m_"), dim="k")
    return dataset(
        {
            "end_to_end_map": gamma * now.uw,
            "loss": data.noise + excess,
            "excess_loss": excess,
            "alignment": apply(_ratio, inner, trace_u**0.5 * trace_w**0.5),
            "uu": trace_u,
            "uw": now.uw,
            "ww": trace_w,
            "balancedness": lr_w * trace_u - lr_u * trace_w,
            "ntk_trace": gamma**2 * (lr_w * trace_u + lr_u * seen),
            "ntk_trace_plain": gamma**2 * (trace_u + seen),
            "ntk_change": _kernel_change(start, network, xx, change),
            "nfm": now.ww,
            "agop": agop,
            "nfa": _feature_correlation(now),
        },
        KNOWN,
    )


def _kernel_change(
    start: GramState, network: LinearNetwork, xx: xr.DataArray, change: Blocks
) -> xr.DataArray:
    """`‖Θ − Θ₀‖/‖Θ₀‖` over pairs of inputs, for `Θ(x, x') = (xᵀx') A + (xᵀ B x') I`.

    `E‖Θ‖² = tr(A²) tr(Σ²) + 2 tr(A) tr(Σ²B) + k tr(ΣBΣB)` over independent x and x'.
    """
    then = start.blocks
    xx2 = xr.dot(xx, xx.rename(m="m_", m_="other"), dim="m_").rename(other="m_")

    def size(a: xr.DataArray, b: xr.DataArray) -> xr.DataArray:
        a, b = network.lr_w * a, network.lr_u * b
        sandwich = xr.dot(xx, b.rename(m="m_", m_="other"), dim="m_")
        square = xr.dot(sandwich, sandwich.rename(m="other", other="m"), dim=("m", "other"))
        squared = (
            xr.dot(a, a, dim=("k", "k_")) * float(np.sum(xx2.values.trace()))
            + 2 * _trace(a, "k") * xr.dot(xx2, b, dim=("m", "m_"))
            + start.outputs * square
        )
        return squared**0.5

    return apply(_ratio, size(change.uu, change.ww), size(then.uu, then.ww))


def _feature_correlation(now: Blocks) -> xr.DataArray:
    """The cosine between `WᵀW` and `(UW)ᵀUW`; it does not see their sizes, nor overflow at them."""

    def unit(matrix: xr.DataArray, *dims: str) -> xr.DataArray:
        return apply(_ratio, matrix, abs(matrix).max(dims))

    uw, nfm = unit(now.uw, "k", "m"), unit(now.ww, "m", "m_")
    agop = xr.dot(uw, uw.rename(m="m_"), dim="k")
    sizes = _norm(nfm, "m", "m_") * _norm(agop, "m", "m_")
    return apply(_ratio, xr.dot(nfm, agop, dim=("m", "m_")), sizes)


def _trace(matrix: xr.DataArray, dim: str) -> xr.DataArray:
    index = xr.DataArray(np.arange(matrix.sizes[dim]), dims="diagonal")
    return matrix.isel({dim: index, f"{dim}_": index}).sum("diagonal")


def _norm(matrix: xr.DataArray, *dims: str) -> xr.DataArray:
    return (matrix**2).sum(dims) ** 0.5


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Their quotient, 0 where the denominator is 0."""
    zero = denominator == 0
    with np.errstate(invalid="ignore", over="ignore"):  # ∞/∞ after divergence, which has a status
        return np.where(zero, 0.0, numerator / np.where(zero, 1.0, denominator))
