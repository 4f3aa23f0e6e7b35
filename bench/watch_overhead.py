"""Goal: watching every 50 steps costs < 10 % of training time, < 2 % with `budget=0.02`.

Network 784-512-512-512-10 (ReLU), cross-entropy, SGD, float32, one thread, random data; default
observables. Each line: one run of `steps` steps, after a short one that loads everything. Overhead
is measured by the probe itself, and by the wall time of a run without it beside each.

    python bench/watch_overhead.py
"""

from __future__ import annotations

import itertools
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lazyrich

RECORD = Path(__file__).parent.parent / "docs" / "records" / "watch_overhead.json"
ROUNDS = 3
SETTINGS: dict[str, dict[str, Any]] = {
    "every 50": {"when": lazyrich.every(50)},
    "budget 0.02": {"budget": 0.02},
}


def network() -> nn.Sequential:
    sizes = [784, 512, 512, 512]
    hidden = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(512, 10))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, batch: int, steps: int) -> None:
    x, y = data()
    for _ in range(steps):
        chosen = torch.randint(0, len(x), (batch,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[chosen]), y[chosen]).backward()
        optimizer.step()


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 784, generator=generator)
    return x, torch.randint(0, 10, (1000,), generator=generator)


def run(batch: int, steps: int, **options: Any) -> dict[str, float]:  # noqa: ANN401
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    start = time.perf_counter()
    train(model, optimizer, batch, steps)
    plain = time.perf_counter() - start
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    probe = lazyrich.Probe(model, data(), "cross_entropy")
    start = time.perf_counter()
    with probe.watch(optimizer, **options):
        train(model, optimizer, batch, steps)
    watched = time.perf_counter() - start
    return {
        "overhead": probe.overhead,
        "wall": watched / plain - 1,
        "measurements": probe.history.sizes["step"],
        "step_ms": 1e3 * plain / steps,
    }


def main() -> None:
    torch.set_num_threads(1)
    run(64, 20, when=lazyrich.every(5))
    rows = []
    for batch, (name, options) in itertools.product((128, 512), SETTINGS.items()):
        steps = 500 if name == "every 50" else 256_000 // batch  # a budget needs time to save
        runs = [run(batch, steps, **options) for _ in range(ROUNDS)]
        row: dict[str, Any] = {"batch": batch, "setting": name, "steps": steps, "runs": runs}
        for key in ("overhead", "wall", "measurements", "step_ms"):
            values = [one[key] for one in runs]
            row[key] = {
                "median": statistics.median(values),
                "least": min(values),
                "most": max(values),
            }
        rows.append(row)
        print(
            f"batch {batch:4d}  {name:12s} overhead {row['overhead']['median']:.1%} "
            f"({row['overhead']['least']:.1%} to {row['overhead']['most']:.1%}), wall "
            f"{row['wall']['median']:+.1%}, {row['measurements']['median']} measurements of "
            f"{steps} steps at {row['step_ms']['median']:.1f} ms, n={ROUNDS}",
            flush=True,
        )
    record = {
        "goal": (__doc__ or "").splitlines()[0].removeprefix("Goal: "),
        "rows": rows,
        "threads": 1,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
