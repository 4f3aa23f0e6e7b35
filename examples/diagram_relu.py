"""A measured phase diagram: two-layer ReLU networks on digits, output scale against initial scale.

Networks of four widths are trained to the same loss (`diagram_relu.toml`). The boundary between
small and large changes of the kernel is compared with the forecast before training (ρ = 1) and with
the law of homogeneity, by which only γ κ² matters. A second study looks for the boundary at one
width by refinement.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from diagram_record import from_command_line, record, write
from matplotlib.axes import Axes
from scipy import stats

from lazyrich import fit_exponent, plot, results, sweep
from lazyrich.study import Plane, Refined, level_curve, measured_diagram, sweep_refined
from lazyrich.sweeps import final

X, Y = "output_scale", "init_scale"
LEVEL = 0.5  # of the kernel's relative change
ORDER = (
    *("ntk_change", "kernel_distance", "alignment", "linearisation_error"),
    *("test_accuracy", "output_change", "richness"),
)
REFINED_WIDTH, DEPTH = 256, 2


def homogeneity(end: xr.Dataset) -> dict[str, float]:
    """Networks with equal γ κ² and seed are the same: how much their results differ."""
    product = (np.log10(end[X]) + 2 * np.log10(end[Y])).round(6)
    gaps = {}
    for name in ("ntk_change", "richness", "test_accuracy"):
        groups = end[name].groupby(product.rename("product"))
        size = groups.mean().where(groups.mean() > 1e-4)  # below, float32 rounds
        gaps[name] = float(((groups.max() - groups.min()) / size).max())
    return gaps


def at_level(diagram: xr.Dataset, width: int) -> dict[str, float]:
    """γ κ² and the forecast ρ on the measured boundary of one width."""
    here = diagram.sel(width=width)
    logs = np.log(here.ntk_change.values).ravel()
    order = np.argsort(logs)
    product = (here[X] * here[Y] ** 2).transpose(*here.ntk_change.dims).values.ravel()
    found = {"output_scale_times_squared_init_scale": product, "richness": here.richness.values}
    return {
        name: float(np.exp(np.interp(np.log(LEVEL), logs[order], np.log(v.ravel())[order])))
        for name, v in found.items()
    }


def slope(diagram: xr.Dataset, width: int) -> float:
    """Of the measured boundary, ln κ against ln γ; homogeneity says −1/2."""
    curves = level_curve(diagram.ntk_change.sel(width=width), LEVEL)
    x, y = (np.concatenate([getattr(curve, side) for curve in curves]) for side in "xy")
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def numbers(data: xr.Dataset, diagram: xr.Dataset, refined: Refined) -> dict[str, Any]:
    """What the record says."""
    end = final(data)
    widths = [int(width) for width in data.width.values]
    names, counts = np.unique(diagram.phase.values, return_counts=True)
    boundary = {str(width): at_level(diagram, width) for width in widths}
    for width in widths:
        boundary[str(width)]["slope"] = slope(diagram, width)
    critical = [boundary[str(w)]["output_scale_times_squared_init_scale"] for w in widths]
    shift = np.polyfit(np.log(widths), np.log(critical), 1)[0]
    richness = fit_exponent(end.richness)
    change = diagram.ntk_change_exponent
    finite = data.status != ""
    return {
        "level_of_ntk_change": LEVEL,
        "boundary": boundary,
        "width_exponent_of_the_boundary": float(shift),
        "width_exponent_of_richness": [float(f(richness.exponent)) for f in (np.min, np.max)],
        "width_exponent_of_ntk_change": [float(f(change)) for f in (np.min, np.max)],
        "phases": dict(zip(names.tolist(), counts.tolist(), strict=True)),
        "homogeneity_largest_relative_gap": homogeneity(end),
        "test_accuracy": [float(f(end.test_accuracy.where(finite))) for f in (np.min, np.max)],
        "rank_correlation_of_richness_and_ntk_change": float(
            stats.spearmanr(end.richness.values.ravel(), end.ntk_change.values.ravel()).statistic
        ),
        "refinement": {
            "width": REFINED_WIDTH,
            "bisections": DEPTH,
            "places": refined.places,
            "uniform_grid_of_the_same_resolution": refined.uniform,
        },
    }


def draw(diagram: xr.Dataset, data: xr.Dataset, refined: Refined, target: Path) -> None:
    """Two widths, all networks against the forecast, the refined boundary."""
    made = plot.figure(2, 2, width=5.0, height=4.1)
    panels = dict(zip("abcd", made.axes, strict=True))
    for panel, width in zip("ab", data.width.values[[0, -1]], strict=True):
        _panel(panels[panel], diagram.sel(width=width), f"width {width}")
    fine = measured_diagram(final(refined.data), X, Y, order=["ntk_change", "richness"])
    title = f"width {REFINED_WIDTH}, {refined.places} places by refinement"
    _panel(panels["c"], fine, title, x=X, y=Y)
    ax, end = panels["d"], final(data)
    for width in data.width.values:
        here = end.sel(width=width)
        ax.loglog(
            here.richness.values.ravel(),
            here.ntk_change.values.ravel(),
            ".",
            ms=5,
            label=f"{width}",
        )
    ax.axvline(1, color="C1")
    ax.axhline(LEVEL, color="black", ls="--", lw=1)
    ax.set(xlabel="forecast ρ before training", ylabel="ΔΘ/Θ after training", title="all networks")
    plot.legend(ax, title="width")
    plot.save(made, target)


def _panel(ax: Axes, diagram: xr.Dataset, title: str, **names: str) -> None:
    plot.measured_map(
        diagram,
        **names,
        theory={"forecast ρ = 1": level_curve(diagram.richness, 1.0, **names)},
        curves={f"measured ΔΘ/Θ = {LEVEL:g}": level_curve(diagram.ntk_change, LEVEL, **names)},
        ax=ax,
    )
    ax.set_title(title)


def main() -> None:
    """Run or resume both studies, draw, record."""
    study, out, workers = from_command_line(__file__, __doc__)
    start = perf_counter()
    print(sweep(study, out / "store", workers=workers).sentence)
    axes = {**study.axes, "width": [REFINED_WIDTH]}
    narrow = replace(study, name="diagram-relu-refined", axes=axes)
    plane = Plane(x=X, y=Y, level=LEVEL, depth=DEPTH)
    refined = sweep_refined(narrow, out / "refined", plane, field=_change, workers=workers)
    seconds = perf_counter() - start
    data = results(out / "store")
    diagram = measured_diagram(data, X, Y, order=ORDER)
    with plot.style():
        draw(diagram, data, refined, out / "measured-relu.png")
    found = numbers(data, diagram, refined)
    made = record("python examples/diagram_relu.py", data, seconds, found)
    write(made, out / "diagram_relu.json")
    print(
        f"boundary ΔΘ/Θ = {LEVEL:g} moves with width to the power "
        f"{found['width_exponent_of_the_boundary']:.2f}; {refined.places} places instead of "
        f"{refined.uniform}"
    )


def _change(data: xr.Dataset) -> xr.DataArray:
    return measured_diagram(data, X, Y, order=["ntk_change"]).ntk_change


if __name__ == "__main__":
    main()
