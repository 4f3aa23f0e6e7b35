"""The centred ansatz of the first steps, predicted before them from simple statistics of the data.

For any network and layer it is the correlation of X̃ᵀ𝒦X̃ with X̃ᵀ𝒦²X̃ (inputs weighted by
residuals, Gram matrix of the tangent features): on real images, after one tiny step and after an
epoch of small ones. For wide networks of quadratic neurons: from the spectra of inputs and labels
alone, over decays of the inputs' spectrum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.beaglehole2024alignment.early import OneStep, Quadratic
from papers.harness import Bench, Finding, Measured, Record, bare, mean, number

IMAGES: Mapping[str, dict[str, Any]] = {
    "smoke": {"data": ["digits"], "samples": 128, "width": 16},
    "laptop": {"data": ["mnist", "cifar10"], "samples": 1024, "width": 256},
    "paper": {"data": ["mnist", "cifar10"], "samples": 10_000, "width": 256},
}
DIMENSION = {"smoke": 48, "laptop": 256, "paper": 1024}
SEEDS = {"smoke": 2, "laptop": 10, "paper": 20}
TARGETS = ("signs", "products", "linear")
ALPHAS = (0.0, 0.5, 1.0, 1.5, 2.0)
DASHES = ("-", "--", ":")
WIDTHS = {"smoke": (24, 48), "laptop": (32, 128, 512, 2048), "paper": (64, 256, 1024, 4096)}


def measure(bench: Bench) -> Measured:
    """Both predictions beside what is found."""
    images, spectra, widths = _images(bench), _spectra(bench), _widths(bench)
    after = images.stack(run=("data", "init_scale", "seed"))
    step = abs(after.after_step - after.predicted).max("layer")
    epoch = abs(after.after_epoch - after.predicted).max("layer")
    gap = abs(spectra.measured.mean("seed") - spectra.predicted.mean("seed"))
    return Measured(
        findings={
            "one_step": _largest(step.values, "runs: largest difference of all layers"),
            "one_epoch": mean(epoch.values),
            "quadratic_signs": _largest(
                gap.sel(readout="signs").values.ravel(),
                "settings: largest difference of means over seeds",
            ),
            "quadratic_gaussian": _largest(
                gap.sel(readout="gaussian").values.ravel(),
                "settings: largest difference of means over seeds",
            ),
        },
        shown={
            "images": {
                name: after[name].values for name in ("predicted", "after_step", "after_epoch")
            },
            "alphas": ALPHAS,
            "spectra": {
                readout: {target: _curve(spectra, readout, target) for target in TARGETS}
                for readout in spectra.readout.values.tolist()
            },
            "widths": {
                "width": widths.width.values,
                "predicted": widths.predicted.mean("seed").values,
                "measured": widths.measured.mean("seed").values,
                "sd": widths.measured.std("seed", ddof=1).values,
            },
        },
    )


def _images(bench: Bench) -> xr.Dataset:
    sizes = dict(IMAGES[bench.scale])
    plan = lr.Study(
        name="one-step",
        experiment=OneStep,
        base={name: sizes[name] for name in ("samples", "width")},
        axes={"data": sizes["data"], "init_scale": [1.0, 2.0]},
        seeds=3,
    )
    return bench.sweep(plan)


def _spectra(bench: Bench) -> xr.Dataset:
    d = DIMENSION[bench.scale]
    plan = lr.Study(
        name="spectra",
        experiment=Quadratic,
        base={"dimension": d, "samples": 2 * d},
        axes={
            "readout": ["signs", "gaussian"],
            "target": TARGETS,
            "alpha": ALPHAS[::4] if bench.scale == "smoke" else ALPHAS,
        },
        seeds=SEEDS[bench.scale],
    )
    return bench.sweep(plan)


def _widths(bench: Bench) -> xr.Dataset:
    d = DIMENSION[bench.scale]
    plan = lr.Study(
        name="widths",
        experiment=Quadratic,
        base={"dimension": d, "samples": 2 * d, "target": "products", "alpha": 1.0},
        axes={"width": WIDTHS[bench.scale]},
        seeds=SEEDS[bench.scale],
    )
    return bench.sweep(plan)


def _largest(values: np.ndarray, of: str) -> Finding:
    return Finding(value=float(np.max(values)), n=int(np.size(values)), of=of)


def _curve(found: xr.Dataset, readout: str, target: str) -> dict[str, Any]:
    one = found.sel(readout=readout, target=target)
    return {
        "alpha": one.alpha.values,
        "predicted": one.predicted.mean("seed").values,
        "measured": one.measured.mean("seed").values,
        "sd": one.measured.std("seed", ddof=1).values,
    }


def found(record: Record) -> str:
    """How far the predictions are off."""
    findings = record["findings"]
    return (
        "The C-NFA predicted from one gradient is off by "
        f"{bare(findings['one_step'], '.1g')} at most after one tiny step, and by "
        f"{number(findings['one_epoch'])} after an epoch of small ones (largest of the layers); "
        f"the one predicted from the spectra by {bare(findings['quadratic_signs'], '.2g')} at most "
        f"for readouts ±1 and {bare(findings['quadratic_gaussian'], '.2g')} for Gaussian ones."
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Images on the left; spectra of inputs in the middle; the width on the right."""
    shown = record["shown"]
    made = plot.figure(1, 4, width=3.6, height=3.2)
    images, signs, gaussian, widths = made.axes
    found = {name: np.ravel(values) for name, values in shown["images"].items()}
    images.plot([0, 1], [0, 1], color="0.7", lw=0.8)
    images.plot(found["predicted"], found["after_epoch"], "s", ms=4, mfc="none", label="an epoch")
    images.plot(found["predicted"], found["after_step"], ".", ms=4, label="one tiny step")
    low = min(min(values) for values in found.values()) - 0.05
    images.set(xlim=(low, 1.01), ylim=(low, 1.01), xlabel="predicted C-NFA", ylabel="found after")
    images.set_title("every layer, images")
    plot.legend(images)
    for ax, readout in ((signs, "signs"), (gaussian, "gaussian")):
        for i, (target, curve) in enumerate(shown["spectra"][readout].items()):
            line = ax.plot(curve["alpha"], curve["predicted"], DASHES[i], label=target)[0]
            ax.errorbar(
                np.array(curve["alpha"]) + 0.05 * (i - 1), curve["measured"], curve["sd"],
                fmt="osD"[i], ms=4, capsize=2, elinewidth=1, color=line.get_color(),
            )  # fmt: skip
        ax.set(xlabel="decay α of the inputs' spectrum", ylabel="C-NFA at the start")
        ax.set_title(f"quadratic neurons, {readout} readout")
    handles, labels = signs.get_legend_handles_labels()
    title = "quadratic neurons: labels; lines: predicted"
    made.legend(handles, labels, title=title, loc="outside lower center", ncols=len(labels))
    curve = shown["widths"]
    widths.plot(curve["width"], curve["predicted"], color="C1", label="predicted")
    widths.errorbar(
        curve["width"], curve["measured"], curve["sd"], fmt="o", ms=4, capsize=2, color="C1",
        label="found",
    )  # fmt: skip
    widths.set(xscale="log", xlabel="neurons", title="products, α = 1")
    plot.legend(widths)
    return made
