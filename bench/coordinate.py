"""Goal: a coordinate check ≤ 2 × a loop that trains with hooks on every module, at its default.

The other route is that of the package mup, which notes the mean size of every module's outputs at
every step and concludes nothing. Same networks, widths, seeds and steps; processor time, one
thread, routes in turn.

    python bench/coordinate.py                  # print the table
    python bench/coordinate.py --record FILE    # also write it (FILE.json, FILE.md)
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import process_time

import torch
from timing import Row, machine, markdown, row, write_record
from torch import Tensor, nn

import lazyrich

ROUNDS, STEPS, SEEDS, RATE = 3, 10, 2, 1e-3
Factory = Callable[[int], nn.Module]


def mlp(width: int) -> nn.Module:
    """64-width-width-10, ReLU."""
    return nn.Sequential(
        nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
    )


def cnn(width: int) -> nn.Module:
    """Two convolutions of as many channels as the width."""
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, 10),
    )


class Transformer(nn.Module):
    """Two layers on 16 vectors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Linear(16, width), nn.Linear(width, 10)
        self.layers = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
                for _ in range(2)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layers(self.embed(x)).mean(1))


CASES: dict[str, tuple[Factory, tuple[int, ...], tuple[int, ...]]] = {
    "MLP": (mlp, (64, 64), (64, 256, 1024)),
    "CNN": (cnn, (32, 3, 16, 16), (8, 16, 32)),
    "transformer": (Transformer, (16, 16, 16), (32, 64, 128)),
}


def by_hooks(factory: Factory, x: Tensor, y: Tensor, widths: tuple[int, ...]) -> list[float]:
    """The mean size of the outputs of every module, at every step."""
    sizes: list[float] = []

    def note(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        sizes.append(first.detach().abs().mean().item())

    for width in widths:
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            model = factory(width)
            for module in model.modules():
                module.register_forward_hook(note)
            optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
            for _ in range(STEPS):
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
    return sizes


def by_check(
    factory: Factory, x: Tensor, y: Tensor, widths: tuple[int, ...], *, kernel: bool
) -> lazyrich.probe.CoordinateCheck:
    """Ours."""
    return lazyrich.coordinate_check(
        factory, (x, y), widths=widths, optimizer=RATE, steps=STEPS, seeds=SEEDS, kernel=kernel
    )


def compare(name: str) -> list[Row]:
    """All routes in turn."""
    factory, shape, widths = CASES[name]
    torch.manual_seed(0)
    given = (factory, torch.randn(shape), torch.randn(shape[0], 10), widths)
    routes: dict[str, Callable[[], object]] = {
        "hooks": partial(by_hooks, *given),
        "default": partial(by_check, *given, kernel=False),
        "kernel=True": partial(by_check, *given, kernel=True),
    }
    seconds: dict[str, list[float]] = {route: [] for route in routes}
    for i in range(ROUNDS + 1):
        for route, work in routes.items():
            start = process_time()
            work()
            if i:  # the first one warms up
                seconds[route].append(process_time() - start)
    first = statistics.median(seconds["hooks"])
    rows = []
    for route, taken in seconds.items():
        ratio = statistics.median(taken) / first
        goal = "≤ 2 × hooks" if route == "default" else ""
        note = "" if route == "hooks" else f"{ratio:.1f} × hooks"
        rows.append(row(f"{name}: {route}", taken, goal=goal, note=note) | {"ratio": ratio})
    return rows


def main() -> None:
    """Run everything, print the table, record it if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--record", type=Path, help="file stem for .json and .md")
    target: Path | None = parser.parse_args().record
    torch.set_num_threads(1)
    load = os.getloadavg()
    rows = [entry for name in CASES for entry in compare(name)]
    print(markdown(rows))
    if target is None:
        return
    setting = {
        "goal": (__doc__ or "").splitlines()[0].removeprefix("Goal: "),
        "command": "python bench/coordinate.py --record " + str(target),
        "rounds": ROUNDS,
        "load": {"before": load, "after": os.getloadavg()},
        "threads": 1,
        **machine("torch"),
    }
    write_record(target, setting, rows)


if __name__ == "__main__":
    main()
