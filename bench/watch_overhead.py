"""Goal: watching every 50 steps costs < 10 % of training time, < 2 % with `budget=0.02`.

Network 784-512-512-512-10 (ReLU), cross-entropy, SGD, float32, one thread, random data; default
observables. Runs with and without the probe take turns, after a short one that loads everything.
The overhead is what the probe itself reports; the median of the wall times beside it.

    python bench/watch_overhead.py                  # print the table
    python bench/watch_overhead.py --record FILE    # also write it (FILE.json, FILE.md)
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import Row, interleaved, machine, markdown, row, write_record
from torch import Tensor, nn

import lazyrich

ROUNDS = 3
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "every 50": ({"when": lazyrich.every(50)}, "< 10 %"),
    "budget 0.02": ({"budget": 0.02}, "< 2 %"),
}


def network() -> nn.Sequential:
    """The network that is trained."""
    sizes = [784, 512, 512, 512]
    hidden = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(512, 10))


def data() -> tuple[Tensor, Tensor]:
    """Random inputs and labels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 784, generator=generator)
    return x, torch.randint(0, 10, (1000,), generator=generator)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batch: int, steps: int) -> None:
    """A plain training loop."""
    x, y = data()
    for _ in range(steps):
        chosen = torch.randint(0, len(x), (batch,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()


def plain(batch: int, steps: int) -> None:
    """Training alone."""
    torch.manual_seed(0)
    model = network()
    train(model, torch.optim.SGD(model.parameters(), lr=0.01), batch, steps)


def watched(
    batch: int, steps: int, options: dict[str, Any], probes: list[lazyrich.Probe] | None = None
) -> None:
    """The same with a probe, which is kept."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    probe = lazyrich.Probe(model, data(), "cross_entropy")
    with probe.watch(optimizer, **options):
        train(model, optimizer, batch, steps)
    if probes is not None:
        probes.append(probe)


def compare(batch: int, steps: int, name: str) -> list[Row]:
    """Both in turn: their seconds, and the share that the probe says it took."""
    options, goal = SETTINGS[name]
    probes: list[lazyrich.Probe] = []
    routes = {
        "plain": partial(plain, batch, steps),
        "watched": partial(watched, batch, steps, options, probes),
    }
    seconds = interleaved(routes, ROUNDS)
    shares = [probe.overhead for probe in probes[1:]]  # the first one warmed up
    wall = statistics.median(
        b / a - 1 for a, b in zip(seconds["plain"], seconds["watched"], strict=True)
    )
    measured = [probe.history.sizes["step"] for probe in probes[1:]]
    note = (
        f"overhead {statistics.median(shares):.1%} ({min(shares):.1%} to {max(shares):.1%}), wall "
        f"{wall:+.1%}; {statistics.median(measured)} measurements"
    )
    what = f"batch {batch}, {steps} steps"
    return [
        row(f"{what}, not watched", seconds["plain"]),
        row(f"{what}, {name}", seconds["watched"], goal=goal, note=note)
        | {"overhead": shares, "wall": wall, "measurements": measured},
    ]


def main() -> None:
    """Run everything, print the table, record it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", type=Path, help="file stem for .json and .md")
    target: Path | None = parser.parse_args().record
    torch.set_num_threads(1)
    load = os.getloadavg()
    watched(64, 20, {"when": lazyrich.every(5)})
    rows: list[Row] = []
    for batch, name in itertools.product((128, 512), SETTINGS):
        print(f"batch {batch}, {name} …", file=sys.stderr, flush=True)
        # a budget needs time to save
        steps = (64_000 if name == "every 50" and batch < 500 else 128_000) // batch
        rows += compare(batch, steps, name)
    print(markdown(rows))
    if target is None:
        return
    setting = {
        "goal": (__doc__ or "").splitlines()[0].removeprefix("Goal: "),
        "command": "python bench/watch_overhead.py --record " + str(target),
        "rounds": ROUNDS,
        "load": {"before": load, "after": os.getloadavg()},
        "threads": 1,
        **machine("torch"),
    }
    write_record(target, setting, rows)


if __name__ == "__main__":
    main()
