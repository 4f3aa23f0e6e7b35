"""The Dataset of a transfer: factors, the sizes that they match, and what muP's table has."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import numpy as np
import xarray as xr

from lazyrich.numerics.ladder import exponent_attrs, exponent_columns, fit_exponent
from lazyrich.probe.transfer.family import Anatomy
from lazyrich.probe.transfer.layout import MUP_READOUT_INIT, Axis, Layout, Role
from lazyrich.probe.transfer.matching import Matched, Measure, init_factors
from lazyrich.probe.transfer.spread import excess
from lazyrich.vocabulary.parameters import PARAMETERS
from lazyrich.vocabulary.quantity import DERIVED, YANG2022, Quantity, by_name

QUANTITIES = (
    Quantity(
        name="own_update",
        dims=("parameter",),
        symbol="rms(ΔW h)/rms(z)",
        meaning="what the first steps of a parameter alone do to the outputs of its layer, with "
        "the factors of a transfer, in units of these outputs, but of readouts as it is",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="own_update_before",
        dims=("parameter",),
        symbol="rms(ΔW h)/rms(z)",
        meaning="the same before a transfer, at the learning rates and the init that came",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="flow_update",
        dims=("flow",),
        symbol="rms(J v)",
        meaning="what the first steps of the layers below do to the outputs of a readout, or those "
        "of all blocks to the output of the network, with the factors of a transfer",
        units="y",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="flow_update_before",
        dims=("flow",),
        symbol="rms(J v)",
        meaning="the same flow before a transfer",
        units="y",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="lr_factor",
        dims=("parameter",),
        symbol="η/η₀",
        meaning="factor on the learning rate of a parameter, against the smallest network's",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="init_factor",
        dims=("parameter",),
        symbol="σ/σ₀",
        meaning="factor on the initial values of a parameter, against those that the factory gives",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="mup_lr_factor",
        dims=("parameter",),
        symbol="(n/n₀)^e",
        meaning="the factor on the learning rate that the table of muP has, NaN where it has none",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="mup_init_factor",
        dims=("parameter",),
        symbol="(n/n₀)^e",
        meaning="the factor on the initial values that the table of muP has",
        low=0.0,
        source=YANG2022,
    ),
)

CONFIDENCE = 0.95  # of the intervals of exponents
_KNOWN = by_name(QUANTITIES)


def table_of(
    layout: Layout, members: dict[int, Anatomy], goal: Measure, found: Sequence[Matched]
) -> xr.Dataset:
    """Factors and sizes over the networks that were measured, see `transfer`.

    Args:
        layout: layout of the family.
        members: the members of the family, by size.
        goal: what the first steps of the smallest one do.
        found: what was found for the other parameters.
    """
    axis, keys = str(layout.axis), list(goal.own)
    nothing = Matched(
        size=min(members), lr=dict.fromkeys(keys, 1.0), init=tuple(1.0 for _ in goal.flows),
        spread={}, before=goal, after=goal, residual=0.0,
    )  # fmt: skip
    rows = [nothing, *found]
    sizes = [one.size for one in rows]
    init = [_init_factors(layout, members[one.size], one) for one in rows]
    by_seed = (axis, "seed")
    data = xr.Dataset(
        {
            "own_update": ((*by_seed, "parameter"), _own([one.after for one in rows])),
            "own_update_before": ((*by_seed, "parameter"), _own([one.before for one in rows])),
            "lr_factor": ((axis, "parameter"), [[one.lr[key] for key in keys] for one in rows]),
            "init_factor": (
                (axis, "parameter"),
                [[one.get(key, 1.0) for key in keys] for one in init],
            ),
        },
        coords={axis: sizes, "parameter": keys, "seed": range(len(next(iter(goal.own.values()))))},
    )
    if goal.flows:
        places = [flow.place or "output" for flow, _ in layout.flows(members[sizes[0]])]
        data = data.assign_coords(flow=places).assign(
            flow_update=((*by_seed, "flow"), _flows([one.after for one in rows])),
            flow_update_before=((*by_seed, "flow"), _flows([one.before for one in rows])),
        )
    data = data.assign(_tabled(layout, members, rows, keys))
    for name in data.data_vars:
        data[name].attrs = _KNOWN[str(name)].attrs
    data[axis].attrs = PARAMETERS[axis].attrs
    return data.assign(_exponents(data, axis))


def _own(measures: Sequence[Measure]) -> np.ndarray:
    return np.array([np.stack(list(one.own.values()), axis=-1) for one in measures])


def _flows(measures: Sequence[Measure]) -> np.ndarray:
    return np.array([np.stack(one.flows, axis=-1) for one in measures])


def _init_factors(layout: Layout, member: Anatomy, found: Matched) -> dict[str, float]:
    keys, asked = layout.keys(member), layout.flows(member)
    factors = init_factors(asked, found.init, found.spread)
    return {keys[name]: factor for name, factor in factors.items()}


def _tabled(
    layout: Layout, members: dict[int, Anatomy], rows: Sequence[Matched], keys: Sequence[str]
) -> dict[str, tuple[tuple[str, str], np.ndarray]]:
    """The factors that the table of muP has, NaN where it has none.

    Against the init that the factory gives: a matrix whose entries fall with the width otherwise
    than as 1/√fan-in has to be brought there, too; of a layer that divides by the width itself the
    table says nothing.
    """
    small = members[rows[0].size]
    names = layout.keys(small).items()
    owners = {key: small.owners.get(name) for name, key in names}
    lr = np.array([layout.tabled(key, owners[key]) for key in keys])
    scaled = {key for name, key in names if any(name in own for _, own in layout.flows(small))}
    init = np.array([MUP_READOUT_INIT if key in scaled else 0.0 for key in keys])
    dims = (str(layout.axis), "parameter")
    grown = np.array([[one.size / rows[0].size] for one in rows])
    over = np.array([[_excess(layout, members, rows[0], one, key) for key in keys] for one in rows])
    init_factor = np.full_like(over, np.nan) if layout.axis == Axis.DEPTH else grown**init / over
    known = np.where(np.isnan(over).any(axis=0), np.nan, 1.0)  # of one size: silent at all
    return {
        "mup_lr_factor": (dims, grown**lr * known),
        "mup_init_factor": (dims, init_factor * known),
    }


def _excess(
    layout: Layout, members: dict[int, Anatomy], first: Matched, found: Matched, key: str
) -> float:
    if layout.roles[key] not in (Role.HIDDEN, Role.READOUT):
        return 1.0
    small, wide = members[first.size], members[found.size]
    times = excess(key, small, wide, first.before.sizes, found.before.sizes)
    left = layout.roles[key] == Role.HIDDEN and key not in found.spread
    return nan if left and times != 1 else times


def _exponents(data: xr.Dataset, axis: str) -> dict[str, xr.DataArray]:
    """The powers of the size that the factors follow; of two sizes without an interval."""
    columns: dict[str, xr.DataArray] = {}
    for name in ("lr_factor", "init_factor"):
        factor = data[name]
        if data.sizes[axis] > 2:
            columns |= exponent_columns(fit_exponent(factor, dim=axis, confidence=CONFIDENCE), name)
            continue
        grown = np.log(factor[axis][-1].item() / factor[axis][0].item())
        slope = np.log(factor.isel({axis: -1}, drop=True)) / grown  # it was 1 before
        attrs = exponent_attrs(factor, dim=axis, confidence=CONFIDENCE)["exponent"]
        slope.attrs = attrs
        columns[f"{name}_exponent"] = slope
    return columns
