"""What an accelerator gives: the same numbers as the CPU, and figures 5 and 6 as large as it can.

First the checks: points of a study, a forecast, a dial, a kernel of convolutions and networks that
train together, on the device and on the CPU; the largest relative difference is recorded. Then
figures 5 and 6 of xu2025three with the paper's own networks, images, batches and scales or widths;
of the steps, so many as fit into the time, as a few timed ones say. CIFAR-10 must be in
LAZYRICH_DATA, else the digits take its place, and the record says so.

    python bench/accelerator.py                       # ten minutes on CUDA; prints the record
    python bench/accelerator.py --record FILE.json    # also writes it
    python bench/accelerator.py --smallest --device cpu    # seconds: does everything run?
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from papers.estimate import predicted, times
from papers.harness import Bench
from papers.xu2025three import fig5, fig6
from papers.xu2025three.images import Images

import lazyrich as lr
from lazyrich import study

SHARE = 0.4  # of the time for each of the two figures
SEEDS = [0, 1]
FEWEST = 10  # steps of a run
EVALUATIONS = 2
POINT = study.Training(samples=400, test_samples=100, width=64, steps=40, measurements=4, lr=0.1)


def a_point(device: torch.device) -> Any:  # noqa: ANN401
    """A study's own point."""
    return POINT.run().data.loss.values


def images_that_move(device: torch.device) -> Any:  # noqa: ANN401
    """Convolutions, batches, augmentation."""
    more = {"model": "cnn", "width": 8, "augment": True, "batch_size": 50}
    return replace(POINT, **more).run().data.loss.values


def together(device: torch.device) -> Any:  # noqa: ANN401
    """Eight networks in one step."""
    points = [replace(POINT, seed=seed) for seed in range(8)]
    return np.stack([one.data.loss.values for one in study.Training.run_together(points)])


def network_and_batch(device: torch.device) -> tuple[torch.nn.Module, Any]:
    """The same on every device."""
    data = study.digits().take(64, seed=0)
    made = study.parametrise(study.cnn(data.inputs, data.outputs, width=8), "default", seed=0)
    few = data.train.to(device)
    return made.model.to(device), (few.x, study.targets(few, data.classes, "mse"))


def kernel(device: torch.device) -> Any:  # noqa: ANN401
    """Of convolutions, which CUDA rounds to TF32 unless it is told not to."""
    model, (x, _) = network_and_batch(device)
    return lr.ntk(model, x[:8]).cpu().numpy()


