"""Alignment ζ of two-layer networks while they learn, from five starts, beside the theory's line.

Does a small start align its layers and then rescale them, a medium one do both at once, an aligned
one only rescale, an aligned one with too large an output disalign, and a large one nothing of the
three? Linear, ReLU, leaky ReLU, tanh and swish networks of width 10,000, and sigmoid ones of width
1,000 (the kernel of its offset φ(0) = ½ is d/4, and the learning rate the smaller); regression,
and classification with cross-entropy. In regression the theory is that of the linear network with
the activation's slope. And do all three vanish as powers of the width in the kernel regime?
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.harness import Bench, Finding, Measured, Record, bare, share, slope
from papers.xu2025three.two_layers import STARTS, TwoLayers

TASKS = ("regression", "classification")
ACTIVATIONS = ("linear", "relu", "leaky_relu", "tanh", "swish")
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
        **{"width": 100, "steps": 40, "seeds": [0]},
        **{"widths": [25, 50, 100], "kernel_steps": 30, "kernel_seeds": [0]},
        **{"sigmoid": {"width": 20, "steps": 50}, "narrow_seeds": [0]},
    },
    "laptop": {
        **{"width": 10_000, "steps": 400, "seeds": [0, 1, 2]},
        **{"widths": [100, 316, 1000, 3162, 10_000], "kernel_steps": 200},
        "kernel_seeds": list(range(5)),
        **{"sigmoid": {"width": 1000, "steps": 20_000}, "narrow_seeds": list(range(4))},
    },
    "paper": {
        **{"width": 10_000, "steps": 2000, "seeds": list(range(10))},
        **{"widths": [100, 316, 1000, 3162, 10_000, 31_623, 100_000], "kernel_steps": 1000},
        "kernel_seeds": list(range(30)),
        **{"sigmoid": {"width": 10_000, "steps": 200_000}, "narrow_seeds": list(range(30))},
    },
}

MARKERS = "osD^v"
OTHERS = ("#332288", "#117733", "#999933", "#882255", "#888888")  # none of the starts' colours
NARROW = 30  # neurons, whose inputs are not small
FAR = 0.05  # from which ζ has left the theory's line
NAMES = {"relu": "ReLU", "leaky_relu": "leaky ReLU"}


def measure(bench: Bench) -> Measured:
    """How far the runs are from what is claimed, from the theory's line and from powers."""
    starts, widths, sigmoid, narrow = _runs(bench)
    findings = _distances(starts, sigmoid, narrow)
    for task in TASKS:
        right = [_as_claimed(sigmoid.sel(task=task, start=start), start) for start in STARTS]
        findings[f"{task}, sigmoid: runs as claimed"] = _share(xr.concat(right, "start"))
        for start in STARTS:
            found = starts.sel(task=task, start=start)
            findings[f"{task}, {start}: runs as claimed"] = _share(_as_claimed(found, start))
        small = starts.sel(task=task, start="small")
        halfway = (small["from"] + small["until"]) / 2
        first = halfway.sel(mechanism="alignment") < halfway.sel(mechanism="rescaling")
        findings[f"{task}, small: alignment comes before rescaling"] = _share(first)
        findings |= _powers(task, widths.sel(task=task))
    return Measured(findings=findings, shown=_shown(starts, widths) | {"sigmoid": _curves(sigmoid)})


def _runs(bench: Bench) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset, xr.Dataset]:
    """The starts at one width, the kernel regime over widths, sigmoids, and narrow networks."""
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
    sigmoid = bench.sweep(
        lr.Study(
            name="sigmoid",
            experiment=TwoLayers,
            base={"activation": "sigmoid", **size["sigmoid"]},
            axes={"task": TASKS, "start": list(STARTS)},
            seeds=size["seeds"][:1],
        )
    )
    narrow = bench.sweep(
        lr.Study(
            name="narrow",
            experiment=TwoLayers,
            base={"task": "regression", "width": NARROW, "steps": size["steps"]},
            axes={"activation": ACTIVATIONS, "start": list(STARTS)},
            seeds=size["narrow_seeds"],
        )
    )
    return starts, widths, sigmoid, narrow


def _distances(starts: xr.Dataset, sigmoid: xr.Dataset, narrow: xr.Dataset) -> dict[str, Finding]:
    """How far ζ is from the theory's line, and how large the inputs of the neurons are."""
    findings = {}
    wide = starts.sel(task="regression")
    for name in (*ACTIVATIONS, "sigmoid"):
        found = sigmoid.sel(task="regression") if name == "sigmoid" else wide.sel(activation=name)
        findings[f"{name}: largest distance of ζ from the theory"] = _largest(found.from_theory)
        if name != "sigmoid":
            other = narrow.sel(activation=name).from_theory
            findings[f"{name}, {NARROW} neurons: largest distance of ζ from the theory"] = _largest(
                other
            )
    findings["largest input of a neuron"] = _largest(wide.largest_input)
    findings[f"largest input of a neuron, {NARROW} neurons"] = _largest(narrow.largest_input)
    return findings


def _largest(values: xr.DataArray) -> Finding:
    return Finding(value=float(values.max()), n=values.size, of="runs: largest")


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


