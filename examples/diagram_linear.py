"""A measured phase diagram beside the exact one: two-layer linear networks on real data on a line.

Networks of four widths learn disease progression from body mass index, over the plane of the
exponents of both layers' initial variances (`diagram_linear.toml`). Each is compared with its own
exact solution, and the measured width exponents with those of theory.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from diagram_record import from_command_line, record, write

import lazyrich as lr
from lazyrich import fit_exponent, plot, results, sweep
from lazyrich.numerics import within
from lazyrich.study import exact_solution, measured_diagram
from lazyrich.sweeps import final
from lazyrich.vocabulary import CANNOT_TELL, Phase

X, Y = "init_var_w_exponent", "init_var_u_exponent"
QUANTITIES = ("ntk_change", "alignment")
TITLES = {"ntk_change": "change of the kernel", "alignment": "alignment |ζ| of the layers"}


def expected(data: xr.Dataset) -> xr.Dataset:
    """The exponents of the infinite-width limit, and the phase, over the plane."""
    s_w, s_u = data[X], data[Y]
    excess = -1 - np.maximum(s_u, s_w)  # b − k
    kernel = np.maximum(2 * excess, -1 - abs(s_u - s_w))
    aligned = np.minimum(0, -1 - (s_u + s_w) / 2)
    return xr.Dataset(
        {
            "ntk_change": xr.where(excess < 0, kernel, excess),
            "alignment": aligned,
            "phase": xr.where(excess < 0, Phase.KERNEL, Phase.FEATURE),
        }
    )


def compare(data: xr.Dataset, theory: xr.Dataset, diagram: xr.Dataset) -> dict[str, Any]:
    """How far every network and every exponent is from theory."""
    end, exact, limit = final(data), final(theory), expected(data)
    numbers: dict[str, Any] = {"places": int(diagram.phase.size)}
    for name in QUANTITIES:
        fit = fit_exponent(end[name])
        own = fit_exponent(exact[name]).exponent
        inside, asymptotic = within(fit, own), within(fit, limit[name])
        numbers[name] = {
            "largest_relative_error_of_a_network": float(abs(end[name] / exact[name] - 1).max()),
            "within_interval_own_solutions": int(inside.sum()),
            "largest_gap_of_exponents_own_solutions": float(abs(fit.exponent - own).max()),
            "within_interval_infinite_width": int(asymptotic.sum()),
            "largest_gap_of_exponents_infinite_width": float(abs(fit.exponent - limit[name]).max()),
            "median_half_width_of_interval": float(
                ((fit.exponent_high - fit.exponent_low) / 2).median()
            ),
            "not_within_infinite_width": _where(fit, limit[name], ~asymptotic),
        }
    decided = diagram.phase != CANNOT_TELL
    numbers["phase"] = {
        "as_theory": int((diagram.phase == limit.phase).sum()),
        CANNOT_TELL: int((~decided).sum()),
        "other_than_theory": int((decided & (diagram.phase != limit.phase)).sum()),
    }
    return numbers


def _where(fit: xr.Dataset, theory: xr.DataArray, chosen: xr.DataArray) -> list[dict[str, float]]:
    rows = xr.merge([fit, theory.rename("theory")]).to_dataframe().reset_index()
    rows = rows[chosen.transpose(*fit.exponent.dims).values.ravel()]
    rows = rows.rename(columns={"exponent_low": "low", "exponent_high": "high"})
    return rows[[X, Y, "exponent", "low", "high", "theory"]].to_dict("records")


def draw(data: xr.Dataset, theory: xr.Dataset, diagram: xr.Dataset, target: Path) -> None:
    """The phases, all networks beside their own solutions, all exponents beside theory."""
    made = plot.figure(1, 3, width=4.3, height=3.9)
    left, middle, right = made.axes
    values = np.linspace(float(data[X].min()), float(data[X].max()), 201)
    exact = lr.exponent_diagram((X, values), (Y, values))
    plot.measured_map(diagram, "phase", theory={"theory: b = k": exact.boundaries}, ax=left)
    end, own = final(data), final(theory)
    for i, width in enumerate(data.width.values):
        at = {"width": width}
        middle.loglog(
            own.ntk_change.sel(at).values.ravel(),
            end.ntk_change.sel(at).values.ravel(),
            ".",
            ms=9 - 2 * i,  # the larger below, so that all of them show
            label=f"width {width}",
        )
    ends = [float(f(own.ntk_change)) for f in (np.min, np.max)]
    middle.loglog(ends, ends, "-", color="black", lw=0.8, zorder=0)
    middle.set(
        xlabel="ΔΘ/Θ, its own exact solution",
        ylabel="ΔΘ/Θ, trained",
        title=f"{int((data.status != '').sum())} networks",
    )
    plot.legend(middle)
    for name, marker in zip(QUANTITIES, "os", strict=True):
        fit = fit_exponent(end[name])
        theory_fit = fit_exponent(own[name]).exponent.values.ravel()
        middle_values = fit.exponent.values.ravel()
        spread = np.abs(
            [fit[f"exponent_{end}"].values.ravel() - middle_values for end in ("low", "high")]
        )
        right.errorbar(
            *(theory_fit, middle_values, spread), fmt=marker, ms=4, lw=0.8, label=TITLES[name]
        )
    ends = [*right.get_xlim()]
    right.plot(ends, ends, "-", color="black", lw=0.8, zorder=0)
    right.set(
        xlabel="width exponent, exact solutions",
        ylabel="width exponent, trained, 95 % interval",
        title=f"{diagram.phase.size} places in the plane",
    )
    plot.legend(right)
    plot.save(made, target)


def main() -> None:
    """Run or resume the study, compare, draw, record."""
    study, out, workers = from_command_line(__file__, __doc__)
    start = perf_counter()
    print(sweep(study, out / "store", workers=workers).sentence)
    seconds = perf_counter() - start
    data = results(out / "store")
    theory = exact_solution(data)
    diagram = measured_diagram(data, X, Y)
    with plot.style():
        draw(data, theory, diagram, out / "measured-linear.png")
    numbers = compare(data, theory, diagram)
    made = record("python examples/diagram_linear.py", data, seconds, numbers)
    write(made, out / "diagram_linear.json")
    for name in QUANTITIES:
        found = numbers[name]
        print(
            f"{name}: width exponents within the fit's interval at "
            f"{found['within_interval_own_solutions']} of {numbers['places']} places (exact "
            f"solutions of the same networks), {found['within_interval_infinite_width']} "
            "(infinite width)"
        )
    print(f"phases: {numbers['phase']}")


if __name__ == "__main__":
    main()