def forecast(device: torch.device) -> Any:  # noqa: ANN401
    """Two rehearsals with Adam."""
    model, batch = network_and_batch(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    found = lr.forecast(model, batch, optimizer=optimizer, max_steps=30)
    return np.array([found.predicted_ntk_change, found.richness, found.time_to_fit])


def dial(device: torch.device) -> Any:  # noqa: ANN401
    """Scale and learning rates, and their check."""
    model, batch = network_and_batch(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = lr.dial(model, batch, optimizer=optimizer, richness=0.3)
    return np.array([found.output_scale, found.richness])


CHECKS: tuple[Callable[[torch.device], Any], ...] = (
    *(a_point, images_that_move, together, kernel, forecast, dial),
)


def checks(device: str) -> dict[str, dict[str, float]]:
    """Largest relative difference from the CPU, and the seconds on both."""
    found = {}
    for check in CHECKS:
        values, seconds = [], []
        for name in ("cpu", device):
            compute = study.Compute(device=name)
            os.environ.update(compute.environment)
            check(compute.torch_device)  # wakes the device
            start = time.perf_counter()
            values.append(np.asarray(check(compute.torch_device)))
            seconds.append(time.perf_counter() - start)
        size = np.abs(values[0]).max()
        found[check.__name__] = {
            "largest_relative_difference": float(np.abs(values[1] - values[0]).max() / size),
            **{"seconds_cpu": seconds[0], "seconds_device": seconds[1]},
        }
    return found


def fitted(runs: list[Images], seconds: float) -> int:
    """The steps with which all runs together take so many seconds."""
    taken: dict[tuple[Any, ...], dict[str, float]] = {}
    runs[0].__class__.run(replace(runs[0], steps=1, evaluations=1))  # reads the data
    fixed = per_step = 0.0
    for one in runs:
        size = (one.network, one.width)
        taken[size] = taken.get(size) or times(one)
        fixed += predicted(replace(one, steps=FEWEST), taken[size])
        per_step += taken[size]["steps"]
    steps = FEWEST + int(max(0.0, seconds - fixed) / max(per_step, 1e-9))
    return min(steps, runs[0].steps)


def size_of(figure: Any, seconds: float, data: str) -> dict[str, Any]:  # noqa: ANN401
    """The paper's own size of a figure, with as many steps as the time allows."""
    size = figure.SIZES["paper"]
    base = {**size["base"], "data": data, "evaluations": EVALUATIONS, "measurements": 1}
    if data == "digits":
        base |= {"samples": 1400, "test_samples": 300}
    one = {**getattr(figure, "RECIPE", {}), **base, "seed": 0}
    if "sigmas" in size:
        runs = [Images(**one, init_scale=sigma) for sigma in size["sigmas"] for _ in SEEDS]
    else:
        runs = [
            Images(**one, parametrisation=name, width=width)
            for name in figure.PRESETS
            for width in size["widths"]
            for _ in SEEDS
        ]
        longer = [one for one in runs if one.width == size["widths"][-1]]
        runs += longer[: len(longer) * 2 // 3] * 2  # of twice the steps
    steps = fitted(runs, seconds)
    made = {**size, "base": {**base, "steps": steps}, "seeds": SEEDS}
    if "longer" in made:
        made["longer"] = {"steps": 2 * steps, "evaluations": EVALUATIONS}
    return made


def reproduced(
    figure: Any,  # noqa: ANN401
    size: dict[str, Any],
    compute: study.Compute,
) -> dict[str, Any]:
    """A figure's findings at a size."""
    name = figure.__name__.rpartition(".")[2]
    figure.SIZES["accelerator"] = size
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(
            **{"paper": "xu2025three", "figure": name, "scale": "accelerator"},
            **{"out": Path(folder), "workers": 1, "environment": compute.environment},
        )
        found = figure.measure(bench)
        log = {
            name: {key: part[key] for key in ("points", "statuses", "seconds", "computed_on")}
            for name, part in bench.log.items()
        }
    return {
        "size": size,
        "seconds": time.perf_counter() - start,
        "studies": log,
        "findings": {name: vars(value) for name, value in found.findings.items()},
    }


def main() -> None:
    """Check, reproduce, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="full")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--smallest", action="store_true", help="the figures at scale smoke")
    parser.add_argument("--record", type=Path)
    given = parser.parse_args()
    compute = study.Compute(device=given.device, precision=given.precision)
    start = time.perf_counter()
    record: dict[str, Any] = {
        "computed_on": str(compute),
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("lazyrich", "numpy", "torch")},
            "cuda": torch.version.cuda,
        },
        "checks": checks(given.device),
    }
    os.environ.update(compute.environment)
    record["data"] = "cifar10" if _is_there("cifar10") else "digits"
    left = 60 * given.minutes - (time.perf_counter() - start)
    for figure in (fig5, fig6):
        size = (
            figure.SIZES["smoke"]
            if given.smallest
            else size_of(figure, SHARE * left, record["data"])
        )
        record[figure.__name__.rpartition(".")[2]] = reproduced(figure, size, compute)
    record["seconds"] = time.perf_counter() - start
    text = json.dumps(record, indent=1, default=lambda value: value.tolist())
    print(text)
    if given.record is not None:
        given.record.write_text(text + "\n")


def _is_there(name: str) -> bool:
    try:
        study.load(name)
    except lr.LazyRichError:
        return False
    return True


if __name__ == "__main__":
    main()
