"""Beyond the paper: its network on one input is the uv model of the catapult, at steps of any size.

In the NTK parametrisation, the kernel phase of the paper, PyTorch beside the paper's recursion and
beside the map of Lewkowycz et al. (arXiv:2003.02218), over curvatures z (learning rate times
kernel) and widths. Does a large step change the kernel at every width, where a small one does not,
and by which of the three mechanisms?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from papers.harness import Bench, Finding, Measured, Record, bare, ends, number, share, slope
from papers.xu2025three.large_steps import LargeSteps, phase

CURVATURES = [0.5, 1.0, 1.5, 2.5, 3.0, 3.5, 4.5, 5.0]
SMALL, LARGE = 1.0, 3.0  # whose changes of the kernel are followed over widths
SHADES = {
    "lazy": ("#9ECAE1", "#0072B2", "#08306B"),
    "catapult": ("#FDAE6B", "#D55E00", "#7F2704"),
    "divergent": ("0.7", "0.4"),
}
LINE_WIDTHS = (2.6, 1.9, 1.2)  # so that curves on top of each other all show
ACTS = 0.1  # as in figure 3
NO_POWER = 0.1  # over two decades of the width a factor of 1.6
WIDTHS = {
    "smoke": [100, 300, 1000],
    "laptop": [100, 316, 1000, 3162, 10_000],
    "paper": [100, 1000, 10_000, 100_000],
}
SEEDS = {"smoke": 2, "laptop": 30, "paper": 30}
IN_PHASE = {  # what a run of each phase does, by the wide limit
    "lazy": lambda run: (run.converged == 1) & (run.loss_rise <= 1),
    "catapult": lambda run: (run.converged == 1) & (run.loss_rise > 1) & (run.last_curvature < 2),
    "divergent": lambda run: run.converged == 0,
}


def measure(bench: Bench) -> Measured:
    """Step at every curvature and width."""
    found = bench.sweep(
        lr.Study(
            name="large-steps",
            experiment=LargeSteps,
            axes={"curvature": CURVATURES, "width": WIDTHS[bench.scale]},
            seeds=SEEDS[bench.scale],
        )
    )
    phases = np.array([phase(z) for z in CURVATURES])
    findings = {
        "largest error of the recursion": _largest(found.recursion_error),
        "largest error of the map": _largest(found.map_error),
    }
    for name, holds in IN_PHASE.items():
        right = holds(found.isel(curvature=phases == name))
        findings[f"{name}: runs as the map's phase says"] = Finding(
            value=float(right.mean()), n=right.size, of="runs: share"
        )
    for name, z in (("small", SMALL), ("large", LARGE)):
        change = found.ntk_change.sel(curvature=z).transpose("seed", "width")
        findings[f"{name} steps: power of the kernel's change"] = slope(change, "width")
        widest = float(change.isel(width=-1).median())
        findings[f"{name} steps: kernel's change at the largest width"] = Finding(
            value=widest, n=change.sizes["seed"], of="runs: median"
        )
    thrown = found.isel(curvature=phases == "catapult")
    turns = (thrown.largest_alignment >= ACTS) & (thrown.last_alignment < ACTS)
    shrinks = thrown.log_norms_change <= -ACTS
    for name, right in (("align and disalign", turns), ("shrink their norms", shrinks)):
        findings[f"catapult: runs that {name}"] = Finding(
            value=float(right.mean()), n=right.size, of="runs: share"
        )
    return Measured(findings=findings, shown=_shown(found))


def _largest(values: xr.DataArray) -> Finding:
    return Finding(value=float(values.max()), n=values.size, of="runs: largest")


def _shown(found: xr.Dataset) -> dict[str, Any]:
    widest = found.isel(width=-1, seed=0)
    return {
        "curvatures": found.curvature.values,
        "widths": found.width.values,
        "ntk_change": found.ntk_change.transpose("curvature", "width", "seed").values,
        "curvature_at": widest.curvature_at.transpose("curvature", "step").values[:, :40],
        "alignment_at": widest.alignment_at.transpose("curvature", "step").values[:, :40],
    }


def found(record: Record) -> str:
    """Whether the two models are one, and what a large step does to the kernel phase."""
    findings = record["findings"]
    small, large = (
        findings[f"{name} steps: power of the kernel's change"] for name in ("small", "large")
    )
    widest = findings["large steps: kernel's change at the largest width"]
    turned, shrunk = (
        findings[f"catapult: runs that {name}"]
        for name in ("align and disalign", "shrink their norms")
    )
    return (
        "PyTorch, the paper's recursion and the map of the catapult differ by "
        f"{bare(findings['largest error of the recursion'], '.0e')} and "
        f"{bare(findings['largest error of the map'], '.0e')} at most. As the width grows the "
        f"kernel's change {_fate(small)} for z = {SMALL:g} (power "
        f"{number(small)}) and {_fate(large)} for z = {LARGE:g} (power {number(large)}; "
        f"{bare(widest)} at the largest width). In a catapult {share(turned)} runs align and "
        f"disalign again, and {share(shrunk)} end with smaller norms."
    )


def _fate(power: Mapping[str, Any]) -> str:
    """Of a change of the kernel over widths, from the interval of its power."""
    low, high = ends(power)
    if high < -NO_POWER:
        return "vanishes"
    if low > NO_POWER:
        return "grows"
    return "stays" if low >= -NO_POWER and high <= NO_POWER else "is not decided"


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """Curvature and alignment over steps, and the change of the kernel against the width."""
    shown = record["shown"]
    made = plot.figure(1, 3, width=3.9, height=3.2)
    curvature, alignment, change = made.axes
    counts = dict.fromkeys(SHADES, 0)
    for i, z in enumerate(shown["curvatures"]):
        kind = phase(z)
        nth = counts[kind]
        style = {"color": SHADES[kind][nth], "lw": LINE_WIDTHS[nth], "ls": ("-", "--", ":")[nth]}
        style["label"] = f"z = {z:g}"
        counts[kind] += 1
        for ax, name in ((curvature, "curvature_at"), (alignment, "alignment_at")):
            ax.plot(np.array(shown[name][i], float), **style)
        if kind != "divergent":
            values = np.median(np.array(shown["ntk_change"][i], float), -1)
            change.plot(shown["widths"], values, marker="o", ms=3, **style)
    curvature.axhline(2, color="0.8", lw=0.8)
    curvature.set(ylim=(0, 6), xlabel="step", title=f"curvature z, d = {shown['widths'][-1]}")
    alignment.set(ylim=(-0.05, 1.05), xlabel="step", title="alignment |ζ|")
    change.set(xscale="log", yscale="log", xlabel="width d")
    change.set_title("change of the kernel ΔΘ/Θ at the end")
    plot.legend(curvature, fontsize="x-small", ncols=2)
    return made
