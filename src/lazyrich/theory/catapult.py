"""The catapult: gradient descent at large steps on one sample, in two numbers without parameters.

A two-layer linear network on inputs along a line, as one sample is, has the sharpness
`z = 2E[a²]Θ`, the curvature of its loss where it fits times the learning rates, and the output
`F = 2γ√(η_uη_w)E[a²] f`, with the target Y in the same units. One step of gradient descent is

    z⁺ = z + G (G z − 4F),    G⁺ = G (1 − z + GF),    G = F − Y,

whatever width, output scale, data and learning rates, and weights allow `|F| ≤ z/2`. Without a
target it settles for z < 4 and diverges for z > 4; between 2 and 4 its loss grows at first, and
its kernel shrinks until it can settle: the catapult.

References:
    The catapult, its limits and the recursion without a target: Lewkowycz et al.,
    arXiv:2003.02218, as far as they are known to us. Target, unequal learning rates and the proofs
    are in the documentation.
"""

from __future__ import annotations

from math import inf

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory._catapult_map import AT_REST, DIVERGED, catapult_end, catapult_path
from lazyrich.theory.labels import (
    ParameterLike,
    apply,
    dataset,
    first_where,
    labelled,
    require_free,
    require_range,
    require_whole,
)
from lazyrich.theory.model import Assumption, Model
from lazyrich.theory.two_layer_linear.data import LINE_TOLERANCE, LineData, MomentData
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.readout import KNOWN as OF_LINEAR
from lazyrich.theory.two_layer_linear.state import GramState, LineState
from lazyrich.vocabulary.parameters import PARAMETERS
from lazyrich.vocabulary.quantity import DERIVED, LEWKOWYCZ2020, Quantity, by_name
from lazyrich.vocabulary.regimes import CANNOT_TELL, LAZY_BELOW, RICH_FROM, Regime, Word

__all__ = ["Catapult", "catapult_descent", "catapult_phases", "catapult_start"]

QUANTITIES = (
    Quantity(
        name="sharpness",
        symbol="ηλ",
        meaning="sharpness, the curvature of the loss where it fits, times the learning rate",
        low=0.0,
        source=LEWKOWYCZ2020,
    ),
    Quantity(
        name="peak_step",
        symbol="t_peak",
        meaning="step at which the loss of a run is largest",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="loss_growth",
        symbol="max L/L₀",
        meaning="largest loss of a run over its loss at the start",
        low=1.0,
        source=DERIVED,
    ),
)
START = ("init_sharpness", "init_output", "target_output")
SHARED = ("end_to_end_map", "loss", "ntk_change")
HELD = by_name(QUANTITIES) | {name: OF_LINEAR[name] for name in SHARED}
KNOWN = HELD | {name: PARAMETERS[name] for name in START}
GROWN = 1 + 1e-9  # of the loss's root: less is rounding
ROUNDING = 1e-12  # of z/2: by how much the output may exceed it
MOST_ROWS = 10**8

NOT_OK = (
    f"{CANNOT_TELL}: not settled within the steps; more of them, `steps=`, may tell",
    "neither settles nor diverges: at z = 4 the sharpness stays, and the output is chaotic",
    "rests: it starts at its target, but a push would make it diverge or fly elsewhere",
)


class Catapult(Word):
    """What gradient descent at a large step does.

    References:
        Lewkowycz et al., arXiv:2003.02218.
    """

    LAZY = "lazy"
    CATAPULT = "catapult"
    DIVERGES = "diverges"


