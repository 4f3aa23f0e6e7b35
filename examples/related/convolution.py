"""Localised filters emerge from non-Gaussian structure of the inputs, not from their covariance.

So Ingrosso & Goldt, arXiv:2202.00565, of fully connected networks. Inputs on a ring are Gaussian
fields of a short or a long correlation length through a saturating function, which makes edges;
the control is Gaussian with the very same covariances. How localised a filter is: Σw⁴/(Σw²)²
times the inputs, 3 of Gaussian weights.
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

INPUTS, WIDTH, GAIN, LENGTHS = 40, 16, 3.0, (1.0, 3.0)
BATCH, RATE, INIT = 128, 0.05, 0.1
STEPS: dict[Size, int] = {"smoke": 20, "full": 4000}
KINDS = ("edges", "gaussian")


def covariance(length: float) -> Tensor:
    """Of a Gaussian field on the ring, with variance 1; it falls exponentially."""
    apart = torch.arange(INPUTS)
    apart = torch.minimum(apart, INPUTS - apart).double()
    row = (-apart / length).exp()
    return torch.stack([row.roll(i) for i in range(INPUTS)])


def roots(kind: str) -> list[Tensor]:
    """Of both classes, the root of the covariance that white noise is multiplied by."""
    found = []
    for length in LENGTHS:
        c = covariance(length)
        if kind == "gaussian":  # E erf(gz)erf(gz') in closed form, over its variance
            square = 2 * GAIN**2
            c = torch.asin(square * c / (1 + square))
            c = c / c[0, 0]
        values, vectors = torch.linalg.eigh(c)
        found.append((vectors * values.clamp(min=0).sqrt()).T.float())
    return found


def inputs(kind: str, both: Sequence[Tensor], samples: int) -> tuple[Tensor, Tensor]:
    """Fields of both classes, of variance 1 at every place, and the class."""
    label = torch.randint(2, (samples, 1))
    noise = torch.randn(samples, INPUTS)
    z = torch.where(label == 0, noise @ both[0], noise @ both[1])
    if kind == "edges":
        square = torch.tensor(2 * GAIN**2)
        z = torch.erf(GAIN * z) / (2 / torch.pi * torch.asin(square / (1 + square))).sqrt()
    return z, 2.0 * label - 1


def localised(weight: Tensor) -> float:
    """Σw⁴/(Σw²)² times the inputs, of filters by their squared norms."""
    norms = weight.square().sum(1)
    own = weight.shape[1] * weight.pow(4).sum(1) / norms.square()
    return float((own * norms).sum() / norms.sum())


def run(seed: int, size: Size) -> Run:
    """Filters and the kernel of both kinds of inputs."""
    found: Run = {}
    for kind in KINDS:
        torch.manual_seed(seed)
        both = roots(kind)
        model = nn.Sequential(nn.Linear(INPUTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        nn.init.normal_(model[0].weight, std=INIT / INPUTS**0.5)
        nn.init.normal_(model[2].weight, std=WIDTH**-0.5)
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        probe = lr.Probe(model, inputs(kind, both, 200), seed=seed)
        probe.forecast(optimizer=optimizer, max_steps=300)
        due, curve = lr.log_spaced(1, STEPS[size], 10), []
        for step in range(STEPS[size] + 1):
            if step == 0 or due(step):
                probe.measure(step, optimizer=optimizer)
                curve.append(localised(model[0].weight.detach()))
            x, y = inputs(kind, both, BATCH)
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
        x, y = inputs(kind, both, 2000)
        with torch.no_grad():
            right = (model(x).sign() == y).float().mean().item()
        filters = model[0].weight.detach()
        most = filters[filters.square().sum(1).argsort(descending=True)[0]]
        found |= {
            f"{kind}/accuracy": right,
            f"{kind}/localised": curve[-1],
            **told(probe, f"{kind}/"),
            f"{kind}/localised_curve": curve,
            f"{kind}/steps": [float(step) for step in probe.history.step],
            f"{kind}/largest_filter": most.tolist(),
        }
    return found


def draw(record: Mapping[str, Any], axes: Sequence[Axes]) -> None:
    """How localised filters become, and the largest one of the first seed."""
    for kind in KINDS:
        median = record["summary"]
        steps = median[f"{kind}/steps"][1:]
        axes[0].plot(steps, median[f"{kind}/localised_curve"][1:], label=kind)
        axes[1].plot(record["runs"][0][f"{kind}/largest_filter"], label=kind)
    axes[0].set(xscale="log", xlabel="step", ylabel="how localised filters are")
    axes[1].set(xlabel="place on the ring", ylabel="weights of the largest filter, seed 0")
    for ax in axes:
        plot.legend(ax)


if __name__ == "__main__":
    main(__file__, str(__doc__), run, draw)
