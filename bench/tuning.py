"""Claims: where feature learning wins a small network finds it, and the richness holds when wide.

Four tasks: a staircase of Boolean inputs, which rich networks learn and lazy ones do not; few noisy
samples of a linear function, where nothing is to be learned by features; a convolutional network on
CIFAR-10 (16 × 16 pixels), under Adam; a pre-norm transformer on characters, under Adam. On each the
small network is tuned by `best_richness`, with three learning rates at every richness and for the
network as it stands. Then the curve is trained at a larger width around the richness found, at
rates that keep the time to fit of the small optimum: what `RichnessCurve.apply` sets.

    python bench/tuning.py                # trains, writes docs/records/tuning.json and .md;
                                          # resumes from what is in .tuning/
    python bench/tuning.py --only cnn     # one task, for a look; writes nothing
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tasks import TASKS, Part, Task
from timing import machine
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer

import lazyrich
from lazyrich.study import RichnessCurve
from lazyrich.vocabulary.numerals import in_words

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "docs" / "records" / "tuning"
STORES = ROOT / ".tuning"
LR_SCALES, NEARBY = (0.3, 1.0, 3.0), (1 / 16, 1 / 4, 1.0, 4.0, 16.0)
SIZES = ("small", "large")
SIDE = 12  # Boolean inputs of the staircase, or numbers of the noisy line


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A task, and how its networks are trained."""

    factory: Callable[[int], nn.Module]
    batch: Part
    batches: list[Part]
    test: Part
    loss: Any
    optimizer: Callable[[nn.Module, int], Optimizer]
    steps: int
    small: int
    large: int
    seeds: int
    data: str


def _network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(SIDE, width), nn.ReLU(), nn.Linear(width, 1))


def _vectors(data: str, x: Tensor, y: Tensor, samples: int, steps: int) -> Setting:
    train, test = (x[:samples], y[:samples]), (x[samples:], y[samples:])
    return Setting(
        factory=_network, batch=(x[:64], y[:64]) if samples > 64 else train, batches=[train],
        test=test, loss="mse", optimizer=lambda model, width: SGD(model.parameters(), lr=0.1),
        steps=steps, small=64, large=512, seeds=5, data=data,
    )  # fmt: skip


def staircase() -> Setting:
    """x₁ + x₁x₂ + x₁x₂x₃ of 12 signs, from 200 samples."""
    x = torch.randint(0, 2, (1200, SIDE), generator=torch.Generator().manual_seed(0)) * 2.0 - 1
    steps = x[:, :3].cumprod(1).sum(1, keepdim=True)
    return _vectors("x₁ + x₁x₂ + x₁x₂x₃ of 12 signs, 200 samples", x, steps, 200, 400)


