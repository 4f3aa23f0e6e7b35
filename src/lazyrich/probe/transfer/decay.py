"""Does weight decay follow the learning rate, as in AdamW and SGD, or the gradient, as in Adam?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import ASGD, SGD, Adafactor, Muon, Optimizer

from lazyrich.capture.network import Parameters
from lazyrich.probe.forecast.training import Apprentice

FOLLOWS = (SGD, ASGD, Adafactor, Muon)
EQUAL = 1e-3  # of what is taken from every entry, relative


def decay_follows_rate(optimizer: Optimizer, model: nn.Module) -> list[bool]:
    """Whether a step takes the share η·λ of every weight, for every group of an optimiser.

    Args:
        optimizer: the optimiser, which is only read.
        model: without its wrapper.
    """
    decaying = [bool(group.get("weight_decay")) for group in optimizer.param_groups]
    if not any(decaying):
        return decaying
    if type(optimizer).__module__.startswith("torch.optim."):
        declared = [_declared(optimizer, group) for group in optimizer.param_groups]
        return [a and b for a, b in zip(decaying, declared, strict=True)]
    shares = _taken_without_gradient(optimizer, model)
    return [
        decays and _is_one_number([shares[id(p)] for p in group["params"] if id(p) in shares])
        for decays, group in zip(decaying, optimizer.param_groups, strict=True)
    ]


def _declared(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay", isinstance(optimizer, FOLLOWS)))


def _taken_without_gradient(optimizer: Optimizer, model: nn.Module) -> dict[int, Tensor]:
    """The share of random weights that a step of a copy takes, by id of the parameter."""
    draw = torch.Generator().manual_seed(0)
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    theta: Parameters = {
        name: torch.randn(p.shape, generator=draw).to(p) for name, p in parameters.items()
    }
    still = {name: torch.zeros_like(p) for name, p in theta.items()}
    apprentice = Apprentice(optimizer, model, theta)

    def evaluate() -> Tensor:
        apprentice.set_gradient(still)
        return torch.zeros(())

    apprentice.step(0.0, still, evaluate)
    return {
        id(parameters[name]): 1 - (apprentice.leaves[name].detach() / theta[name])
        for name in apprentice.owned
    }


def _is_one_number(shares: list[Tensor]) -> bool:
    every = torch.cat([share.double().flatten() for share in shares])
    return bool(
        every.median() > 0 and (every - every.median()).abs().max() < EQUAL * every.median()
    )
