"""How fast the exact part is, beside what it replaces, in one run on one machine.

scripts/bench exact                    print the table
scripts/bench exact --record FILE      also write it as JSON and Markdown (FILE.json, FILE.md)
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.integrate import solve_ivp
from timing import Row, measure_parts, row, timed

import lazyrich as lr
from lazyrich.phases.setting import Setting
from lazyrich.theory import two_layer_linear as linear

WIDTH = 10_000
DATA = linear.LineData(mean_aa=1.3, mean_ay=0.8, mean_yy=2.0)
NETWORK = linear.LinearNetwork(output_scale=0.01, lr_u=0.05, lr_w=0.05)


def sample(width: int = WIDTH) -> linear.LineState:
    """A Gaussian start."""
    return linear.LineState.sample(width, init_std_u=1.0, init_std_w=1.0, seed=0)


def closed_form() -> list[Row]:
    """The closed form against an ODE solver on the same three numbers, at 1,000 times."""
    state, times = sample(), np.linspace(0, 1_000, 1_000)
    uu, uw, ww = (float(part) for part in (state.uu, state.uw, state.ww))
    gamma, eta = 0.01, 0.05

    def velocity(_: float, s: np.ndarray[Any, Any]) -> list[float]:
        r = gamma * s[1] * 1.3 - 0.8
        return [
            -4 * gamma * eta * r * s[1],
            -2 * gamma * eta * r * (s[0] + s[2]),
            -4 * gamma * eta * r * s[1],
        ]

    def integrate() -> np.ndarray[Any, Any]:
        found = solve_ivp(velocity, (0, 1_000), [uu, uw, ww], rtol=1e-10, atol=1e-10, t_eval=times)
        return np.asarray(found.y)

    exact = linear.flow(state, NETWORK, DATA, times).uw.values
    gap = np.abs(integrate()[1] / exact - 1).max()
    return [
        row(
            "closed form, 1,000 times, all quantities",
            timed(lambda: linear.flow(state, NETWORK, DATA, times)),
        ),
        row(
            "scipy solve_ivp, RK45, rtol 1e-10",
            timed(integrate),
            note=f"differs by {gap:.1e} relative",
        ),
    ]


def pytorch_step() -> Row:
    """One full-batch SGD step of a PyTorch network of the same width, on 100 samples."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(1, WIDTH, bias=False), torch.nn.Linear(WIDTH, 1, bias=False)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    x = torch.randn(100, 1)
    y = 0.6 * x

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(0.01 * model(x), y).backward()
        optimizer.step()

    what = f"PyTorch, one step at width {WIDTH:,}, 100 samples"
    return row(what, timed(step, repeat=100), note="1 thread, float32")


def numpy_step() -> Row:
    """One step of the weights themselves, from the moments of the data, in NumPy."""
    rng = np.random.default_rng(0)
    layers = {"u": rng.standard_normal(WIDTH), "w": rng.standard_normal(WIDTH)}

    def step() -> None:
        u, w = layers["u"], layers["w"]
        h = 2e-6 * 0.01 * (0.01 * (u @ w) * 1.3 - 0.8)
        layers["u"], layers["w"] = u - h * w, w - h * u

    what = f"NumPy, one step of the weights at width {WIDTH:,}, from moments"
    return row(what, timed(step, repeat=1000))


def recursion() -> list[Row]:
    """The descent recursion, a step and a million of them."""
    state = sample()
    million = timed(lambda: linear.descent(state, NETWORK, DATA, steps=10**6, every=10**6))
    each = [seconds / 1e6 for seconds in million]
    others = [pytorch_step(), numpy_step()]
    for other, goal in zip(others, ("≥ 1e5 ×", ""), strict=True):
        ratio = other["median"] / statistics.median(each)
        other["goal"] = goal
        other["note"] = f"{other['note']}; {ratio:.2g} × the recursion".removeprefix("; ")
    return [
        row("recursion, 10^6 steps", million, goal="< 0.1 s"),
        row("recursion, one of 10^6 steps", each),
        *others,
    ]


def diagrams() -> list[Row]:
    """Phase diagrams of 256 × 256 networks."""
    scales = np.geomspace(1e-3, 10, 256)
    setting = Setting.of(output_scale=scales, init_std=scales)
    whole = (setting.state, setting.network, setting.data)
    times = np.geomspace(1e-3, 1e3, 50)
    axes = ("output_scale", scales), ("init_std", scales)
    return [
        row(
            "diagram 256 × 256, final states",
            timed(lambda: linear.flow(*whole, np.inf)),
            goal="< 0.5 s",
        ),
        row(
            "diagram 256 × 256, trajectories of 50 times", timed(lambda: linear.flow(*whole, times))
        ),
        row(
            "diagram 256 × 256, regions, mechanisms, boundaries",
            timed(lambda: lr.parameter_diagram(*axes)),
        ),
    ]


def widths() -> list[Row]:
    """Sampling and solving 1,000 networks at widths up to 10^12: flat."""

    def work(width: int) -> None:
        state = linear.LineState.sample(width, init_std_u=1.0, init_std_w=1.0, draws=1_000, seed=0)
        linear.flow(state, NETWORK, DATA, np.inf)

    return [
        row(f"1,000 networks of width 10^{power}", timed(lambda p=power: work(10**p)), goal="flat")
        for power in (1, 3, 6, 9, 12)
    ]


def start_up() -> list[Row]:
    """Whole processes: import and help."""

    def process(*arguments: str) -> Callable[[], None]:
        return lambda: (
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True) and None
        )

    return [
        row("import lazyrich", timed(process("-c", "import lazyrich")), goal="< 1.5 s"),
        row(
            "import lazyrich and solve",
            timed(process("-c", f"from {linear.__name__} import flow")),
        ),
        row("lazyrich --help", timed(process("-m", "lazyrich", "--help")), goal="< 0.4 s"),
    ]


def main() -> None:
    """Run everything."""
    torch.set_num_threads(1)  # two threads are slower at this size
    parts = (closed_form, recursion, diagrams, widths, start_up)
    setting = {"threads": torch.get_num_threads()}
    measure_parts("exact", __doc__.partition("\n")[0], parts, ("numpy", "torch"), setting)


if __name__ == "__main__":
    main()