def _curves(found: xr.Dataset) -> dict[str, Any]:
    """ζ of the first seed and the theory's, a row a task, the start before the step."""
    first = found.isel(seed=0).transpose("task", ..., "start", "step", "mechanism")
    return {
        "step": first.step.values,
        "alignment": first.alignment.values,
        "theory": first.theory_alignment.values,
    }


def _shown(starts: xr.Dataset, widths: xr.Dataset) -> dict[str, Any]:
    order = ("task", "activation", "start", "seed")
    first = starts.isel(seed=0).transpose("task", "activation", "start", ..., "step")
    losses = (starts.last_loss / starts.first_loss).transpose(*order)
    return {
        "starts": starts.start.values,
        "mechanisms": starts.mechanism.values,
        **_curves(starts),
        "activations": starts.activation.values,
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
    """How many runs do as claimed, and how far the theory's line is from the points."""
    findings = record["findings"]
    parts = []
    for task in TASKS:
        shares = [findings[f"{task}, {start}: runs as claimed"] for start in STARTS]
        right = sum(round(part["value"] * part["n"]) for part in shares)
        parts.append(
            f"{task}: {right} of {sum(part['n'] for part in shares)} runs do as claimed, and "
            f"{share(findings[f'{task}, sigmoid: runs as claimed'])} of the sigmoid ones."
        )
    off = {
        name: findings[f"{name}: largest distance of ζ from the theory"]
        for name in (*ACTIVATIONS, "sigmoid")
    }
    narrow = {
        name: findings[f"{name}, {NARROW} neurons: largest distance of ζ from the theory"]
        for name in ACTIVATIONS
    }
    parts.append(f"Largest distance of ζ from the theory's line: {_listed(off)}.")
    for text, size, values, end in (
        ("Inputs of neurons are", "largest input of a neuron", off, "."),
        (
            f"With {NARROW} neurons they are",
            f"largest input of a neuron, {NARROW} neurons",
            narrow,
            "",
        ),
    ):
        parts.append(f"{text} {bare(findings[size], '.1f')} at most; {_off(values)}{end}")
    return " ".join(parts) + f" ({_listed(narrow)})."


def _listed(values: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(
        f"{bare(part, '.1g')} ({NAMES.get(name, name)})" for name, part in values.items()
    )


def _off(values: Mapping[str, Mapping[str, Any]]) -> str:
    """Which activations leave the theory's line."""
    far = [NAMES.get(name, name) for name, part in values.items() if part["value"] > FAR]
    return f"off the line by more than {FAR:g}: {', '.join(far) or 'none'}"


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """ζ over time on the theory's lines, a panel a task and activation; powers at the right."""
    shown = record["shown"]
    made = plot.figure(2, 7, width=2.5, height=2.5)
    axes = np.array(made.axes).reshape(2, 7)
    for row, task in enumerate(TASKS):
        for column, activation in enumerate(shown["activations"]):
            curves = {name: shown[name][row][column] for name in ("alignment", "theory")}
            _draw_starts(axes[row, column], shown["step"], curves, shown["starts"])
            axes[row, column].set_title(f"{task}, {NAMES.get(activation, activation)}")
        curves = {name: shown["sigmoid"][name][row] for name in ("alignment", "theory")}
        _draw_starts(axes[row, 5], shown["sigmoid"]["step"], curves, shown["starts"])
        axes[row, 5].set_title(f"{task}, sigmoid")
        _draw_powers(axes[row, 6], shown, row, task)
        axes[row, 0].set_ylabel("alignment ζ (lines: theory)" if row == 0 else "alignment ζ")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, title="start", loc="outside upper left", ncols=len(labels))
    return made


def _draw_starts(ax: Any, steps: Any, curves: Mapping[str, Any], starts: Any) -> None:  # noqa: ANN401
    """Points of every start; below them the theory's line, where there is one."""
    for i, start in enumerate(starts):
        theory, points = (np.array(curves[name][i], float) for name in ("theory", "alignment"))
        ax.plot(steps, theory, color=f"C{i}", lw=1)
        mark = {"marker": MARKERS[i], "ms": 7 - i, "mfc": "none", "ls": "none"}  # all remain seen
        ax.plot(steps[::3], points[::3], color=f"C{i}", label=start, **mark)
    ax.set(ylim=(-0.05, 1.05), xlabel="step")


def _draw_powers(ax: Any, shown: dict[str, Any], row: int, task: str) -> None:  # noqa: ANN401
    change = np.array(shown["change_by_width"], float)[row]
    names = list(shown["mechanisms"])
    turning = change[..., [names.index("alignment"), names.index("disalignment")]].sum(-1)
    scaling = change[..., names.index("rescaling")]
    colours = cycle(OTHERS)
    for i, (activation, colour) in enumerate(zip(shown["activations"], colours, strict=False)):
        for values, dashes, label in ((turning, "-", "|ζ|"), (scaling, "--", "ln‖u‖‖w‖")):
            ax.plot(
                shown["widths"],
                np.median(values[i], -1),
                dashes,
                color=colour,
                label=f"{label}, {NAMES.get(activation, activation)}" if row == 0 else None,
            )
    ax.set(xscale="log", yscale="log", xlabel="width d", ylabel="total change")
    ax.set_title(f"kernel regime, {task}")
    if row == 0:
        ax.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1.0, 0.5))
