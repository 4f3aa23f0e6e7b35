"""Claim: over output scales ρ, known before the first step, ranks how much the NTK will change.

Networks of four families learn 64 digits by full-batch gradient descent, down to 20 % of their
initial loss, at output scales over three decades; then ‖Θ − Θ₀‖/‖Θ₀‖ is measured. In every family,
for either loss, the rank correlation between forecast and outcome should be ≥ 0.95.

    python bench/richness_validation.py          # runs what the record lacks, one run at a time
    python bench/richness_validation.py --plot   # redraws the figure from the record
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import grad, jvp

import lazyrich
from lazyrich import plot
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.network import as_network
from lazyrich.probe.forecast.tangent import kernel_change, output_directions, root_of_ratio
from lazyrich.probe.steer.centred import CentredOutput

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "records" / "forecast.json"
FIGURE = ROOT / "docs" / "img" / "forecast.png"

SAMPLES = 64
SCALES = (0.1, 0.32, 1.0, 3.2, 10.0, 32.0, 100.0)
SEEDS = (0, 1, 2, 3, 4)
LOSSES = ("mse", "cross_entropy")
STOP_AT = 0.2  # of the initial loss
MAX_STEPS = 20_000
DIRECTIONS = 16


class Rows(nn.Module):
    """An 8 × 8 image as a sequence of 8 rows, each with a learned place."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.place = nn.Parameter(0.3 * torch.randn(8, 16))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x.reshape(-1, 8, 8)) + self.place


class AntisymmetricPair(nn.Module):
    """(h(x; θ₁) − h(x; θ₂))/√2 with θ₁ = θ₂ at the start: zero output without a frozen copy."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.first, self.second, self.scale = mlp(), mlp(), scale
        self.second.load_state_dict(self.first.state_dict())

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (self.first(x) - self.second(x)) / math.sqrt(2)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 10)
    )


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def transformer() -> nn.Module:
    block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
    return nn.Sequential(Rows(), block, nn.LayerNorm(16), nn.Flatten(), nn.Linear(128, 10))


FAMILIES = {"mlp": mlp, "cnn": cnn, "transformer": transformer, "antisymmetric pair": None}


def build(family: str, scale: float, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    if family == "antisymmetric pair":
        return AntisymmetricPair(scale)
    return CentredOutput(FAMILIES[family](), scale)


def data(loss: str, seed: int) -> tuple[Tensor, Tensor]:
    digits = load_digits()
    rows = np.random.default_rng(seed).permutation(len(digits.target))[:SAMPLES]
    x = torch.tensor(digits.data[rows] / 16 - 0.3, dtype=torch.float32)
    labels = torch.tensor(digits.target[rows])
    return x, labels if loss == "cross_entropy" else nn.functional.one_hot(labels, 10).float()


def loss_of(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if name == "cross_entropy":
        return nn.functional.cross_entropy(outputs, targets)
    return nn.functional.mse_loss(outputs, targets)


def sharpness(model: nn.Module, x: Tensor, y: Tensor, loss: str) -> float:
    """Largest eigenvalue of the loss's Hessian at the start, by power iteration."""
    net = as_network(model, x)
    generator = torch.Generator().manual_seed(0)
    slope = grad(lambda theta: loss_of(loss, net(theta), y))
    v = {k: torch.randn(p.shape, generator=generator) for k, p in net.theta.items()}
    size = 1.0
    with undisturbed(net.module, twice=True):
        for _ in range(15):
            norm = math.sqrt(sum(t.square().sum().item() for t in v.values()))
            v = jvp(slope, (net.theta,), ({k: t / norm for k, t in v.items()},))[1]
            size = math.sqrt(sum(t.square().sum().item() for t in v.values()))
    return size


def train(model: nn.Module, x: Tensor, y: Tensor, loss: str) -> dict[str, Any]:
    """Full-batch gradient descent; each step must win half of what its gradient promises.

    A step that does not is taken back and halved, so that the rate stays below 1/sharpness, close
    to gradient flow; after a success it grows by 5 %.
    """
    rate = 0.5 / sharpness(model, x, y, loss)
    weights = [p for p in model.parameters() if p.requires_grad]
    model.train()
    value = loss_of(loss, model(x), y)
    first = value.item()
    for step in range(MAX_STEPS):
        if value.item() <= STOP_AT * first:
            return {"status": "fitted", "steps": step, "loss": value.item() / first}
        before = [p.detach().clone() for p in weights]
        slopes = torch.autograd.grad(value, weights)
        promise = sum(g.square().sum().item() for g in slopes)
        while True:
            with torch.no_grad():
                for p, old, g in zip(weights, before, slopes, strict=True):
                    p.copy_(old - rate * g)
            trial = loss_of(loss, model(x), y)
            if trial.item() <= value.item() - 0.5 * rate * promise or rate * promise < 1e-12:
                break
            rate /= 2
        value, rate = trial, 1.05 * rate
    return {"status": "out of steps", "steps": MAX_STEPS, "loss": value.item() / first}


