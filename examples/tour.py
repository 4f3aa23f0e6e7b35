"""The tour: theory, exact recursion and PyTorch on the same real data, from the same weights.

Body mass index against disease progression (442 patients, scikit-learn's diabetes set) is data on
a line. A two-layer linear network of width 1,000 learns it in two parametrisations, one in the
kernel phase and one that learns features. Each is solved three ways: gradient flow in closed form,
gradient descent by the exact recursion, and a PyTorch network trained by full-batch SGD. The second
act, a network on digits, is in `tour_measure.py`.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import xarray as xr
from matplotlib.patheffects import Normal, Stroke
from rich.progress import Progress
from scipy import stats
from sklearn.datasets import load_diabetes
from summary import write_summary
from tour_measure import measure

import lazyrich as lr
from lazyrich import plot
from lazyrich.theory import two_layer_linear as linear

WIDTH = 1_000
STEPS = 2_000
SEED = 0
COARSENESS = (1, 2, 4, 8)  # step sizes, in units of the finest
QUANTITIES = {
    "end_to_end_map": "end-to-end map",
    "loss": "loss",
    "alignment": "alignment of the layers",
    "ntk_change": "change of the kernel",
}
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A parametrisation, and the weights that it starts from."""

    name: str
    network: linear.LinearNetwork
    init_std: float
    u: Array
    w: Array

    @property
    def state(self) -> linear.LineState:
        """The Gram state of the weights."""
        return linear.LineState.from_weights(self.u, self.w)

    def coarser(self, factor: int) -> Case:
        """The same network with larger steps."""
        lr_u, lr_w = self.network.lr_u * factor, self.network.lr_w * factor
        return replace(self, network=replace(self.network, lr_u=lr_u, lr_w=lr_w))


def cases() -> list[Case]:
    """The NTK parametrisation, and Kaiming's variance on both layers made ten times smaller."""
    one = lr.Power(0)
    ntk = lr.ScalingLaw(
        output_scale=lr.Power("-1/2"),
        lr_u=lr.Power(0, 1e-3),
        lr_w=lr.Power(0, 1e-3),
        init_var_u=one,
        init_var_w=one,
    )
    rich = lr.ScalingLaw(
        output_scale=one,
        lr_u=lr.Power(0, 4e-3),
        lr_w=lr.Power(0, 4e-3),
        init_var_u=lr.Power(-1, 1e-2),
        init_var_w=lr.Power(-1, 1e-2),
    )
    rng = np.random.default_rng(SEED)
    normals = rng.standard_normal((2, WIDTH))
    made = []
    for law, name in ((ntk, "kernel"), (rich, "feature learning")):
        std = float(law.init_var_u.at(WIDTH) ** 0.5)
        u, w = std * normals
        made.append(Case(name=name, network=law.network(WIDTH), init_std=std, u=u, w=w))
    return made


def body_mass() -> tuple[Array, Array]:
    """Body mass index and disease progression, centred and scaled to unit variance."""
    data = load_diabetes(scaled=False)
    columns = data.data[:, data.feature_names.index("bmi")], data.target
    a, y = ((column - column.mean()) / column.std() for column in columns)
    return a, y


def train(case: Case, x: Array, y: Array, steps: int, tick: Callable[[], object]) -> xr.Dataset:
    """Train the network in PyTorch, float64, full batch, and measure its weights at every step."""
    first = torch.nn.Linear(1, WIDTH, bias=False, dtype=torch.float64)
    second = torch.nn.Linear(WIDTH, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(case.w[:, None]))
        second.weight.copy_(torch.from_numpy(case.u[None]))
    gamma = case.network.output_scale.item()
    rates = case.network.lr_w.item(), case.network.lr_u.item()
    layers = (first, second)
    optimizer = torch.optim.SGD(
        [
            {"params": layer.parameters(), "lr": rate}
            for layer, rate in zip(layers, rates, strict=True)
        ]
    )
    inputs, targets = torch.from_numpy(x[:, None]), torch.from_numpy(y[:, None])
    rows = []
    for step in range(steps + 1):
        loss = torch.nn.functional.mse_loss(gamma * second(first(inputs)), targets)
        u, w = second.weight.detach().ravel(), first.weight.detach().ravel()
        rows.append([loss.item(), (u @ u).item(), (u @ w).item(), (w @ w).item()])
        if step < steps:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tick()
    return measured(case, np.array(rows), linear.LineData.from_samples(x, y))


