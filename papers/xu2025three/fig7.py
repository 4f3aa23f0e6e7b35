"""Beyond the paper: the kernel's change, forecast before training, beside what training does to it.

For the networks of figures 3 to 5, across starts and scales, and for a two-layer ReLU network on
CIFAR-10 in the six parametrisations of figure 6, across widths: does a larger richness ρ come with
a larger measured change of the tangent kernel? Across widths, does a rehearsal of the training on
30 images? Beside it: which layers of the ResNet of figure 5 aligned and which grew.
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
    judge,
    mean,
    number,
    rank_correlation,
)
from papers.xu2025three.fig6 import PAIRS, PRESETS, counted, titled
from papers.xu2025three.looks import COLOURS, look
from papers.xu2025three.rehearsed import PROBED, Rehearsed

SETS = {
    "two layers, regression": ("fig3", 0),
    "two layers, classification": ("fig3", 1),
    "MNIST, four layers": ("fig4", None),
    "ResNet-18": ("fig5", None),
}
ACROSS = "CIFAR-10, six parametrisations"
NEEDS = ("fig3", "fig4", "fig5")  # whose records it reads
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        "base": {"data": "digits", "samples": 300, "batch_size": 30, "steps": 3},
        "widths": [100, 200],
        "seeds": [0, 1],
    },
    "laptop": {
        "base": {"data": "cifar10", "samples": 4000, "batch_size": 32, "steps": 40},
        "widths": [100, 316, 1000, 3162],
        "seeds": [1, 2, 3],
    },
    "paper": {
        "base": {"data": "cifar10", "samples": 50_000, "batch_size": 128, "steps": 2000},
        "widths": [100, 300, 1000, 3000, 10_000],
        "seeds": [1, 2, 3],
    },
}
MARKERS = "os^Dv"
OF_RHO = "rank correlation of ρ and the kernel's change"
OF_REHEARSAL = "rank correlation of the rehearsed and the measured change"
OF_ONE_STEP = "rank correlation of ρ and the kernel's change in one step"
CORRELATED = {
    OF_RHO: ("richness", "ntk_change"),
    OF_REHEARSAL: ("rehearsed_ntk_change", "ntk_change"),
    OF_ONE_STEP: ("richness", "one_step_change"),
}
RATIO = "ln of the measured change over the rehearsed"
SHOWN = ("richness", "rehearsed_ntk_change", "linearisation_gap", "ntk_change", "one_step_change")
PHASES = {"feature": [*PAIRS], "kernel": [*PAIRS.values()]}
ORDERS = ("in order", "inverted", "not told")


def measure(bench: Bench) -> Measured:
    """Gather forecast and outcome from the records; rehearse and train across widths."""
    findings: dict[str, Finding] = {}
    pairs: dict[str, Any] = {}
    for name, (figure, task) in SETS.items():
        rho, change = _of_record(bench.record(figure)["shown"], task)
        known = np.isfinite(rho) & np.isfinite(change)
        pairs[name] = {"richness": rho[known].ravel(), "ntk_change": change[known].ravel()}
        found, p = rank_correlation(pairs[name]["richness"], pairs[name]["ntk_change"])
        findings[f"{name}: {OF_RHO}"] = found
        findings[f"{name}: p-value"] = Finding(value=p, n=found.n)
    widths = bench.sweep(across(bench.scale))
    last = sweeps.final(widths).assign(one_step_change=widths.ntk_change.sel(step=1, drop=True))
    last = last.transpose("parametrisation", "width", "seed", ...)
    resnet = bench.record("fig5")["shown"]
    kept = (
        "sigma",
        "layers",
        "alignment_change",
        "layer_log_rescaling",
        "weight_movement",
        "steps",
    )
    return Measured(
        findings=findings | _across(last) | _of_resnet(resnet),
        shown={
            "pairs": pairs,
            "resnet": {name: resnet[name] for name in kept if name in resnet},
            "across": {
                **SIZES[bench.scale]["base"],
                "widths": last.width.values,
                **{name: last[name].sel(parametrisation=PRESETS).values for name in SHOWN},
            },
        },
    )


def _of_record(shown: dict[str, Any], task: int | None) -> tuple[np.ndarray, np.ndarray]:
    """ρ and the kernel's change of all runs of a figure, or of one of its tasks."""
    rho, change = (np.array(shown[part], float) for part in ("richness", "ntk_change"))
    if task is None:
        return rho, change
    rho, change = rho[task], change[task]
    if "richness_by_width" in shown:
        more = (np.array(shown[f"{p}_by_width"], float) for p in ("richness", "ntk_change"))
        rho, change = (
            np.concatenate([one.ravel(), two[task].ravel()])
            for one, two in zip((rho, change), more, strict=True)
        )
    return rho, change


