"""Claim: in a family of networks κ, known at the start, ranks how much the kernel will change.

Networks of three families, with no output at first, learn 16 samples to 5 % of the loss by
full-batch gradient descent at five output scales; then ‖Θ − Θ₀‖/‖Θ₀‖ is measured, and how far the
outputs are from those of the linearised network at the same step.

    python bench/laziness.py     # trains, and writes docs/records/laziness.json and .md
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import lazyrich
from lazyrich.probe.steer.centred import CentredOutput

RECORDS = Path(__file__).resolve().parents[1] / "docs" / "records"
SAMPLES, WIDTH, STOP_AT, MOST_STEPS, ITERATIONS = 16, 32, 0.05, 4000, 50
SCALES, SEEDS = (0.3, 1.0, 3.0, 10.0, 30.0), (0, 1, 2)


def _linear() -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(2, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)),
    )


FAMILIES = {
    "tanh": lambda: nn.Sequential(nn.Linear(2, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1)),
    "relu": lambda: nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1)),
    "linear, three layers": _linear,
}


def data(seed: int, family: str) -> tuple[Tensor, Tensor]:
    """Inputs in the plane and a target: a sine, or what a linear network can learn."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(SAMPLES, 2, generator=generator).double()
    linear = x[:, :1] - 0.5 * x[:, 1:]
    return x, linear if family.startswith("linear") else torch.sin(1.5 * linear)


def run(family: str, scale: float, seed: int) -> dict[str, Any]:
    """One network: its index, and what its training came to."""
    torch.manual_seed(seed)
    x, y = data(seed, family)
    model = CentredOutput(FAMILIES[family]().double(), output_scale=scale)
    index = lazyrich.laziness_index(model, (x, y), iterations=ITERATIONS)
    rho = lazyrich.richness(model, (x, y), directions="all")
    before = lazyrich.ntk(model, x)
    linear = lazyrich.linearize(model, (x, y))
    lr = 0.3 * SAMPLES / float(torch.linalg.eigvalsh(before.reshape(SAMPLES, SAMPLES))[-1])
    steps, first = 0, float(y.square().mean())
    parameters = [p for p in model.parameters() if p.requires_grad]
    loss = (model(x) - y).square().mean()
    while float(loss.detach()) > STOP_AT * first and steps < MOST_STEPS:
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for p, g in zip(parameters, gradients, strict=True):
                p -= lr * g
        loss, steps = (model(x) - y).square().mean(), steps + 1
    change = lazyrich.ntk(model, x) - before
    apart = (model(x).detach() - linear.predict(steps=steps, lr=lr)).norm() / y.norm()
    return {
        "family": family,
        "scale": scale,
        "seed": seed,
        "laziness_index": index.laziness_index.item(),
        "richness": rho,
        "ntk_change": float(change.norm() / before.norm()),
        "linearisation_error": float(apart),
        "steps": steps,
        "fitted": float(loss.detach()) <= STOP_AT * first,
    }


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each family the rank correlations, and the index below which all are lazy."""
    found = {}
    for family in FAMILIES:
        here = [one for one in runs if one["family"] == family and one["fitted"]]
        index, change, apart, rho = (
            np.array([one[key] for one in here])
            for key in ("laziness_index", "ntk_change", "linearisation_error", "richness")
        )
        lazy, not_lazy = index[change < 0.1], index[change >= 0.1]
        found[family] = {
            "fitted": len(here),
            "runs": sum(one["family"] == family for one in runs),
            "rank_correlation": float(spearmanr(index, change).statistic),
            "rank_correlation_of_richness": float(spearmanr(rho, change).statistic),
            "rank_correlation_of_linearisation": float(spearmanr(index, apart).statistic),
            "largest_lazy_index": float(lazy.max()) if len(lazy) else None,
            "smallest_index_that_is_not": float(not_lazy.min()) if len(not_lazy) else None,
            "slope": float(np.polyfit(np.log(index), np.log(change), 1)[0]),
        }
    return found


def page(record: dict[str, Any]) -> str:
    """The table of the documentation."""
    rows = [
        "| family | trained to 5 % | rank correlation of κ with the kernel change | of ρ with it | "
        "of κ with the linearisation error | largest κ that was lazy | smallest that was not |",
        "|---|---|---|---|---|---|---|",
    ]
    for family, one in record["summary"].items():
        rows.append(
            f"| {family} | {one['fitted']} of {one['runs']} | {one['rank_correlation']:.3f} | "
            f"{one['rank_correlation_of_richness']:.3f} | "
            f"{one['rank_correlation_of_linearisation']:.3f} | {one['largest_lazy_index']:.2g} | "
            f"{one['smallest_index_that_is_not']:.2g} |"
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run all and record them."""
    runs = [run(f, scale, seed) for f in FAMILIES for seed in SEEDS for scale in SCALES]
    record = {
        "claim": "in a family, κ at the start ranks how much the kernel will change",
        "setting": {
            "samples": SAMPLES,
            "width": WIDTH,
            "stop_at": STOP_AT,
            "max_steps": MOST_STEPS,
            "iterations": ITERATIONS,
        },
        "python": platform.python_version(),
        "torch": torch.__version__,
        "summary": summary(runs),
        "runs": runs,
    }
    (RECORDS / "laziness.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    (RECORDS / "laziness.md").write_text(page(record), "utf-8")
    print(page(record))


if __name__ == "__main__":
    main()
