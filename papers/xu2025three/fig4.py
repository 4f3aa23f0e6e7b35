"""A four-layer ReLU network on MNIST from initial weights of different scales σ.

Every layer starts from Kaiming's weights times σ, and the learning rate is chosen for each σ so
that training accuracy passes 95 % within 1,000 steps. How do the change of the tangent kernel, the
alignment of the layers with their inputs and the growth of their weights depend on σ?
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot, sweeps
from papers.harness import Bench, Finding, Measured, Record, compared, number, rank_correlation
from papers.xu2025three.images import Images

TUNING_SEED = 1000  # of no run that is reported
SIZES: dict[str, dict[str, Any]] = {
    "smoke": {
        "base": {"data": "digits", "samples": 400, "test_samples": 100, "width": 24, "steps": 40},
        "sigmas": [0.5, 1.0, 2.0],
        "lrs": [0.003, 0.1],
        "seeds": [0, 1],
    },
    "laptop": {
        "base": {
            **{"data": "mnist", "samples": 2000, "test_samples": 1000, "width": 128},
            "steps": 1000,
        },
        "sigmas": [0.25, 0.5, 1.0, 2.0, 4.0],
        "lrs": [float(f"{rate:.3g}") for rate in np.geomspace(1e-5, 10**0.5, 12)],
        "seeds": [0, 1, 2],
    },
    "paper": {
        "base": {
            **{"data": "mnist", "samples": 60_000, "test_samples": 10_000, "width": 1000},
            "steps": 1000,
        },
        "sigmas": [0.25, 0.5, 1.0, 2.0, 4.0],
        "lrs": [float(f"{rate:.3g}") for rate in np.geomspace(1e-6, 10, 15)],
        "seeds": list(range(5)),
    },
}
DASHES = ("-", "--", "-.", ":")  # so that layers on top of each other all show
SHARES = ("layer_log_alignment", "layer_log_rescaling", "layer_log_gain")


def measure(bench: Bench) -> Measured:
    """Choose the learning rates on a seed of their own, then train and decompose."""
    size = SIZES[bench.scale]
    base = {**size["base"], "depth": 3, "parametrisation": "kaiming_normal"}
    tuned = bench.sweep(
        lr.Study(
            name="learning-rates",
            experiment=Images,
            base={**base, "test_samples": 10},
            axes={"init_scale": size["sigmas"], "lr": size["lrs"]},
            seeds=[TUNING_SEED],
        )
    )
    rates = _chosen(tuned)
    found = bench.sweep(
        lr.Study(
            name="scales",
            experiment=Images,
            base={**base, "evaluations": 10, "measurements": 12},
            axes={
                "scale": [
                    {"label": sigma, "init_scale": sigma, "lr": rate}
                    for sigma, rate in rates.items()
                ]
            },
            seeds=size["seeds"],
        )
    )
    last = sweeps.final(found).transpose("scale", "seed", ...)
    whole = last[list(SHARES)].to_dataarray().sum(["variable", "layer"])
    turned = last.parameter_data_alignment - sweeps.initial(found).parameter_data_alignment
    findings = {
        "smallest training accuracy": Finding(
            value=float(last.train_accuracy.min()), n=last.train_accuracy.size
        ),
        "largest error of the sum of all shares": Finding(
            value=float(abs(whole - last.log_output).max()), n=whole.size
        ),
    }
    findings |= _directions(last, turned)
    return Measured(findings=findings, shown=_shown(last, turned, rates))


def _directions(last: xr.Dataset, turned: xr.DataArray) -> dict[str, Finding]:
    """Whether what training does falls or rises with σ."""
    sigma = np.repeat(last.scale.values, last.sizes["seed"])
    findings = {}
    for name, values in {
        "change of the kernel": last.ntk_change,
        "alignment of the layers": turned.mean("layer"),
        "growth of the weights": last.layer_log_rescaling.mean("layer"),
        "test accuracy": last.test_accuracy,
    }.items():
        values = values.transpose("scale", "seed").values.ravel()
        finding, p = rank_correlation(sigma, values)
        findings[f"rank correlation of σ and {name}"] = finding
        findings[f"p-value of σ and {name}"] = Finding(value=p, n=finding.n)
    return findings


def _chosen(tuned: xr.Dataset) -> dict[float, float]:
    """The learning rate of the lowest final training loss among the runs that did not diverge."""
    loss = tuned.train_loss.isel(seed=0).where(tuned.status.isel(seed=0) != "diverged", np.inf)
    best = loss.fillna(np.inf).argmin("lr").transpose("init_scale").values
    return {
        float(s): float(tuned.lr[i]) for s, i in zip(tuned.init_scale.values, best, strict=True)
    }


def _shown(last: xr.Dataset, turned: xr.DataArray, rates: dict[float, float]) -> dict[str, Any]:
    order = ("scale", "seed", "layer")
    return {
        "sigma": last.scale.values,
        "lr": rates,
        "layers": last.layer.values,
        **{name: last[name].transpose(*order).values for name in SHARES},
        "alignment_change": turned.transpose(*order).values,
        "weight_movement": last.weight_movement.transpose(*order).values,
        **{
            name: last[name].transpose("scale", "seed").values
            for name in ("ntk_change", "richness", "log_output")
        },
        "train_accuracy": last.train_accuracy.transpose("scale", "seed").values,
        "test_accuracy": last.test_accuracy.transpose("scale", "seed").values,
    }


def found(record: Record) -> str:
    """Which of the changes fall with σ."""
    findings = record["findings"]
    parts = []
    for name in ("change of the kernel", "alignment of the layers", "growth of the weights"):
        r = findings[f"rank correlation of σ and {name}"]
        fate = compared(r, ("rises", "falls", "has no clear trend"))
        parts.append(f"the {name} {fate} (rank correlation {number(r)})")
    return f"As σ grows, {', '.join(parts[:-1])} and {parts[-1]}."


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Shares of every layer against σ, and the change of the kernel."""
    shown = record["shown"]
    made = plot.figure(1, 4, width=3.3, height=3.0)
    sigma = np.array(shown["sigma"], float)
    panels = (
        ("alignment_change", "change of a layer's alignment A"),
        ("layer_log_alignment", "alignment  Δ ln A"),
        ("layer_log_rescaling", "rescaling  Δ ln ‖W‖"),
    )
    for ax, (name, label) in zip(made.axes, panels, strict=False):
        values = np.array(shown[name], float)
        for i, layer in enumerate(shown["layers"]):
            name, dashes = layer.removeprefix("network."), DASHES[i % len(DASHES)]
            _with_spread(ax, sigma, values[..., i], f"C{i}", name, dashes)
        ax.axhline(0, color="black", lw=0.5)
        _scale_axis(ax, sigma)
        ax.set_title(label)
    plot.legend(made.axes[0])
    kernel = made.axes[3]
    measured, rho = (np.array(shown[name], float) for name in ("ntk_change", "richness"))
    _with_spread(kernel, sigma, measured, "C0", "measured")
    _with_spread(kernel, sigma, rho, "C1", "richness ρ, at the first step")
    _scale_axis(kernel, sigma)
    kernel.set(yscale="log", title="change of the kernel ΔΘ/Θ")
    plot.legend(kernel)
    return made


def _scale_axis(ax: Any, sigma: np.ndarray) -> None:  # noqa: ANN401
    ax.set(xscale="log", xlabel="initial scale σ")
    ax.set_xticks(sigma, [f"{s:g}" for s in sigma])
    ax.xaxis.minorticks_off()


def _with_spread(
    ax: Any,  # noqa: ANN401 - Axes
    x: np.ndarray,
    values: np.ndarray,
    colour: str,
    label: str,
    dashes: Any = "-",  # noqa: ANN401 - of matplotlib
) -> None:
    """The mean over seeds, and every seed as a point."""
    ax.plot(x, values.mean(-1), ls=dashes, color=colour, label=label)
    ax.plot(x, values, ".", ms=4, color=colour)
