"""How the kernel of the true network has changed where a rehearsal ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan

import torch
from torch import Tensor

from lazyrich.capture.centred_kernel import centred
from lazyrich.capture.network import Parameters
from lazyrich.capture.ownership import Ownership
from lazyrich.capture.sampled_kernel import distance_of_squares
from lazyrich.probe.forecast.linearised import Linearisation
from lazyrich.probe.forecast.tangent import output_directions, root_of_ratio

FEW_DIRECTIONS = 4  # random ones, for layers and samples: each of these costs as much as the whole


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """The kernel at the end of a rehearsal, against the start.

    Attributes:
        ntk_change: ‖Θ − Θ₀‖/‖Θ₀‖.
        ntk_change_stderr: its standard error; 0 if exact.
        kernel_distance: 1 − cos(Θ, Θ₀).
        centred_kernel_distance: the same of HΘH and HΘ₀H, where H takes the mean over samples off;
            of random directions four count, with a standard error of 7 to 11 % of it.
        layer_ntk_change: ‖Θ_l − Θ₀_l‖/‖Θ₀_l‖ by layer; NaN where Θ₀_l = 0.
        layer_share: tr Θ₀_l/tr Θ₀ by layer.
        gradients: what the look cost.
    """

    ntk_change: float
    ntk_change_stderr: float
    kernel_distance: float
    centred_kernel_distance: float
    layer_ntk_change: Mapping[str, float]
    layer_share: Mapping[str, float]
    gradients: float


def kernel_outlook(
    start: Linearisation,
    end: Linearisation,
    rates: Parameters,
    owners: Ownership,
    directions: tuple[int | None, int],
) -> Outlook:
    """Compare the kernels Θ = J diag(η) Jᵀ at two points; none is ever formed.

    Args:
        start: J at θ₀.
        end: J where the rehearsal ended.
        rates: η, by parameter name.
        owners: the layers of the parameters.
        directions: how many random output directions, None for all outputs; and their seed.
    """
    (count, seed), layers = directions, list(owners.parts)
    whole, between = _Squares(), _Squares()  # of Θe, of HΘHe
    by_layer = {layer: _Squares() for layer in layers}
    traces = dict.fromkeys(layers, 0.0)
    gradients = 0.0
    for i, e in enumerate(output_directions(start.outputs, count, seed)):
        first = start.transposed(e)
        pulled = [_weighted(g, rates) for g in (first, end.transposed(e))]
        for layer, own in owners.split(first).items():
            traces[layer] += sum(_product(g, pulled[0][name]) for name, g in own.items())
        whole.add(*_both(start, end, pulled))
        gradients += 6
        if count is not None and i >= FEW_DIRECTIONS:
            continue
        of_start, of_end = (owners.split(g) for g in pulled)
        for layer in layers:
            by_layer[layer].add(*_both(start, end, (of_start[layer], of_end[layer])))
        apart = centred(e).to(e)
        pulled = [_weighted(point.transposed(apart), rates) for point in (start, end)]
        between.add(*(centred(f) for f in _both(start, end, pulled)))
        gradients += 2 * len(layers) + 6
    change, error = nan, nan
    if any(whole.before):  # else nothing moves at first order: no change relative to anything
        change, error = root_of_ratio(whole.changes, whole.before, exact=count is None)
    return Outlook(
        ntk_change=change,
        ntk_change_stderr=error,
        kernel_distance=whole.distance,
        centred_kernel_distance=between.distance,
        layer_ntk_change={layer: squares.change for layer, squares in by_layer.items()},
        layer_share=_shares(traces),
        gradients=gradients,
    )


@dataclass(frozen=True)
class _Squares:
    """‖ΔΘe‖², ‖Θ₀e‖² and ‖Θe‖², one of each for a direction e."""

    changes: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)

    def add(self, before: Tensor, after: Tensor) -> None:
        """Those of one more direction."""
        self.changes.append((after - before).square().sum().item())
        self.before.append(before.square().sum().item())
        self.after.append(after.square().sum().item())

    @property
    def change(self) -> float:
        """‖Θ − Θ₀‖/‖Θ₀‖; NaN where Θ₀ = 0."""
        size = sum(self.before)
        return (sum(self.changes) / size) ** 0.5 if size else nan

    @property
    def distance(self) -> float:
        """1 − cos(Θ, Θ₀); NaN where one of both is 0."""
        parts = (self.changes, self.before, self.after)
        squares = torch.tensor([sum(part) for part in parts], dtype=torch.float64)
        return float(distance_of_squares(*squares))


def _both(
    start: Linearisation, end: Linearisation, pulled: Sequence[Parameters]
) -> tuple[Tensor, Tensor]:
    """Θ₀e and Θe = J diag(η) Jᵀe."""
    before, after = (point.times(g).double() for point, g in zip((start, end), pulled, strict=True))
    return before, after


def _shares(parts: Mapping[str, float]) -> dict[str, float]:
    """Each part of the sum; NaN if that is 0."""
    total = sum(parts.values())
    return {name: part / total if total else nan for name, part in parts.items()}


def _product(a: Tensor, b: Tensor) -> float:
    return (a.double() * b.double()).sum().item()


def _weighted(gradient: Parameters, rates: Parameters) -> Parameters:
    return {name: rates[name] * g for name, g in gradient.items()}
