"""Claim: a rehearsal on the batch foretells how much training changes the kernel, and says when.

Networks of ten families learn digits on full batch, each with optimisers that train it, over output
scales, widths, depths and learning rates, to 20 % of their initial loss. Then ‖Θ − Θ₀‖/‖Θ₀‖ is
measured by explicit Jacobians, code of this script alone. Accepted if

- where the certificate holds, the measured change is within a factor 1.25 of the forecast in ≥ 95 %
  of the runs, and where the gap is below 0.3 within 1.5;
- in ≥ 99 % of the runs the certificate is right: a network whose linearisation errs by less than
  0.05 of the change of the outputs is not called "not lazy", and one by more than 0.3 not "holds";
- over everything the rank correlation of forecast and outcome is ≥ 0.95.

    python bench/forecast_validation.py                  # runs what the record lacks, one at a time
    python bench/forecast_validation.py --small          # a table of a few minutes, no record
    python bench/forecast_validation.py --limit 20       # at most so many new runs
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD, Adam, AdamW, Muon, Optimizer

import lazyrich
from lazyrich.probe import Ended

RECORD = Path(__file__).resolve().parents[1] / "docs" / "records" / "rehearsal.json"
SAMPLES = 48
STOP_AT = 0.2
MAX_STEPS = 3_000
SEEDS = (0, 1)
SCALES = {"lazy": 30.0, "between": 3.0, "rich": 0.5}
RATES = {  # of SGD over the sharpness at the start; else over the output scale
    "sgd": 0.4,
    "momentum": 0.1,
    "adam": 0.01,
    "adamw": 0.01,
    "muon": 0.02,
}


class Rows(nn.Module):
    """An 8 × 8 image as a sequence of 8 rows, each with a learned place."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(8, width)
        self.place = nn.Parameter(0.3 * torch.randn(8, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(x.reshape(-1, 8, 8)) + self.place


class Residual(nn.Module):
    """h + W₂ φ(W₁ h)/√depth."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.share = depth**-0.5

    def forward(self, h: Tensor) -> Tensor:
        return h + self.share * self.block(h)


class Lora(nn.Module):
    """A frozen layer and B A beside it, with B = 0 at the start."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.a = nn.Linear(layer.in_features, rank, bias=False)
        self.b = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + self.b(self.a(x))


def mlp(width: int, act: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, width), act(), nn.Linear(width, width), act(), nn.Linear(width, 10)
    )


def cnn(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, width // 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width // 4, width // 2, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * width, 10),
    )


def transformer(width: int) -> nn.Module:
    block = nn.TransformerEncoderLayer(
        width, 2, 2 * width, dropout=0.0, batch_first=True, norm_first=True
    )
    readout = nn.Linear(8 * width, 10)
    return nn.Sequential(Rows(width), block, nn.LayerNorm(width), nn.Flatten(), readout)


def residual(width: int, depth: int) -> nn.Module:
    blocks = (Residual(width, depth) for _ in range(depth))
    return nn.Sequential(nn.Linear(64, width), *blocks, nn.Linear(width, 10))


def zero_readout(width: int) -> nn.Module:
    net = mlp(width, nn.ReLU)
    nn.init.zeros_(net[-1].weight)
    nn.init.zeros_(net[-1].bias)
    return net


def batch_norm(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 10)
    )


def trained_before(width: int) -> nn.Sequential:
    """Two layers that know which half of the digits an image shows, and a new readout."""
    net = mlp(width, nn.ReLU)
    x, labels = digits(SAMPLES, 99)
    optimizer = Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), labels // 5).backward()
        optimizer.step()
    net[-1].reset_parameters()
    return net


def lora(width: int) -> nn.Module:
    net = trained_before(width)
    net[0], net[2] = Lora(net[0], 4), Lora(net[2], 4)
    return net


def staircase(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(12, 4 * width), nn.ReLU(), nn.Linear(4 * width, 1))


