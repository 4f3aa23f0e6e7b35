"""A coordinate check that concludes: which phase does a family of networks fall into with width?

Trains the networks of a factory `width -> model` for a few steps, fits how activations, updates
and on request the change of the NTK scale with width, and says what the exponents mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
import xarray as xr
from torch import nn
from torch.optim import SGD

from lazyrich._arguments import as_number, shown
from lazyrich._errors import InputError
from lazyrich.capture.arithmetic import exact_arithmetic
from lazyrich.capture.directions import Directions
from lazyrich.capture.losses import Loss
from lazyrich.numerics.ladder import (
    TOLERANCE,
    exponent_attrs,
    exponent_columns,
    fit_exponent,
)
from lazyrich.probe.arguments import LabelledBatch, refuse_family, refuse_levels
from lazyrich.probe.forecast.result import QUANTITIES as FORECAST
from lazyrich.probe.one_look import preformatted
from lazyrich.probe.steer.conclusion import conclude, exponent_words
from lazyrich.probe.steer.short_training import Asked, OptimizerFactory, Run, run_of
from lazyrich.probe.steer.update_parts import QUANTITIES as OF_UPDATES
from lazyrich.probe.verdict import QUANTITIES as OF_VERDICT
from lazyrich.vocabulary.parameters import WIDTH
from lazyrich.vocabulary.quantity import DERIVED, YANG2022, Quantity, by_name
from lazyrich.vocabulary.regimes import JudgedPhase
from lazyrich.vocabulary.shared import QUANTITIES as SHARED

QUANTITIES = (
    Quantity(
        name="activation_size",
        dims=("layer",),
        symbol="rms(z)",
        meaning="root mean square of a layer's outputs before training",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="feature_update",
        dims=("layer",),
        symbol="rms(Δz)",
        meaning="root mean square change of a layer's outputs since the start",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="hidden_update",
        symbol="‖Δz‖/‖z‖",
        meaning="relative change of hidden layers since the start, root mean square over layers",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="output_size",
        symbol="rms(f)",
        meaning="root mean square of the network's output before training",
        units="y",
        low=0.0,
        source=YANG2022,
    ),
    Quantity(
        name="progress",
        symbol="‖Δf‖/‖τḟ‖",
        meaning="largest change of the output since the start, in units of the distance to the fit",
        low=0.0,
        source=DERIVED,
    ),
)


_KNOWN = by_name(FORECAST, OF_UPDATES, OF_VERDICT, QUANTITIES, SHARED)

_BY_LAYER = ("activation_size", "feature_update")
_REFINED = ("effective_update", "propagating_update")
_OF_KERNEL = ("richness", "ntk_change")
_FITTED = ("output_size", "progress", "hidden_update", *_OF_KERNEL)
_OF_NETWORK = (*_FITTED, "loss_ratio")


@dataclass(frozen=True, kw_only=True)
class CoordinateCheck:
    """What the width does to training. `print` it.

    Attributes:
        phase: phase of the infinite-width limit, or `"cannot tell"`.
        sentence: the phase with its reasons, in words.
        data: `activation_size` and `feature_update`, refined also `effective_update` and
            `propagating_update` (width × seed × layer); `output_size`, `progress`,
            `hidden_update`, with the kernel `richness` and `ntk_change`, and `loss_ratio`
            (width × seed); for all but the last the fitted `*_exponent` with the ends of its
            interval, `*_exponent_low` and `*_exponent_high`.

    References:
        Yang et al., arXiv:2203.03466.
    """

    phase: JudgedPhase
    sentence: str
    data: xr.Dataset

    def __str__(self) -> str:
        margin = max(len("whole network"), *(len(name) for name in self.data.layer.values))
        lines = [self.sentence, f"{'':{margin}}   width exponents"]
        for name in (name for name in _FITTED if name in self.data):
            lines.append(f"{'whole network':{margin}}   {name} {exponent_words(self.data, name)}")
        for layer in self.data.layer.values:
            row = self.data.sel(layer=layer)
            names = [name for name in (*_BY_LAYER, *_REFINED) if name in row]
            words = ", ".join(f"{name} {exponent_words(row, name)}" for name in names)
            lines.append(f"{layer or '(model)':{margin}}   {words}")
        return "\n".join(lines)

    _repr_html_ = preformatted


@exact_arithmetic()
def coordinate_check(
    factory: Callable[[int], nn.Module],
    batch: LabelledBatch,
    loss: Loss = "mse",
    *,
    widths: Sequence[int],
    optimizer: OptimizerFactory | float,
    steps: int = 10,
    seeds: int = 10,
    confidence: float = 0.95,
    tolerance: float = TOLERANCE,
    refined: bool = False,
    kernel: bool = False,
    directions: Directions = 16,
) -> CoordinateCheck:
    """Fit the width exponents of a family of networks and say which phase they mean.

    Each quantity q is fitted as q ∝ width^exponent over all widths and seeds; the interval also
    covers the slope between the two largest widths. The output's progress, in units of the distance
    to the fit, decides first: falling with width is frozen; growing, or a loss that rises, is
    unstable. If it does neither, the relative change of the hidden layers' outputs decides:
    falling is the kernel (lazy) phase, not falling is feature learning. With `kernel=True` it is
    the forecast ρ and the measured relative change of the NTK instead, and the answer is
    `"cannot tell"` where they contradict each other (as they can at small widths, where the random
    part of the change also falls). So it is where an interval leaves it open: see `fitted_phase`.
    Where the output hardly moved at any width there is nothing to fit: frozen.

    A layer that acts on more or fewer rows after training than before, such as an expert, has no
    update (NaN) there.

    Networks train in their own mode; they are looked at as by a probe, with batch norms by the
    statistics of the batch and without dropout.

    Args:
        factory: makes the model of a given width, freshly initialised.
        batch: `(inputs, targets)`, or a mapping, see `forecast`; the same for every width; trained
            on full batch.
        loss: the same as in `forecast`.
        widths: at least 3 different widths; two decades are better than one.
        optimizer: a factory `(model, width) -> optimizer`, or the learning rate of plain SGD.
        steps: training steps before the second look; enough for the loss to move visibly.
        seeds: random initialisations per width.
        confidence: confidence of the intervals.
        tolerance: exponents nearer to zero than this count as zero.
        refined: whether to take the update of every linear layer apart, too, into
            `(W_t − W_0)x_t`, what its own weight learned, and `W_0(x_t − x_0)`, what came from
            below: a layer whose own part vanishes with width does not learn, however much its
            outputs move. Two more forward passes a network.
        kernel: whether to measure ρ and the change of the NTK, too. Some ten gradients more for
            each direction: without it a network costs little more than its training.
        directions: random output directions for ρ and the NTK, as in `forecast`, or `"all"`.

    Returns:
        The phase, a sentence and the data.

    Raises:
        InputError: too few widths, seeds or steps; layers whose names change with width.

    Example:
        >>> import torch
        >>> def standard(width):
        ...     return nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, 1))
        >>> x = torch.tensor([[1.0, 0.5], [-0.3, 1.0]])
        >>> rates = lambda model, width: SGD(model.parameters(), lr=1 / width)
        >>> widths = (32, 128, 512)
        >>> check = coordinate_check(standard, (x, x[:, :1]), widths=widths, optimizer=rates)
        >>> check.phase
        'kernel'

    Reference:
        Coordinate checks: Yang et al., Tensor Programs V, arXiv:2203.03466; the phases: Xu &
        Ziyin, arXiv:2401.07085.
    """
    refuse_family(factory, widths, steps, seeds)
    refuse_levels(confidence, tolerance)
    make = optimizer if callable(optimizer) else _plain_sgd(optimizer)
    asked = Asked(steps=steps, refined=refined, kernel=kernel, directions=directions)
    runs = {
        (width, seed): run_of(factory, make, batch, loss, (width, seed, asked))
        for width in sorted(set(widths))
        for seed in range(seeds)
    }
    data = _with_exponents(_dataset(runs), confidence)
    phase, sentence = conclude(data, tolerance)
    data.attrs |= {"phase": phase, "sentence": sentence}
    return CoordinateCheck(phase=phase, sentence=sentence, data=data)


def _plain_sgd(rate: object) -> OptimizerFactory:
    lr = as_number(rate)
    if lr is None or not 0 <= lr < inf:
        raise InputError(
            "`optimizer` must be a function (model, width) -> optimizer or a learning rate ≥ 0, "
            f"got {shown(rate)}."
        )
    return lambda model, width: SGD(model.parameters(), lr=lr)


def _dataset(runs: dict[tuple[int, int], Run]) -> xr.Dataset:
    widths, seeds = sorted({w for w, _ in runs}), sorted({s for _, s in runs})
    owners = next(iter(runs.values())).owners
    for (width, _), run in runs.items():
        if run.owners != owners:
            raise InputError(
                f"the layers must have the same names at every width, got {list(run.owners)} at "
                f"width {width} and {list(owners)} at width {widths[0]}. Let the width change "
                "sizes only."
            )
    most = max(runs.values(), key=lambda run: len(run.layers)).layers
    layers = list(dict.fromkeys([*most, *(layer for run in runs.values() for layer in run.layers)]))
    missing = tuple(nan for _ in next(iter(most.values())))  # an expert that nobody asked for
    grid = [[runs[w, s] for s in seeds] for w in widths]
    by_layer = np.array(
        [[[run.layers.get(layer, missing) for layer in layers] for run in row] for row in grid]
    )
    names = [name for name in _OF_NETWORK if name in grid[0][0].of_network]
    whole = np.array([[[run.of_network[name] for name in names] for run in row] for row in grid])
    data = {
        name: (("width", "seed", "layer"), by_layer[..., i])
        for i, name in enumerate((*_BY_LAYER, *_REFINED)[: by_layer.shape[-1]])
    }
    more = {name: (("width", "seed"), whole[..., i]) for i, name in enumerate(names)}
    dataset = xr.Dataset({**data, **more}, coords={"width": widths, "seed": seeds, "layer": layers})
    for name in dataset.data_vars:
        dataset[name].attrs = _KNOWN[str(name)].attrs
    dataset["width"].attrs = WIDTH.attrs
    return dataset


def _with_exponents(data: xr.Dataset, confidence: float) -> xr.Dataset:
    """Add the width exponents with their intervals, quantities of the same dims at once."""
    columns: dict[str, xr.DataArray] = {}
    for group in ((*_BY_LAYER, *_REFINED), _FITTED):
        names = [name for name in group if name in data]
        stacked = data[names].to_array("quantity")
        every = fit_exponent(stacked, confidence=confidence, cover_last_slope=True)
        for name in names:
            fit = every.sel(quantity=name, drop=True)
            for column, attrs in exponent_attrs(
                data[name], dim="width", confidence=confidence
            ).items():
                fit[column].attrs = attrs
            columns |= exponent_columns(fit, name)
    return data.assign(columns)
