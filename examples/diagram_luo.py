"""The phases of two-layer ReLU networks (Luo et al., arXiv:2007.07497), measured on digits.

The relative distance RD = ‖W(T) − W(0)‖/‖W(0)‖ of the first layer is fitted as d^S over four
widths, over the exponents γ and γ′ of `diagram_luo.toml`: linear where S < 0, critical where S = 0,
condensed where S > 0. On top lie the predicted boundaries, beside it the predicted exponents.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from diagram_record import from_command_line, record, write

from lazyrich import plot, results, sweep
from lazyrich.numerics import TOLERANCE, Boundary, exponent_of, within
from lazyrich.study import measured_diagram
from lazyrich.theory.two_layer_relu import Condensation, relu_phases
from lazyrich.vocabulary import CANNOT_TELL

X, Y = "gamma", "gamma_prime"
PHASES = tuple(map(str, Condensation))  # S < 0, S = 0, S > 0


def predicted(diagram: xr.Dataset) -> xr.DataArray:
    """The exponent S of RD over (γ, γ′), for zero output at the start."""
    return relu_phases(diagram[X], diagram[Y], zero_output=True).weight_movement_exponent


def phases(fit: xr.Dataset) -> xr.DataArray:
    """The phase that an interval of S shows."""
    linear, critical, condensed = PHASES
    low, high = fit.exponent_low, fit.exponent_high
    word = xr.where((low > -TOLERANCE) & (high < TOLERANCE), critical, CANNOT_TELL)
    word = xr.where(high < -TOLERANCE, linear, xr.where(low > TOLERANCE, condensed, word))
    return word.drop_attrs().assign_attrs(long_name="phase that the widths show")


def compare(diagram: xr.Dataset) -> dict[str, Any]:
    """Measured exponents and phases beside the predicted ones."""
    fit, law = exponent_of(diagram, "weight_movement"), predicted(diagram)
    measured, inside = fit.exponent, within(fit, law)
    linear, critical, condensed = PHASES
    expected = xr.where(law < 0, linear, xr.where(law > 0, condensed, critical))
    decided = diagram.seen != CANNOT_TELL
    away = abs(law) > TOLERANCE
    gap = abs(measured - law)
    return {
        "places": int(measured.size),
        "within_interval": int(inside.sum()),
        "median_gap_of_exponents": float(gap.median()),
        "largest_gap_of_exponents": float(gap.max()),
        "correlation_of_exponents": float(xr.corr(measured, law)),
        "same_sign_away_from_the_boundary": int(
            (np.sign(measured) == np.sign(law)).where(away).sum()
        ),
        "places_away_from_the_boundary": int(away.sum()),
        "regime_as_predicted": int((diagram.seen == expected).sum()),
        CANNOT_TELL: int((~decided).sum()),
        "other_than_predicted": int((decided & (diagram.seen != expected)).sum()),
        "exponents": {
            f"({float(g)}, {float(p)})": [
                float(measured.sel({X: g, Y: p})),
                float(fit.exponent_low.sel({X: g, Y: p})),
                float(fit.exponent_high.sel({X: g, Y: p})),
                float(law.sel({X: g, Y: p})),
            ]
            for g in diagram[X].values
            for p in diagram[Y].values
        },
    }


def draw(diagram: xr.Dataset, target: Path) -> None:
    """Regimes with the predicted boundaries, and all exponents beside the predicted ones."""
    made = plot.figure(1, 2, width=4.8, height=4.1)
    left, right = made.axes
    low, high = float(diagram[Y].min()), float(diagram[X].max())
    boundary = Boundary("", np.array([1.0, 1.0, high]), np.array([low, 0.0, high - 1]))
    plot.measured_map(diagram, "seen", theory={"predicted boundary": [boundary]}, ax=left)
    left.set(xlabel="γ", ylabel="γ′")
    fit = exponent_of(diagram, "weight_movement")
    law = predicted(diagram).transpose(*fit.exponent.dims)
    for i, name in enumerate(PHASES):
        here = (np.sign(law) == i - 1).values
        middle, *ends = (
            fit[part].values[here] for part in ("exponent", "exponent_low", "exponent_high")
        )
        right.errorbar(
            *(law.values[here], middle, np.abs(np.array(ends) - middle)),
            fmt="osD"[i],
            ms=4,
            lw=0.8,
            label=f"predicted {name}",
        )
    right.plot(right.get_xlim(), right.get_xlim(), "-", color="black", lw=0.8, zorder=0)
    right.set(xlabel="exponent of RD, predicted", ylabel="exponent of RD, trained, 95 % interval")
    right.set_title(f"{law.size} places in the plane")
    plot.legend(right)
    plot.save(made, target)


def main() -> None:
    """Run or resume the study, compare, draw, record."""
    study, out, workers = from_command_line(__file__, __doc__)
    start = perf_counter()
    print(sweep(study, out / "store", workers=workers).sentence)
    seconds = perf_counter() - start
    data = results(out / "store")
    diagram = measured_diagram(data.sel(layer="layer1"), X, Y, order=["weight_movement"])
    diagram["seen"] = phases(exponent_of(diagram, "weight_movement"))
    with plot.style():
        draw(diagram, out / "measured-luo.png")
    found = compare(diagram)
    write(record("python examples/diagram_luo.py", data, seconds, found), out / "diagram_luo.json")
    print(
        f"phases: {found['regime_as_predicted']} of {found['places']} as predicted, "
        f"{found[CANNOT_TELL]} open, {found['other_than_predicted']} other; exponents differ "
        f"by {found['median_gap_of_exponents']:.2f} in the median"
    )


if __name__ == "__main__":
    main()