def catapult_descent(
    init_sharpness: ParameterLike,
    init_output: ParameterLike,
    *,
    steps: float,
    target_output: ParameterLike = 0.0,
    every: float = 1,
) -> xr.Dataset:
    """Follow gradient descent on one sample, step by step, over axes of its starts.

    The numbers are those of the network with γ = E[a²] = 1 and η_u = η_w = ½, `sharpness` being
    `2E[a²]Θ`; every other one is this one in units of its own, see `catapult_start`.

    Args:
        init_sharpness: z₀ ≥ 0.
        init_output: F₀, of a size of at most z₀/2.
        steps: number of steps, a whole number ≥ 0.
        target_output: Y.
        every: record each so many steps (and the last one).

    Returns:
        `sharpness`, `end_to_end_map`, `loss` and `ntk_change` with the dim `step`, infinite where
        the run has diverged, and the coordinate `status`.

    Raises:
        InputError: an output that no network of this sharpness has; numbers out of range.

    Example:
        >>> found = catapult_descent([1.5, 3.0, 4.5], 0.03, steps=40, every=20)
        >>> found.sharpness.sel(step=[0, 40]).round(3).values
        array([[1.5  , 1.497],
               [3.   , 0.225],
               [4.5  ,   inf]])

    References:
        Lewkowycz et al., arXiv:2003.02218.
    """
    arrays = _checked(init_sharpness, init_output, target_output)
    count = require_whole("steps", steps, 0)
    spacing = require_whole("every", every, 1)
    if count // spacing > MOST_ROWS:
        raise InputError(f"`steps` over `every` must be at most {MOST_ROWS:g}; raise `every`")
    step = xr.DataArray(np.append(np.arange(0, count, spacing), count), dims="step")
    require_free({*HELD, "step", "status"}, *arrays)
    z, G, diverged_at = apply(
        catapult_path,
        *(*arrays, step),
        input_core_dims=[(), (), (), ("step",)],
        output_core_dims=[("step",), ("step",), ()],
    )
    start, _, target = arrays
    with np.errstate(over="ignore"):
        found = {
            "sharpness": z,
            "end_to_end_map": G + target,
            "loss": G**2,
            "ntk_change": _change(start, z),
        }
    words = np.where(
        diverged_at < 0, "ok", np.char.add("diverged at step ", diverged_at.astype(str))
    )
    result = dataset(found, KNOWN).assign_coords(step=step)
    return result.assign_coords(status=(diverged_at.dims, words))


def catapult_phases(
    init_sharpness: ParameterLike,
    init_output: ParameterLike,
    *,
    target_output: ParameterLike = 0.0,
    steps: float = 20_000,
) -> xr.Dataset:
    """Which runs are lazy, fly and come down, or diverge, over axes of their starts.

    Args:
        init_sharpness: z₀ ≥ 0.
        init_output: F₀, of a size of at most z₀/2.
        target_output: Y.
        steps: number of steps after which a run that has not settled is left.

    Returns:
        At the end of each run `sharpness` and `ntk_change`, and of all of it `peak_step` and
        `loss_growth`. Coordinates are `catapult_phase`, a word of `Catapult`: lazy where the loss
        never exceeds its start, catapult where it does and comes back, or "cannot tell"; `regime`
        by the change of the kernel; `status`.

    Raises:
        InputError: an output that no network of this sharpness has; numbers out of range.

    Example:
        >>> found = catapult_phases([1.5, 3.0, 4.5], 1e-4)
        >>> found.catapult_phase.values.tolist(), found.peak_step.values.tolist()
        (['lazy', 'catapult', 'diverges'], [0.0, 14.0, inf])

    References:
        Lewkowycz et al., arXiv:2003.02218; that z₀ alone decides without a target is proved in
        the documentation.
    """
    arrays = _checked(init_sharpness, init_output, target_output)
    count = require_whole("steps", steps, 1, 10**12)
    require_free({*HELD, "catapult_phase", "regime", "status"}, *arrays)
    z, growth, peak, ended, steep = apply(
        catapult_end, *arrays, xr.DataArray(count), output_core_dims=[()] * 5
    )
    kept = ended != DIVERGED
    found = {
        "sharpness": z.where(kept, inf),
        "ntk_change": _change(arrays[0], z).where(kept, inf),
        "peak_step": peak.where(kept, inf),
        "loss_growth": (growth**2).where(kept, inf),
    }
    words = _words(*arrays, ended, found["ntk_change"], (growth > GROWN) | (steep > 0))
    names = {"catapult_phase": "what large steps do", "regime": "regime of the network"}
    return dataset(found, KNOWN).assign_coords(
        {
            key: (z.dims, text, {"long_name": names[key]} if key in names else {})
            for key, text in words.items()
        }
    )


