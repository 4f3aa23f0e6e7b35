"""Trained two-layer linear networks beside their exact solution, in both phases.

Two-layer linear networks in four parametrisations, two of each phase, are trained by PyTorch on
data on a line. From the weights' own start: how does the distance to the closed form of gradient
flow depend on step size and width, and that to the exact recursion of gradient descent? And how
far is the same recursion for the typical network, which knows only the width?
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.harness import Bench, Finding, Measured, Record, bare, number, slope
from papers.xu2025three.line import OnALine
from papers.xu2025three.looks import COLOURS, NESTED

PHASES = {
    "kernel": ("ntk", "kaiming"),
    "feature": ("mean_field", "xavier_plus"),
}
PRESETS = sum(PHASES.values(), ())
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"widths": [100, 200, 400], "between": [1, 2, 4], "seeds": [0]},
    "laptop": {
        "widths": [100, 316, 1000, 3162, 10_000, 31_623],
        "between": [2, 4, 8, 16],
        "seeds": list(range(30)),
    },
    "paper": {
        "widths": [100, 1000, 10_000, 100_000, 1_000_000],
        "between": [2, 4, 8, 16, 32, 64],
        "seeds": list(range(100)),
    },
}
MARKERS = "osD^"


def measure(bench: Bench) -> Measured:
    """Run both studies; slopes against the step size and against the width."""
    size = SIZES[bench.scale]
    few = size["widths"][::2]
    by_step = bench.sweep(
        lr.Study(
            name="step-size",
            experiment=OnALine,
            axes={"preset": PRESETS, "width": few, "between": size["between"]},
            seeds=size["seeds"][:5],
        )
    )
    by_width = bench.sweep(
        lr.Study(
            name="width",
            experiment=OnALine,
            base={"between": size["between"][1]},
            axes={"preset": PRESETS, "width": size["widths"]},
            seeds=size["seeds"],
        )
    )
    findings = {}
    for phase, names in PHASES.items():
        steps, widths = (found.sel(preset=list(names)) for found in (by_step, by_width))
        findings[f"{phase}: error against step size"] = slope(_per_step(steps), "step_size")
        findings[f"{phase}: error against width"] = slope(widths.flow_error, "width")
        findings[f"{phase}: distance from the typical network against width"] = slope(
            widths.from_typical, "width"
        )
        findings[f"{phase}: largest error at the smallest step"] = Finding(
            value=float(steps.flow_error.isel(between=-1).max()),
            n=steps.flow_error.isel(between=-1).size,
        )
    everything = xr.concat([by_step.descent_error.max(), by_width.descent_error.max()], "study")
    findings["largest distance from the exact recursion"] = Finding(
        value=float(everything.max()), n=by_step.descent_error.size + by_width.descent_error.size
    )
    return Measured(findings=findings, shown=_shown(by_step, by_width))


def _per_step(found: xr.Dataset) -> xr.DataArray:
    """The error over the step size that was used, the rest being repeats."""
    relative = found.step_size / found.step_size.isel(between=0)
    share = relative.mean(["preset", "width", "seed"]).values
    values = found.flow_error.rename(between="step_size")
    return values.assign_coords(step_size=share)


def _shown(by_step: xr.Dataset, by_width: xr.Dataset) -> dict[str, Any]:
    """Medians over seeds for the plots, and one trajectory a phase."""
    widest = by_step.isel(width=-1, between=-1, seed=0)
    return {
        "widths": by_width.width.values,
        "flow_error": by_width.flow_error.transpose("preset", "width", "seed").values,
        "from_typical": by_width.from_typical.transpose("preset", "width", "seed").values,
        "between": by_step.between.values,
        "step_error": by_step.flow_error.isel(width=-1)
        .transpose("preset", "between", "seed")
        .values,
        "width_of_trajectories": int(widest.width),
        "trajectories": {
            name: {
                part: widest.sel(preset=name)[part].values
                for part in ("at", "output", "exact_output", "alignment", "exact_alignment")
            }
            for name in PRESETS
        },
    }


def found(record: Record) -> str:
    """The powers of both errors, and what is left of the recursion."""
    findings = record["findings"]
    parts = []
    for phase in PHASES:
        step, width, typical = (
            number(findings[f"{phase}: {name}"])
            for name in (
                "error against step size",
                "error against width",
                "distance from the typical network against width",
            )
        )
        parts.append(
            f"{phase} phase: the error of the closed form goes as the step size to the power "
            f"{step} and the width to the power {width}, the distance from the typical network as "
            f"the width to the power {typical}."
        )
    rest = findings["largest distance from the exact recursion"]
    return f"{' '.join(parts)} The exact recursion is off by {bare(rest, '.0e')} at most."


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Trajectories above, errors below."""
    shown = record["shown"]
    made = plot.figure(2, 2, width=4.4, height=3.1)
    for ax, part, label in zip(
        made.axes, ("output", "alignment"), ("output f", "alignment ζ"), strict=False
    ):
        for name, width in zip(PRESETS, NESTED, strict=True):
            colour = COLOURS[name]
            curve = shown["trajectories"][name]
            t = np.array(curve["at"]) / curve["at"][-1]
            preset = name.replace("_", " ")
            ax.plot(t, curve[f"exact_{part}"], lw=width, color=colour, label=preset)
            ax.plot(t[::3], curve[part][::3], "o", ms=3 + width, mfc="white", color=colour)
        ax.set_xlabel("time, in units of the run")
        ax.set_ylabel(label)
        ax.set_title(f"closed form (lines) and PyTorch, d = {shown['width_of_trajectories']}")
    plot.legend(made.axes[0])
    steps, widths = made.axes[2:]
    h = shown["between"][0] / np.array(shown["between"], float)
    for i, name in enumerate(PRESETS):
        style = {"color": COLOURS[name], "marker": MARKERS[i], "lw": NESTED[i], "ms": 3 + NESTED[i]}
        steps.plot(h, np.median(shown["step_error"][i], -1), **style)
        widths.plot(shown["widths"], np.median(shown["flow_error"][i], -1), **style)
        distance = np.median(shown["from_typical"][i], -1)
        style |= {"ls": "--", "lw": 1.2, "ms": 5, "mfc": "white"}
        widths.plot(shown["widths"], distance, **style)
    _finish(
        steps,
        "step size, in units of the largest",
        "error of the closed form / distance to the fit",
    )
    _finish(widths, "width d", "error (full), ζ from the typical network (dashed)")
    steps.set_xticks(h, [f"{part:g}" for part in h])
    steps.minorticks_off()
    steps.set_title("error against step size")
    widths.set_title("errors against width")
    return made


def _finish(ax: Any, x: str, y: str) -> None:  # noqa: ANN401
    ax.set(xscale="log", yscale="log", xlabel=x)
    ax.set_ylabel(y, fontsize="small")
