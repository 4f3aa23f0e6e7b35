"""An optimiser's learning rates as they are planned, before they are written into it."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from lazyrich.capture.network import layer_of
from lazyrich.capture.optimizer_step import rates_of_groups
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.probe.steer.dialled import LearningRate


def planned(optimizer: Optimizer, split: CentredOutput | None) -> Optimizer:
    """The optimiser with parameter groups of its own.

    Args:
        optimizer: the user's; it is only read. A warm-up from 0 counts by what it leads to.
        split: the network, if its layers are to have a group each.
    """
    plan: Optimizer = object.__new__(type(optimizer))
    vars(plan).update(vars(optimizer))  # all of it, which an optimiser's own way of copying drops
    plan.param_groups = []
    layers = {} if split is None else layers_of_tensors(split)
    for group, lr in zip(optimizer.param_groups, rates_of_groups(optimizer), strict=True):
        parts: dict[str | None, list[int]] = {}
        for i, p in enumerate(group["params"]):
            parts.setdefault(layers.get(id(p)), []).append(i)
        for rows in parts.values():
            listed: dict[str, Any] = {
                key: [group[key][i] for i in rows]
                for key in ("params", "param_names")
                if key in group
            }
            plan.param_groups.append({**group, **listed, "lr": lr})
    return plan


def set_rates(plan: Optimizer, optimizer: Optimizer, split: bool) -> None:
    """Write the planned learning rates into the user's optimiser; tensors stay tensors.

    Args:
        plan: the optimiser with the planned rates.
        optimizer: the user's.
        split: whether the plan has groups of its own.
    """
    if split:
        optimizer.param_groups = plan.param_groups
        return
    for group, ahead in zip(optimizer.param_groups, plan.param_groups, strict=True):
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(ahead["lr"])
        else:
            group["lr"] = ahead["lr"]


def layers_of_tensors(centred: CentredOutput) -> dict[int, str]:
    """The layer of every trainable tensor, by its id.

    Args:
        centred: the network.
    """
    return {id(p): layer_of(name) for name, p in centred.named_parameters() if p.requires_grad}


def rates_by_layer(
    centred: CentredOutput, optimizer: Optimizer, plan: Optimizer, wrapped: bool
) -> dict[str, LearningRate]:
    """Rates by layer; by parameter in a layer whose parameters have different ones.

    Args:
        centred: the network.
        optimizer: the user's.
        plan: the optimiser with the planned rates.
        wrapped: whether the network was given without its wrapper, and so its layers' paths.
    """
    before, after = (
        {
            id(p): lr
            for group, lr in zip(o.param_groups, rates_of_groups(o), strict=True)
            for p in group["params"]
        }
        for o in (optimizer, plan)
    )
    layers: dict[str, dict[str, LearningRate]] = {}
    for name, p in centred.named_parameters():
        if p.requires_grad and id(p) in before:
            path = name.removeprefix("network.") if wrapped else name
            rate = LearningRate(before=before[id(p)], after=after[id(p)])
            layers.setdefault(layer_of(path), {})[path] = rate
    table: dict[str, LearningRate] = {}
    for layer, rates in layers.items():
        same = len(set(rates.values())) == 1
        table |= {layer: next(iter(rates.values()))} if same else rates
    return table