FAMILIES: dict[str, Callable[[int, int], nn.Module]] = {
    "tanh MLP": lambda width, depth: mlp(width),
    "ReLU MLP": lambda width, depth: mlp(width, nn.ReLU),
    "CNN": lambda width, depth: cnn(width),
    "transformer": lambda width, depth: transformer(width),
    "residual": residual,
    "staircase": lambda width, depth: staircase(width),
    "fine-tuning": lambda width, depth: trained_before(width),
    "LoRA": lambda width, depth: lora(width),
    "zero readout": lambda width, depth: zero_readout(width),
    "batch norm": lambda width, depth: batch_norm(width),
}
UNCENTRED = ("zero readout",)


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run."""

    family: str
    optimizer: str
    loss: str
    scale: float
    width: int = 32
    depth: int = 2
    lr_factor: float = 1.0
    seed: int = 0


def digits(count: int, seed: int) -> tuple[Tensor, Tensor]:
    known = load_digits()
    rows = np.random.default_rng(seed).permutation(len(known.target))[:count]
    x = torch.tensor(known.data[rows] / 16 - 0.3, dtype=torch.float32)
    return x, torch.tensor(known.target[rows])


def data(point: Point) -> tuple[Tensor, Tensor]:
    if point.family == "staircase":
        signs = torch.Generator().manual_seed(point.seed)
        x = torch.randint(0, 2, (SAMPLES, 12), generator=signs) * 2.0 - 1
        return x, (x[:, :1] + x[:, :2].prod(1, True) + x[:, :3].prod(1, True)) / 3
    x, labels = digits(SAMPLES, point.seed)
    return x, labels if point.loss == "cross_entropy" else functional.one_hot(labels, 10).float()


def build(point: Point) -> nn.Module:
    torch.manual_seed(point.seed)
    net = FAMILIES[point.family](point.width, point.depth)
    return net if point.family in UNCENTRED else lazyrich.CentredOutput(net, point.scale)


def sharpness(model: nn.Module, point: Point) -> float:
    """The largest eigenvalue of JᵀHJ at the start, H of outputs that are all alike."""
    x, _ = data(point)
    curvature = 2 / 10 if point.loss == "mse" else 1 / 10  # of softmax: that of ten classes
    if point.family == "staircase":
        curvature = 2.0
    return curvature / len(x) * torch.linalg.eigvalsh(kernel(model, x, weights(model)))[-1].item()


def optimizer_of(model: nn.Module, point: Point) -> Optimizer:
    scale = 1.0 if point.family in UNCENTRED else point.scale
    lr = point.lr_factor * RATES[point.optimizer] / scale
    trained = [p for p in model.parameters() if p.requires_grad]
    match point.optimizer:
        case "sgd" | "momentum":
            growth = min(1.0, scale / 3) ** 0.5  # of the kernel, which then bears less
            lr *= scale * growth / sharpness(model, point)
            return SGD(trained, lr=lr, momentum=0.9 if point.optimizer == "momentum" else 0.0)
        case "adam":
            return Adam(trained, lr=lr)
        case "adamw":
            return AdamW(trained, lr=lr)
    for p in trained:  # it is for matrices alone
        p.requires_grad_(p.ndim == 2)
    return Muon([p for p in trained if p.ndim == 2], lr=lr, weight_decay=0.0)


def loss_of(name: str, outputs: Tensor, targets: Tensor) -> Tensor:
    if name == "cross_entropy":
        return functional.cross_entropy(outputs, targets)
    return functional.mse_loss(outputs, targets)


def linearisation_error(
    model: nn.Module, x: Tensor, then: dict[str, Tensor], now: dict[str, Tensor]
) -> float:
    """‖f − f₀ − J₀(θ − θ₀)‖/‖f − f₀‖ of the function that trains, by the batch's own statistics."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    for m in norms:
        m.track_running_stats = False
    moved = {n: now[n] - then[n] for n in then}
    with sdpa_kernel(SDPBackend.MATH):
        f_0, tangent = jvp(lambda t: functional_call(model, t, (x,)), (then,), (moved,))
        f = functional_call(model, now, (x,))
    for m in norms:
        m.track_running_stats = True
    return ((f - f_0 - tangent).norm() / (f - f_0).norm()).item()


