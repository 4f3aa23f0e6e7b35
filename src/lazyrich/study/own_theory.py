"""Every trained network beside its own exact solution."""

from __future__ import annotations

import numpy as np
import xarray as xr

from lazyrich._errors import InputError
from lazyrich.phases.order import order_parameters
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.descent import descent
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import LineState

NEEDED = ("uu", "uw", "ww", "multiplier", "lr_u", "lr_w", "mean_aa", "mean_ay", "mean_yy", "step")
BESIDE = ("uu", "uw", "ww", "loss", "alignment", "ntk_change")


def own_theory(data: xr.Dataset) -> xr.Dataset:
    """The exact solution of every two-layer linear network on a line, from its own weights.

    Args:
        data: of `results`, with the Gram numbers that `Training` records for such networks.

    Returns:
        With the names and labels of the measured ones: `uu`, `uw`, `ww`, `loss`, `alignment` and
        `ntk_change` by the exact recursion of gradient descent at the measured steps; and once,
        for gradient flow, `order_parameter` and, at t = ∞, `flow_ntk_change` and
        `flow_alignment`. NaN where nothing was measured.

    Raises:
        InputError: networks of another kind.

    Example:
        >>> from lazyrich.sweeps.store.results import assemble
        >>> from lazyrich.study.experiment import Training
        >>> point = Training(data="line", activation="linear", width=8, steps=20, measurements=1)
        >>> data = assemble([({}, point.run())], {})
        >>> theory = own_theory(data)
        >>> bool(np.allclose(theory.alignment, data.alignment, rtol=1e-4))
        True
    """
    if missing := [name for name in NEEDED if name not in data]:
        raise InputError(
            f"`data` must hold two-layer linear networks on a line, got none of "
            f"{', '.join(missing)}. Train them with model fcn, depth 1, activation linear, "
            "loss mse, no bias, one input and one output, by plain gradient descent on all samples."
        )
    start = data[[name for name in NEEDED if name != "step"]].isel(time=0)
    outer = [dim for dim in data.uu.dims if dim != "time"]
    there = start.uu.notnull()
    rows = [values[there.values] for values in np.indices(there.shape)]
    labels = {dim: xr.DataArray(row, dims="point") for dim, row in zip(outer, rows, strict=True)}
    at = start.isel(labels).drop_vars(outer, errors="ignore") if outer else start
    state = LineState(uu=at.uu, uw=at.uw, ww=at.ww)
    network = LinearNetwork(output_scale=at.multiplier, lr_u=at.lr_u, lr_w=at.lr_w)
    line = LineData(mean_aa=at.mean_aa, mean_ay=at.mean_ay, mean_yy=at.mean_yy)
    steps = data.step.isel(labels).drop_vars(outer, errors="ignore") if outer else data.step
    path = descent(state, network, line, steps=int(steps.max()))
    seen = path[list(BESIDE)].isel(step=steps.fillna(0).astype(int)).where(steps.notnull())
    order = order_parameters(state, network, line)
    found = seen.drop_vars("step", errors="ignore").assign(
        order_parameter=order.order_parameter,
        flow_ntk_change=order.ntk_change,
        flow_alignment=order.alignment,
    )
    return _spread(found, data, labels) if outer else found


def _spread(found: xr.Dataset, data: xr.Dataset, labels: dict[str, xr.DataArray]) -> xr.Dataset:
    """From a row of points back to the grid."""
    spread = {}
    for name, values in found.data_vars.items():
        inner = [dim for dim in values.dims if dim != "point"]
        outer = {dim: data.sizes[dim] for dim in labels}
        table = np.full((*outer.values(), *(values.sizes[dim] for dim in inner)), np.nan)
        table[tuple(row.values for row in labels.values())] = values.transpose("point", ...).values
        spread[name] = ((*outer, *inner), table, values.attrs)
    coords = {dim: data[dim] for dim in labels if dim in data.coords}
    return xr.Dataset(spread, coords)
