"""From a state to everything that is measured: output, loss, alignment, kernel, feature matrices.

References:
    Xu & Ziyin, arXiv:2401.07085 (alignment, kernel).
    Beaglehole, Mitliagkas & Agarwala, arXiv:2402.05271 (NFM, AGOP).
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from lazyrich.theory.data import LineData, MomentData
from lazyrich.theory.gram import Blocks, GramState, LineState
from lazyrich.theory.labels import dataset
from lazyrich.theory.network import LinearNetwork


def line_quantities(
    start: LineState,
    network: LinearNetwork,
    data: LineData,
    norms: tuple[xr.DataArray, xr.DataArray, xr.DataArray],
    *,
    remaining: xr.DataArray | None = None,
    ntk_change: xr.DataArray | None = None,
) -> xr.Dataset:
    """All quantities of a network on a line that now has `‖u‖², u·w, ‖w‖²` = `norms`.

    Args:
        start: the state that changes are measured from.
        network: scale and learning rates.
        data: moments of the data.
        norms: the three numbers that are the state, any dims.
        remaining: `(f − f*)/(f₀ − f*)` where it is known without cancellation.
        ntk_change: the relative kernel change where it is known without cancellation.
    """
    uu, uw, ww = norms
    gamma, lr_u, lr_w = network.output_scale, network.lr_u, network.lr_w
    output = gamma * uw
    best = xr.where(data.mean_aa > 0, data.mean_ay / data.mean_aa.where(data.mean_aa > 0, 1.0), 0.0)
    residual = output - best if remaining is None else (gamma * start.uw - best) * remaining
    excess = data.mean_aa * residual**2
    ntk = gamma**2 * (lr_w * uu + lr_u * ww)
    if ntk_change is None:
        before = gamma**2 * (lr_w * start.uu + lr_u * start.ww)
        ntk_change = abs(_ratio(ntk - before, before))
    agop = output**2
    return dataset(
        {
            "output": output,
            "loss": data.noise + excess,
            "excess_loss": excess,
            "alignment": _ratio(uw, uu**0.5 * ww**0.5).clip(-1.0, 1.0),
            "uu": uu,
            "uw": uw,
            "ww": ww,
            "balancedness": lr_w * uu - lr_u * ww,
            "ntk": ntk,
            "ntk_plain": gamma**2 * (uu + ww),
            "ntk_change": ntk_change,
            "nfm": ww,
            "agop": agop,
            "nfa": xr.where((ww > 0) & (agop > 0), 1.0, 0.0),
        }
    )


def gram_quantities(
    start: GramState, network: LinearNetwork, data: MomentData, gram: xr.DataArray
) -> xr.Dataset:
    """All quantities of a network on general data that now has the Gram matrix `gram`.

    `ntk` is the mean over the data of the kernel's trace `tr Θ(x, x)`, per `E‖x‖²`; `ntk_change`
    is the Frobenius norm over all pairs of inputs, `(E‖Θ_t(x, x') − Θ_0(x, x')‖²)^½` relative to
    its value at the start.
    """
    k = start.outputs
    now = Blocks.of(gram, k)
    gamma, lr_u, lr_w = network.output_scale, network.lr_u, network.lr_w
    xx = xr.DataArray(data.sigma_xx, dims=("m", "m_"))
    best = xr.DataArray(data.best_map, dims=("k", "m"))
    gap = gamma * now.uw - best
    excess = xr.dot(gap, gap.rename(m="m_"), xx, dim=("k", "m", "m_"))
    trace_u = _trace(now.uu, "k")
    trace_w = _trace(now.ww, "m")
    power = float(np.trace(data.sigma_xx)) or 1.0
    seen = k * xr.dot(xx, now.ww, dim=("m", "m_")) / power
    vectors = now.uw.sizes["k"] == now.uw.sizes["m"] == 1
    inner = now.uw.sum(("k", "m")) if vectors else _norm(now.uw, "k", "m")
    agop = gamma**2 * xr.dot(now.uw, now.uw.rename(m="m_"), dim="k")
    overlap = xr.dot(now.ww, agop, dim=("m", "m_"))
    sizes = _norm(now.ww, "m", "m_") * _norm(agop, "m", "m_")
    return dataset(
        {
            "output": gamma * now.uw,
            "loss": data.noise + excess,
            "excess_loss": excess,
            "alignment": _ratio(inner, trace_u**0.5 * trace_w**0.5),
            "uu": trace_u,
            "uw": now.uw,
            "ww": trace_w,
            "balancedness": lr_w * trace_u - lr_u * trace_w,
            "ntk": gamma**2 * (lr_w * trace_u + lr_u * seen),
            "ntk_plain": gamma**2 * (trace_u + seen),
            "ntk_change": _kernel_change(start, network, xx, now),
            "nfm": now.ww,
            "agop": agop,
            "nfa": _ratio(overlap, sizes),
        }
    )


def _kernel_change(
    start: GramState, network: LinearNetwork, xx: xr.DataArray, now: Blocks
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

    return _ratio(size(now.uu - then.uu, now.ww - then.ww), size(then.uu, then.ww))


def _trace(matrix: xr.DataArray, dim: str) -> xr.DataArray:
    index = xr.DataArray(np.arange(matrix.sizes[dim]), dims="diagonal")
    return matrix.isel({dim: index, f"{dim}_": index}).sum("diagonal")


def _norm(matrix: xr.DataArray, *dims: str) -> xr.DataArray:
    return (matrix**2).sum(dims) ** 0.5


def _ratio(numerator: xr.DataArray, denominator: xr.DataArray) -> xr.DataArray:
    """Their quotient, 0 where the denominator is 0."""
    safe = denominator.where(denominator != 0, 1.0)
    return xr.where(denominator != 0, numerator / safe, 0.0)
