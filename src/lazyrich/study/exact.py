"""Trained networks beside their exact solution: from results back to the problem they solved."""

from __future__ import annotations

import xarray as xr

from lazyrich._errors import InputError
from lazyrich.sweeps.store.results import initial
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.descent import descent
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import LineState

STATE, NETWORK = ("uu", "uw", "ww"), ("output_scale", "lr_u", "lr_w")
MOMENTS = ("mean_aa", "mean_ay", "mean_yy")


def exact_solution(data: xr.Dataset) -> xr.Dataset:
    """The gradient descent of every two-layer linear network on a line, from its own weights.

    What theory and training share has one name and lies at the same steps, so that
    `exact_solution(data) - data` is their difference.

    Args:
        data: the Dataset of `results`, or of one `Training`: two-layer linear networks on a line.

    Returns:
        As `descent`, at the steps at which `data` was measured, over its axes and `step` or
        `record`; without `status`, which in results is how training ended. Where nothing was
        measured numbers are NaN, and `diverged_at` is −1.

    Raises:
        InputError: networks of another kind, or none that was measured.

    Example:
        >>> from lazyrich.study import Training
        >>> point = Training(data="line", activation="linear", width=8, steps=20, measurements=1)
        >>> data = point.run().data
        >>> gap = exact_solution(data) - data
        >>> gap.step.values, bool(abs(gap.loss).max() < 1e-4)
        (array([ 0, 20]), True)
    """
    _check(data)
    known = data.uu.notnull()
    start = initial(data)
    there = start.uu.notnull()
    if not there.any():
        raise InputError(
            "`data` must hold a network that was measured, got none. Let the sweep run first."
        )
    names = [_name(data, name) for name in (*STATE, *NETWORK, *MOMENTS)]
    # a point that is missing is solved as the first one that is not, and masked
    filled = {name: start[name].fillna(start[name].values[there.values][0]) for name in names}
    path = descent(*line_problem(start.assign(filled)), steps=int(data.step.max()))
    at_steps = path.drop_vars("status").sel(step=data.step.fillna(0).astype(int))
    at_steps = at_steps.drop_vars("step").assign_coords(data.uu.coords)
    diverged_at = at_steps.diverged_at.where(there, -1)
    return at_steps.where(known).assign(diverged_at=diverged_at).transpose(*data.uu.dims)


def line_problem(data: xr.Dataset) -> tuple[LineState, LinearNetwork, LineData]:
    """What two-layer linear networks on a line started from: state, network and data.

    These are the arguments of `flow`, `descent` and `order_parameters`.

    Args:
        data: the Dataset of `results`, or of one `Training`; every network must have been measured.

    Raises:
        InputError: networks of another kind, or points that are missing.

    Example:
        >>> from lazyrich.study import Training
        >>> point = Training(data="line", activation="linear", width=8, lr=0.1, steps=1)
        >>> state, network, line = line_problem(point.run().data)
        >>> network
        LinearNetwork(output_scale=0.353553, lr_u=0.1, lr_w=0.1)
    """
    _check(data)
    start = initial(data)
    if bool(start.uu.isnull().any()):
        raise InputError(
            f"`data` must hold every network's start, got {int(start.uu.isnull().sum())} points "
            "without one. Choose others with .sel, or finish the sweep."
        )
    state, network, line = (
        {name: start[_name(data, name)].drop_vars("step", errors="ignore") for name in names}
        for names in (STATE, NETWORK, MOMENTS)
    )
    return LineState(**state), LinearNetwork(**network), LineData(**line)


def _check(data: xr.Dataset) -> None:
    if missing := [name for name in (*STATE, *NETWORK, *MOMENTS) if name not in data]:
        raise InputError(
            f"`data` must hold two-layer linear networks on a line, got none of "
            f"{', '.join(missing)}. Train them with model fcn, depth 1, activation linear, "
            "loss squared_error or mse, no bias, one input and one output, by plain gradient "
            "descent on all samples."
        )


def _name(data: xr.Dataset, name: str) -> str:
    """The name of a parameter in results, where it may be that of an axis of the study."""
    return f"{name}_of_result" if f"{name}_of_result" in data else name
