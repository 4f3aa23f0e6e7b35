"""Convolutions on CIFAR-10, patch by patch: the ansatz of weights and of changes, and its null.

VGG-11 without batch normalisation, its convolutions seen as linear maps of patches. Are the ansatz
of the weights (UC-NFA) and that of their changes (C-NFA) above their nulls, as in fully connected
networks? And what does one find if, as in the released code, the network is measured without the
biases that it has learned?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import lazyrich as lr
from lazyrich import plot
from papers.beaglehole2024alignment.fig1 import draw_layer, shown_curves
from papers.beaglehole2024alignment.watched import BARE, Watched
from papers.harness import Bench, Measured, Record, bare, compared, mean, number

CONVOLUTIONS = 8
# the released rate 1.0 is that of a mean over 10 outputs
SIZES: Mapping[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "samples": 64, "test_samples": 20, "width": 2, "epochs": 1,
              "points": 2, "measured": 20, "batch_size": 32},
    "laptop": {"data": "cifar10", "samples": 2000, "width": 8, "epochs": 30, "points": 7,
               "measured": 200, "batch_size": 64},
    "paper": {"data": "cifar10", "samples": 50_000, "test_samples": 10_000, "width": 64,
              "epochs": 50, "points": 11, "measured": 1000, "batch_size": 256},
}  # fmt: skip
SEEDS = {"smoke": 2, "laptop": 6, "paper": 3}


def measure(bench: Bench) -> Measured:
    """Train, and measure all convolutions."""
    plan = lr.Study(
        name="vgg11",
        experiment=Watched,
        base={**SIZES[bench.scale], "network": "vgg11", "lr": 0.1, "momentum": 0.9},
        seeds=SEEDS[bench.scale],
    )
    found = bench.sweep(plan).isel(layer=slice(CONVOLUTIONS))
    layers = found.mean("layer")
    start, end = layers.isel(epoch=0), layers.isel(epoch=-1)
    changes = found.cnfa - found.cnfa_null
    over = changes.mean("layer")
    bare = {name: layers[f"{name}_without_biases"] for name in BARE}
    return Measured(
        findings={
            "uc_at_start": mean((start.nfa - start.nfa_null).values),
            "uc_at_end": mean((end.nfa - end.nfa_null).values),
            "c_at_start": mean(over.isel(epoch=0).values),
            "c_at_end": mean(over.isel(epoch=-1).values),
            "lowest_c_at_start": mean(changes.isel(epoch=0).min("layer").values),
            "bare_c_at_start": mean(start.cnfa.values),
            "null_of_c_at_start": mean(start.cnfa_null.values),
            "share_grows": mean((end.centred_share - start.centred_share).values),
            "biases_dropped_c": mean((bare["cnfa"] - end.cnfa).values),
            "biases_dropped_uc": mean((bare["nfa"] - end.nfa).values),
            "c_with_biases": mean(end.cnfa.values),
            "c_without_biases": mean(bare["cnfa"].values),
        },
        shown=shown_curves(found)
        | {f"{name}_without_biases": found[f"{name}_without_biases"].values for name in BARE},
    )


def found(record: Record) -> str:
    """Where each ansatz lies beside its null, and what dropped biases change."""
    findings = record["findings"]
    changed = compared(findings["biases_dropped_c"], ("higher", "lower", "not clearly different"))
    return (
        f"Mean over convolutions: the UC-NFA is {compared(findings['uc_at_start'])} its null "
        f"before training and {compared(findings['uc_at_end'])} it at the end (by "
        f"{number(findings['uc_at_end'])}); the C-NFA of {bare(findings['bare_c_at_start'])} at "
        f"the first measurement is {compared(findings['c_at_start'])} its null of "
        f"{bare(findings['null_of_c_at_start'])}, and {compared(findings['c_at_end'])} it at the "
        f"end (by {number(findings['c_at_end'])}). Measured without the learned biases, as the "
        f"released code does, the C-NFA at the end is {changed}: "
        f"{bare(findings['c_without_biases'], '.3f')} against "
        f"{bare(findings['c_with_biases'], '.3f')}."
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """A panel a convolution, and the loss."""
    shown = record["shown"]
    made = plot.figure(2, 5, width=2.7, height=2.3)
    for layer, ax in enumerate(made.axes[:CONVOLUTIONS]):
        draw_layer(ax, shown, layer)
        ax.set_title(f"convolution {layer + 1}")
    handles, labels = made.axes[0].get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    loss, accuracy = made.axes[CONVOLUTIONS:]
    middle = np.array(shown["loss"]["mean"], float)
    loss.plot(shown["epoch"], middle, color="0.3")
    loss.set(title="training loss", xlabel="epoch", yscale="log")
    parts = ("train", "test")
    bars = [shown[f"{part}_accuracy"] for part in parts]
    accuracy.bar(parts, [b["mean"] for b in bars], yerr=[b["sd"] for b in bars], color="0.7")
    accuracy.set(title="accuracy at the end", ylim=(0, 1))
    return made