def kernel(model: nn.Module, x: Tensor, theta: dict[str, Tensor]) -> Tensor:
    """Θ at θ by explicit Jacobians; batch norms by the batch, as constants."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm1d)]
    model.train()
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.momentum = 1.0
    with torch.no_grad():
        functional_call(model, theta, (x,))
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
        m.running_var *= (len(x) - 1) / len(x)  # the biased one, by which training divides
    model.eval()
    with sdpa_kernel(SDPBackend.MATH):
        blocks = jacrev(lambda t: functional_call(model, t, (x,)), chunk_size=64)(theta)
    J = torch.cat([b.reshape(b.shape[0] * b.shape[1], -1) for b in blocks.values()], 1).detach()
    model.train()
    return (J @ J.T).double()


def weights(model: nn.Module) -> dict[str, Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def train(
    model: nn.Module, optimizer: Optimizer, batch: tuple[Tensor, Tensor], loss: str
) -> tuple[int, float]:
    """Steps made, and the share of the loss that is left; the model is trained in place."""
    model.train()
    x, y = batch
    first = None
    for step in itertools.count():
        value = loss_of(loss, model(x), y)
        first = value.item() if first is None else first
        share = value.item() / first
        if not share <= 1e3 or share <= STOP_AT or step == MAX_STEPS:
            return step, share
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def run(point: Point) -> dict[str, Any]:
    model, batch = build(point), data(point)
    optimizer = optimizer_of(model, point)
    began = time.perf_counter()
    told = lazyrich.forecast(model, batch, point.loss, optimizer=optimizer, max_steps=MAX_STEPS)
    seconds = time.perf_counter() - began
    then = weights(model)
    before = kernel(model, batch[0], then)
    steps, share = train(model, optimizer, batch, point.loss)
    now = weights(model)
    after = kernel(model, batch[0], now)
    return {
        **asdict(point),
        "status": "fitted" if share <= STOP_AT else "not fitted",
        "steps": steps,
        "predicted_ntk_change": told.predicted_ntk_change,
        "linearisation_gap": told.linearisation_gap,
        "certificate": str(told.certificate),
        "ended": str(told.network.ended),
        "richness": told.richness,
        "ntk_change": ((after - before).norm() / before.norm()).item(),
        "linearisation_error": linearisation_error(model, batch[0], then, now),
        "gradients": told.gradients,
        "forecast_seconds": seconds,
    }


def grid() -> Iterator[Point]:
    """Everything of the claim: scales, then widths, depths and learning rates."""
    for seed, family in itertools.product(SEEDS, FAMILIES):
        for optimizer, scale in itertools.product(RATES, SCALES.values()):
            if family == "CNN" and optimizer == "muon":  # its weights are no matrices
                continue
            for loss in ("mse", "cross_entropy") if family != "staircase" else ("mse",):
                yield Point(family=family, optimizer=optimizer, loss=loss, scale=scale, seed=seed)
        for optimizer in ("sgd", "adam"):
            of = {"family": family, "optimizer": optimizer, "loss": "mse", "seed": seed}
            for width in (16, 64, 128):
                yield Point(**of, scale=3.0, width=width)
            for factor in (0.3, 3.0):
                yield Point(**of, scale=3.0, lr_factor=factor)
            for depth in (4, 8, 16) if family == "residual" else ():
                yield Point(**of, scale=3.0, depth=depth)


SMALL = [
    *(Point(family="tanh MLP", optimizer="sgd", loss="mse", scale=s) for s in (30, 10, 3, 1)),
    *(Point(family="ReLU MLP", optimizer="momentum", loss="mse", scale=s) for s in (30, 10, 3, 1)),
    *(
        Point(family=f, optimizer="adam", loss="cross_entropy", scale=s)
        for f in ("CNN", "transformer", "batch norm")
        for s in (100, 30, 10, 3)
    ),
    *(Point(family="LoRA", optimizer="adam", loss="cross_entropy", scale=s) for s in (30, 3)),
    *(Point(family="zero readout", optimizer=o, loss="mse", scale=1) for o in ("sgd", "adam")),
    *(Point(family="residual", optimizer="adam", loss="mse", scale=10, depth=d) for d in (2, 8)),
    *(Point(family="tanh MLP", optimizer="muon", loss="mse", scale=s) for s in (30, 3)),
    Point(family="staircase", optimizer="adamw", loss="mse", scale=3),
    Point(family="fine-tuning", optimizer="adamw", loss="cross_entropy", scale=3),
]


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The numbers of the claim, over the runs that fitted in reality and in the rehearsal."""
    fitted = [r for r in runs if r["status"] == "fitted" and r["ended"] == Ended.FITTED]
    ratios = [r["ntk_change"] / r["predicted_ntk_change"] for r in fitted]
    apart = [max(ratio, 1 / ratio) for ratio in ratios]
    holds = [a for r, a in zip(fitted, apart, strict=True) if r["certificate"] == "holds"]
    near = [a for r, a in zip(fitted, apart, strict=True) if r["linearisation_gap"] < 0.3]
    wrong = [
        r
        for r in fitted
        if (r["certificate"] == "holds" and r["linearisation_error"] > 0.3)
        or (r["certificate"] == "not lazy" and r["linearisation_error"] < 0.05)
    ]
    pairs = [(r["predicted_ntk_change"], r["ntk_change"]) for r in fitted]
    return {
        "runs": len(runs),
        "fitted": len(fitted),
        "holds": len(holds),
        "holds_within_1.25": float(np.mean([a <= 1.25 for a in holds])) if holds else None,
        "below_0.3": len(near),
        "below_0.3_largest_factor": max(near, default=None),
        "certificate_right": 1 - len(wrong) / max(len(fitted), 1),
        "rank_correlation": float(spearmanr(pairs).statistic) if len(pairs) > 2 else None,
        "largest_factor": max(apart, default=None),
        "training_steps_of_cost_median": float(np.median([r["gradients"] for r in fitted or runs])),
        "cost_over_steps_median": float(
            np.median([r["gradients"] / max(r["steps"], 1) for r in fitted or runs])
        ),
    }


