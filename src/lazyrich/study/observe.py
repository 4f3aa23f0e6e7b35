"""What is recorded while a network of a study trains: quantities of the probe, losses."""

from __future__ import annotations

from math import nan, sqrt
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from lazyrich.observables.catalogue import quantities
from lazyrich.probe.forecast.result import QUANTITIES as FORECAST
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import At, at, log_spaced
from lazyrich.study.config import TrainingConfig
from lazyrich.study.data.samples import DataSet, Samples
from lazyrich.study.prepare import PreparedRun, batch_of
from lazyrich.study.training.recipe import Outcome
from lazyrich.study.training.task import accuracy, mean_loss, task_of
from lazyrich.sweeps.result import Result
from lazyrich.theory.two_layer_linear.readout import QUANTITIES as TWO_LAYER_LINEAR
from lazyrich.vocabulary import parameters, shared
from lazyrich.vocabulary.losses import under
from lazyrich.vocabulary.quantity import DERIVED, Quantity, by_name

QUANTITIES = (
    Quantity(
        name="test_loss",
        symbol="L_test",
        meaning="loss of the test samples",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="train_accuracy",
        symbol="acc",
        meaning="share of training samples in the right class",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="test_accuracy",
        symbol="acc_test",
        meaning="share of test samples in the right class",
        low=0.0,
        high=1.0,
        source=DERIVED,
    ),
    Quantity(
        name="learning_rate",
        symbol="η",
        meaning="base learning rate, which the factors of all parameters multiply",
        low=0.0,
        source=DERIVED,
    ),
    Quantity(
        name="steps",
        symbol="T",
        meaning="optimiser steps made",
        units="steps",
        low=0,
        source=DERIVED,
    ),
)


KNOWN = quantities() | by_name(
    QUANTITIES, FORECAST, shared.QUANTITIES, parameters.QUANTITIES, TWO_LAYER_LINEAR
)

NETWORK_ON_A_LINE = {"model": "fcn", "depth": 1, "activation": "linear", "bias": False}


class Watch:
    """Looks at a network when training shows it, and makes the result.

    Args:
        point: a point of a study.
        start: what it begins with.
    """

    def __init__(self, point: TrainingConfig, start: PreparedRun) -> None:
        self._point, self._start = point, start
        factors = start.lr_factors
        self._probe = Probe(
            start.model,
            batch_of(start.data, point),
            point.loss,
            observables=point.observables,
            samples=None,
            lrs=factors if len(set(factors.values())) > 1 else None,
        )
        self._tasks = {
            "loss": task_of(start.model, start.data, point.loss),
            "test_loss": task_of(start.model, _of_test(start.data), point.loss),
        }
        self._two_layers = point.model == "fcn" and point.depth == 1
        self._line = is_on_a_line(point, start.data)
        self._rows: list[dict[str, float]] = []
        self.when = times(point)

    def see(self, step: int) -> None:
        """Measure the network after so many steps."""
        self._probe.measure(step)
        model, data = self._start.model, self._start.data
        row = {name: mean_loss(model, task) for name, task in self._tasks.items()}
        if data.classes:
            row["train_accuracy"] = accuracy(model, data.train)
            row["test_accuracy"] = accuracy(model, data.test)
        if self._two_layers:
            row |= _two_layers(model, self._line)
        self._rows.append(row)

    def result(self, outcome: Outcome) -> Result:
        """All measurements, with the way that training ended."""
        return Result(status=outcome.status, sentence=outcome.sentence, data=self._data(outcome))

    def _data(self, outcome: Outcome) -> xr.Dataset:
        data = self._probe.history.drop_attrs()
        names = [str(name).removeprefix("network.") for name in data.layer.values]
        data = data.assign_coords(layer=np.array(names, dtype=str))
        for name in self._rows[0]:
            data[name] = ("step", np.array([row[name] for row in self._rows]))
        if self._line:
            data = data.assign(_moments(self._start))
        before = self._start.first
        data["richness"] = before.richness if before else nan
        # the first step was taken with a learning rate of 1
        data["time_to_fit"] = before.time_to_fit / outcome.lr if before else nan
        data["learning_rate"] = outcome.lr
        data["steps"] = outcome.steps
        digest = (), self._start.digest, {"long_name": "digest of the whole data set"}
        data = data.assign_coords(data_digest=digest)  # no number, of which there is a difference
        for key in data.data_vars:
            if (name := str(key)) in KNOWN:
                data[name].attrs = KNOWN[name].attrs
        for name in ("loss", "test_loss"):
            data[name].attrs = under(self._point.loss, KNOWN[name]).attrs
        return data


def times(point: TrainingConfig) -> At:
    """The steps at which a point is measured, beside the start and the end.

    Example:
        >>> times(TrainingConfig(steps=100, measurements=3)).steps
        (1, 10, 100)
    """
    if point.measure_at:
        return at(*point.measure_at)
    if point.measurements == 1:
        return at(point.steps)
    if point.spacing == "log":
        return log_spaced(1, point.steps, point.measurements)
    return at(*np.linspace(0, point.steps, point.measurements + 1)[1:].round().astype(int).tolist())


def is_on_a_line(point: TrainingConfig, data: DataSet) -> bool:
    """Whether the exact solution applies: a two-layer linear network on a line, plain descent.

    Momentum, weight decay, schedules and minibatches have no closed form here.

    Example:
        >>> from lazyrich.study.prepare import data_of
        >>> point = TrainingConfig(data="line", activation="linear")
        >>> is_on_a_line(point, data_of(point))
        True
    """
    plain = all(getattr(point, name) == value for name, value in NETWORK_ON_A_LINE.items())
    one = data.outputs == 1 and int(np.prod(data.inputs)) == 1
    constant = not point.momentum and not point.weight_decay and point.schedule == "constant"
    descent = point.optimizer == "sgd" and constant and point.recipe(1.0).batch_is_all
    return plain and one and point.loss != "cross_entropy" and not point.centred and descent


def _of_test(data: DataSet) -> DataSet:
    return DataSet(name=data.name, train=data.test, test=data.test, classes=data.classes)


def _two_layers(model: nn.Module, line: bool) -> dict[str, float]:
    """Alignment of the two layers; on a line signed, with the state of the exact solution."""
    weights = dict(model.named_parameters())
    w, u = (weights[f"network.{name}.weight"].detach() for name in ("layer1", "readout"))
    if not line:
        size = float(u.norm()) * float(w.norm())
        return {"alignment": float((u @ w).norm()) / size if size else nan}
    w, u = w.double().flatten(), u.double().flatten()
    uu, uw, ww = float(u @ u), float(u @ w), float(w @ w)
    return {"uu": uu, "uw": uw, "ww": ww, "alignment": uw / sqrt(uu * ww) if uu * ww else nan}


def _moments(start: PreparedRun) -> dict[str, float]:
    """What the exact solution needs beside the state: scale, learning rates, data."""
    model: Any = start.model
    part: Samples = start.data.train
    a, y = (values.double().flatten() for values in (part.x, part.y))
    names = [name for name, _ in model.named_parameters()]
    rate_w, rate_u = (start.recipe.lr * start.lr_factors[name] for name in names)
    return {
        "output_scale": float(model.output_scale),
        "lr_u": rate_u,
        "lr_w": rate_w,
        "mean_aa": float(a @ a) / len(a),
        "mean_ay": float(a @ y) / len(a),
        "mean_yy": float(y @ y) / len(a),
    }
