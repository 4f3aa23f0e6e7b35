"""An optimiser's learning rates as they are planned, before they are written into it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from lazyrich.capture.network import layer_of
from lazyrich.capture.optimizer_step import rates_of_groups
from lazyrich.probe.steer.centred import CentredOutput
from lazyrich.probe.steer.dialled import LearningRate

Label = TypeVar("Label", bound=Hashable)
LISTS = ("params", "param_names")  # of a group, with an entry a tensor


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
        for _, part in parts_of_group(group, lambda p: layers.get(id(p))):
            plan.param_groups.append({**part, "lr": lr})
    return plan


def parts_of_group(
    group: Mapping[str, Any], label: Callable[[Tensor], Label]
) -> list[tuple[Label, dict[str, Any]]]:
    """A parameter group of an optimiser in parts, all of whose tensors have the same label.

    Args:
        group: the group, which is only read.
        label: label of a tensor.
    """
    parts: dict[Label, list[int]] = {}
    for i, p in enumerate(group["params"]):
        parts.setdefault(label(p), []).append(i)
    return [
        (name, {**group, **{key: [group[key][i] for i in rows] for key in LISTS if key in group}})
        for name, rows in parts.items()
    ]


def set_rates(plan: Optimizer, optimizer: Optimizer, split: bool) -> None:
    """Write the planned learning rates into the user's optimiser; tensors stay tensors.

    Args:
        plan: the optimiser with the planned rates.
        optimizer: the user's.
        split: whether the plan has groups of its own.
    """
    if split:
        optimizer.param_groups[:] = plan.param_groups
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