def _words(*arrays: xr.DataArray) -> dict[str, Array]:
    """What each run is called; without a target one below 4 settles, though it may take long."""
    aligned = xr.broadcast(*arrays[3:4], *arrays)[1:]
    start, output, target, ended, change, flies = (one.values for one in aligned)
    gone, rested, plain = ended == DIVERGED, ended == AT_REST, (target == 0) & (output != 0)
    known = rested | gone | (plain & (start < 4))
    word = np.where(flies & ~(rested & (output == target)), Catapult.CATAPULT, Catapult.LAZY)
    regime = np.where(change < RICH_FROM, Regime.INTERMEDIATE, Regime.RICH)
    regime = np.where(change < LAZY_BELOW, Regime.LAZY, regime)
    runs_on, chaos, rests = NOT_OK
    status = np.where(known, "ok", np.where(plain & (start == 4), chaos, runs_on))
    status = np.where(gone, "diverged", status)
    return {
        "catapult_phase": np.where(known, np.where(gone, Catapult.DIVERGES, word), CANNOT_TELL),
        "regime": np.where(rested | gone, np.where(gone, Regime.UNSTABLE, regime), CANNOT_TELL),
        "status": np.where(rested & (output == target) & (start > 2), rests, status),
    }


def catapult_start(
    state: LineState | GramState, network: LinearNetwork, data: LineData | MomentData
) -> xr.Dataset:
    """The three numbers of a two-layer linear network on one sample, or on inputs along a line.

    Args:
        state: state of the weights at the start.
        network: output scale γ and step sizes η_u, η_w.
        data: one output; inputs along one line. What does not depend on them adds to the loss.

    Returns:
        `init_sharpness` z₀, `init_output` F₀ and `target_output` Y, over all axes; with them go
        `catapult_descent` and `catapult_phases`.

    Raises:
        InputError: inputs that do not lie on a line, by how much; several outputs; a layer that
            does not learn.

    Example:
        >>> data = LineData.from_samples([2.0], [0.0])
        >>> network = LinearNetwork(output_scale=0.1, lr_u=0.4, lr_w=0.4)
        >>> start = catapult_start(LineState(uu=50.0, uw=1.0, ww=60.0), network, data)
        >>> round(start.init_sharpness.item(), 12), round(start.init_output.item(), 12)
        (3.52, 0.032)

    References:
        Derived in the documentation.
    """
    uu, uw, ww, aa, ay = _on_line(state, data)
    gamma, lr_u, lr_w = network.output_scale, network.lr_u, network.lr_w
    for name, rate in (("lr_u", lr_u), ("lr_w", lr_w)):
        if bool((rate == 0).any()):
            raise InputError(f"`{name}` must be > 0: both layers learn in a catapult, got 0")
    pull = 2 * gamma * (lr_u * lr_w) ** 0.5
    found = {
        "init_sharpness": 2 * aa * gamma**2 * (lr_w * uu + lr_u * ww),
        "init_output": pull * aa * gamma * uw,
        "target_output": pull * ay,
    }
    return dataset({name: one.rename(None) for name, one in found.items()}, KNOWN)


