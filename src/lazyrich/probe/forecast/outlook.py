"""How the kernel of the true network has changed where a rehearsal ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

from torch import Tensor

from lazyrich.capture.network import Parameters, layer_of
from lazyrich.probe.forecast.linearised import Linearisation
from lazyrich.probe.forecast.tangent import output_directions, root_of_ratio

DIRECTIONS_FOR_LAYERS = 4  # random ones; a layer costs as much as the whole


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The kernel at the end of a rehearsal, against the start.

    Attributes:
        ntk_change: ‖Θ − Θ₀‖/‖Θ₀‖.
        ntk_change_stderr: its standard error; 0 if exact.
        kernel_distance: 1 − cos(Θ, Θ₀).
        layer_ntk_change: ‖Θ_l − Θ₀_l‖/‖Θ₀_l‖ by layer; NaN where Θ₀_l = 0.
        gradients: what the look cost.
    """

    ntk_change: float
    ntk_change_stderr: float
    kernel_distance: float
    layer_ntk_change: Mapping[str, float]
    gradients: float


def kernel_outlook(
    start: Linearisation, end: Linearisation, rates: Parameters, count: int | None, seed: int
) -> Outlook:
    """Compare the kernels Θ = J diag(η) Jᵀ at two points; none is ever formed.

    Args:
        start: J at θ₀.
        end: J where the rehearsal ended.
        rates: η, by parameter name.
        count: of random output directions; None for all.
        seed: of these.
    """
    layers: dict[str, list[str]] = {}
    for name in start.at:
        layers.setdefault(layer_of(name), []).append(name)
    changes, before, after = list[float](), list[float](), list[float]()
    by_layer: dict[str, list[float]] = {layer: [0.0, 0.0] for layer in layers}
    gradients = 0.0
    for i, e in enumerate(output_directions(start.outputs, count, seed)):
        pulled = [_weighted(point.transposed(e), rates) for point in (start, end)]
        a, b = (_kernel_times(point, g) for point, g in zip((start, end), pulled, strict=True))
        changes.append((b - a).square().sum().item())
        before.append(a.square().sum().item())
        after.append(b.square().sum().item())
        gradients += 6
        if count is None or i < DIRECTIONS_FOR_LAYERS:
            for layer, names in layers.items():
                x, y = (
                    _kernel_times(point, {name: g[name] for name in names})
                    for point, g in zip((start, end), pulled, strict=True)
                )
                by_layer[layer][0] += (y - x).square().sum().item()
                by_layer[layer][1] += x.square().sum().item()
            gradients += 2 * len(layers)
    change, error = nan, nan
    if any(before):  # else nothing moves at first order, and no change is relative to anything
        change, error = root_of_ratio(changes, before, exact=count is None)
    return Outlook(
        ntk_change=change,
        ntk_change_stderr=error,
        kernel_distance=_distance(sum(changes), sum(before), sum(after)),
        layer_ntk_change={
            layer: (moved / size) ** 0.5 if size else nan
            for layer, (moved, size) in by_layer.items()
        },
        gradients=gradients,
    )


def _weighted(gradient: Parameters, rates: Parameters) -> Parameters:
    return {name: rates[name] * g for name, g in gradient.items()}


def _kernel_times(at: Linearisation, pulled: Parameters) -> Tensor:
    """Θe = J diag(η) Jᵀe."""
    return at.times(pulled).double()


def _distance(moved: float, before: float, after: float) -> float:
    """1 − cos = (‖Θ − Θ₀‖² − (‖Θ‖ − ‖Θ₀‖)²) / 2‖Θ‖‖Θ₀‖, which keeps small distances."""
    b, a = before**0.5, after**0.5
    longer = a - b
    return max((moved - longer * longer) / (2 * a * b), 0.0) if a and b else nan
