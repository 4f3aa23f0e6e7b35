"""The six parametrisations of the CIFAR-10 experiment in the phase diagram, and up to width 1e8.

The paper puts three of them into the feature-learning phase (mean-field, Kaiming+, Xavier+) and
three into the kernel phase (NTK, Kaiming, Xavier), although in pairs they are the same network at
width 100. Do the exponents of the width say so, and what do the exact solutions of random networks
do: does the final alignment ζ stay, or fall as a power of the width?
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

import lazyrich as lr
from lazyrich import plot
from lazyrich.theory import two_layer_linear as linear
from papers.harness import Bench, Finding, Measured, Record, bare, slope
from papers.xu2025three.looks import look

PAPER = {
    "ntk": "kernel",
    "mean_field": "feature",
    "kaiming": "kernel",
    "kaiming_plus": "feature",
    "xavier": "kernel",
    "xavier_plus": "feature",
}
DATA = linear.LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
TABLE = {  # final alignments, known from the exact solution before this code was written
    "ntk": {1e2: 0.10, 1e4: 0.010, 1e6: 0.0010, 1e8: 0.00010},
    "mean_field": {1e2: 0.10, 1e4: 0.099, 1e6: 0.0995, 1e8: 0.0995},
    "kaiming": {1e2: 0.10, 1e4: 0.010, 1e6: 0.001, 1e8: 0.0001},
    "kaiming_plus": {1e2: 0.10, 1e4: 0.71, 1e6: 0.995, 1e8: 1.0},
    "xavier": {1e2: 0.71, 1e4: 0.010, 1e6: 1e-4, 1e8: 1e-6},
    "xavier_plus": {1e2: 0.72, 1e4: 0.71, 1e6: 0.71, 1e8: 0.71},
}
LADDER = np.geomspace(1e2, 1e8, 13).round()
WIDE = 1e6  # from here on the powers of the width are read off
DRAWS = {"smoke": 100, "laptop": 10_000, "paper": 100_000}
GRID = {"smoke": 24, "laptop": 201, "paper": 401}
DIAGRAM_WIDTH, SEED = 10_000, 0


def measure(bench: Bench) -> Measured:
    """Phases from exponents, medians from draws, powers of the width from medians."""
    findings: dict[str, Finding] = {}
    agree, distances, alignment, change = 0, [], {}, {}
    for name, phase in PAPER.items():
        law = lr.PRESETS[name]
        agree += str(law.phase) == phase
        order = lr.order_parameters(
            law.sample(LADDER, draws=DRAWS[bench.scale], seed=SEED), law.network(LADDER), DATA
        )
        size = abs(order.alignment)
        alignment[name] = size.median("draw").values
        change[name] = order.ntk_change.median("draw").values
        distances += [
            abs(float(size.sel(width=width).median()) / value - 1)
            for width, value in TABLE[name].items()
        ]
        wide = xr.DataArray(alignment[name], dims="width", coords={"width": LADDER})
        findings[f"{name}: power of the final alignment"] = slope(
            wide.sel(width=slice(WIDE / 1.01, None)), "width"
        )
    findings["parametrisations in the paper's phase"] = Finding(value=agree, n=len(PAPER))
    findings["largest relative distance from the table"] = Finding(
        value=max(distances), n=len(distances)
    )
    return Measured(findings=findings, shown=_shown(bench.scale, alignment, change))


def _shown(
    scale: str, alignment: dict[str, np.ndarray], change: dict[str, np.ndarray]
) -> dict[str, Any]:
    points = {}
    for name in PAPER:
        law = lr.PRESETS[name]
        largest = max(law.init_var_u.exponent, law.init_var_w.exponent)
        points[name] = (float(law.output_scale.exponent), float(largest))
    return {
        "grid": GRID[scale],
        "draws": DRAWS[scale],
        "seed": SEED,
        "widths": LADDER,
        "alignment": alignment,
        "ntk_change": change,
        "points": points,
    }


def found(record: Record) -> str:
    """How many are in their phase, and the power of the width in each alignment."""
    findings = record["findings"]
    right = findings["parametrisations in the paper's phase"]
    powers = ", ".join(
        f"{bare(findings[f'{name}: power of the final alignment'])} ({name.replace('_', ' ')})"
        for name in PAPER
    )
    return (
        f"{bare(right, '.0f')} of {right['n']} parametrisations are in the phase that the paper "
        f"names. Powers of the width in the final alignment: {powers}."
    )


def draw(record: Record) -> Any:  # noqa: ANN401 - a matplotlib figure
    """The diagram of exponents with the six in it, one of parameters, and the two ladders."""
    shown = record["shown"]
    made = plot.figure(2, 2, width=6.2, height=3.6)
    exponents, parameters, ladder, kernel = made.axes
    _draw_exponents(exponents, shown)
    scales = np.geomspace(1e-4, 10, shown["grid"])
    diagram = lr.parameter_diagram(
        ("output_scale", scales),
        ("init_std", np.geomspace(1e-3, 1, shown["grid"])),
        width=DIAGRAM_WIDTH,
    )
    plot.phase_diagram(diagram, ax=parameters)
    parameters.set_title(f"phases of typical networks of width {DIAGRAM_WIDTH}")
    for name, values in shown["alignment"].items():
        style = look(name) | {"lw": 3.0 if name == "ntk" else 1.5}  # it stays visible below Kaiming
        ladder.plot(shown["widths"], values, **style)
        kernel.plot(shown["widths"], shown["ntk_change"][name], **style)
    for ax, label in ((ladder, "final alignment |ζ|"), (kernel, "change of the kernel ΔΘ/Θ")):
        ax.set(xscale="log", yscale="log", xlabel="width d", ylabel=label)
        ax.set_title("medians over draws of the exact solution")
    plot.legend(ladder)
    return made


def _draw_exponents(ax: Any, shown: dict[str, Any]) -> None:  # noqa: ANN401
    """The sign of b − k depends on the output scale and the larger of the two variances alone."""
    grid = shown["grid"]
    diagram = lr.exponent_diagram(
        ("output_scale_exponent", np.linspace(-2.03, 1.51, grid)),
        ("init_var_exponent", np.linspace(-1.97, 1.02, grid)),
    )
    plot.phase_diagram(diagram, ax=ax)
    taken: dict[tuple[float, float], list[str]] = {}
    for name, place in shown["points"].items():
        taken.setdefault(tuple(place), []).append(name.replace("_", " "))
    for (a, s), names in taken.items():
        ax.plot(a, s, "o", ms=6, color="black", mfc="white", clip_on=False)
        on_boundary = PAPER[names[0].replace(" ", "_")] == "feature"
        ax.annotate(
            ",\n".join(names),
            (a, s),
            xytext=(-4 if on_boundary else 0, -6),
            textcoords="offset points",
            ha="right" if on_boundary else "center",
            va="top",
            fontsize="small",
        )
    ax.set_ylabel("larger exponent of the two variances")
    ax.set_title("the six parametrisations in the plane of exponents")
