"""The run behind figure 7: a training that was rehearsed before its first step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch

import lazyrich as lr
from lazyrich import study, sweeps

PROBED = 30  # images at which the network is rehearsed and measured
DIRECTIONS = 4  # of the kernel where the rehearsal ends


@dataclass(frozen=True, kw_only=True)
class Rehearsed:
    """The two-layer ReLU network of figure 6 learns images, forecast before and measured after.

    The forecast sees `PROBED` images and rehearses as many steps as training makes, all of them on
    these images. Training is by mini-batches of all images, and the kernel is that of the `PROBED`.

    Attributes:
        data: name of the data set.
        samples: training images, chosen by the seed.
        width: of the network.
        parametrisation: a name of `lazyrich.study.PARAMETRISATIONS`, whose learning rates it takes.
        batch_size: images a step of the training.
        steps: of gradient descent, of the training and of the rehearsal.
        seed: of images, weights and batches.
    """

    data: Literal["digits", "cifar10"]
    samples: int
    width: int
    parametrisation: str
    batch_size: int
    steps: int
    seed: int

    COUNTED = ("steps",)
    SIZED = ("data", "samples", "width", "batch_size")

    def run(self) -> sweeps.Result:
        """Build, forecast, train, measure after the first step and at the end."""
        with study.computing() as compute:
            return replace(self._run(compute), computed_on=str(compute))

    def _run(self, compute: study.Compute) -> sweeps.Result:
        data = _loaded(self.data).take(self.samples, 1, seed=self.seed)
        made = study.parametrise(
            study.fcn(data.inputs, data.outputs, width=self.width),
            self.parametrisation,
            seed=self.seed,
        )
        data = data.to(compute.torch_device)
        made.model.to(compute.torch_device)
        chosen = data.balanced(PROBED // data.classes, seed=self.seed)
        batch, groups = (chosen.x, chosen.y), made.groups()
        before = lr.forecast(
            made.model,
            batch,
            "cross_entropy",
            optimizer=torch.optim.SGD(groups, lr=made.lr),
            steps=self.steps,
            directions=DIRECTIONS,
        )
        rates = {name: made.lr * factor for name, factor in made.lr_factors.items()}
        probe = lr.Probe(
            made.model, batch, "cross_entropy", observables=("ntk_change",), samples=None, lrs=rates
        )
        outcome = study.train(
            made.model,
            data,
            self._recipe(made.lr, compute),
            seed=self.seed,
            lr_factors=made.lr_factors,
            observe=probe.measure,
            when={0, 1, self.steps}.__contains__,
        )
        found = {
            "richness": before.richness,
            "rehearsed_ntk_change": before.predicted_ntk_change,
            "linearisation_gap": before.linearisation_gap,
            "train_loss": outcome.loss,
        }
        return sweeps.Result(
            status=outcome.status,
            sentence=outcome.sentence,
            data=probe.history[["ntk_change"]].assign(found),
        )

    def _recipe(self, rate: float, compute: study.Compute) -> study.Recipe:
        return study.Recipe(
            loss="cross_entropy",
            lr=rate,
            batch_size=self.batch_size,
            steps=self.steps,
            mixed=compute.mixed,
        )


@cache
def _loaded(name: str) -> study.DataSet:
    return study.load(name)
