"""Goal: train 256 two-layer networks of width 64 on digits ≥ 5 times as fast as one by one.

ReLU networks 64-width-10, squared error, SGD, float32; 1,442 images; each network with its own seed
and learning rate. The seconds are those of one step of one network: stacked in vmapped steps
(`train_together`), one by one (`train`), and by a loop as in PyTorch's tutorial; the two slow
routes train some of the networks. All take turns; ratios are medians over the rounds, with their
range. Set-up and the loss at the end are included.

    python bench/train_together.py                  # print the table
    python bench/train_together.py --record FILE    # also write it (FILE.json, FILE.md)
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from timing import Row, interleaved, machine, markdown, row, write_record
from torch import nn

from lazyrich.study.data.datasets import digits
from lazyrich.study.data.samples import targets
from lazyrich.study.training.together import Member, train_together
from lazyrich.study.training.train import Recipe, train

ROUNDS = 3
LR = 1e-3
NETWORKS = 256  # of the goal
WIDTHS, BATCHES = (16, 64, 256, 1024), (16, 64, 256, None)
MOST = 100_000  # width × batch of the map: far beyond what pays


def network(width: int, seed: int) -> nn.Sequential:
    """A two-layer ReLU network."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def plain(model: nn.Module, batch: int | None, steps: int) -> None:
    """A loop as in PyTorch's tutorial."""
    x, y = DATA.train.x, targets(DATA.train, 10, "squared_error")
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    size = batch or len(x)
    order = torch.randperm(len(x))
    for step in range(steps):
        place = step * size % (len(x) - size + 1)
        rows = order[place : place + size]
        optimizer.zero_grad()
        loss = (model(x[rows]) - y[rows]).square().sum(1).mean()
        loss.backward()
        optimizer.step()


def compare(width: int, batch: int | None, networks: int, few: int, steps: int) -> list[Row]:
    """The three routes on networks of one width; the two slow ones train a few of them."""
    print(f"{networks} networks of width {width}, batch {batch}", file=sys.stderr, flush=True)
    models = [network(width, seed) for seed in range(networks)]
    recipe = Recipe(loss="squared_error", lr=LR, steps=steps, batch_size=batch)
    members = [Member(model=m, seed=i, lr=LR * (1 + i / 256)) for i, m in enumerate(models)]

    def together() -> None:
        train_together(members, DATA, recipe)

    def one_by_one() -> None:
        for seed, model in enumerate(models[:few]):
            train(model, DATA, recipe, seed=seed)

    def loop() -> None:
        for model in models[:few]:
            plain(model, batch, steps)

    routes: dict[str, tuple[Callable[[], None], int]] = {
        "together": (together, networks * steps),
        "one by one": (one_by_one, few * steps),
        "plain loop": (loop, few * steps),
    }
    seconds = interleaved({name: work for name, (work, _) in routes.items()}, ROUNDS)
    each = {name: [s / routes[name][1] for s in rounds] for name, rounds in seconds.items()}
    return _rows(each, width, batch, networks)


def _rows(each: dict[str, list[float]], width: int, batch: int | None, networks: int) -> list[Row]:
    threads = torch.get_num_threads()
    what = f"{networks} × width {width}, batch {batch or 'all'}, threads: {threads}"
    rows = []
    for name, rounds in each.items():
        ratios = [slow / fast for slow, fast in zip(rounds, each["together"], strict=True)]
        rate = 60 / statistics.median(rounds) / 1000
        note = f"{rate:,.0f} networks of 1,000 steps a minute"
        if name != "together":
            low, high = min(ratios), max(ratios)
            note += f"; {statistics.median(ratios):.2g} × together ({low:.2g} to {high:.2g})"
        goal = "≥ 5 × together" if name == "one by one" and networks == NETWORKS else ""
        rows.append(
            row(f"{what}, {name}", rounds, goal=goal, note=note)
            | {"width": width, "batch": batch, "networks": networks, "threads": threads}
            | {"route": name, "ratios": ratios}
        )
    return rows


def everything() -> list[Row]:
    """The map, with one thread as in a sweep's workers; the goal, with one thread and with two."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for width, batch in itertools.product(WIDTHS, BATCHES):
        work = width * (batch or len(DATA.train))
        if work <= MOST:
            rows += compare(width, batch, 64, few=4, steps=60 if work <= 2**14 else 20)
    for networks in (4, 8, 16):
        rows += compare(64, 64, networks, few=4, steps=100)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rows += compare(64, 64, NETWORKS, few=16, steps=100)
    return rows


def main() -> None:
    """Run everything, print the table, record it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", type=Path, help="file stem for .json and .md")
    target: Path | None = parser.parse_args().record
    load = os.getloadavg()
    rows = everything()
    print(markdown(rows))
    if target is None:
        return
    setting: dict[str, Any] = {
        "goal": (__doc__ or "").splitlines()[0].removeprefix("Goal: "),
        "command": "python bench/train_together.py --record " + str(target),
        "rounds": ROUNDS,
        "load": {"before": load, "after": os.getloadavg()},
        **machine("torch"),
    }
    write_record(target, setting, rows)


DATA = digits()

if __name__ == "__main__":
    main()