def across(scale: str) -> lr.Study:
    """The six parametrisations at every width, rehearsed and trained."""
    size = SIZES[scale]
    return lr.Study(
        name="widths",
        experiment=Rehearsed,
        base=size["base"],
        axes={"parametrisation": PRESETS, "width": size["widths"]},
        seeds=size["seeds"],
    )


def _across(runs: xr.Dataset) -> dict[str, Finding]:
    """Orders across widths within each parametrisation and over all, and the rehearsal's size."""
    findings = {}
    for preset in PRESETS:
        own = runs.sel(parametrisation=preset)
        for of, (one, other) in CORRELATED.items():
            found, _ = rank_correlation(own[one].values.ravel(), own[other].values.ravel())
            findings[f"{preset}, over widths: {of}"] = found
    # at the smallest width both of a pair are the same network
    distinct = ~(runs.parametrisation.isin(PHASES["kernel"]) & (runs.width == runs.width[0]))
    once = runs.where(distinct)
    for of, (one, other) in CORRELATED.items():
        x, y = (once[name].values[distinct.values].ravel() for name in (one, other))
        findings[f"{ACROSS}: {of}"] = rank_correlation(x, y)[0]
    ratio = np.log(once.ntk_change / once.rehearsed_ntk_change)
    for phase, presets in PHASES.items():
        values = ratio.sel(parametrisation=presets).values
        findings[f"{phase} phase: {RATIO}"] = mean(values[np.isfinite(values)])
    return findings


def _of_resnet(shown: dict[str, Any]) -> dict[str, Finding]:
    sigma = np.repeat(shown["sigma"], len(shown["layer_log_rescaling"][0]))
    grown = np.array(shown["layer_log_rescaling"], float).mean(-1).ravel()
    moved = np.array(shown["weight_movement"], float).mean(-1).ravel()
    return {
        f"ResNet-18: rank correlation of σ and the {name} of the weights": (
            rank_correlation(sigma, values)[0]
        )
        for name, values in (("growth", grown), ("movement", moved))
    }


def found(record: Record) -> str:
    """In which sets ρ and the rehearsal order the outcome, and how the ResNet's weights fare."""
    findings = record["findings"] | {row["finding"]: row["found"] for row in judge(record)}
    size, resnet = (record["shown"][part] for part in ("across", "resnet"))
    sets = {name: findings[f"{name}: {OF_RHO}"] for name in SETS}
    parts = ", ".join(f"{number(r)} ({_seen(name, resnet)})" for name, r in sets.items())
    fates = []
    for name in ("growth", "movement"):
        r = findings[f"ResNet-18: rank correlation of σ and the {name} of the weights"]
        fates.append(f"{name} {compared(r, ('rises', 'falls', 'has no clear trend'))}")
    return (
        f"Rank correlation of ρ with the change of the kernel: {parts}. Over widths within each "
        f"parametrisation of CIFAR-10, by ρ – {_orders(findings, OF_RHO)} (of the kernel after one "
        f"step – {_orders(findings, OF_ONE_STEP)}); by the rehearsal – "
        f"{_orders(findings, OF_REHEARSAL)}. Over all of them ρ has "
        f"{number(findings[f'{ACROSS}: {OF_RHO}'])}, the rehearsal "
        f"{number(findings[f'{ACROSS}: {OF_REHEARSAL}'])}. The measured change is "
        f"{' and '.join(_ratio(findings, phase) for phase in PHASES)}. Training takes "
        f"{size['steps']} batches of {size['batch_size']} from {size['samples']:,} images; the "
        f"rehearsal takes as many steps on {PROBED} images, whose kernel it is. As σ grows the "
        f"ResNet's weights' {' and their '.join(fates)}, after {counted(resnet)}."
    )


def _seen(name: str, resnet: dict[str, Any]) -> str:
    """A set of runs; of the ResNet also when it was looked at."""
    return f"{name} after {counted(resnet)}" if name == "ResNet-18" else name


def _orders(findings: dict[str, Any], of: str) -> str:
    """Which parametrisations are ordered, which the other way."""
    lists: dict[str, list[str]] = {word: [] for word in ORDERS}
    for preset in PRESETS:
        r = findings[f"{preset}, over widths: {of}"]
        lists[compared(r, ORDERS)].append(f"{titled(preset)} ({r['value']:.2f})")
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in lists.items() if names)


