"""Three layers learn a feature of a feature that two layers of as many weights do not learn.

That three layers have richer feature learning, provably, is shown by Nichani, Damian & Lee,
arXiv:2305.06986. They train layer by layer on a polynomial of xᵀAx. We train all layers together,
with Adam, on its sine, and ask whether the last hidden layer holds xᵀAx.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from _run import Run, Size, main, told
from matplotlib.axes import Axes
from torch import Tensor, nn

import lazyrich as lr
from lazyrich import plot

INPUTS, TEST = 10, 1000
STEPS: dict[Size, int] = {"smoke": 20, "full": 2000}
SAMPLES: dict[Size, int] = {"smoke": 100, "full": 4000}
BATCH, RATE = 100, 0.003
NETWORKS = {"three_layers": (96, 64), "two_layers": (612,)}  # their hidden widths


def problem(samples: int) -> tuple[Tensor, Tensor, Tensor]:
    """Gaussian inputs, a quadratic feature of mean 0 and variance 1, and the target."""
    x = torch.randn(samples, INPUTS)
    a = torch.randn(INPUTS, INPUTS)
    a = a + a.T - torch.eye(INPUTS) * 2 * a.trace() / INPUTS
    feature = (x @ a * x).sum(1, keepdim=True) / (2**0.5 * a.norm())
    return x, feature, torch.sin(2 * feature)


def network(widths: Sequence[int]) -> nn.Sequential:
    """ReLU layers of these widths and a readout."""
    sizes = [INPUTS, *widths]
    hidden = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], 1))


def held(model: nn.Sequential, x: Tensor, feature: Tensor) -> float:
    """Alignment of the kernel of the last hidden layer with a feature, both centred."""
    with torch.no_grad():
        h = model[:-1](x)
        h = h - h.mean(0)
        f = feature - feature.mean(0)
        return float((h.T @ f).square().sum() / ((h.T @ h).norm() * f.square().sum()))


def run(seed: int, size: Size) -> Run:
    """Both networks on the same samples: what they miss, and what their last layer holds."""
    found: Run = {}
    for name, widths in NETWORKS.items():
        torch.manual_seed(seed)
        x, feature, y = problem(SAMPLES[size] + TEST)
        train, test = slice(0, SAMPLES[size]), slice(SAMPLES[size], None)
        model = network(widths)
        before = held(model, x[test], feature[test])
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        few = x[train][:200], y[train][:200]
        probe = lr.Probe(model, few, seed=seed)
        probe.forecast(optimizer=optimizer, max_steps=200)
        missed = []
        due = lr.log_spaced(1, STEPS[size], 10)
        for step in range(STEPS[size] + 1):
            if step == 0 or due(step):
                probe.measure(step, optimizer=optimizer)
                with torch.no_grad():
                    error = (model(x[test]) - y[test]).square().mean() / y[test].var()
                missed.append(float(error))
            some = torch.randint(SAMPLES[size], (BATCH,))
            optimizer.zero_grad()
            (model(x[some]) - y[some]).square().mean().backward()
            optimizer.step()
        found |= {
            f"{name}/weights": float(sum(p.numel() for p in model.parameters())),
            f"{name}/test_error": missed[-1],
            f"{name}/feature_held_at_first": before,
            f"{name}/feature_held": held(model, x[test], feature[test]),
            **told(probe, f"{name}/"),
            f"{name}/test_error_curve": missed,
            f"{name}/ntk_change_curve": probe.history.ntk_change.values.tolist(),
            f"{name}/steps": [float(step) for step in probe.history.step],
        }
    return found


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """What both miss of new samples, and the change of their kernels."""
    median = record["summary"]
    for name in NETWORKS:
        steps = median[f"{name}/steps"][1:]
        for ax, key in zip(axes, ("test_error_curve", "ntk_change_curve"), strict=True):
            ax.plot(steps, median[f"{name}/{key}"][1:], label=name.replace("_", " "))
    for ax, label in zip(axes, ("missed share of the variance, test", "‖ΔΘ‖/‖Θ₀‖"), strict=True):
        ax.set(xscale="log", xlabel="step", ylabel=label)
        plot.legend(ax)
    axes[1].set_yscale("log")


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)
