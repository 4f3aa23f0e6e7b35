"""Alignment ζ of two-layer networks of width 10,000 while they learn, from five starts.

Does a small start align its layers and then rescale them, a medium one do both at once, an aligned
one only rescale, an aligned one with too large an output disalign, and a large one nothing of the
three? Linear, ReLU and tanh networks, in regression and in classification with cross-entropy. And
do all three vanish as powers of the width in the kernel regime?
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.harness import Bench, Finding, Measured, Record, slope
from papers.xu2025three.two_layers import STARTS, TwoLayers

TASKS = ("regression", "classification")
ACTIVATIONS = ("linear", "relu", "tanh")
ACTS = 0.1  # total change of |ζ| or of ln(‖u‖‖w‖) from which a mechanism acts
EXPECTED = {  # start → the mechanisms that must act, and those that must not
    "small": ({"alignment", "rescaling"}, {"disalignment"}),
    "medium": ({"alignment", "rescaling"}, {"disalignment"}),
    "large": (set(), {"alignment", "disalignment", "rescaling"}),
    "aligned": ({"rescaling"}, {"alignment", "disalignment"}),
    "overshooting": ({"disalignment"}, {"alignment"}),
}
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        **{"width": 300, "steps": 60, "seeds": [0]},
        **{"widths": [50, 100, 200], "kernel_steps": 60, "kernel_seeds": [0]},
    },
    "laptop": {
        **{"width": 10_000, "steps": 400, "seeds": [0, 1, 2]},
        **{"widths": [100, 316, 1000, 3162, 10_000], "kernel_steps": 200},
        "kernel_seeds": list(range(10)),
    },
    "paper": {
        **{"width": 10_000, "steps": 2000, "seeds": list(range(10))},
        **{"widths": [100, 316, 1000, 3162, 10_000, 31_623, 100_000], "kernel_steps": 1000},
        "kernel_seeds": list(range(30)),
    },
}


def measure(bench: Bench) -> Measured:
    """The starts at one width, and the kernel regime over widths."""
    size = SIZES[bench.scale]
    common = {"task": TASKS, "activation": ACTIVATIONS}
    starts = bench.sweep(
        lr.Study(
            name="starts",
            experiment=TwoLayers,
            base={"width": size["width"], "steps": size["steps"]},
            axes={**common, "start": list(STARTS)},
            seeds=size["seeds"],
        )
    )
    widths = bench.sweep(
        lr.Study(
            name="widths",
            experiment=TwoLayers,
            base={"start": "ntk", "steps": size["kernel_steps"]},
            axes={**common, "width": size["widths"]},
            seeds=size["kernel_seeds"],
        )
    )
    findings: dict[str, Finding] = {}
    for task in TASKS:
        for start in STARTS:
            found = starts.sel(task=task, start=start)
            findings[f"{task}, {start}: runs as claimed"] = _share(_as_claimed(found, start))
        small = starts.sel(task=task, start="small")
        halfway = (small["from"] + small["until"]) / 2
        first = halfway.sel(mechanism="alignment") < halfway.sel(mechanism="rescaling")
        findings[f"{task}, small: alignment comes before rescaling"] = _share(first)
        findings |= _powers(task, widths.sel(task=task))
    return Measured(findings=findings, shown=_shown(starts, widths))


def _as_claimed(found: xr.Dataset, start: str) -> xr.DataArray:
    must, must_not = EXPECTED[start]
    acts = found.change >= ACTS
    right = xr.ones_like(acts.isel(mechanism=0, drop=True))
    for name in must:
        right &= acts.sel(mechanism=name, drop=True)
    for name in must_not:
        right &= ~acts.sel(mechanism=name, drop=True)
    return right


def _share(right: xr.DataArray) -> Finding:
    return Finding(value=float(right.mean()), n=right.size)


def _powers(task: str, found: xr.Dataset) -> dict[str, Finding]:
    turning = found.change.sel(mechanism=["alignment", "disalignment"]).sum("mechanism")
    scaling = found.change.sel(mechanism="rescaling")
    return {
        f"{task}, kernel regime: power of the change of |ζ|": slope(turning, "width"),
        f"{task}, kernel regime: power of the change of ln ‖u‖‖w‖": slope(scaling, "width"),
    }


def _shown(starts: xr.Dataset, widths: xr.Dataset) -> dict[str, Any]:
    order = ("task", "activation", "start", "seed")
    first = starts.isel(seed=0).transpose("task", "activation", "start", ..., "step")
    losses = (starts.last_loss / starts.first_loss).transpose(*order)
    return {
        "starts": starts.start.values,
        "mechanisms": starts.mechanism.values,
        "step": first.step.values,
        "alignment": first.alignment.values,
        "norms": np.sqrt(first.uu * first.ww).values,
        "change": starts.change.transpose(*order, "mechanism").values,
        "loss_ratio": losses.values,
        "richness": starts.richness.transpose(*order).values,
        "ntk_change": starts.ntk_change.transpose(*order).values,
        "widths": widths.width.values,
        "change_by_width": widths.change.transpose(
            "task", "activation", "width", "seed", "mechanism"
        ).values,
        "ntk_change_by_width": widths.ntk_change.transpose(
            "task", "activation", "width", "seed"
        ).values,
        "richness_by_width": widths.richness.transpose(
            "task", "activation", "width", "seed"
        ).values,
    }


def found(record: Record) -> str:
    """How many runs do as claimed."""
    findings = record["findings"]
    parts = []
    for task in TASKS:
        shares = [findings[f"{task}, {start}: runs as claimed"] for start in STARTS]
        right = sum(round(part["value"] * part["n"]) for part in shares)
        parts.append(f"{task}: {right} of {sum(part['n'] for part in shares)} runs do as claimed.")
    return " ".join(parts)


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """ζ over time, one panel a task and activation, and the kernel regime against the width."""
    shown = record["shown"]
    made = plot.figure(2, 4, width=3.0, height=2.7)
    alignment = np.array(shown["alignment"], float)
    for row, task in enumerate(TASKS):
        for column, activation in enumerate(ACTIVATIONS):
            ax = made.axes[4 * row + column]
            for i, start in enumerate(shown["starts"]):
                ax.plot(shown["step"], alignment[row, column, i], color=f"C{i}", label=start)
            ax.set(ylim=(-0.05, 1.05), xlabel="step", ylabel="alignment ζ")
            ax.set_title(f"{task}, {activation}")
        _draw_powers(made.axes[4 * row + 3], shown, row, task)
    made.axes[0].legend(fontsize="x-small")
    return made


def _draw_powers(ax: Any, shown: dict[str, Any], row: int, task: str) -> None:  # noqa: ANN401
    change = np.array(shown["change_by_width"], float)[row]
    names = list(shown["mechanisms"])
    turning = change[..., [names.index("alignment"), names.index("disalignment")]].sum(-1)
    scaling = change[..., names.index("rescaling")]
    for i, activation in enumerate(ACTIVATIONS):
        for values, dashes, label in ((turning, "-", "|ζ|"), (scaling, "--", "ln‖u‖‖w‖")):
            ax.plot(
                shown["widths"],
                np.median(values[i], -1),
                dashes,
                color=f"C{i}",
                label=f"{label}, {activation}" if row == 0 else None,
            )
    ax.set(xscale="log", yscale="log", xlabel="width d", ylabel="total change")
    ax.set_title(f"kernel regime, {task}")
    if row == 0:
        ax.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
