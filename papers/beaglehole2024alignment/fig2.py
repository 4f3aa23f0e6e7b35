"""Convolutions align patch by patch as the layers of a fully connected network do.

VGG-11 without batch normalisation on CIFAR-10, its convolutions seen as linear maps of patches: the
ansatz of the weights' changes (C-NFA) is high from the first measurement on, in all layers, and
above that of the weights (UC-NFA), which begins at the null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import lazyrich as lr
from lazyrich import plot
from papers.beaglehole2024alignment.fig1 import draw_layer, shown_curves
from papers.beaglehole2024alignment.watched import Watched
from papers.harness import Bench, Measured, Record, mean

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
SEEDS = {"smoke": 2, "laptop": 3, "paper": 3}


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
    return Measured(
        findings={
            "uc_at_start": mean((start.nfa - start.nfa_null).values),
            "uc_at_end": mean((end.nfa - end.nfa_null).values),
            "c_at_start": mean(start.cnfa.values),
            "c_at_end": mean(end.cnfa.values),
            "lowest_c_at_start": mean(found.cnfa.isel(epoch=0).min("layer").values),
            "share_grows": mean((end.centred_share - start.centred_share).values),
        },
        shown=shown_curves(found),
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """A panel a convolution, and the loss."""
    shown = record["shown"]
    made = plot.figure(2, 5, width=2.7, height=2.3)
    for layer, ax in enumerate(made.axes[:CONVOLUTIONS]):
        draw_layer(ax, shown, layer)
        ax.set_title(f"convolution {layer + 1}")
    made.axes[0].legend(fontsize="x-small")
    loss, accuracy = made.axes[CONVOLUTIONS:]
    middle = np.array(shown["loss"]["mean"], float)
    loss.plot(shown["epoch"], middle, color="0.3")
    loss.set(title="training loss", xlabel="epoch", yscale="log")
    parts = ("train", "test")
    bars = [shown[f"{part}_accuracy"] for part in parts]
    accuracy.bar(parts, [b["mean"] for b in bars], yerr=[b["sd"] for b in bars], color="0.7")
    accuracy.set(title="accuracy at the end", ylim=(0, 1))
    return made
