"""Test error peaks where a model just interpolates; by effective parameters, the axis turns back.

Double descent is the subject of Lafon & Thomas, arXiv:2403.10459. Curth et al., arXiv:2310.18988,
count parameters of a smoother, f(x) = s(x)·y, by n/m Σ‖s(x)‖² over m new inputs, and the second
descent goes back along that axis. Random features with a readout of least norm, where the smoother
is exact, show both. We train the same networks whole, too, to ask what is left of the peak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from _run import Run, Size, main, told
from matplotlib.axes import Axes
from torch import Tensor, nn

import lazyrich as lr
from lazyrich import plot

INPUTS, SAMPLES, TEST, NOISE, RATE = 5, 40, 500, 0.5, 0.01
STEPS: dict[Size, int] = {"smoke": 10, "full": 600}
WIDTHS = {"smoke": (10, 40, 160), "full": (5, 10, 20, 30, 40, 50, 80, 160, 640, 2560)}


class Network(nn.Module):
    """Random ReLU features and a readout that begins at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.readout = nn.Linear(INPUTS, width), nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.first.weight, std=INPUTS**-0.5)
        nn.init.normal_(self.first.bias, std=0.5)
        nn.init.zeros_(self.readout.weight)

    def features(self, x: Tensor) -> Tensor:
        """Of inputs, one a row."""
        return torch.relu(self.first(x)) / self.first.out_features**0.5

    def forward(self, x: Tensor) -> Tensor:
        """The readout of the features."""
        return self.readout(self.features(x))


def target(x: Tensor) -> Tensor:
    """A smooth function of two inputs."""
    return torch.sin(x[:, :1]) + x[:, 1:2] / 2


def fitted(model: Network, x: Tensor, y: Tensor, new: Tensor) -> tuple[lr.Probe, float]:
    """The readout of least norm under a probe's eyes, and the effective parameters."""
    model.first.requires_grad_(False)
    probe = lr.Probe(model, (x, y))
    probe.measure(0)
    with torch.no_grad():
        inverse = torch.linalg.pinv(model.features(x))
        model.readout.weight.copy_((inverse @ y).T)
        smoother = model.features(new) @ inverse
    probe.measure(1)
    return probe, float(SAMPLES / TEST * smoother.square().sum())


def trained(model: Network, x: Tensor, y: Tensor, steps: int) -> lr.Probe:
    """All of it, by Adam."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    probe = lr.Probe(model, (x, y))
    probe.forecast(optimizer=optimizer, max_steps=100)
    with probe.watch(optimizer, when=lr.at(steps)):
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    return probe


def run(seed: int, size: Size) -> Run:
    """Errors and effective parameters over the width; of the widest networks, the verdict."""
    torch.manual_seed(seed)
    x, new = (torch.randn(count, INPUTS, dtype=torch.float64) for count in (SAMPLES, TEST))
    y = target(x) + NOISE * torch.randn(SAMPLES, 1, dtype=torch.float64)
    rows = []
    for width in WIDTHS[size]:
        readout, effective = fitted(Network(width).double(), x, y, new)
        whole = trained(Network(width).double(), x, y, STEPS[size])
        with torch.no_grad():
            missed = [float((p.model(new) - target(new)).square().mean()) for p in (readout, whole)]
        rows.append((missed[0], effective, missed[1]))
    errors, counts, whole_errors = map(list, zip(*rows, strict=True))
    at_peak = errors.index(max(errors))
    return {
        "features/width_of_the_largest_error": float(WIDTHS[size][at_peak]),
        "features/effective_parameters_there": counts[at_peak],
        "features/effective_parameters_of_the_widest": counts[-1],
        "features/largest_error": max(errors),
        "features/error_of_the_widest": errors[-1],
        **told(readout, "features/"),
        "trained_whole/largest_error": max(whole_errors),
        "trained_whole/error_of_the_widest": whole_errors[-1],
        **told(whole, "trained_whole/"),
        "widths": [float(width) for width in WIDTHS[size]],
        "effective_parameters": counts,
        "errors": errors,
        "errors_trained_whole": whole_errors,
    }


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """The error over the width, and over effective parameters."""
    median = record["summary"]
    for key, label in (("errors", "readout of least norm"), ("errors_trained_whole", "whole")):
        axes[0].plot(median["widths"], median[key], "o-", label=label)
    axes[1].plot(median["effective_parameters"], median["errors"], "o-")
    plot.legend(axes[0])
    for ax, label in zip(axes, ("width", "effective parameters, new inputs"), strict=True):
        ax.set(xscale="log", yscale="log", xlabel=label, ylabel="test error")


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)
