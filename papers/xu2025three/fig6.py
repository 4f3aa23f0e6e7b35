"""Accuracy of the six parametrisations on CIFAR-10 against the width.

A two-layer ReLU network learns CIFAR-10 (cross-entropy, plain SGD, batches of 128) in the six
parametrisations of figure 2, which in pairs are the same network at width 100. The paper finds
that mean-field, Kaiming+ and Xavier+ keep or raise their best accuracies as the width grows, and
that NTK, Kaiming and Xavier end below their partners. Five epochs of 4,000 images here, twelve
times as many images in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import lazyrich as lr
from lazyrich import plot, sweeps
from papers.harness import Bench, Finding, Measured, Record, compared, judge, mean
from papers.xu2025three.images import Images
from papers.xu2025three.looks import dodged, look

PAIRS = {"mean_field": "ntk", "kaiming_plus": "kaiming", "xavier_plus": "xavier"}
PRESETS = [name for pair in PAIRS.items() for name in pair]
LONGER = ("mean_field", "xavier_plus")  # and their partners, whose order the short runs leave open
TITLES = {"mean_field": "mean-field", "kaiming_plus": "Kaiming+", "xavier_plus": "Xavier+"}
ORDERS = ("ahead", "behind", "not told from it")
KEPT = ("rises", "falls", "does not clearly change")
PARTS = {"training": "train_accuracy", "test": "test_accuracy"}
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        "base": {
            **{"data": "digits", "samples": 300, "test_samples": 100, "steps": 20},
            **{"batch_size": 50, "evaluations": 2, "measurements": 1},
        },
        "widths": [100, 300],
        "longer": {"steps": 30, "evaluations": 2},
        "seeds": [0, 1],
    },
    "laptop": {
        "base": {
            **{"data": "cifar10", "samples": 4000, "test_samples": 1000, "steps": 160},
            **{"evaluations": 3, "measurements": 1},
        },
        "widths": [100, 316, 1000, 3162],
        "longer": {"steps": 600, "evaluations": 6},
        "seeds": [0, 1, 2],
    },
    "paper": {
        "base": {
            **{"data": "cifar10", "samples": 50_000, "test_samples": 10_000, "steps": 39_000},
            **{"evaluations": 100, "measurements": 12},
        },
        "widths": [100, 300, 1000, 3000, 10_000],
        "longer": {"steps": 78_000, "evaluations": 200},
        "seeds": [0, 1, 2],
    },
}


def measure(bench: Bench) -> Measured:
    """Train the six at every width; changes with the width and distances inside pairs, by seed."""
    size = SIZES[bench.scale]
    found = bench.sweep(
        lr.Study(
            name="widths",
            experiment=Images,
            base=size["base"],
            axes={"parametrisation": PRESETS, "width": size["widths"]},
            seeds=size["seeds"],
        )
    )
    last = sweeps.final(found)
    findings: dict[str, Finding] = {}
    for part, name in PARTS.items():
        values = last[name].transpose("parametrisation", "width", "seed")
        for feature, kernel in PAIRS.items():
            rich = values.sel(parametrisation=feature, drop=True)
            ahead = rich - values.sel(parametrisation=kernel, drop=True)
            findings[f"{feature}: {part} accuracy, widest less narrowest"] = mean(
                (rich.isel(width=-1, drop=True) - rich.isel(width=0, drop=True)).values
            )
            findings[f"{feature} less {kernel}: {part} accuracy at the largest width"] = mean(
                ahead.isel(width=-1).values
            )
            findings[f"{feature} less {kernel}: {part} accuracy at width 100"] = Finding(
                value=float(abs(ahead.isel(width=0)).max()), n=ahead.sizes["seed"]
            )
    findings |= _longer(bench)
    order = ("parametrisation", "width", "seed")
    shown = {
        "parametrisations": PRESETS,
        "widths": last.width.values,
        "steps": int(found.step.max()),
        **{
            name: last[name].sel(parametrisation=PRESETS).transpose(*order).values
            for name in (*PARTS.values(), "ntk_change", "richness")
        },
    }
    return Measured(findings=findings, shown=shown)


def _longer(bench: Bench) -> dict[str, Finding]:
    """The largest width trained on, for the pairs that few epochs do not order."""
    size = SIZES[bench.scale]
    names = [name for feature in LONGER for name in (feature, PAIRS[feature])]
    found = bench.sweep(
        lr.Study(
            name="longer",
            experiment=Images,
            base={**size["base"], **size["longer"], "measurements": 0, "width": size["widths"][-1]},
            axes={"parametrisation": names},
            seeds=size["seeds"],
        )
    )
    findings = {}
    for part, name in PARTS.items():
        values = found[name].transpose("parametrisation", "seed")
        for feature in LONGER:
            ahead = values.sel(parametrisation=feature, drop=True) - values.sel(
                parametrisation=PAIRS[feature], drop=True
            )
            title = f"{feature} less {PAIRS[feature]}: {part} accuracy at the largest width, longer"
            findings[title] = mean(ahead.values)
        findings[f"smallest best {part} accuracy of the longer runs"] = Finding(
            value=float(values.min()), n=values.size
        )
    return findings


def found(record: Record) -> str:
    """Which pairs the largest width orders as the paper does, and which the other way."""
    # with the intervals that hold together
    findings = {row["finding"]: row["found"] for row in judge(record)}
    ahead: dict[str, list[str]] = {word: [] for word in ORDERS}
    for feature, kernel in PAIRS.items():
        for part in PARTS:
            for end in ("", ", longer"):
                name = f"{feature} less {kernel}: {part} accuracy at the largest width{end}"
                if name in findings:
                    order = compared(findings[name], ORDERS)
                    ahead[order].append(f"{titled(feature)} ({part}{end})")
    kept = {word: [] for word in KEPT}
    for feature in PAIRS:
        for part in PARTS:
            change = findings[f"{feature}: {part} accuracy, widest less narrowest"]
            kept[compared(change, KEPT)].append(f"{titled(feature)} ({part})")
    width = record["shown"]["widths"][-1]
    return (
        f"At width {width:,}, against the partner of the kernel phase: {_by_word(ahead)}. From "
        f"width 100 on the accuracy of the feature phase {_by_word(kept)}."
    )


def counted(shown: Mapping[str, Any]) -> str:
    """After how many steps of training the networks were looked at.

    Args:
        shown: of a record; one that does not say it looked after the first step.
    """
    steps = shown.get("steps", 1)
    return f"{steps:,} steps" if steps > 1 else "one step"


def _by_word(lists: Mapping[str, list[str]]) -> str:
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in lists.items() if names)


def titled(preset: str) -> str:
    """A parametrisation as the text writes it."""
    return TITLES.get(preset, preset.replace("_", " "))


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Best accuracies and the change of the kernel against the width."""
    shown = record["shown"]
    made = plot.figure(1, 3, width=3.8, height=3.2)
    widths = shown["widths"]
    panels = (("train_accuracy", 100), ("test_accuracy", 100), ("ntk_change", 1))
    for ax, (name, factor) in zip(made.axes, panels, strict=True):
        values = factor * np.array(shown[name], float)
        presets = shown["parametrisations"]
        for i, preset in enumerate(presets):
            ax.errorbar(
                [dodged(width, i, len(presets)) for width in widths],
                values[i].mean(-1),
                values[i].std(-1, ddof=1),
                **{"capsize": 2, "elinewidth": 1, **look(preset)},
            )
        ax.set(xscale="log", xlabel="width d")
    made.axes[0].set_title("best training accuracy, %")
    made.axes[1].set_title("best test accuracy, %")
    made.axes[2].set(yscale="log", title=f"change of the kernel ΔΘ/Θ after {counted(shown)}")
    plot.legend(made.axes[0], fontsize="x-small", ncols=2)
    return made