def write(runs: list[dict[str, Any]]) -> None:
    record = {
        "claim": __doc__.split("\n")[0],
        "command": "python bench/forecast_validation.py",
        "setting": {
            "samples": SAMPLES, "stop_at": STOP_AT, "max_steps": MAX_STEPS, "seeds": SEEDS,
            "scales": SCALES, "rates": RATES, "threads": torch.get_num_threads(),
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


def show(r: dict[str, Any]) -> None:
    print(
        f"{r['family']:12s} {r['optimizer']:8s} {r['loss']:13s} scale {r['scale']:<5g} width "
        f"{r['width']:<3d} depth {r['depth']:<2d} lr × {r['lr_factor']:<3g} | predicted "
        f"{r['predicted_ntk_change']:8.3g}  gap {r['linearisation_gap']:6.2g} "
        f"{r['certificate']:9s} | measured {r['ntk_change']:8.3g}  error "
        f"{r['linearisation_error']:5.2g}  {r['status']} in {r['steps']} | cost "
        f"{r['gradients']:.0f} steps, {r['forecast_seconds']:.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--small", action="store_true", help="a table of a few minutes, no record")
    parser.add_argument("--limit", type=int, help="make at most so many new runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = RECORD.exists() and not options.small
    runs = json.loads(RECORD.read_text())["runs"] if kept else []
    fields = list(asdict(SMALL[0]))
    done = {tuple(r[name] for name in fields) for r in runs}
    points = SMALL if options.small else list(grid())
    todo = [p for p in points if tuple(asdict(p).values()) not in done][: options.limit]
    for point in todo:
        runs.append(run(point))
        show(runs[-1])
        if not options.small:
            write(runs)
    for name, value in summary(runs).items():
        print(f"{name:34s} {value}")


if __name__ == "__main__":
    main()
