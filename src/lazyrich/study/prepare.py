"""Everything that an experiment has before its first step: data, network, learning rate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeAlias

import torch
from torch import Tensor, nn

from lazyrich._errors import NoDescentError, NotFiniteError
from lazyrich.capture.isolation import is_finite
from lazyrich.probe.forecast.first_step import first_step
from lazyrich.probe.forecast.result import FirstStep
from lazyrich.study.compute import CPU, Compute
from lazyrich.study.config import PRECISIONS, SEARCHES, TrainingConfig
from lazyrich.study.data.datasets import load
from lazyrich.study.data.samples import DataSet, targets
from lazyrich.study.networks.catalogue import NETWORKS, as_taken_by
from lazyrich.study.networks.parametrisation import Parametrised, parametrise
from lazyrich.study.training.recipe import Recipe
from lazyrich.study.training.search import largest_stable_lr, lr_for_accuracy
from lazyrich.study.training.task import loss_value
from lazyrich.study.training.train import learning_rate, optimizer_of

FORECAST_SAMPLES = 256  # training samples that the forecast looks at
FORECAST_DIRECTIONS = 8


@dataclass(frozen=True, kw_only=True)
class PreparedRun:
    """A network ready to be trained.

    Attributes:
        data: what it learns, in the form that it takes.
        digest: digest of the whole data set that this was taken from.
        model: the network behind its output scale.
        lr_factors: factors on the learning rates, by parameter name.
        recipe: the recipe with the learning rate that was chosen.
        first: what the first step tells, with the learning rates as they are relative to each
            other; None if the first step leads to no minimum.
    """

    data: DataSet
    digest: str
    model: nn.Module
    lr_factors: Mapping[str, float]
    recipe: Recipe
    first: FirstStep | None


def started(point: TrainingConfig, compute: Compute | None = None) -> PreparedRun:
    """Data, network, forecast and learning rate of a point.

    Args:
        point: a point of a study.
        compute: where and how exactly it is trained; None for the CPU, exactly.

    Raises:
        InputError: data or model that do not take their options; a search that finds nothing.
        NotFiniteError: a network whose outputs or loss overflow.
    """
    compute = compute or Compute()
    data = data_of(point, compute.torch_device)
    made = built(point, data)
    seen = _some(data, FORECAST_SAMPLES, point)
    with torch.no_grad():
        outputs = made.model(seen[0])
        for what, value in (
            ("outputs overflow", outputs),
            # the forecast squares the loss's slope
            ("loss overflows", loss_value(point.loss, outputs, seen[1]) ** 2),
        ):
            if not is_finite(value):
                raise NotFiniteError(f"the {what}.")
    unit = optimizer_of(made.model, point.recipe(1.0), made.lr_factors)
    try:
        before = first_step(
            made.model, seen, point.loss, optimizer=unit, directions=FORECAST_DIRECTIONS
        )
    except NoDescentError:
        if point.lr in SEARCHES and point.lr != "parametrisation":
            raise
        before = None
    lr = _rate(point, data, made, before, compute) * point.lr_scale * point.width**point.lr_exponent
    return PreparedRun(
        data=data,
        digest=_loaded_for(point)[1],
        model=made.model,
        lr_factors=made.lr_factors,
        recipe=replace(point.recipe(lr), mixed=compute.mixed),
        first=before,
    )


def data_of(point: TrainingConfig, device: torch.device = CPU) -> DataSet:
    """The data of a point in the form that its network takes, read and moved once in a process."""
    data = _there(*_which(point), device)
    return as_taken_by(_network(point, data), data) if point.model != "fcn" else data


def _loaded_for(point: TrainingConfig) -> tuple[DataSet, str]:
    return _loaded(*_which(point))


Which: TypeAlias = tuple[str, str, int | None, int | None, int]


def _which(point: TrainingConfig) -> Which:
    options = json.dumps(point.data_options, sort_keys=True)
    return point.data, options, point.samples, point.test_samples, point.data_seed


@lru_cache(maxsize=4)
def _there(
    name: str,
    options: str,
    samples: int | None,
    test_samples: int | None,
    seed: int,
    device: torch.device,
) -> DataSet:
    return _loaded(name, options, samples, test_samples, seed)[0].to(device)


@lru_cache(maxsize=4)
def _loaded(
    name: str, options: str, samples: int | None, test_samples: int | None, seed: int
) -> tuple[DataSet, str]:
    whole = load(name, **json.loads(options))
    return whole.take(samples, test_samples, seed=seed), whole.digest


def _network(point: TrainingConfig, data: DataSet) -> nn.Module:
    options = {"width": point.width, **point.model_options}
    if point.model == "fcn":
        options |= {"depth": point.depth, "activation": point.activation, "bias": point.bias}
    return NETWORKS[point.model](data.inputs, data.outputs, **options)


def built(point: TrainingConfig, data: DataSet) -> Parametrised:
    """The network of a point under its parametrisation, with its initial weights.

    Args:
        point: a point of a study.
        data: data of that point; the network comes to its device.
    """
    with torch.random.fork_rng(devices=[]):
        network = _network(point, data).to(PRECISIONS[point.precision])
    made = parametrise(
        network,
        point.parametrisation,
        optimizer=point.optimizer,
        output_scale=point.output_scale * point.width**point.output_scale_exponent,
        init_scale=point.scales,
        centred=point.centred,
        seed=point.seed,
    )
    made.model.to(data.train.x.device)  # the weights are drawn on the CPU: the same everywhere
    return made


def batch_of(data: DataSet, point: TrainingConfig) -> tuple[Tensor, Tensor]:
    """The training samples on which the probe measures."""
    return _some(data, point.probe_samples, point)


def _some(data: DataSet, size: int, point: TrainingConfig) -> tuple[Tensor, Tensor]:
    """At most so many training samples, and their targets."""
    part = data.train
    if len(part) > size:
        part = data.take(size, None, seed=point.data_seed).train
    x, y = part.x, targets(part, data.classes, point.loss)
    like = PRECISIONS[point.precision]
    return x.to(like), y.to(like) if y.is_floating_point() else y


def _rate(
    point: TrainingConfig,
    data: DataSet,
    made: Parametrised,
    before: FirstStep | None,
    compute: Compute,
) -> float:
    if point.lr == "parametrisation":
        return made.lr
    if before is None or point.lr not in SEARCHES:
        return float(point.lr)
    first = learning_rate(before)
    if point.lr == "forecast":
        return first
    recipe = replace(point.recipe(first), mixed=compute.mixed)
    if point.lr == "largest-stable":
        return largest_stable_lr(lambda: built(point, data), data, recipe, seed=point.seed).lr
    return lr_for_accuracy(
        lambda: built(point, data),
        data,
        recipe,
        level=point.accuracy,
        within=point.steps,
        seed=point.seed,
    ).lr
