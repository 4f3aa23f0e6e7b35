"""Whether microsoft/mup, where it is installed, trains the networks that the table trains."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from transfer_curves import train
from transfer_schemes import OPTIMIZERS, Family, apply, factors_of

RATES = {"SGD": -4.0, "Adam": -8.0}  # logarithms (base 2); the package has no Muon


def compared(families: tuple[Family, ...]) -> dict[str, Any]:
    """The largest relative difference between the losses of both routes, over a training run.

    Args:
        families: over widths; those without layers of their own, which the package knows.
    """
    if find_spec("mup") is None:
        return {"installed": False}
    found = {}
    for family in families:
        for optimizer, rate in RATES.items():
            given = family, optimizer, rate, family.sizes[1]
            ours = losses(family, *by_table(*given))
            theirs = losses(family, *by_package(*given))
            apart = max(abs(a / b - 1) for a, b in zip(ours, theirs, strict=True))
            found[f"{family.name}, {optimizer}"] = apart
    return {"installed": True, "version": _version(), "largest_difference": found}


def _version() -> str:
    try:
        return version("mup")
    except PackageNotFoundError:
        return "unknown"


Made = tuple[nn.Module, list[Optimizer]]


def losses(family: Family, model: nn.Module, optimizers: list[Optimizer]) -> list[float]:
    """At every step."""
    return train(model, optimizers, family.made(), family.steps, 0)


def by_table(family: Family, optimizer: str, rate: float, size: int) -> Made:
    """A network with the factors of the table."""
    model = family.model(family.made(), size, 0)
    optimizers = OPTIMIZERS[optimizer][0](model, 2.0**rate)
    apply(model, optimizers, factors_of(family, "table", optimizer, size))
    return model, optimizers


def by_package(family: Family, optimizer: str, rate: float, size: int) -> Made:
    """The same network by the package: its readout replaced, its shapes compared with a base's."""
    import mup

    task = family.made()
    model, base, delta = (
        _with_readout(family.model(task, n, 0), mup.MuReadout)
        for n in (size, family.sizes[0], 2 * family.sizes[0])
    )
    mup.set_base_shapes(model, base, delta=delta)
    kinds = {"SGD": (mup.MuSGD, {"momentum": 0.9}), "Adam": (mup.MuAdam, {})}
    kind, options = kinds[optimizer]
    return model, [kind(model.parameters(), lr=2.0**rate, **options)]


def _with_readout(model: nn.Module, kind: type[nn.Linear]) -> nn.Module:
    """With its last linear layer of another kind, of the same weights."""
    name, last = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)][-1]
    with torch.random.fork_rng(devices=[]):
        twin = kind(last.in_features, last.out_features)
    twin.load_state_dict(last.state_dict())
    model.set_submodule(name, twin)
    return model
