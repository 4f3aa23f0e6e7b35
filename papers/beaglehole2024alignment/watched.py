"""The run behind figures 1, 2, 4 and 5: a network learns images, its ansatz is watched."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from math import cos, isfinite, pi
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

import lazyrich as lr
from lazyrich import study, sweeps
from papers.beaglehole2024alignment.left import left_structure

WARM = 1e-4  # share of the learning rate in the epoch before the first measurement
HEAD = 8  # numbers a head of the transformer
QUANTITIES = ("nfa", "cnfa", "nfa_null", "cnfa_null", "nfa_stderr", "centred_share")
BARE = ("nfa", "cnfa", "nfa_null", "cnfa_null")  # measured once more without the biases


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A network learns images by the mean square, and every layer's ansatz is measured.

    Epoch 0 runs at a ten-thousandth of the learning rate; then comes the first measurement, as in
    the released code. Initial weights are those of the network's own default.

    Attributes:
        data: name of the data set.
        network: `"fcn"` (five hidden layers, no biases), `"vgg11"` or `"transformer"`.
        width: of the network.
        samples: training images, chosen by the seed.
        test_samples: test images.
        lr: learning rate of E‖f − y‖², the sum over outputs.
        momentum: of gradient descent.
        init_scale: multiplies every initial weight matrix.
        batch_size: images a step.
        epochs: after epoch 0.
        points: how many times to measure, the last epoch included.
        measured: images on which the ansatz is measured.
        rule: `"sgd"`, or `"adaptive"`: the hidden layer with the lowest ansatz learns fast.
        strength: C of the adaptive rule.
        schedule: of the learning rate after epoch 0: `"constant"`, or `"cosine"`, which ends at 0.
        seed: of images, weights and batches.
    """

    data: Literal["digits", "mnist", "fashion-mnist", "cifar10"]
    network: Literal["fcn", "vgg11", "transformer"] = "fcn"
    width: int = 256
    samples: int
    test_samples: int = 1000
    lr: float
    momentum: float = 0.0
    init_scale: float = 1.0
    batch_size: int = 128
    epochs: int
    points: int
    measured: int = 1000
    rule: Literal["sgd", "adaptive"] = "sgd"
    strength: float = 5.0
    schedule: Literal["constant", "cosine"] = "constant"
    seed: int

    COUNTED = ("epochs", "points")
    SIZED = ("data", "network", "width", "samples", "test_samples", "batch_size", "measured")

    def run(self) -> sweeps.Result:
        """Train and watch."""
        with study.computing() as compute:
            return replace(self._run(compute), computed_on=str(compute))

    def _run(self, compute: study.Compute) -> sweeps.Result:
        data = _loaded(self.data).take(self.samples, self.test_samples, seed=self.seed)
        network = self._network(data).to(compute.torch_device)  # drawn on the CPU
        data = data.to(compute.torch_device)
        start = {name: p.detach().clone() for name, p in network.state_dict().items()}
        x, y = data.train.x, study.targets(data.train, data.classes, "squared_error")
        due = set(np.linspace(0, self.epochs, self.points).round().astype(int).tolist())
        optimizer = self._optimizer(network, x)
        epoch_steps = max(1, len(x) // self.batch_size)
        rows: list[dict[str, Any]] = []
        sizes = len(x), self.batch_size, epoch_steps * (self.epochs + 1)
        total = 0.0
        for step, batch in enumerate(study.batches(*sizes, seed=self.seed, device=x.device)):
            share = WARM if step < epoch_steps else self._share(step / epoch_steps - 1)
            for group in optimizer.param_groups:
                group["lr"] = share * self.lr
            optimizer.zero_grad()
            with study.autocast(x.device, compute.mixed):
                outputs = network(x[batch]).to(y)
            loss = study.loss_value("squared_error", outputs, y[batch])
            if not isfinite(loss.item()):
                return sweeps.Result(
                    status="diverged", sentence=f"The loss was {loss.item()} at step {step}."
                )
            loss.backward()
            optimizer.step()
            total += loss.item() / epoch_steps
            epoch, place = divmod(step + 1, epoch_steps)
            if place == 0:
                if epoch - 1 in due:
                    rows.append({**self._measured(network, start, x), "loss": total})
                    rows[-1]["epoch"] = epoch - 1
                total = 0.0
        found = _result(rows, network, data)
        return replace(found, data=found.data.assign(self._at_the_end(network, start, x)))

    def _share(self, epoch: float) -> float:
        """Of the learning rate, after so many epochs."""
        if self.schedule == "constant":
            return 1.0
        return (1 + cos(pi * epoch / self.epochs)) / 2

    def _at_the_end(
        self, network: nn.Module, start: dict[str, Tensor], x: Tensor
    ) -> dict[str, tuple[str, np.ndarray]]:
        """What is measured once: left structure, or the ansatz of a network without its biases."""
        if self.network == "fcn":
            found = left_structure(network, x[: self.measured], seed=self.seed)
            return {name: ("layer", np.array(values)) for name, values in found.items()}
        if self.network == "vgg11":
            bare = self._measured(_without_biases(network), start, x)
            return {f"{name}_without_biases": ("layer", bare[name]) for name in BARE}
        return {}

    def _network(self, data: study.DataSet) -> nn.Module:
        sizes = data.inputs, data.outputs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if self.network == "fcn":
                network = study.fcn(*sizes, width=self.width, depth=5)
            elif self.network == "vgg11":
                network = study.vgg11(*sizes, width=self.width)
            else:
                network = study.transformer(*sizes, width=self.width, depth=2, head_size=HEAD)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(self.init_scale)
        return network

    def _optimizer(self, network: nn.Module, x: Tensor) -> torch.optim.Optimizer:
        plain = torch.optim.SGD(network.parameters(), lr=self.lr, momentum=self.momentum)
        if self.rule == "sgd":
            return plain
        return lr.optim.SpeedLimited(
            plain, model=network, x=x[: self.measured], strength=self.strength
        )

    @property
    def _heads(self) -> dict[str, int] | None:
        if self.network != "transformer":
            return None
        return {f"*.{kind}": self.width // HEAD for kind in ("query", "key", "value")}

    def _measured(self, network: nn.Module, start: dict[str, Tensor], x: Tensor) -> dict[str, Any]:
        found = lr.nfa(
            network,
            x[: self.measured],
            start,
            heads=self._heads,
            correlation="pearson",
            seed=self.seed,
        )
        layers = found.layer.values.tolist()
        return {
            "layers": layers,
            "weight_movement": [_movement(network, start, name) for name in layers],
            **{name: found[name].values for name in QUANTITIES},
        }


@cache
def _loaded(name: str) -> study.DataSet:
    return study.load(name)


def _without_biases(network: nn.Module) -> nn.Module:
    """A copy whose biases are 0, which is what the released code for convolutions measures."""
    made = deepcopy(network)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    return made


def _movement(network: nn.Module, start: dict[str, Tensor], layer: str) -> float:
    """‖W − W₀‖/‖W₀‖ of the layer; a head counts with the whole matrix."""
    name = f"{layer.partition('[')[0]}.weight"
    return float((network.state_dict()[name] - start[name]).norm() / start[name].norm())


def _result(rows: list[dict[str, Any]], network: nn.Module, data: study.DataSet) -> sweeps.Result:
    found = {
        name: (("epoch", "layer"), np.array([row[name] for row in rows]))
        for name in (*QUANTITIES, "weight_movement")
    }
    found["loss"] = ("epoch", np.array([row["loss"] for row in rows]))
    accuracies = {
        "train_accuracy": study.accuracy(network, data.train),
        "test_accuracy": study.accuracy(network, data.test),
    }
    return sweeps.Result(
        status="finished",
        sentence="trained to the end",
        data=xr.Dataset(
            {**found, **accuracies},
            coords={"epoch": [row["epoch"] for row in rows], "layer": rows[0]["layers"]},
        ),
    )