def _on_line(
    state: LineState | GramState, data: LineData | MomentData
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray, xr.DataArray]:
    """`‖u‖²`, `u·w`, `‖w‖²` along the line of the inputs, `E[a²]` and `E[ay]`."""
    if isinstance(state, LineState) and isinstance(data, LineData):
        return state.uu, state.uw, state.ww, data.mean_aa, data.mean_ay
    if not (isinstance(state, GramState) and isinstance(data, MomentData)):
        raise InputError(
            f"a LineState goes with LineData and a GramState with MomentData, got "
            f"{type(state).__name__} and {type(data).__name__}. Their from_weights and "
            f"from_samples make each"
        )
    outputs, inputs = data.sigma_yx.shape
    if outputs != 1 or state.outputs != 1 or state.inputs != inputs:
        raise InputError(
            f"a catapult has one output and as many inputs as its data, got {state.outputs} and "
            f"{state.inputs} for data with {outputs} and {inputs}. For several outputs there is "
            f"lazyrich.theory.two_layer_linear.descent"
        )
    power, directions = np.linalg.eigh(data.sigma_xx)
    off = float(np.sqrt(max(power[:-1].max(initial=0.0), 0.0) / power[-1])) if power[-1] > 0 else 0
    if off > LINE_TOLERANCE**0.5:
        raise InputError(
            f"the inputs must lie on one line, as one sample does: across it they have {off:.2g} "
            f"of their size along it, and the recursion would be wrong by about as much. Use "
            f"lazyrich.theory.two_layer_linear.descent"
        )
    n = directions[:, -1]
    n = n * np.sign(n[np.argmax(np.abs(n))])  # the side that its largest entry is positive on
    gram = state.matrix.transpose(..., "row", "col")
    along = xr.DataArray(np.vstack([[1.0, *0 * n], [0.0, *n]]), dims=("layer", "row"))
    small = xr.dot(along, gram, along.rename(layer="other", row="col"), dim=("row", "col"))
    uu, uw, ww = (small.isel(layer=i, other=j, drop=True) for i, j in ((0, 0), (0, 1), (1, 1)))
    ay = xr.DataArray(float(data.sigma_yx[0] @ n))
    return uu, uw, ww, xr.DataArray(float(power[-1])), ay


def _checked(*start: ParameterLike) -> tuple[xr.DataArray, ...]:
    """z₀, F₀ and Y, which some network can have."""
    named = [labelled(name, value) for name, value in zip(START, start, strict=True)]
    for name, array, low in zip(START, named, (0, -inf, -inf), strict=True):
        require_range(name, array, low, inf)
    z, output, target = (array.rename(None) for array in named)
    apply(_require_physical, z, output)
    return z, output, target


def _require_physical(z: Array, output: Array) -> NDArray[np.bool_]:
    outside: NDArray[np.bool_] = np.abs(output) > z / 2 * (1 + ROUNDING)
    if outside.any():
        sharp, size = first_where(outside, z, np.abs(output))
        raise InputError(
            f"no weights have this output: |`init_output`| must be at most `init_sharpness`/2 = "
            f"{sharp / 2:.4g}, got {size:.4g}, which is {size - sharp / 2:.2g} too much"
        )
    return outside


def _change(start: xr.DataArray, z: xr.DataArray) -> xr.DataArray:
    """Relative change of the kernel, which is the sharpness in other units."""
    shown: xr.DataArray = (abs(z - start) / start.where(start > 0, 1.0)).where(start > 0, 0.0)
    return shown


def _across() -> xr.Dataset:
    """Two inputs that are not on a line."""
    best = np.array([[1.0, 0.0]])
    data = MomentData(sigma_xx=np.diag([1.0, 0.1]), sigma_yx=best, mean_yy=1.0)
    network = LinearNetwork(output_scale=1.0, lr_u=1.0, lr_w=1.0)
    return catapult_start(GramState.from_weights([[1.0]], [[0.5, 0.5]]), network, data)


MODEL = Model(
    name="catapult",
    equation="z⁺ = z + G(Gz − 4F), G⁺ = G(1 − z + GF), G = F − Y, of θ⁺ = θ − η ∇L",
    assumptions=(
        Assumption(
            sentence="The inputs lie on a line through the origin, as one sample does.",
            broken=_across,
        ),
        Assumption(
            sentence="Some weights have this output and sharpness, |F| ≤ z/2.",
            broken=lambda: catapult_descent(1.0, 0.6, steps=1),
        ),
        Assumption(
            sentence="Both layers learn, by full-batch gradient descent.",
            broken=lambda: catapult_start(
                LineState(uu=1.0, uw=0.0, ww=1.0),
                LinearNetwork(output_scale=1.0, lr_u=0.0, lr_w=1.0),
                LineData(mean_aa=1.0, mean_ay=0.0, mean_yy=0.0),
            ),
        ),
    ),
    quantities=KNOWN,
    example=lambda: catapult_descent([1.5, 3.0], [0.03, 0.3], steps=20),
    references=(LEWKOWYCZ2020, DERIVED),
    commands={"solve": catapult_descent, "phase": catapult_phases},
)


def __dir__() -> list[str]:
    return __all__
