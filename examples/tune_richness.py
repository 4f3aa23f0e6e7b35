"""Tune the richness of a small network on a staircase, and set it on a wide one.

The target x₁ + x₁x₂ + x₁x₂x₃ of twelve signs is a staircase: each step is easy once the one below
is learned. A network that learns features climbs it; a lazy one would need a sample for nearly
every product of signs.

    python examples/tune_richness.py                        # two minutes; draws tune-richness.png
    python examples/tune_richness.py --store runs/richness  # goes on where it was stopped
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

import lazyrich
from lazyrich.plot import save
from lazyrich.study import RichnessCurve

SIGNS, TRAINED, STEPS = 12, 200, 400
Part = tuple[Tensor, Tensor]


def staircase() -> tuple[Part, Part]:
    """200 samples to learn from, 1000 to test on."""
    x = torch.randint(0, 2, (TRAINED + 1000, SIGNS), generator=torch.Generator().manual_seed(0))
    signs = 2.0 * x - 1
    y = signs[:, :3].cumprod(1).sum(1, keepdim=True)
    return (signs[:TRAINED], y[:TRAINED]), (signs[TRAINED:], y[TRAINED:])


def network(width: int) -> nn.Module:
    """Two layers."""
    return nn.Sequential(nn.Linear(SIGNS, width), nn.ReLU(), nn.Linear(width, 1))


def sgd(model: nn.Module, width: int) -> Optimizer:
    """With the rate that somebody chose once."""
    return SGD(model.parameters(), lr=0.1)


def tuned(
    *,
    seeds: int = 5,
    richness: tuple[float, ...] | None = None,
    lr_scales: tuple[float, ...] = (0.3, 1.0, 3.0),
    store: Path | None = None,
) -> RichnessCurve:
    """The curve at width 64, dialled by 64 of the samples and trained on all of them."""
    (x, y), test = staircase()
    return lazyrich.best_richness(
        network, (x[:64], y[:64]), width=64, optimizer=sgd, steps=STEPS, batches=[(x, y)],
        test=test, seeds=seeds, richness=richness, lr_scales=lr_scales, out=store,
    )  # fmt: skip


def wide(found: RichnessCurve, width: int) -> float:
    """The test loss of a wide network at the richness found."""
    train, test = staircase()
    torch.manual_seed(0)
    model = network(width)
    optimizer = sgd(model, width)
    model = found.apply(model, optimizer=optimizer).model
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(train[0]), train[1]).backward()
        optimizer.step()
    with torch.no_grad():
        return nn.functional.mse_loss(model(test[0]), test[1]).item()


def main() -> None:
    """Tune, print, draw, go wide."""
    parser = argparse.ArgumentParser(description="tune the richness on a staircase")
    parser.add_argument("--out", type=Path, default=Path("tune-richness.png"))
    parser.add_argument("--store", type=Path, help="folder that keeps the trainings")
    given = parser.parse_args()
    found = tuned(store=given.store)
    print(found)
    save(found.figure(), given.out)
    print(f"At width 512, at the richness found, the test loss is {wide(found, 512):.2g}.")


if __name__ == "__main__":
    main()
