"""Accuracy of ResNet-18 on CIFAR-10 from initial weights of different scales σ.

All weights start from their usual values times σ; everything else is the usual public recipe (SGD
0.1, momentum 0.9, weight decay 5e-4, cosine schedule, crops and flips, batches of 128). The paper
finds that performance falls as σ grows. Two accuracies and two statistics try that one hypothesis:
their intervals hold together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot, sweeps
from papers.harness import (
    Bench,
    Finding,
    Measured,
    Record,
    compared,
    mean,
    number,
    rank_correlation,
    together,
)
from papers.xu2025three.images import Images

RECIPE = {
    **{"network": "resnet18", "parametrisation": "default", "lr": 0.1, "momentum": 0.9},
    **{"weight_decay": 5e-4, "cosine": True, "augment": True, "batch_size": 128},
}
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        "base": {
            **{"data": "digits", "samples": 64, "test_samples": 50, "width": 1, "steps": 3},
            **{"batch_size": 32, "evaluations": 1, "measurements": 1},
        },
        "sigmas": [0.5, 2.0],
        "seeds": [0, 1],
    },
    "laptop": {
        "base": {
            **{"data": "cifar10", "samples": 1500, "test_samples": 1000, "width": 8, "steps": 110},
            **{"evaluations": 3, "measurements": 1},
        },
        "sigmas": [0.5, 1.0, 2.0, 4.0, 8.0],
        "seeds": [0, 1, 2],
    },
    "paper": {
        "base": {
            **{"data": "cifar10", "samples": 50_000, "test_samples": 10_000, "width": 64},
            **{"steps": 78_000, "evaluations": 200, "measurements": 12},
        },
        "sigmas": [0.25, 0.5, 1.0, 2.0, 4.0, 8.0],
        "seeds": [0, 1, 2],
    },
}
PARTS = {"training": "train_accuracy", "test": "test_accuracy"}
OF_LAYERS = ("alignment_change", "layer_log_rescaling", "layer_log_alignment", "weight_movement")
TESTS = 4  # of one hypothesis: a rank correlation and a difference for each part


def measure(bench: Bench) -> Measured:
    """Train at every σ; rank correlations with their p-values, and the ends against each other."""
    size = SIZES[bench.scale]
    found = bench.sweep(
        lr.Study(
            name="scales",
            experiment=Images,
            base=RECIPE | size["base"],
            axes={"init_scale": size["sigmas"]},
            seeds=size["seeds"],
        )
    )
    last = sweeps.final(found).transpose("init_scale", "seed", ...)
    sigma = np.repeat(last.init_scale.values, last.sizes["seed"])
    findings: dict[str, Finding] = {}
    for part, name in PARTS.items():
        values = last[name].transpose("init_scale", "seed")
        finding, p = rank_correlation(sigma, values.values.ravel())
        findings[f"rank correlation of σ and best {part} accuracy"] = finding
        findings[f"p-value of σ and best {part} accuracy"] = Finding(value=p, n=finding.n)
        findings[f"best {part} accuracy, smallest σ less largest"] = mean(
            (values.isel(init_scale=0) - values.isel(init_scale=-1)).values
        )
    return Measured(findings=findings, shown=_shown(found, last))


def _shown(found: xr.Dataset, last: xr.Dataset) -> dict[str, Any]:
    runs, layers = ("init_scale", "seed"), ("init_scale", "seed", "layer")
    turned = last.parameter_data_alignment - sweeps.initial(found).parameter_data_alignment
    matrices = last.assign(alignment_change=turned).dropna(
        "layer",
        how="all",
        subset=["alignment_change"],  # a norm has no weight matrix
    )
    return {
        "sigma": last.init_scale.values,
        "steps": int(found.step.max()),
        **{name: last[name].transpose(*runs).values for name in PARTS.values()},
        **{
            name: last[name].transpose(*runs).values
            for name in ("ntk_change", "richness", "train_loss")
        },
        "layers": matrices.layer.values,
        **{name: matrices[name].transpose(*layers).values for name in OF_LAYERS},
    }


def found(record: Record) -> str:
    """Where each accuracy is highest, and whether it falls over the whole range of σ."""
    sigma = record["shown"]["sigma"]
    parts = []
    for part, name in PARTS.items():
        values = 100 * np.array(record["shown"][name], float).mean(-1)
        r = together(record["findings"][f"rank correlation of σ and best {part} accuracy"], TESTS)
        fate = compared(r, ("rises", "falls", "has no clear trend"))
        parts.append(
            f"Best {part} accuracy {fate} over the whole range of σ (rank correlation "
            f"{number(r)}, one of {TESTS} tests): from {values[0]:.0f} % at σ = {sigma[0]:g} over "
            f"{values.max():.0f} % at σ = {sigma[int(values.argmax())]:g}, its highest, to "
            f"{values[-1]:.0f} % at σ = {sigma[-1]:g}."
        )
    return " ".join(parts)


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Best accuracies against σ, every run a point; p-values times the number of tests."""
    shown = record["shown"]
    made = plot.figure(1, 2, width=3.6, height=3.0)
    sigma = np.array(shown["sigma"], float)
    for ax, (part, name) in zip(made.axes, PARTS.items(), strict=True):
        values = 100 * np.array(shown[name], float)
        ax.plot(sigma, values.mean(-1), color="C0", label="mean over seeds")
        ax.plot(sigma, values, "o", ms=4, mfc="white", color="C0")
        r = record["findings"][f"rank correlation of σ and best {part} accuracy"]["value"]
        p = record["findings"][f"p-value of σ and best {part} accuracy"]["value"]
        ax.set_title(f"best {part} accuracy: r = {r:.2f}, {TESTS} p = {min(1.0, TESTS * p):.1g}")
        ax.set(xscale="log", xlabel="initial scale σ", ylabel="accuracy, %")
        ax.set_xticks(sigma, [f"{s:g}" for s in sigma])
        ax.minorticks_off()
    return made
