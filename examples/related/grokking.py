"""Grokking can be a passage from lazy to rich: fit first, then features, then the test accuracy.

So Kumar et al., arXiv:2310.06110. We ask it of modular addition: when do the kernel, the verdict
and the test accuracy move? Two layers with squares learn a + b mod 17 from 75 % of all pairs, from
a large start of zero output, with a little weight decay, which takes the start away slowly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from _run import Run, Size, first, main, mark, regimes, told
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.nn.functional import one_hot

import lazyrich as lr
from lazyrich import plot
from lazyrich.vocabulary import LAZY_BELOW

STEPS: dict[Size, int] = {"smoke": 30, "full": 3000}
MODULUS: dict[Size, int] = {"smoke": 7, "full": 17}
WIDTH: dict[Size, int] = {"smoke": 16, "full": 192}
SHARE, INIT, RATE, DECAY = 0.75, 1.5, 0.003, 0.3
RIGHT = 0.95  # accuracy from which a set counts as learned


class Squares(nn.Module):
    """Two layers, f = V (Wx)², whose halves cancel at the start."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width, bias=False)
        self.last = nn.Linear(width, outputs, bias=False)
        for layer in (self.first, self.last):
            nn.init.normal_(layer.weight, std=INIT / layer.in_features**0.5)
        with torch.no_grad():
            self.first.weight[width // 2 :] = self.first.weight[: width // 2]
            self.last.weight[:, width // 2 :] = -self.last.weight[:, : width // 2]

    def forward(self, x: Tensor) -> Tensor:
        """Of pairs, one hot each."""
        return self.last(self.first(x).square())


def pairs(modulus: int) -> tuple[Tensor, Tensor]:
    """All pairs in a random order, and their sums, one hot."""
    a, b = torch.cartesian_prod(torch.arange(modulus), torch.arange(modulus)).T
    x = torch.cat([one_hot(a, modulus), one_hot(b, modulus)], 1).float()
    order = torch.randperm(modulus**2)
    return x[order], one_hot((a + b) % modulus, modulus).float()[order]


def run(seed: int, size: Size) -> Run:
    """Both accuracies and the kernel over training, and when each of them moves."""
    torch.manual_seed(seed)
    x, y = pairs(MODULUS[size])
    model = Squares(x.shape[1], WIDTH[size], y.shape[1])
    train, test = slice(0, int(SHARE * len(x))), slice(int(SHARE * len(x)), None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    probe = lr.Probe(model, (x[train], y[train]), loss="squared_error", seed=seed)
    probe.forecast(optimizer=optimizer, max_steps=STEPS[size])
    due = lr.log_spaced(1, STEPS[size], 30)
    right: dict[str, list[float]] = {"train_accuracy": [], "test_accuracy": []}
    for step in range(STEPS[size] + 1):
        if step == 0 or due(step):
            probe.measure(step, optimizer=optimizer)
            with torch.no_grad():
                for name, part in zip(right, (train, test), strict=True):
                    hit = model(x[part]).argmax(1) == y[part].argmax(1)
                    right[name].append(hit.float().mean().item())
        optimizer.zero_grad()
        (model(x[train]) - y[train]).square().sum(1).mean().backward()
        optimizer.step()
    history = probe.history
    steps, said = history.step.values.tolist(), regimes(history)
    turned = history.centred_kernel_distance.values
    fitted, grokked = (first(steps, [v >= RIGHT for v in values]) for values in right.values())
    at_fit = steps.index(fitted) if fitted in steps else -1
    return {
        "step_of_fit": fitted,
        "step_of_test_accuracy": grokked,
        "step_after_which_not_lazy": first(steps, [s in ("intermediate", "rich") for s in said]),
        "step_of_rich_verdict": first(steps, [s == "rich" for s in said]),
        "step_of_half_the_turn": first(steps, (turned >= turned[-1] / 2).tolist()),
        "ntk_change_at_fit": float(history.ntk_change[at_fit]),
        "verdict_at_fit": said[at_fit],
        "test_accuracy_at_the_end": right["test_accuracy"][-1],
        **told(probe),
        **right,
        "steps": [float(step) for step in steps],
        "ntk_change_curve": history.ntk_change.values.tolist(),
        "turn_curve": turned.tolist(),
        "target_alignment_curve": history.target_alignment.values.tolist(),
    }


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """Accuracies, and what the kernel does meanwhile."""
    median = record["summary"]
    steps = median["steps"][1:]
    for name in ("train_accuracy", "test_accuracy"):
        axes[0].plot(steps, median[name][1:], label=name.replace("_", " "))
    for name, label in (("ntk_change", "change, ‖ΔΘ‖/‖Θ₀‖"), ("turn", "turn between samples")):
        axes[1].plot(steps, median[f"{name}_curve"][1:], label=label)
    axes[1].axhline(LAZY_BELOW, color="0.7", linewidth=0.8, zorder=0)
    mark(axes, median["step_after_which_not_lazy"])
    for ax, label in zip(axes, ("share of pairs that are right", "kernel"), strict=True):
        ax.set(xscale="log", xlabel="step; dotted: no longer lazy", ylabel=label)
    for ax in axes:
        plot.legend(ax)


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)
