"""How a family is trained at a size: as it is, with the factors of a table, or of lazyrich."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from tasks import TASKS, Task
from torch import nn
from torch.optim import SGD, Adam, Muon, Optimizer

import lazyrich

SHARE = 0.2  # of Muon's learning rate, that Adam has on the parameters that are no hidden matrix
SEEDS_OF_TRANSFER = 3
NEAR, WIDE = 2, 3  # half octaves around a minimum at the largest size and at the others
MORE = 3  # times as many seeds at the smallest size
APART = 1_000_000  # from the seeds of training batches

Pair = tuple[dict[str, float], dict[str, float]]
"""Factors on learning rates and on initial values, by parameter name."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """Networks of one task along an axis.

    Attributes:
        task: its name in `TASKS`.
        axis: "width" or "depth".
        sizes: the smallest first; its hyperparameters are carried over to the others.
        other: the size along the other axis.
        steps: of training.
    """

    task: str
    axis: str
    sizes: tuple[int, ...]
    other: int
    steps: int

    def around(self, size: int) -> int:
        """Half octaves on either side of a minimum that are trained."""
        return NEAR if size == self.sizes[-1] else WIDE

    def seeds(self, size: int, few: int) -> range:
        """More at the smallest size, where they cost little and decide the rate carried over."""
        return range(few * MORE if size == self.sizes[0] else few)

    @property
    def name(self) -> str:
        """As rows of the record say it."""
        return f"{self.task}, {self.axis}"

    def made(self) -> Task:
        """The task."""
        return TASKS[self.task]()

    def model(self, task: Task, size: int, seed: int) -> nn.Module:
        """A network of a size."""
        shape = (size, self.other) if self.axis == "width" else (self.other, size)
        return task.model(*shape, seed)


def is_matrix(model: nn.Module, name: str) -> bool:
    """Whether a parameter is a matrix between features, and so one of Muon's."""
    parameter = model.get_parameter(name)
    layer = model.get_submodule(name.rpartition(".")[0])
    ends = [n for n, p in model.named_parameters() if p.ndim > 1 and not _embeds(model, n)]
    outer = {ends[-1]} if _has_embedding(model) else {ends[0], ends[-1]}
    return parameter.ndim > 1 and not isinstance(layer, nn.Embedding) and name not in outer


def _embeds(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name.rpartition(".")[0]), nn.Embedding)


def _has_embedding(model: nn.Module) -> bool:
    return any(isinstance(module, nn.Embedding) for module in model.modules())


def sgd(model: nn.Module, lr: float) -> list[Optimizer]:
    """With momentum."""
    return [SGD(model.parameters(), lr=lr, momentum=0.9)]


def adam(model: nn.Module, lr: float) -> list[Optimizer]:
    """At its defaults."""
    return [Adam(model.parameters(), lr=lr)]


def muon(model: nn.Module, lr: float) -> list[Optimizer]:
    """For matrices between features, and Adam for the rest."""
    named = dict(model.named_parameters())
    matrices = [p for name, p in named.items() if is_matrix(model, name)]
    rest = [p for name, p in named.items() if not is_matrix(model, name)]
    return [Muon(matrices, lr=lr, weight_decay=0.0), Adam(rest, lr=SHARE * lr)]


OPTIMIZERS: dict[str, tuple[Callable[[nn.Module, float], list[Optimizer]], int]] = {
    "Adam": (adam, -7), "Muon": (muon, -5), "SGD": (sgd, -3),
}  # fmt: skip
"""By name, with the logarithm (base 2) of a learning rate to begin the search with."""