def run(family: str, loss: str, scale: float, seed: int) -> dict[str, Any]:
    model = build(family, scale, seed)
    x, y = data(loss, seed)
    began = time.perf_counter()
    first = lazyrich.first_step(model, (x, y), loss, directions=DIRECTIONS)
    seconds = time.perf_counter() - began
    net = as_network(model, x)
    start = net.theta
    outcome = train(model, x, y, loss)
    end = {k: p.detach() for k, p in net.module.named_parameters() if k in start}
    with undisturbed(net.module, twice=True):
        ones = {k: t.new_ones(()) for k, t in start.items()}
        es = output_directions(net(start), DIRECTIONS, seed + 7)
        change, error = root_of_ratio(*kernel_change(net, start, end, ones, es), exact=False)
    return {
        "family": family, "loss_name": loss, "scale": scale, "seed": seed, **outcome,
        "richness": first.richness, "richness_stderr": first.richness_stderr,
        "ntk_change": change, "ntk_change_stderr": error,
        "forecast_seconds": seconds, "seconds": time.perf_counter() - began,
    }  # fmt: skip


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Rank correlation in each family and loss, over all its fitted runs and seed by seed."""
    table = {}
    for family in FAMILIES:
        for loss in LOSSES:
            mine = [r for r in runs if r["family"] == family and r["loss_name"] == loss]
            fitted = [r for r in mine if r["status"] == "fitted"]

            def rank(rows: list[dict[str, Any]]) -> float:
                pairs = [(r["richness"], r["ntk_change"]) for r in rows]
                return round(float(spearmanr(pairs).statistic), 4) if len(pairs) > 2 else math.nan

            by_seed = [rank([r for r in fitted if r["seed"] == s]) for s in SEEDS]
            table[f"{family}, {loss}"] = {
                "runs": len(mine),
                "fitted": len(fitted),
                "rank_correlation": rank(fitted),
                "rank_correlation_by_seed": by_seed,
            }
    return table


def write(runs: list[dict[str, Any]]) -> None:
    record = {
        "claim": __doc__.split("\n")[0],
        "command": "python bench/richness_validation.py",
        "setting": {
            "samples": SAMPLES, "scales": SCALES, "seeds": SEEDS, "stop_at": STOP_AT,
            "directions": DIRECTIONS, "max_steps": MAX_STEPS, "threads": torch.get_num_threads(),
        },
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__,
            "numpy": np.__version__, "scikit-learn": sklearn.__version__,
            "lazyrich": lazyrich.__version__,
        },
        "summary": summary(runs),
        "runs": runs,
    }  # fmt: skip
    RECORD.parent.mkdir(parents=True, exist_ok=True)
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--plot", action="store_true", help="only redraw the figure")
    parser.add_argument("--limit", type=int, help="make at most so many new runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = json.loads(RECORD.read_text())["runs"] if RECORD.exists() else []
    if not options.plot:
        done = {(r["family"], r["loss_name"], r["scale"], r["seed"]) for r in runs}
        grid = [(f, o, a, s) for s in SEEDS for f in FAMILIES for o in LOSSES for a in SCALES]
        todo = [point for point in grid if point not in done][: options.limit]
        for point in todo:
            runs.append(run(*point))
            write(runs)
            r = runs[-1]
            print(
                *point, r["status"], r["steps"], f"ρ={r['richness']:.3g}",
                f"ΔΘ/Θ={r['ntk_change']:.3g}",
                f"{r['seconds']:.1f}s", flush=True,
            )  # fmt: skip
        write(runs)
    draw(runs)
    for name, row in summary(runs).items():
        print(f"{name:34s} {row['fitted']}/{row['runs']} fitted, rank correlation", end=" ")
        print(row["rank_correlation"], row["rank_correlation_by_seed"])


def draw(runs: list[dict[str, Any]]) -> None:
    """Draw the picture of the documentation."""
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    with plot.style():
        plot.save(panels(runs), FIGURE)


def panels(runs: list[dict[str, Any]]) -> Figure:
    """ρ against outcome, a panel a family; marks tell the losses apart without colour."""
    looks = {
        "mse": ("#0072B2", "o", "mean squared error"),
        "cross_entropy": ("#E69F00", "^", "cross-entropy"),
    }
    made = plot.figure(1, len(FAMILIES), width=3.0, height=3.2)
    table = summary(runs)
    for ax, family in zip(made.axes, FAMILIES, strict=True):
        for loss, (colour, mark, label) in looks.items():
            mine = [r for r in runs if r["family"] == family and r["loss_name"] == loss]
            mine = [r for r in mine if r["status"] == "fitted"]
            ax.loglog(
                [r["richness"] for r in mine], [r["ntk_change"] for r in mine], mark,
                color=colour, markersize=5, markeredgecolor="black", markeredgewidth=0.4,
                linestyle="none", label=label,
            )  # fmt: skip
        ax.axvline(1, color="0.6", linewidth=0.8, zorder=0)
        orders = [table[f"{family}, {loss}"]["rank_correlation"] for loss in looks]
        ax.set_title(f"{family}\nrank correlation {orders[0]:.3f}, {orders[1]:.3f}")
        ax.set(xlabel="richness ρ, before training", ylabel="measured NTK change ‖ΔΘ‖/‖Θ₀‖")
    for side in "xy":  # one scale for all families
        ends = [end for ax in made.axes for end in getattr(ax, f"get_{side}lim")()]
        for ax in made.axes:
            ax.set(**{f"{side}lim": (min(ends), max(ends))})
    handles, labels = made.axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return made


if __name__ == "__main__":
    sys.exit(main())
