"""Three layers, the first random and fixed: in mean-field scaling features move at every width.

Chen, Vanden-Eijnden & Bruna, arXiv:2210.16286, study the mean-field limits of such networks, two of
them by the choice of the scaling. We ask how the change of the kernel after equally many steps
depends on the width n of both layers, f = a·tanh(Wh/√n)/n^s with h fixed, for NTK scaling, s = 1/2,
and for mean-field scaling, s = 1, with learning rates that grow as n^(2s − 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import xarray as xr
from _run import Run, Size, main, told
from matplotlib.axes import Axes
from torch import Tensor, nn

import lazyrich as lr
from lazyrich import plot

INPUTS, SAMPLES, RATE = 5, 40, 0.4
STEPS: dict[Size, int] = {"smoke": 10, "full": 150}
WIDTHS: dict[Size, tuple[int, ...]] = {"smoke": (16, 32, 64), "full": (32, 64, 128, 256, 512)}
POWERS = {"ntk": 0.5, "mean_field": 1.0}


class Partial(nn.Module):
    """A fixed random layer, a layer that trains, and a readout that trains, from zero output."""

    def __init__(self, width: int, power: float) -> None:
        super().__init__()
        self.scale = width**-power
        self.register_buffer("fixed", torch.randn(width, INPUTS) / INPUTS**0.5)
        half = torch.randn(width // 2, width)
        self.middle = nn.Parameter(torch.cat([half, half]))
        readout = torch.randn(width // 2)
        self.readout = nn.Parameter(torch.cat([readout, -readout]))

    def forward(self, x: Tensor) -> Tensor:
        """Of inputs, one a row."""
        h = torch.relu(x @ self.fixed.T)
        z = torch.tanh(h @ self.middle.T / self.middle.shape[1] ** 0.5)
        return self.scale * (z @ self.readout)[:, None]


def run(seed: int, size: Size) -> Run:
    """The change of the kernel over the width, in both scalings, and its exponent."""
    found: Run = {}
    for name, power in POWERS.items():
        changes, losses = [], []
        for width in WIDTHS[size]:
            torch.manual_seed(seed)
            x = torch.randn(SAMPLES, INPUTS)
            y = (x[:, :1] * x[:, 1:2]).tanh() + x[:, 2:3]
            model = Partial(width, power)
            rate = RATE * width ** (2 * power - 1)
            optimizer = torch.optim.SGD(model.parameters(), lr=rate)
            probe = lr.Probe(model, (x, y), seed=seed)
            if width == WIDTHS[size][-1]:
                probe.forecast(optimizer=optimizer, steps=STEPS[size])
            with probe.watch(optimizer, when=lr.at(STEPS[size])):
                for _ in range(STEPS[size]):
                    optimizer.zero_grad()
                    (model(x) - y).square().mean().backward()
                    optimizer.step()
            changes.append(float(probe.history.ntk_change[-1]))
            losses.append(float(probe.history.loss[-1] / probe.history.loss[0]))
        ladder = xr.DataArray(changes, coords={"width": list(WIDTHS[size])}, dims="width")
        found |= {
            f"{name}/exponent_of_ntk_change": float(lr.fit_exponent(ladder).exponent),
            f"{name}/loss_left_at_the_largest_width": losses[-1],
            **told(probe, f"{name}/"),
            f"{name}/ntk_changes": changes,
            f"{name}/losses": losses,
            "widths": [float(width) for width in WIDTHS[size]],
        }
    return found


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """The change of the kernel, and the share of the loss that is left, over the width."""
    median = record["summary"]
    for name in POWERS:
        for ax, key in zip(axes, ("ntk_changes", "losses"), strict=True):
            ax.plot(median["widths"], median[f"{name}/{key}"], "o-", label=name.replace("_", " "))
    for ax, label in zip(axes, ("‖ΔΘ‖/‖Θ₀‖", "loss over its first value"), strict=True):
        ax.set(xscale="log", yscale="log", xlabel="width n of both layers", ylabel=label)
        ax.set_xticks(median["widths"], [f"{width:g}" for width in median["widths"]])
        ax.minorticks_off()
        plot.legend(ax)


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)
