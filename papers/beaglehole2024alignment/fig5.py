"""Heads of a transformer: what each listens to, and how it changes, beside random gradients.

A small transformer on images. For every head of every query, key and value map, the feature matrix
of the head and the average gradient outer product through this head alone: is the ansatz of the
weights' changes (C-NFA) above its null early in training, and that of the weights (UC-NFA) above
its own at the end?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.beaglehole2024alignment.watched import Watched
from papers.harness import Bench, Measured, Record, bare, compared, mean, number

KINDS = ("query", "key", "value")
SIZES: Mapping[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "samples": 200, "test_samples": 50, "width": 16, "epochs": 2,
              "points": 2, "measured": 50},
    "laptop": {"data": "mnist", "samples": 4000, "width": 32, "epochs": 20, "points": 6,
               "measured": 200},
    "paper": {"data": "cifar10", "samples": 50_000, "test_samples": 10_000, "width": 256,
              "epochs": 100, "points": 21, "measured": 1000},
}  # fmt: skip
SEEDS = {"smoke": 2, "laptop": 12, "paper": 3}  # three did not decide the UC-NFA


def measure(bench: Bench) -> Measured:
    """Train, and measure every head."""
    plan = lr.Study(
        name="transformer",
        experiment=Watched,
        base={**SIZES[bench.scale], "network": "transformer", "lr": 0.001},
        seeds=SEEDS[bench.scale],
    )
    found = bench.sweep(plan)
    kinds = {kind: found.sel(layer=_heads(found, kind)) for kind in KINDS}
    findings = {}
    for kind, heads in kinds.items():
        over = heads.mean("layer")
        weights, changes = (over[name] - over[f"{name}_null"] for name in ("nfa", "cnfa"))
        findings[f"{kind}_c_at_start"] = mean(changes.isel(epoch=0).values)
        findings[f"{kind}_bare_c_at_start"] = mean(over.cnfa.isel(epoch=0).values)
        findings[f"{kind}_null_of_c_at_start"] = mean(over.cnfa_null.isel(epoch=0).values)
        findings[f"{kind}_c_above_uc"] = mean((changes - weights).mean("epoch").values)
        findings[f"{kind}_uc_at_end"] = mean(weights.isel(epoch=-1).values)
    return Measured(
        findings=findings,
        shown={
            "epoch": found.epoch.values,
            "accuracy": found.test_accuracy.values,
            "kinds": {kind: _shown(heads) for kind, heads in kinds.items()},
        },
    )


def _heads(found: xr.Dataset, kind: str) -> list[str]:
    return [name for name in found.layer.values.tolist() if f"{kind}[" in name]


def _shown(heads: xr.Dataset) -> dict[str, Any]:
    over = heads.mean("seed").transpose("epoch", "layer")
    values = {name: over[name].values for name in ("nfa", "cnfa", "nfa_null", "cnfa_null")}
    return {"heads": heads.layer.values.tolist(), **values}


def found(record: Record) -> str:
    """Where each ansatz lies beside its null, by kind of head."""
    findings = record["findings"]
    parts = []
    for kind in KINDS:
        start, end = findings[f"{kind}_c_at_start"], findings[f"{kind}_uc_at_end"]
        parts.append(
            f"{kind} heads: the C-NFA of {bare(findings[f'{kind}_bare_c_at_start'], '.3f')} at the "
            f"first measurement is {compared(start)} its null of "
            f"{bare(findings[f'{kind}_null_of_c_at_start'], '.3f')}, the UC-NFA "
            f"{compared(end)} its own at the end (by {number(end)})."
        )
    return " ".join(parts)


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """UC-NFA above and C-NFA below, a line a head; a column for queries, keys and values."""
    shown = record["shown"]
    made = plot.figure(2, 3, width=3.2, height=2.6)
    axes = np.array(made.axes).reshape(2, 3)
    for column, kind in zip(axes.T, KINDS, strict=True):
        found = shown["kinds"][kind]
        for ax, name, label in zip(column, ("nfa", "cnfa"), ("UC-NFA", "C-NFA"), strict=True):
            heads = np.array(found[name], float).T
            colours = mpl.colormaps["viridis"](np.linspace(0, 0.95, len(heads)))
            for i, (values, colour) in enumerate(zip(heads, colours, strict=True)):
                ax.plot(shown["epoch"], values, lw=1, color=colour, label=f"head {i + 1}")
            ax.set(title=f"{label}, {kind} heads", xlabel="epoch")
        for ax, name in zip(column, ("nfa_null", "cnfa_null"), strict=True):
            null = np.array(found[name], float).mean(1)
            ax.plot(shown["epoch"], null, "--", color="C1", label="null, mean over heads")
    for row in axes:
        ends = [end for ax in row for end in ax.get_ylim()]
        for ax in row:
            ax.set_ylim(min(ends), max(ends))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=5, fontsize="small")
    return made
