"""Speed-limited optimisation: one layer fast and the others slow, beside plain methods.

A network learns the chain monomial x₀x₁ + x₁x₂ + … + x₄x₀ of 32 Gaussian inputs. With the first
layer fast: do its feature matrix and average gradient outer product come to agree, does it single
out the five relevant inputs, and is the test error lower than that of gradient descent and of
Adam, each with its learning rate chosen on validation data? The controls ask where
a gain comes from: layer-wise learning rates without normalised gradients, normalised gradients
with equal speeds, and speed given to the second layer. The adaptive form is tried on images, at a
constant rate and with a cosine schedule, since gradients of norm 1 never come to rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

import lazyrich as lr
from lazyrich import plot
from papers.beaglehole2024alignment.chain import Chain
from papers.beaglehole2024alignment.watched import Watched
from papers.harness import Bench, Finding, Measured, Record, compared, mean, number

METHODS: Mapping[str, dict[str, Any]] = {
    "SGD": {"rule": "sgd"},
    "Adam": {"rule": "adam"},
    "rates, layer 1": {"rule": "rates", "target": 1},
    "limited, layer 1": {"rule": "limited", "target": 1},
    "limited, layer 2": {"rule": "limited", "target": 2},
    "rates, layer 2": {"rule": "rates", "target": 2},
    "normalised": {"rule": "normalised"},
}
RATES = {
    "sgd": [0.05, 0.1, 0.2, 0.25],
    "adam": [0.003, 0.01, 0.03, 0.1],
    "rates": [0.03, 0.1, 0.3, 0.5],
    "limited": [0.003, 0.01, 0.03, 0.1, 0.3],
    "normalised": [0.01, 0.03, 0.1, 0.3],
}
STRENGTHS = {"smoke": [20.0], "laptop": [5.0, 20.0], "paper": [5.0, 20.0, 100.0, 500.0]}
SEEDS = {"smoke": 2, "laptop": 10, "paper": 20}
IMAGE_SEEDS = {"smoke": 2, "laptop": 5, "paper": 5}
STEPS = {"smoke": 40, "laptop": 2000, "paper": 10_000}
IMAGES: Mapping[str, dict[str, Any]] = {
    "smoke": {"data": "digits", "samples": 200, "test_samples": 50, "epochs": 2, "measured": 50},
    "laptop": {"data": "mnist", "samples": 2000, "epochs": 20, "measured": 500},
    "paper": {"data": "mnist", "samples": 50_000, "test_samples": 10_000, "epochs": 100},
}
BELOW = 0.22  # of its mean the seeds of a row, in units of rows
ANSATZ = ("nfa", "cnfa", "nfa_null", "cnfa_null")
IMAGE_RATES = {"sgd": [0.1, 0.3, 1.0], "adaptive": [0.01, 0.03, 0.1, 0.3]}


def measure(bench: Bench) -> Measured:
    """Tune every method on validation data, then compare on test data, seed by seed."""
    tuned = {name: _tuned(bench, name) for name in METHODS}
    adaptive = {rule: _images(bench, rule) for rule in IMAGE_RATES}
    return Measured(
        findings=_findings(tuned, adaptive),
        shown={
            "methods": {name: _shown(run) for name, run in tuned.items()},
            "images": {rule: _shown_images(run) for rule, run in adaptive.items()},
        },
    )


def _tuned(bench: Bench, name: str) -> xr.Dataset:
    """Runs of a method at the strength and rate with the lowest mean validation error."""
    fixed = METHODS[name]
    strengths = STRENGTHS[bench.scale] if "target" in fixed else [1.0]
    rates = RATES[fixed["rule"]]
    if bench.scale == "smoke":
        rates = rates[1:2]
    plan = lr.Study(
        name=name.replace(", ", "-").replace(" ", ""),
        experiment=Chain,
        base={**fixed, "steps": STEPS[bench.scale]},
        axes={"strength": strengths, "lr": rates},
        seeds=SEEDS[bench.scale],
    )
    found = bench.sweep(plan)
    error = found.validation_error.mean("seed", skipna=False).fillna(np.inf)
    return found.isel(error.argmin(["strength", "lr"]))


def _images(bench: Bench, rule: str) -> xr.Dataset:
    rates = IMAGE_RATES[rule][:1] if bench.scale == "smoke" else IMAGE_RATES[rule]
    plan = lr.Study(
        name=f"images-{rule}",
        experiment=Watched,
        base={**IMAGES[bench.scale], "rule": rule, "points": 3},
        axes={"lr": rates},
        seeds=IMAGE_SEEDS[bench.scale],
    )
    found = bench.sweep(plan)
    # no validation part: the rate with the lowest training loss, which looks at no test image
    loss = found.loss.isel(epoch=-1).mean("seed", skipna=False).fillna(np.inf)
    return found.isel(lr=int(np.argmin(loss.values)))


def _findings(
    tuned: Mapping[str, xr.Dataset], adaptive: Mapping[str, xr.Dataset]
) -> dict[str, Finding]:
    fast, plain = tuned["limited, layer 1"], tuned["SGD"]
    second = tuned["limited, layer 2"]
    ends = {rule: run.isel(epoch=-1) for rule, run in adaptive.items()}
    return {
        "nfa_of_layer_1": mean(fast.nfa.sel(layer="1").values),
        "nfa_of_layer_2": mean((second.nfa - plain.nfa).sel(layer="2").values),
        "relevant_energy": mean((fast.energy - plain.energy).values),
        "error_below_sgd": _saved(plain, fast),
        "error_below_adam": _saved(tuned["Adam"], fast),
        "error_below_rates": _saved(tuned["rates, layer 1"], fast),
        "rates_below_sgd": _saved(plain, tuned["rates, layer 1"]),
        "normalised_below_sgd": _saved(plain, tuned["normalised"]),
        "layer_2_below_sgd": _saved(plain, second),
        "adaptive_lowest_nfa": mean(
            (ends["adaptive"].nfa.min("layer") - ends["sgd"].nfa.min("layer")).values
        ),
        "adaptive_accuracy": mean(
            (ends["adaptive"].test_accuracy - ends["sgd"].test_accuracy).values
        ),
    }


def _saved(reference: xr.Dataset, other: xr.Dataset) -> Finding:
    """By how much the relative test error is lower, in pairs of one seed."""
    return mean((reference.test_error - other.test_error).values)


def _shown(run: xr.Dataset) -> dict[str, Any]:
    names = ("test_error", "train_error", "energy", *ANSATZ, "centred_share")
    return {
        "lr": run.lr.item(),
        "strength": run.strength.item(),
        **{name: run[name].values for name in names},
        "nfm": run.nfm.isel(seed=0).values[:12, :12],
        "agop": run.agop.isel(seed=0).values[:12, :12],
    }


def _shown_images(run: xr.Dataset) -> dict[str, Any]:
    end = run.isel(epoch=-1)
    return {
        "lr": run.lr.item(),
        **{name: end[name].values for name in (*ANSATZ, "train_accuracy", "test_accuracy")},
    }


def found(record: Record) -> str:
    """Which method has the lower error, and what the adaptive rule does on images."""
    findings, methods = record["findings"], record["shown"]["methods"]
    errors = ", ".join(
        f"{np.mean(run['test_error']):.3f} ({name})" for name, run in methods.items()
    )
    words = ("lower than", "higher than", "not told from")
    lowest, accuracy = findings["adaptive_lowest_nfa"], findings["adaptive_accuracy"]
    return (
        f"Test errors over the variance: {errors}. With a fast first layer the error is "
        f"{compared(findings['error_below_sgd'], words)} that of gradient descent, "
        f"{compared(findings['error_below_adam'], words)} Adam's and "
        f"{compared(findings['error_below_rates'], words)} that of layer-wise rates. On images the "
        f"adaptive rule's lowest UC-NFA is {compared(lowest)} gradient descent's (by "
        f"{number(lowest)}), its test accuracy {compared(accuracy)} it (by {number(accuracy)})."
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Errors and ansatz of every method above, feature matrices of three of them below."""
    methods = record["shown"]["methods"]
    made = plot.figure(2, 4, width=3.4, height=3.2)
    top, below = made.axes[:4], made.axes[4:]
    names = list(methods)
    for ax, quantity, title in (
        (top[0], "test_error", "test error / variance"),
        (top[1], "energy", "share of the five inputs in WᵀW"),
    ):
        dots(ax, names, [methods[n][quantity] for n in names], title)
    for ax, layer in ((top[2], 0), (top[3], 1)):
        values = [np.array(methods[n]["nfa"])[:, layer] for n in names]
        dots(ax, names, values, f"ansatz of layer {layer + 1}; bars: null")
        for y, n in enumerate(names):
            null = float(np.mean(np.array(methods[n]["nfa_null"])[:, layer]))
            ax.plot([null, null], [y - 0.3, y + 0.3], color="0.5")
        ax.set_xlim(0, 1)
    shown = [(n, part) for n in ("SGD", "limited, layer 1") for part in ("nfm", "agop")]
    for ax, (name, part) in zip(below, shown, strict=True):
        mesh = ax.imshow(np.array(methods[name][part]), cmap="cividis", vmin=-0.2, vmax=1)
        ax.set_title(f"{part.upper()}, {name}")
        ax.set(xlabel="input", ylabel="input")
    made.colorbar(mesh, ax=below[-1])
    return made


def dots(ax: Any, names: list[str], values: list[Any], title: str) -> None:  # noqa: ANN401
    """A row a method: every seed, and the mean with its interval."""
    for y, found in enumerate(values):
        x = np.asarray(found, float)
        ax.plot(x, [y + BELOW] * len(x), "o", ms=3, mfc="none", color="0.4")
        half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5
        ax.errorbar(x.mean(), y, xerr=half, fmt="o", ms=5, capsize=3)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set_title(title)
