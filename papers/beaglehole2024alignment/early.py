"""The runs behind figures 3 and 7: what the first steps will do to the ansatz, said before them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
import xarray as xr
from torch import nn

import lazyrich as lr
from lazyrich import study, sweeps
from lazyrich.theory.quadratic_start import quadratic_network_prediction

TINY, WARM = 1e-6, 1e-4  # learning rates: of one step in float64, of the released epoch 0


@dataclass(frozen=True, kw_only=True)
class OneStep:
    """The identity of the first step on images, and how long it holds.

    A fully connected ReLU network with five hidden layers at its default start: every layer's
    centred ansatz as predicted from one gradient, as found after one tiny step of the whole batch,
    and as found after an epoch of small minibatch steps.

    Attributes:
        data: name of the data set.
        samples: training images, chosen by the seed.
        width: of the network.
        init_scale: multiplies every initial weight matrix.
        seed: of images, weights and batches.
    """

    data: Literal["digits", "mnist", "fashion-mnist", "cifar10"]
    samples: int
    width: int
    init_scale: float = 1.0
    seed: int

    def run(self) -> sweeps.Result:
        """Predict, then step."""
        data = _loaded(self.data).take(self.samples, None, seed=self.seed)
        network = study.fcn(data.inputs, data.outputs, width=self.width, depth=5)
        made = study.parametrise(network, "default", init_scale=self.init_scale, seed=self.seed)
        model = made.model.double()
        start = {name: p.detach().clone() for name, p in model.state_dict().items()}
        x, y = (
            data.train.x.double(),
            study.targets(data.train, data.classes, "squared_error").double(),
        )
        predicted = lr.initial_cnfa(model, (x, y), directions="all")
        _descend(model, x, y, TINY, 1, len(x), self.seed)
        step = lr.nfa(model, x, start, directions="all").cnfa
        model.load_state_dict(start)
        _descend(model, x, y, WARM, max(1, len(x) // 128), 128, self.seed)
        epoch = lr.nfa(model, x, start, directions="all").cnfa
        found = {
            "predicted": ("layer", predicted.cnfa.values),
            "after_step": ("layer", step.values),
            "after_epoch": ("layer", epoch.values),
        }
        return sweeps.Result(
            status="finished",
            sentence="one step and one epoch",
            data=xr.Dataset(found, coords={"layer": step.layer.values.tolist()}),
        )


@dataclass(frozen=True, kw_only=True)
class Quadratic:
    """A wide network of quadratic neurons beside its prediction from the data's spectra.

    Inputs are Gaussian with covariance eigenvalues (1 + i)^−α; the initial output is taken away.

    Attributes:
        target: what is learned, see `lazyrich.study.load("gaussian")`.
        alpha: α.
        readout: `"signs"`, a = ±1, or `"gaussian"`.
        dimension: d; also the number of neurons unless `width` is given.
        width: neurons k; None for d.
        samples: n.
        seed: of data and weights.
    """

    target: Literal["signs", "products", "linear"]
    alpha: float
    readout: Literal["signs", "gaussian"] = "signs"
    dimension: int = 256
    width: int | None = None
    samples: int = 512
    seed: int

    def run(self) -> sweeps.Result:
        """Measure the network, predict from the data."""
        d, k = self.dimension, self.width or self.dimension
        data = study.load(
            "gaussian",
            samples=self.samples,
            test=1,
            dimension=d,
            alpha=self.alpha,
            target=self.target,
            seed=self.seed,
        )
        x, y = data.train.x.double(), data.train.y.double()
        network = study.fcn((d,), 1, width=k, activation="quadratic").double()
        hidden, readout = (m for m in network.modules() if isinstance(m, nn.Linear))
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            hidden.weight.normal_(std=d**-0.5, generator=generator)
            readout.weight.normal_(generator=generator)
            if self.readout == "signs":
                readout.weight.sign_()
        measured = lr.initial_cnfa(lr.CentredOutput(network), (x, y), directions="all")
        predicted = quadratic_network_prediction(
            (x.T @ x / len(x)).numpy(),
            (x.T @ (y * x) / len(x)).numpy(),
            width=k,
            readout_moments=(1, 1, 1, 1) if self.readout == "signs" else (1, 3, 15, 105),
        )
        found = {
            "measured": float(measured.cnfa[0]),
            "null": float(measured.cnfa_null[0]),
            "predicted": float(predicted),
        }
        return sweeps.Result(
            status="finished", sentence="measured and predicted", data=xr.Dataset(found)
        )


@cache
def _loaded(name: str) -> study.DataSet:
    return study.load(name)


def _descend(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor,
    rate: float,
    steps: int,
    size: int,
    seed: int,
) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for rows in study.batches(len(x), size, steps, seed=seed):
        optimizer.zero_grad()
        study.loss_value("squared_error", model(x[rows]), y[rows]).backward()
        optimizer.step()