def by_table(model: nn.Module, wider: nn.Module, grown: float, optimizer: str) -> Pair:
    """The table of maximal update parametrisation, for PyTorch's own initialisation.

    Yang et al., Tensor Programs V, arXiv:2203.03466, Table 3; Muon's step has a spectral norm that
    does not know the width, so its factor is 1. Biases of PyTorch start like 1/√fan-in; those of
    muP keep their size, which is what microsoft/mup does to them.

    Args:
        model: of the width.
        wider: another one, to tell which sizes grow.
        grown: width over base width.
        optimizer: by its name in `OPTIMIZERS`.
    """
    lr: dict[str, float] = {}
    init: dict[str, float] = {}
    widest = dict(wider.named_parameters())
    fan_in_grows = {}
    for name, p in model.named_parameters():
        if p.ndim > 1 and not _embeds(model, name):
            fan_in_grows[name.rpartition(".")[0]] = widest[name].shape[1] != p.shape[1]
    for name, p in model.named_parameters():
        grow = [a != b for a, b in zip(p.shape, widest[name].shape, strict=True)]
        readout = p.ndim > 1 and grow == [False, True] and not _embeds(model, name)
        hidden = p.ndim > 1 and all(grow)
        bias = p.ndim == 1 and fan_in_grows.get(name.rpartition(".")[0], False)
        init[name] = grown**-0.5 if readout else grown**0.5 if bias else 1.0
        if optimizer == "SGD":
            lr[name] = 1.0 if hidden else 1 / grown if readout else grown if any(grow) else 1.0
        else:
            steady = optimizer == "Muon" and is_matrix(model, name)
            lr[name] = 1 / grown if (hidden or readout) and not steady else 1.0
    return lr, init


def by_depth(model: nn.Module, ends: Sequence[str], grown: float, optimizer: str) -> Pair:
    """CompleteP (α = 1) without multipliers: Dey et al., arXiv:2505.01618.

    A branch times 1/L is one whose last layer starts 1/L as large and, under Adam and Muon, steps
    1/L as far. Under SGD the gradients inside a branch carry 1/L, too, so that their rates grow.

    Args:
        model: of the depth.
        ends: layers that end a branch.
        grown: depth over base depth.
        optimizer: by its name in `OPTIMIZERS`.
    """
    lr: dict[str, float] = {}
    init: dict[str, float] = {}
    for name, _ in model.named_parameters():
        end = name.rpartition(".")[0] in ends
        inside = name.startswith("blocks.") and optimizer == "SGD"
        lr[name] = 1 / grown if end else grown if inside else 1.0
        init[name] = 1 / grown if end else 1.0
    return lr, init


def measured(
    family: Family, optimizer: str, rate: float, steps: int = 1
) -> lazyrich.probe.Transfer:
    """What the first steps say, at the learning rate that is best for the smallest network.

    Args:
        family: of networks.
        optimizer: by its name in `OPTIMIZERS`.
        rate: logarithm (base 2) of the learning rate.
        steps: that are measured together.
    """
    task, (make, _) = family.made(), OPTIMIZERS[optimizer]
    small, *larger = family.sizes
    return lazyrich.transfer(
        lambda size: family.model(task, size, int(torch.randint(APART, ()))),
        task.steps(1, APART)[0],
        task.loss,
        small=small,
        large=larger[-1],
        ladder=larger if len(larger) > 1 else (),
        optimizer=lambda model, _: make(model, 2.0**rate),
        steps=steps,
        branches=task.branches if family.axis == "depth" else (),
        seeds=SEEDS_OF_TRANSFER,
    )


def apply(model: nn.Module, optimizers: Sequence[Optimizer], factors: Pair) -> None:
    """Give a fresh network and its optimisers the factors, by plain parameter groups."""
    lr, init = factors
    names = {id(p): name for name, p in model.named_parameters()}
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.mul_(init.get(name, 1.0))
    for one in optimizers:
        groups: list[dict[str, Any]] = []
        for group in one.param_groups:
            alike: defaultdict[float, list[nn.Parameter]] = defaultdict(list)
            for p in group["params"]:
                alike[lr.get(names[id(p)], 1.0)].append(p)
            groups += [{**group, "params": ps, "lr": group["lr"] * f} for f, ps in alike.items()]
        one.param_groups[:] = groups


def factors_of(family: Family, scheme: str, optimizer: str, size: int) -> Pair:
    """What a scheme that needs no measuring has at a size.

    Args:
        family: of networks.
        scheme: "standard" or "table".
        optimizer: by its name in `OPTIMIZERS`.
        size: of the network.
    """
    task, grown = family.made(), size / family.sizes[0]
    if scheme == "standard" or grown == 1:
        return {}, {}
    model = family.model(task, size, 0)
    if family.axis == "width":
        return by_table(model, family.model(task, 2 * size, 0), grown, optimizer)
    ends = [
        name
        for name, _ in model.named_modules()
        if any(fnmatchcase(name, pattern) for pattern in task.branches)
    ]
    return by_depth(model, ends, grown, optimizer)
