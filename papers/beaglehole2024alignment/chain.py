"""The run behind figure 4: a target on few coordinates, learned under several rules of speed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
import xarray as xr
from torch import Tensor, nn

import lazyrich as lr
from lazyrich import study, sweeps

Rule = Literal["sgd", "adam", "rates", "limited", "normalised"]

DIMENSION, RELEVANT, SAMPLES, HELD_OUT = 32, 5, 512, 4096
WIDTH, BATCH = 128, 128
HIDDEN = ("0", "2")  # names of the two hidden layers in the network below


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A ReLU network 32-128-128-1 learns the chain monomial of the first five coordinates.

    Weights N(0, 1/fan-in), no biases, 512 samples, batches of 128. Half of the held-out samples
    choose the learning rate, the other half judge.

    Attributes:
        rule: `"sgd"`; `"adam"`; `"rates"`, gradient descent with learning rate η C for the target
            and η/C for the others; `"limited"`, the same C on gradients of norm 1
            (`lazyrich.optim.SpeedLimited`); `"normalised"`, gradients of norm 1 with C = 1
            everywhere.
        target: the hidden layer with the speed C, 1 or 2; not used by rules without one.
        strength: C.
        lr: learning rate η.
        steps: of training.
        seed: of data, weights and batches.
    """

    rule: Rule
    target: int = 1
    strength: float = 1.0
    lr: float
    steps: int = 2000
    seed: int

    def run(self) -> sweeps.Result:
        """Train, then measure errors, ansatz and feature matrices."""
        data = study.load(
            "chain-monomial",
            samples=SAMPLES,
            test=HELD_OUT,
            dimension=DIMENSION,
            order=RELEVANT,
            seed=self.seed,
        )
        network = _network(self.seed)
        start = {name: p.detach().clone() for name, p in network.state_dict().items()}
        optimizer = self._optimizer(network)
        x, y = data.train.x, data.train.y
        for rows in study.batches(SAMPLES, BATCH, self.steps, seed=self.seed):
            optimizer.zero_grad()
            value = study.loss_value("squared_error", network(x[rows]), y[rows])
            if not isfinite(value.item()):
                return sweeps.Result(status="diverged", sentence=f"The loss was {value.item()}.")
            value.backward()
            optimizer.step()
        return _measured(network, start, data)

    def _optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        names = {1: HIDDEN[0], 2: HIDDEN[1]}
        if self.rule == "adam":
            return torch.optim.Adam(network.parameters(), lr=self.lr)
        if self.rule == "rates":
            groups = [
                {"params": [p], "lr": self.lr * self._speed(name, names[self.target])}
                for name, p in network.named_parameters()
            ]
            return torch.optim.SGD(groups, lr=self.lr)
        plain = torch.optim.SGD(network.parameters(), lr=self.lr)
        if self.rule == "sgd":
            return plain
        if self.rule == "normalised":
            return lr.optim.SpeedLimited(plain, model=network, speeds={"": 1.0})
        return lr.optim.SpeedLimited(
            plain, model=network, target=names[self.target], strength=self.strength
        )

    def _speed(self, parameter: str, target: str) -> float:
        return self.strength if parameter == f"{target}.weight" else 1 / self.strength


def _network(seed: int) -> nn.Module:
    """The network, its layers named "0", "2" and "4"."""
    sizes = ((DIMENSION, WIDTH), (WIDTH, WIDTH), (WIDTH, 1))
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(d, k, bias=False) for d, k in sizes]
    for layer in layers:
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def _measured(network: nn.Module, start: dict[str, Tensor], data: study.DataSet) -> sweeps.Result:
    with torch.no_grad():
        errors = (network(data.test.x) - data.test.y).square()[:, 0].double()
        training = (network(data.train.x) - data.train.y).square().mean()
    variance = data.test.y.double().var()
    half = HELD_OUT // 2
    found = lr.nfa(network, data.train.x, start, directions="all").sel(layer=list(HIDDEN))
    nfm, agop = _feature_matrices(network, data.train.x)
    energy = nfm.diagonal()
    values = {
        "validation_error": float(errors[:half].mean() / variance),
        "test_error": float(errors[half:].mean() / variance),
        "train_error": float(training / data.train.y.var()),
        "energy": float(energy[:RELEVANT].sum() / energy.sum()),
        **{
            name: ("layer", found[name].values) for name in ("nfa", "cnfa", "nfa_null", "cnfa_null")
        },
        "centred_share": ("layer", found.centred_share.values),
        "nfm": (("i", "j"), nfm.numpy()),
        "agop": (("i", "j"), agop.numpy()),
    }
    if not all(isfinite(v) for v in values.values() if isinstance(v, float)):
        return sweeps.Result(status="diverged", sentence="The test error is not finite.")
    return sweeps.Result(
        status="finished",
        sentence="trained to the end",
        data=xr.Dataset(values, coords={"layer": ["1", "2"]}),
    )


def _feature_matrices(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """NFM and AGOP of the inputs, each divided by its largest entry."""
    inputs = x.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(network(inputs).sum(), inputs)
    weight = network[0].weight.detach()
    both = weight.T @ weight, slopes.T @ slopes / len(x)
    return both[0] / both[0].max(), both[1] / both[1].max()