def measured(case: Case, rows: Array, data: linear.LineData) -> xr.Dataset:
    """All quantities of the trained network, from its norms; the loss is PyTorch's own."""
    loss, *norms = (xr.DataArray(column, dims="step") for column in rows.T)
    state = linear.LineState(uu=norms[0], uw=norms[1], ww=norms[2])
    found = linear.flow(state, case.network, data, 0.0).drop_vars("t")
    found["loss"] = found.loss.copy(data=loss)
    start = found.ntk_trace.isel(step=0)
    found["ntk_change"] = found.ntk_change.copy(data=abs(found.ntk_trace / start - 1))
    return found.assign_coords(step=np.arange(len(rows)))


def solve(case: Case, x: Array, y: Array, tick: Callable[[], object]) -> dict[str, Any]:
    """Theory, recursion and PyTorch for one case, and how far apart they are."""
    data = linear.LineData.from_samples(x, y)
    times = np.arange(STEPS + 1.0)
    flow = linear.flow(case.state, case.network, data, times)
    descent = linear.descent(case.state, case.network, data, steps=STEPS)
    trained = train(case, x, y, STEPS, tick)
    gap = max(
        float(abs(descent[name] / trained[name] - 1).max())
        for name in ("uu", "uw", "ww", "loss", "ntk_trace")
    )
    deviations = [_deviation(flow.end_to_end_map, trained.end_to_end_map)]
    for factor in COARSENESS[1:]:
        coarse = train(case.coarser(factor), x, y, STEPS // factor, tick)
        deviations.append(_deviation(flow.end_to_end_map[::factor], coarse.end_to_end_map))
    fit = stats.linregress(np.log(COARSENESS), np.log(deviations))
    return {
        "flow": flow,
        "descent": descent,
        "torch": trained,
        "recursion_gap": gap,
        "deviations": deviations,
        "slope": fit.slope,
        "slope_stderr": fit.stderr,
        "mechanisms": lr.mechanisms(flow),
        "order": lr.order_parameters(case.state, case.network, data),
    }


def _deviation(flow: xr.DataArray, trained: xr.DataArray) -> float:
    """Largest distance of the two outputs, relative to the largest output."""
    return float(np.abs(flow.values - trained.values).max() / np.abs(flow.values).max())


def draw_comparison(results: dict[str, dict[str, Any]], target: Path) -> None:
    """Closed form, recursion and PyTorch on top of each other."""
    made = plot.figure(2, len(QUANTITIES), width=2.9, height=2.5)
    rows = np.array(made.axes).reshape(2, -1)
    for row, (name, found) in zip(rows, results.items(), strict=True):
        lines = {
            "gradient flow, closed form": found["flow"],
            "gradient descent, recursion": found["descent"],
        }
        for (quantity, title), ax in zip(QUANTITIES.items(), row, strict=True):
            plot.trajectory(lines, quantity, points={"PyTorch": found["torch"]}, ax=ax)
            ax.lines[1].set_linestyle("--")  # also where the two are told apart
            ax.get_legend().remove()
            ax.set_xlabel("step")
            ax.set_title(title)
        row[0].set_ylabel(f"{name}\n\n{row[0].get_ylabel()}", fontweight="bold")
    handles, labels = rows[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=3)
    plot.save(made, target)


def draw_deviation(results: dict[str, dict[str, Any]], target: Path) -> None:
    """Distance of gradient flow from PyTorch against the step size."""
    made = plot.figure(width=5, height=3.6)
    ax = made.axes[0]
    for name, found in results.items():
        label = f"{name}: slope {found['slope']:.3f}"
        ax.loglog(COARSENESS, found["deviations"], "o-", label=label)
    ax.set_xticks(COARSENESS, [str(factor) for factor in COARSENESS])
    ax.minorticks_off()
    ax.set_xlabel("step size, in units of the finest")
    ax.set_ylabel("largest |f_flow − f_PyTorch| / max |f|")
    ax.set_title("gradient flow is the limit of small steps")
    plot.legend(ax)
    plot.save(made, target)


def draw_mechanisms(results: dict[str, dict[str, Any]], target: Path) -> None:
    """The log decomposition of both outputs over time."""
    made = plot.figure(1, 2)
    for ax, (name, found) in zip(made.axes, results.items(), strict=True):
        plot.mechanism_timeline(found["mechanisms"], ax=ax)
        ax.set_title(f"{name}: {ax.get_title(loc='left')}")
    plot.save(made, target)


def draw_diagram(chosen: list[Case], data: linear.LineData, target: Path) -> None:
    """Both networks in the phase diagram of their width and data."""
    moments = {"mean_aa": data.mean_aa, "mean_ay": data.mean_ay, "mean_yy": data.mean_yy}
    diagram = lr.parameter_diagram(
        ("output_scale", np.geomspace(3e-3, 10, 160)),
        ("init_std", np.geomspace(3e-4, 10, 160)),
        width=WIDTH,
        **moments,
    )
    made = plot.figure(1, 2, width=6.2, height=4.2)
    for ax, show in zip(made.axes, ("region", "acting_mechanisms"), strict=True):
        plot.phase_diagram(diagram, show=show, ax=ax)
        for case, marker in zip(chosen, "os", strict=True):
            at = case.network.output_scale.item(), case.init_std
            ax.plot(*at, marker, ms=8, mfc="white", mec="black", mew=1.5)
            ax.annotate(
                case.name,
                at,
                textcoords="offset points",
                xytext=(0, -9),
                ha="center",
                va="top",
                path_effects=[Stroke(linewidth=2.5, foreground="white"), Normal()],
            )
    plot.save(made, target)


def record(
    results: dict[str, dict[str, Any]], measured: dict[str, dict[str, Any]], seconds: float
) -> dict[str, Any]:
    """The numbers of the tour, with what is needed to repeat it."""
    return {
        "command": "scripts/tour",
        "seed": SEED,
        "width": WIDTH,
        "steps": STEPS,
        "seconds": round(seconds, 1),
        "versions": {
            "lazyrich": lr.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "cases": {
            name: {
                "order_parameter": found["order"].order_parameter.item(),
                "final_alignment": float(found["torch"].alignment[-1]),
                "final_ntk_change": float(found["torch"].ntk_change[-1]),
                "predicted_ntk_change": found["order"].ntk_change.item(),
                "recursion_against_pytorch": found["recursion_gap"],
                "flow_against_pytorch": dict(zip(COARSENESS, found["deviations"], strict=True)),
                "slope": found["slope"],
                "slope_stderr": found["slope_stderr"],
                "mechanisms": _windows(found["mechanisms"]),
            }
            for name, found in results.items()
        },
        "measured": measured,
    }


def _windows(found: xr.Dataset) -> list[dict[str, Any]]:
    """The mechanisms that act, with their time windows."""
    rows = [
        found.sel(mechanism=name)
        for name in found.mechanism.values
        if found.mechanism_acts.sel(mechanism=name)
    ]
    return [
        {
            "name": row.mechanism.item(),
            "start": row.window_start.item(),
            "stop": row.window_stop.item(),
        }
        for row in rows
    ]


def main() -> None:
    """Run the tour and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("tour-output"), help="folder to write")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    started = perf_counter()
    torch.set_num_threads(1)  # the matrices are too small to share
    x, y = body_mass()
    chosen = cases()
    results = {}
    with Progress() as progress:
        for case in chosen:
            total = sum(STEPS // factor for factor in COARSENESS)
            task = progress.add_task(f"training: {case.name}", total=total)
            results[case.name] = solve(case, x, y, lambda task=task: progress.advance(task))

        def bar(title: str, total: int) -> Callable[[int], object]:
            task = progress.add_task(title, total=total)
            return lambda step: progress.update(task, completed=step)

        measured = measure(out, SEED, bar)
    with plot.style():
        draw_comparison(results, out / "comparison.png")
        draw_deviation(results, out / "deviation.png")
        draw_mechanisms(results, out / "mechanisms.png")
        draw_diagram(chosen, linear.LineData.from_samples(x, y), out / "diagram.png")
    numbers = record(results, measured, perf_counter() - started)
    (out / "tour.json").write_text(json.dumps(numbers, indent=2))
    for name, found in numbers["cases"].items():
        print(
            f"{name}: recursion against PyTorch {found['recursion_against_pytorch']:.1e} relative "
            f"over {STEPS} steps; closed form against PyTorch shrinks with the step to the power "
            f"{found['slope']:.3f} ± {found['slope_stderr']:.3f}"
        )
    for name, run in numbers["measured"].items():
        print(
            f"dialled {name}: richness {run['richness']:.3g}, the kernel changed by "
            f"{run['ntk_change']:.3g} (forecast {run['predicted_ntk_change']:.3g}): "
            f"{run['regime']}"
        )
    print(write_summary(out, numbers).resolve())


if __name__ == "__main__":
    main()