def _ratio(findings: dict[str, Any], phase: str) -> str:
    """By which factor the rehearsal was off on average, and how it spreads."""
    ratio = findings[f"{phase} phase: {RATIO}"]
    middle, low, high, spread = (np.exp(ratio[part]) for part in ("value", "low", "high", "sd"))
    return (
        f"{middle:.2f} ({low:.2f} … {high:.2f}) times the rehearsed one in the {phase} phase, "
        f"each run within ×/÷ {spread:.2f} (one standard deviation, n = {ratio['n']})"
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Forecasts against outcome, the change against the width, and the ResNet layer by layer."""
    shown = record["shown"]
    made = plot.figure(2, 3, width=4.0, height=3.4)
    scatter, rho, rehearsal, by_width, *of_resnet = made.axes
    for i, (name, pair) in enumerate(shown["pairs"].items()):
        label = _seen(name, shown["resnet"])
        scatter.plot(pair["richness"], pair["ntk_change"], MARKERS[i], ms=4, alpha=0.7, label=label)
    scatter.set(xlabel="richness ρ, before training", title="starts and scales")
    _draw_across(rho, shown["across"], "richness")
    rho.set(xlabel="richness ρ, before training", title="widths, CIFAR-10")
    _draw_across(rehearsal, shown["across"], "rehearsed_ntk_change")
    ends = np.array(shown["across"]["ntk_change"], float)
    rehearsal.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color="0.7", zorder=0)
    rehearsal.set(xlabel="rehearsed change, before training", title="widths, CIFAR-10")
    for ax in (scatter, rho, rehearsal):
        ax.set(xscale="log", yscale="log", ylabel="change of the kernel ΔΘ/Θ, after training")
        plot.legend(ax, fontsize="x-small", handlelength=3.5)
    _draw_by_width(by_width, shown["across"])
    panels = (("alignment_change", "change of a layer's alignment A"),)
    panels += (("layer_log_rescaling", "rescaling  Δ ln ‖W‖"),)
    for ax, (part, title) in zip(of_resnet, panels, strict=True):
        _draw_resnet(made, ax, shown["resnet"], part, f"ResNet-18: {title}")
    return made


def _draw_across(ax: Any, shown: dict[str, Any], forecast: str) -> None:  # noqa: ANN401 - Axes
    """A forecast against the outcome: means over seeds joined along the widths, and all runs."""
    x, y = (np.log(np.array(shown[name], float)) for name in (forecast, "ntk_change"))
    for i, preset in enumerate(PRESETS):
        ax.plot(np.exp(x[i].mean(-1)), np.exp(y[i].mean(-1)), **_style(preset))
        ax.plot(np.exp(x[i]).ravel(), np.exp(y[i]).ravel(), ".", ms=3, color=COLOURS[preset])


def _draw_by_width(ax: Any, shown: dict[str, Any]) -> None:  # noqa: ANN401 - Axes
    """What was measured as lines, what was rehearsed as crosses."""
    for i, preset in enumerate(PRESETS):
        measured, rehearsed = (
            np.exp(np.log(np.array(shown[name][i], float)).mean(-1))
            for name in ("ntk_change", "rehearsed_ntk_change")
        )
        ax.plot(shown["widths"], measured, **_style(preset))
        ax.plot(shown["widths"], rehearsed, "x", color=COLOURS[preset])
    ax.set(xscale="log", yscale="log", xlabel="width d", ylabel="change of the kernel ΔΘ/Θ")
    ax.set_title(f"measured after {counted(shown)} (lines), rehearsed (×)", fontsize="medium")


def _style(preset: str) -> dict[str, Any]:
    """A line with a mark at every width."""
    return {"marker": "o", "ms": 4, "mfc": "white", **look(preset)}


def _draw_resnet(made: Any, ax: Any, resnet: dict[str, Any], part: str, title: str) -> None:  # noqa: ANN401
    """The layers' changes at every σ."""
    names = [_short(layer) for layer in resnet["layers"]]
    values = np.array(resnet[part], float).mean(1)
    most = float(np.abs(values).max())
    mesh = ax.pcolormesh(values.T, cmap="RdBu_r", vmin=-most, vmax=most)
    made.colorbar(mesh, ax=ax)
    ax.set_xticks(np.arange(len(resnet["sigma"])) + 0.5, [f"{s:g}" for s in resnet["sigma"]])
    ax.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=5)
    ax.invert_yaxis()
    ax.set(xlabel="initial scale σ")
    ax.set_title(f"{title}\nafter {counted(resnet)}", fontsize="medium")


def _short(layer: str) -> str:
    return layer.removeprefix("network.").replace("stage", "s").replace("shortcut", "cut")
