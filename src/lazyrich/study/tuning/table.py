"""The trainings of a richness curve as labelled data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from lazyrich.capture.losses import loss_name
from lazyrich.probe.forecast.result import QUANTITIES as FORECAST
from lazyrich.study.observe import QUANTITIES as OBSERVED
from lazyrich.study.tuning.optimum import over_seeds
from lazyrich.study.tuning.trainings import Trainings
from lazyrich.study.tuning.trial import NAMES, TuningTask
from lazyrich.vocabulary.losses import under
from lazyrich.vocabulary.parameters import PARAMETERS
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name
from lazyrich.vocabulary.shared import LOSS, NTK_CHANGE

QUANTITIES = (
    Quantity(
        name="mean_test_loss",
        symbol="⟨L_test⟩",
        meaning="mean over the seeds of the loss of the test samples",
        source=DERIVED,
    ),
    *(
        Quantity(
            name=f"mean_test_loss_{end}",
            symbol=symbol,
            meaning=f"{which} end of the 95 % interval of mean_test_loss, by Student's t",
            source=DERIVED,
        )
        for end, which, symbol in (("low", "lower", "⟨L_test⟩₋"), ("high", "upper", "⟨L_test⟩₊"))
    ),
)
RICHNESS = by_name(FORECAST)["richness"]
KNOWN = PARAMETERS | by_name(FORECAST, (NTK_CHANGE,), QUANTITIES)


def curves(task: TuningTask, done: Trainings) -> tuple[xr.Dataset, xr.Dataset]:
    """The dialled networks over `richness`, `lr_scale` and `seed`; those as they stand beside.

    Args:
        task: what was trained.
        done: the trainings, of which the whole seeds count.
    """
    coords = {"lr_scale": list(done.scales), "seed": list(done.seeds)}
    every = [
        [[done.row(rho, scale, seed) for seed in done.seeds] for scale in done.scales]
        for rho in (None, *done.levels)
    ]
    table = _table(every, task)
    dims = ("richness", "lr_scale", "seed")
    dialled = xr.Dataset(
        {k: (dims, v[1:], attrs) for k, (v, attrs) in table.items() if k != "richness"},
        {"richness": list(done.levels), **coords},
    )
    standing = xr.Dataset(
        {k: (dims[1:], v[0], attrs) for k, (v, attrs) in table.items() if k != "output_scale"},
        coords,
    )
    dialled["richness"].attrs = RICHNESS.attrs
    for data in (dialled, standing):
        means = over_seeds(data.test_loss.values)
        for quantity, values in zip(QUANTITIES, means, strict=True):
            data[quantity.name] = (data.test_loss.dims[:-1], values, quantity.attrs)
        data["lr_scale"].attrs = PARAMETERS["lr_scale"].attrs
    return dialled, standing


def _table(every: Sequence[Any], task: TuningTask) -> dict[str, tuple[Any, dict[str, str]]]:
    """Values over setting, scale and seed, and their attributes, by name."""
    values = {
        name: np.array([[[r.data[name].item() for r in row] for row in rows] for rows in every])
        for name in NAMES
    }
    table = {name: (array, _quantity(name, task).attrs) for name, array in values.items()}
    words = (("status", "how the training ended"), ("sentence", "the same in words"))
    for name, said in (*words, ("seconds", "that dialling, training and testing took")):
        array = np.array([[[getattr(r, name) for r in row] for row in rows] for rows in every])
        table[name] = (array, {"long_name": said})
    return table


def _quantity(name: str, task: TuningTask) -> Quantity:
    if name == "loss":
        return under(loss_name(task.loss), LOSS)
    if name == "test_loss":
        return under(task.tested_by, by_name(OBSERVED)["test_loss"])
    return KNOWN[name]
