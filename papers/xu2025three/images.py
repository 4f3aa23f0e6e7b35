"""The run behind figures 4 to 6: a network learns images, forecast before and measured while."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np
import torch
import xarray as xr
from torch import nn
from torch.optim.swa_utils import update_bn

import lazyrich as lr
from lazyrich import study, sweeps

PROBED = 32  # images at which the network is measured
DIRECTIONS = 8  # of the forecast
GAIN = 2**0.5  # of Kaiming's initial weights for ReLU
MEASURED = (
    *("loss", "ntk_change", "log_output", "parameter_data_alignment", "layer_log_alignment"),
    *("layer_log_rescaling", "layer_log_gain", "weight_movement"),
)
UNTRAINED_PASSES = 4  # batches from which a norm learns its statistics before training


@dataclass(frozen=True, kw_only=True)
class Images:
    """A network learns to classify images by cross-entropy and stochastic gradient descent.

    Attributes:
        data: name of the data set.
        samples: training images, chosen by the seed.
        test_samples: test images.
        network: "fcn" or "resnet18".
        width: of the network.
        depth: hidden layers of the fully connected network.
        parametrisation: a name of `lazyrich.study.PARAMETRISATIONS`, or "kaiming_normal":
            Gaussian weights of variance 2 over the number of inputs and one learning rate.
        init_scale: multiplies every initial weight matrix, the σ of the figures.
        lr: learning rate; None is the parametrisation's own.
        momentum: of gradient descent.
        weight_decay: of gradient descent.
        cosine: whether the learning rate falls to 0 as a cosine.
        augment: whether images are shifted and mirrored.
        batch_size: images a step.
        steps: of gradient descent.
        evaluations: how often accuracies are taken, evenly over the steps.
        measurements: how often the probe measures while it trains, evenly in the logarithm of the
            step and last at the end; 0 for neither probe nor forecast, 1 for start and end.
        seed: of images, weights and batches.
    """

    data: Literal["digits", "mnist", "cifar10"]
    samples: int
    test_samples: int
    network: Literal["fcn", "resnet18"] = "fcn"
    width: int
    depth: int = 1
    parametrisation: str
    init_scale: float = 1.0
    lr: float | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    cosine: bool = False
    augment: bool = False
    batch_size: int = 128
    steps: int
    evaluations: int = 1
    measurements: int = 0
    seed: int

    COUNTED = ("steps", "evaluations", "measurements")
    SIZED = ("data", "samples", "test_samples", "network", "width", "depth", "batch_size")

    def run(self) -> sweeps.Result:
        """Build, forecast, train, measure."""
        with study.computing() as compute:
            return replace(self._run(compute), computed_on=str(compute))

    def _run(self, compute: study.Compute) -> sweeps.Result:
        data = _loaded(self.data).take(self.samples, self.test_samples, seed=self.seed)
        made, factors = self._network(data)
        data = data.to(compute.torch_device)
        made.model.to(compute.torch_device)
        rate = made.lr if self.lr is None else self.lr
        recipe = replace(self._recipe(rate), mixed=compute.mixed)
        # the probe measures in evaluation mode, and the statistics that a batch norm starts with
        # belong to no network; training does not use them and is not changed
        update_bn(data.train.x.split(self.batch_size)[:UNTRAINED_PASSES], made.model)
        chosen = data.balanced(max(1, PROBED // data.classes), seed=self.seed)
        watcher = _Watcher(self, made.model, chosen, data, recipe.lr, factors)
        outcome = study.train(
            made.model,
            data,
            recipe,
            seed=self.seed,
            lr_factors=factors,
            observe=watcher.look,
            when=watcher.due,
        )
        return sweeps.Result(
            status=outcome.status, sentence=outcome.sentence, data=watcher.found(outcome.loss)
        )

    def _network(self, data: study.DataSet) -> tuple[study.Parametrised, dict[str, float]]:
        if self.network == "resnet18":
            network = study.resnet18(data.inputs, data.outputs, width=self.width)
        else:
            network = study.fcn(data.inputs, data.outputs, width=self.width, depth=self.depth)
        if self.parametrisation == "kaiming_normal":
            ends = [GAIN, *[1.0] * (self.depth - 1), GAIN]  # hidden layers have it already
            scales = [self.init_scale * scale for scale in ends]
            return study.parametrise(network, "standard", init_scale=scales, seed=self.seed), {}
        made = study.parametrise(
            network, self.parametrisation, init_scale=self.init_scale, seed=self.seed
        )
        return made, dict(made.lr_factors)

    def _recipe(self, rate: float) -> study.Recipe:
        return study.Recipe(
            loss="cross_entropy",
            lr=rate,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule="cosine" if self.cosine else "constant",
            augment=self.augment,
            batch_size=self.batch_size,
            steps=self.steps,
        )


class _Watcher:
    """Takes accuracies and measurements while a network trains."""

    def __init__(
        self,
        run: Images,
        model: nn.Module,
        chosen: study.Samples,
        data: study.DataSet,
        rate: float,
        factors: dict[str, float],
    ) -> None:
        self._model, self._data = model, data
        even = np.linspace(0, run.steps, run.evaluations + 1)[1:]
        self._evaluated = {round(step) for step in even}
        self._measured = _measured_at(run.steps, run.measurements)
        self._probe = self._rho = None
        if run.measurements:
            batch = (chosen.x, chosen.y)
            rates = {name: rate * factors.get(name, 1.0) for name, _ in model.named_parameters()}
            groups = [{"params": [p], "lr": rates[name]} for name, p in model.named_parameters()]
            optimizer = torch.optim.SGD(groups, lr=rate)
            self._rho = lr.richness(
                model, batch, "cross_entropy", optimizer=optimizer, directions=DIRECTIONS
            )
            self._probe = lr.Probe(
                model, batch, "cross_entropy", observables=MEASURED, samples=None, lrs=rates
            )
        self._train: list[float] = []
        self._test: list[float] = []

    def due(self, step: int) -> bool:
        return step in self._evaluated or step in self._measured

    def look(self, step: int) -> None:
        if step in self._evaluated:
            self._train.append(study.accuracy(self._model, self._data.train))
            self._test.append(study.accuracy(self._model, self._data.test))
        if step in self._measured and self._probe is not None:
            self._probe.measure(step)

    def found(self, loss: float) -> xr.Dataset:
        """Best accuracies, the forecast, and the history of the probe."""
        best = {
            "train_accuracy": max(self._train, default=np.nan),
            "test_accuracy": max(self._test, default=np.nan),
            "last_train_accuracy": self._train[-1] if self._train else np.nan,
            "train_loss": loss,
        }
        if self._probe is None:
            return xr.Dataset(best)
        history = self._probe.history
        kept = [name for name in MEASURED if name in history]
        return history[kept].assign({**best, "richness": self._rho})


def _measured_at(steps: int, measurements: int) -> set[int]:
    """The start, and so many steps evenly in the logarithm, of which the last is the end."""
    if measurements == 0:
        return set()
    spaced = np.geomspace(steps, 1, measurements)  # from the end: one alone is the end
    return {0, *(round(step) for step in spaced)}


@cache
def _loaded(name: str) -> study.DataSet:
    return study.load(name)
