"""Derivative alignment of wide quadratic networks as the dimension grows, beside random gradients.

The last version of the abstract says that the derivatives of feature matrix and average gradient
outer product align in specific high-dimensional settings; which, was not at hand. Isotropic
Gaussian inputs, readout ±1, three kinds of labels. Does the centred ansatz of the first instant
tend to 1 as the dimension d grows: with width and samples growing as d², or with both in
proportion to d? And do its fluctuations over draws vanish?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.beaglehole2024alignment.early import Quadratic
from papers.harness import Bench, Finding, Measured, Record, bare, compared, mean, slope

TARGETS = ("signs", "products", "linear")
# width and samples by the setting
SETTINGS = {"outgrown": (lambda d: d * d // 8, 2), "in proportion": (lambda d: d, 2)}
DIMENSIONS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "smoke": {"outgrown": (16, 24), "in proportion": (16, 24)},
    "laptop": {"outgrown": (24, 32, 48, 64), "in proportion": (32, 64, 128, 256)},
    "paper": {"outgrown": (32, 64, 128, 256), "in proportion": (32, 128, 512, 2048)},
}
SEEDS = {"smoke": 2, "laptop": 10, "paper": 20}


def measure(bench: Bench) -> Measured:
    """The first instant in both settings; powers of the dimension."""
    findings: dict[str, Finding] = {}
    shown = {}
    for setting in SETTINGS:
        found = _runs(bench, setting)
        shown[setting] = _shown(found)
        order = found.transpose("target", "seed", "dimension")
        findings[f"{setting}: power of 1 − ρ"] = slope(1 - order.measured, "dimension")
        off = abs(order.measured - order.measured.mean("seed"))
        findings[f"{setting}: power of the fluctuation"] = slope(off, "dimension")
        widest = order.isel(dimension=-1)
        above = (widest.measured - widest.null).mean("target")
        findings[f"{setting}: above the null at the largest d"] = mean(above.values)
        findings[f"{setting}: ρ at the largest d"] = mean(widest.measured.mean("target").values)
        gap = abs(order.measured.mean("seed") - order.predicted.mean("seed")).isel(dimension=-1)
        findings[f"{setting}: distance from the spectral prediction"] = Finding(
            value=float(gap.max()), n=gap.size, of="labels: largest, of means over draws"
        )
    return Measured(findings=findings, shown=shown)


def _runs(bench: Bench, setting: str) -> xr.Dataset:
    width, ratio = SETTINGS[setting]
    sizes = [
        {"label": d, "dimension": d, "width": width(d), "samples": ratio * width(d)}
        for d in DIMENSIONS[bench.scale][setting]
    ]
    plan = lr.Study(
        name=setting.replace(" ", "-"),
        experiment=Quadratic,
        base={"alpha": 0.0},
        axes={"target": TARGETS, "size": sizes},
        seeds=SEEDS[bench.scale],
    )
    return bench.sweep(plan).rename(size="dimension")


def _shown(found: xr.Dataset) -> dict[str, Any]:
    order = found.transpose("target", "dimension", "seed")
    return {
        "dimension": order.dimension.values,
        **{name: order[name].values for name in ("measured", "null", "predicted")},
    }


def found(record: Record) -> str:
    """Where it tends to 1 and where not."""
    findings = record["findings"]
    parts = []
    for setting, label in (
        ("outgrown", "With width and samples growing as d²"),
        ("in proportion", "With both in proportion to d"),
    ):
        power = findings[f"{setting}: power of 1 − ρ"]
        tends = compared(power, ("falls further behind 1", "tends to 1", "keeps its distance to 1"))
        side = compared(findings[f"{setting}: above the null at the largest d"])
        spread = compared(
            findings[f"{setting}: power of the fluctuation"],
            ("grow", "vanish", "neither grow nor vanish"),
        )
        at = findings[f"{setting}: ρ at the largest d"]["value"]
        parts.append(
            f"{label} it {tends} (1 − ρ ∝ d^{bare(power)}, ρ = {at:.3f} at the largest d), "
            f"is {side} its null, and its fluctuations {spread}."
        )
    return " ".join(parts)


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """1 − ρ against the dimension, a panel a setting; lines: predicted, dashed: the null."""
    made = plot.figure(1, 2, width=3.8, height=3.2)
    for ax, (setting, shown) in zip(made.axes, record["shown"].items(), strict=True):
        d = shown["dimension"]
        for i, target in enumerate(TARGETS):
            measured, null, predicted = (
                1 - np.array(shown[name][i], float) for name in ("measured", "null", "predicted")
            )
            ax.plot(d, predicted.mean(-1), color=f"C{i}", label=target)
            beside = np.array(d) * 1.03 ** (i - 1)  # bars do not hide each other
            ax.plot(d, null.mean(-1), "--", lw=1, color=f"C{i}")
            ax.errorbar(
                beside, measured.mean(-1), measured.std(-1, ddof=1), fmt="o", ms=4, capsize=2,
                elinewidth=1, color=f"C{i}",
            )  # fmt: skip
        ax.set(xscale="log", yscale="log", xlabel="dimension d", ylabel="1 − ρ")
        ax.set_xticks(d, [str(size) for size in d])
        ax.minorticks_off()
        ax.set_title({"outgrown": "k = d²/8, n = d²/4", "in proportion": "k = d, n = 2d"}[setting])
    made.axes[1].legend(
        title="labels; dashed: null", loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small"
    )
    return made
