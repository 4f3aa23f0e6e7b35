"""Beyond the paper: the richness ρ, known before training, beside what training does to the kernel.

For the networks of figures 3 to 6, across starts, scales, widths and parametrisations: does a
larger ρ come with a larger measured change of the tangent kernel? Beside it: which layers of the
ResNet of figure 5 aligned and which grew.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lazyrich import plot
from papers.harness import Bench, Finding, Measured, Record, compared, number, rank_correlation

SETS = {
    "two layers, regression": ("fig3", 0),
    "two layers, classification": ("fig3", 1),
    "MNIST, four layers": ("fig4", None),
    "ResNet-18": ("fig5", None),
    "CIFAR-10, six parametrisations": ("fig6", None),
}
NEEDS = ("fig3", "fig4", "fig5", "fig6")  # whose records it reads
MARKERS = "os^Dv"
OF_SET = ": rank correlation of ρ and the kernel's change"


def measure(bench: Bench) -> Measured:
    """Gather forecast and outcome from the records of figures 3 to 6."""
    findings: dict[str, Finding] = {}
    pairs: dict[str, Any] = {}
    for name, (figure, task) in SETS.items():
        shown = bench.record(figure)["shown"]
        rho, change = (np.array(shown[part], float) for part in ("richness", "ntk_change"))
        if task is not None:
            rho, change = rho[task], change[task]
            if "richness_by_width" in shown:
                more = (np.array(shown[f"{p}_by_width"], float) for p in ("richness", "ntk_change"))
                rho, change = (
                    np.concatenate([one.ravel(), two[task].ravel()])
                    for one, two in zip((rho, change), more, strict=True)
                )
        known = np.isfinite(rho) & np.isfinite(change)
        pairs[name] = {"richness": rho[known].ravel(), "ntk_change": change[known].ravel()}
        found, p = rank_correlation(pairs[name]["richness"], pairs[name]["ntk_change"])
        findings[name + OF_SET] = found
        findings[f"{name}: p-value"] = Finding(value=p, n=found.n)
    resnet = bench.record("fig5")["shown"]
    layers = ("sigma", "layers", "alignment_change", "layer_log_rescaling", "weight_movement")
    sigma = np.repeat(resnet["sigma"], len(resnet["layer_log_rescaling"][0]))
    grown = np.array(resnet["layer_log_rescaling"], float).mean(-1).ravel()
    moved = np.array(resnet["weight_movement"], float).mean(-1).ravel()
    for name, values in (("growth", grown), ("movement", moved)):
        findings[f"ResNet-18: rank correlation of σ and the {name} of the weights"] = (
            rank_correlation(sigma, values)[0]
        )
    return Measured(
        findings=findings,
        shown={"pairs": pairs, "resnet": {name: resnet[name] for name in layers}},
    )


def found(record: Record) -> str:
    """In which sets ρ orders the outcome, and how the ResNet's weights depend on σ."""
    findings = record["findings"]
    parts = ", ".join(f"{number(findings[name + OF_SET])} ({name})" for name in SETS)
    fates = []
    for name in ("growth", "movement"):
        r = findings[f"ResNet-18: rank correlation of σ and the {name} of the weights"]
        fates.append(f"{name} {compared(r, ('rises', 'falls', 'has no clear trend'))}")
    return (
        f"Rank correlation of ρ with the change of the kernel: {parts}. As σ grows the ResNet's "
        f"weights' {' and their '.join(fates)}."
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Forecast against outcome, and the ResNet layer by layer."""
    shown = record["shown"]
    made = plot.figure(1, 3, width=4.0, height=3.4)
    scatter = made.axes[0]
    for i, (name, pair) in enumerate(shown["pairs"].items()):
        scatter.plot(pair["richness"], pair["ntk_change"], MARKERS[i], ms=4, alpha=0.7, label=name)
    scatter.set(xscale="log", yscale="log", xlabel="richness ρ, before training")
    scatter.set_ylabel("change of the kernel ΔΘ/Θ, after training")
    scatter.legend(fontsize="x-small")
    resnet = shown["resnet"]
    names = [_short(layer) for layer in resnet["layers"]]
    panels = (("alignment_change", "change of a layer's alignment A"),)
    panels += (("layer_log_rescaling", "rescaling  Δ ln ‖W‖"),)
    for ax, (part, title) in zip(made.axes[1:], panels, strict=True):
        values = np.array(resnet[part], float).mean(1)
        most = float(np.abs(values).max())
        mesh = ax.pcolormesh(values.T, cmap="RdBu_r", vmin=-most, vmax=most)
        made.colorbar(mesh, ax=ax)
        ax.set_xticks(np.arange(len(resnet["sigma"])) + 0.5, [f"{s:g}" for s in resnet["sigma"]])
        ax.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=5)
        ax.invert_yaxis()
        ax.set(xlabel="initial scale σ", title=f"ResNet-18: {title}")
    return made


def _short(layer: str) -> str:
    return layer.removeprefix("network.").replace("stage", "s").replace("shortcut", "cut")