def noisy() -> Setting:
    """A linear function of 12 numbers with as much noise, from 40 samples."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1040, SIDE, generator=generator)
    y = x.sum(1, keepdim=True) / SIDE**0.5
    y[:40] += torch.randn(40, 1, generator=generator)
    return _vectors("the sum of 12 numbers, 40 samples with as much noise", x, y, 40, 400)


def _of(task: Task, *, steps: int, few: int, tested: int, small: int, large: int) -> Setting:
    x, y = task.train
    z, t = task.held_out
    return Setting(
        factory=lambda width: task.model(width, 2, torch.initial_seed()),
        batch=(x[:few], y[:few]), batches=task.steps(steps, 0), test=(z[:tested], t[:tested]),
        loss=task.loss, optimizer=lambda model, width: Adam(model.parameters(), lr=0.003),
        steps=steps, small=small, large=large, seeds=3, data=task.data,
    )  # fmt: skip


SETTINGS: dict[str, Callable[[], Setting]] = {
    "staircase": staircase,
    "noisy line": noisy,
    "cnn": lambda: _of(TASKS["cnn"](), steps=200, few=32, tested=1000, small=16, large=64),
    "transformer": lambda: _of(
        TASKS["transformer"](), steps=150, few=4, tested=128, small=32, large=128
    ),
}


def tuned(name: str, setting: Setting, **given: Any) -> RichnessCurve:  # noqa: ANN401 - see there
    """`best_richness` with its trainings kept."""
    return lazyrich.best_richness(
        setting.factory, setting.batch, setting.loss, steps=setting.steps, test=setting.test,
        batches=setting.batches, seeds=setting.seeds, out=STORES / name, **given,
    )  # fmt: skip


def at_the_speed_of(found: RichnessCurve, setting: Setting) -> Callable[..., Optimizer]:
    """The optimiser with rates at which fitting takes as many steps as at the small optimum."""
    at_best = found.best.sel(richness=found.richness)
    wanted = float(np.exp(np.log(at_best.time_to_fit).mean()))

    def make(model: nn.Module, width: int) -> Optimizer:
        optimizer = setting.optimizer(model, width)
        centred = lazyrich.CentredOutput(model)
        step = lazyrich.first_step(centred, setting.batch, setting.loss, optimizer=optimizer)
        for group in optimizer.param_groups:
            group["lr"] *= step.time_to_fit / wanted
        return optimizer

    return make


def summary(curve: RichnessCurve) -> dict[str, Any]:
    """What a record keeps of a curve."""
    best, stands = curve.best, curve.standing_best
    at_best = best.sel(richness=curve.richness)
    return {
        "advice": str(curve.advice),
        "sentence": curve.sentence,
        "richness": curve.richness,
        "interval": list(curve.interval),
        "edge": curve.optimum.edge,
        "stands_at": curve.stands_at,
        "gain": [curve.gain.mean, curve.gain.low, curve.gain.high],
        "test_loss": float(at_best.mean_test_loss),
        "standing_test_loss": float(stands.mean_test_loss),
        "ntk_change": float(np.exp(np.log(at_best.ntk_change).mean())),
        "lr_scale": float(at_best.lr_scale),
        "standing_lr_scale": float(stands.lr_scale),
        "trainings": curve.data.test_loss.size + curve.standing.test_loss.size,
        "seconds": float(curve.data.seconds.sum() + curve.standing.seconds.sum()),
        "curve": [
            {
                "richness": float(rho),
                "lr_scale": float(row.lr_scale),
                "test_loss": row.test_loss.values.tolist(),
                "loss": row.loss.values.tolist(),
                "ntk_change": row.ntk_change.values.tolist(),
                "status": row.status.values.tolist(),
            }
            for rho in best.richness.values
            for row in [best.sel(richness=rho)]
        ],
        "standing": stands.test_loss.values.tolist(),
        "standing_loss": stands.loss.values.tolist(),
    }


def run(name: str) -> dict[str, Any]:
    """One task: the small network tuned, the large one at its richness and around it."""
    setting = SETTINGS[name]()
    small = tuned(
        f"{name} small", setting, width=setting.small, optimizer=setting.optimizer,
        lr_scales=LR_SCALES,
    )  # fmt: skip
    print(small, flush=True)
    around = sorted({float(f"{small.richness * factor:.3g}") for factor in NEARBY})
    large = tuned(
        f"{name} large", setting, width=setting.large, richness=around,
        optimizer=at_the_speed_of(small, setting),
    )  # fmt: skip
    print(large, flush=True)
    held = large.data.test_loss.sel(richness=small.richness, method="nearest").isel(lr_scale=0)
    own = float(large.best.sel(richness=large.richness).mean_test_loss)
    return {
        "data": setting.data,
        "seeds": setting.seeds,
        "steps": setting.steps,
        "widths": [setting.small, setting.large],
        "small": summary(small),
        "large": summary(large),
        "at_transferred": float(held.mean()),
        "own_best": own,
        "inside": large.interval[0] <= small.richness <= large.interval[1],
    }


def _with_ends(value: float, ends: Sequence[float]) -> str:
    return f"{in_words(value)} ({in_words(ends[0])} to {in_words(ends[1])})"


def table(runs: dict[str, Any]) -> str:
    """The tables of the documentation."""
    lines = [
        "| task | stands at ρ = | best ρ (interval) | change of the kernel there | test loss, as "
        "it stands | tuned | gain (interval) | advice | trainings, seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in runs.items():
        of = one["small"]
        cells = (
            f"{name}, width {one['widths'][0]}",
            in_words(of["stands_at"]),
            _with_ends(of["richness"], of["interval"]),
            in_words(of["ntk_change"]),
            f"{of['standing_test_loss']:.3g}",
            f"{of['test_loss']:.3g}",
            _with_ends(of["gain"][0], of["gain"][1:]),
            of["advice"],
            f"{of['trainings']}, {of['seconds']:.0f}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    lines += [
        "",
        "| task | widths | best ρ, small | best ρ, large (interval) | small one's ρ inside | test "
        "loss of the large one at the small one's ρ | at its own best | change of the kernel at "
        "the best, small and large |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in runs.items():
        small, large = one["small"], one["large"]
        cells = (
            name,
            " → ".join(map(str, one["widths"])),
            in_words(small["richness"]),
            _with_ends(large["richness"], large["interval"]),
            "yes" if one["inside"] else "no",
            f"{one['at_transferred']:.3g}",
            f"{one['own_best']:.3g}",
            f"{in_words(small['ntk_change'])} and {in_words(large['ntk_change'])}",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the tasks and record them."""
    parser = argparse.ArgumentParser(description="tuning richness, and its answer when wide")
    parser.add_argument("--only", choices=SETTINGS)
    only = parser.parse_args().only
    torch.set_num_threads(1)
    runs = {name: run(name) for name in SETTINGS if only in (None, name)}
    print(table(runs))
    if only is None:
        record = {
            "claim": "the richness that a small network tests best at, found by training it, gains "
            "what it says, and is that of a wide one",
            "command": "scripts/bench tuning",
            "lr_scales": LR_SCALES,
            "seconds": sum(one[size]["seconds"] for one in runs.values() for size in SIZES),
            **machine("torch"),
            "tasks": runs,
        }
        RECORD.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        RECORD.with_suffix(".md").write_text(table(runs), "utf-8")


if __name__ == "__main__":
    main()
