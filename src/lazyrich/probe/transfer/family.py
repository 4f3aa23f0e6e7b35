"""A family of networks over their size, and what a transfer sets on one of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, Optimizer

from lazyrich._arguments import shown, takes
from lazyrich._errors import InputError
from lazyrich.capture.generators import seeded
from lazyrich.capture.isolation import tensors_in, undisturbed, unwrap
from lazyrich.capture.losses import Loss
from lazyrich.capture.norms import root_mean_square
from lazyrich.capture.optimizer_step import checked_optimizer, rates_of_groups
from lazyrich.probe.arguments import LabelledBatch
from lazyrich.probe.forecast.first_step import checked
from lazyrich.probe.steer.plan import parts_of_group
from lazyrich.probe.transfer.decay import decay_follows_rate
from lazyrich.probe.transfer.updates import Flow, Updates, entries, places_of, updates_of

Factory = Callable[[int], nn.Module] | Mapping[int, nn.Module]
"""Makes the model of a size, freshly initialised; or models by their size."""

OptimizersFactory = Callable[[nn.Module, int], Optimizer | Sequence[Optimizer]]
"""`(model, size) -> optimizer`, or several that share its parameters out."""

FEWEST_DIRECTIONS = 2  # that a forecast may have; here none is drawn


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What a transfer multiplies, by parameter name; 1 where one is not named.

    Attributes:
        lr: learning rates.
        init: initial values.
    """

    lr: Mapping[str, float] = field(default_factory=dict)
    init: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What the network of one size consists of.

    Attributes:
        size: width or depth.
        shapes: shapes of the trainable parameters, by name.
        spreads: root mean squares of their entries, by name.
        places: parameter → the module on whose outputs its update is measured.
        entries: place → how many numbers it takes and gives on the batch; also of modules that
            read a weight of another one.
        outputs: how many numbers the network gives on the batch.
        read: place → parameters that it reads, its own or another module's.
        owners: parameter → the kind of the optimiser that owns it, if one does, at a rate > 0.
    """

    size: int
    shapes: Mapping[str, tuple[int, ...]]
    spreads: Mapping[str, float]
    places: Mapping[str, str]
    entries: Mapping[str, tuple[int, int]]
    outputs: int
    read: Mapping[str, frozenset[str]]
    owners: Mapping[str, type[Optimizer]]


@dataclass(frozen=True, kw_only=True)
class NetworkFamily:
    """Networks of several sizes on one batch, and how they are trained.

    Attributes:
        factory: the same as in `Factory`.
        batch: `(inputs, targets)`.
        loss: the same as in `forecast`.
        optimizer: the same as in `OptimizersFactory`.
        steps: training steps that are measured together.
        seeds: initialisations of each size.
    """

    factory: Factory
    batch: LabelledBatch
    loss: Loss
    optimizer: OptimizersFactory
    steps: int
    seeds: int

    def built(self, size: int, seed: int) -> tuple[nn.Module, list[Optimizer]]:
        """A network of its own, and its optimisers."""
        with seeded(seed, *{tensor.device for tensor in tensors_in(self.batch)}):
            model = self.made(size)
            given = self.optimizer(model, size)
        each = list(given) if isinstance(given, Sequence) else [given]
        optimizers = [checked_optimizer(one) for one in each]
        _refuse_optimizers(optimizers)
        _begin_schedules(optimizers)
        return unwrap(model), optimizers

    def made(self, size: int) -> nn.Module:
        """The model of a size, as the user makes it."""
        if not isinstance(self.factory, Mapping):
            return _checked_model(self.factory(size))
        if size not in self.factory:
            raise InputError(
                f"`factory` must hold a model of every size that is measured, got those of "
                f"{shown(sorted(self.factory))} without {size}. Give a function that makes them."
            )
        return copy.deepcopy(_checked_model(self.factory[size]))

    def member(self, size: int) -> Anatomy:
        """What the network of a size consists of."""
        model, optimizers = self.built(size, 0)
        network, _, outputs = checked(model, self.batch, self.loss, FEWEST_DIRECTIONS)
        names = {id(p): name for name, p in network.module.named_parameters()}
        every = {
            alias: names[id(p)]
            for alias, p in network.module.named_parameters(remove_duplicate=False)
            if names[id(p)] in network.theta
        }
        with undisturbed(network.module, twice=True):
            places = places_of(network, every)
            counted = entries(network, dict.fromkeys(places.values()))
        return Anatomy(
            size=size,
            shapes={name: tuple(p.shape) for name, p in network.theta.items()},
            spreads={name: root_mean_square((p,)) for name, p in network.theta.items()},
            places={name: places[name] for name in network.theta},
            entries=counted,
            outputs=outputs.numel(),
            read={
                place: frozenset(every[alias] for alias, at in places.items() if at == place)
                for place in counted
            },
            owners={
                names[id(p)]: type(one)
                for one in optimizers
                for group in one.param_groups
                for p in group["params"]
                if group["lr"] and names.get(id(p)) in network.theta
            },
        )

    def updates(self, size: int, factors: Factors, asked: Sequence[Flow]) -> list[Updates]:
        """What the first steps do with these factors, for every seed.

        Args:
            size: width or depth.
            factors: applied before the first step.
            asked: the same as in `Flow`.
        """
        found = []
        for seed in range(self.seeds):
            model, optimizers = self.built(size, seed)
            scale_init(model, factors.init)
            for one in optimizers:
                split_groups(one, model, factors.lr)
            network, loss, _ = checked(model, self.batch, self.loss, FEWEST_DIRECTIONS)
            with undisturbed(network.module, twice=True):
                found.append(updates_of(network, loss, optimizers, self.steps, asked))
        return found


def refuse_makers(factory: object, optimizer: object) -> None:
    """Refuse what makes no models or no optimisers.

    Args:
        factory: the same as in `Factory`.
        optimizer: the same as in `OptimizersFactory`.

    Raises:
        InputError: an object of another kind, or a model or an optimiser itself.
    """
    if not (callable(factory) or isinstance(factory, Mapping)) or isinstance(factory, nn.Module):
        raise InputError(
            "`factory` must be a function that makes the model of a size, or a mapping of models "
            f"by their size, got {shown(factory)}. Pass such as `lambda width: …`."
        )
    if not callable(optimizer) or not takes(optimizer, "model", "size"):
        raise InputError(
            "`optimizer` must be a function (model, size) -> optimizer, got "
            f"{shown(optimizer)}. Pass such as `lambda model, size: SGD(model.parameters(), 0.1)`."
        )


def _checked_model(made: object) -> nn.Module:
    if not isinstance(made, nn.Module):
        raise InputError(
            f"`factory` must make a torch.nn.Module of every size, got {shown(made)}. Return the "
            "network."
        )
    return made


def _begin_schedules(optimizers: Sequence[Optimizer]) -> None:
    """Where a warm-up begins at 0, put the rates that it leads to."""
    for one in optimizers:
        rates = rates_of_groups(one)
        if not any(rates):
            raise InputError(
                f"`optimizer` must give a learning rate > 0, got {type(one).__name__} with 0. Pass "
                "the rate of the small network; its schedule comes afterwards."
            )
        for group, rate in zip(one.param_groups, rates, strict=True):
            if rate != float(group["lr"]):
                group["lr"] = rate


def _refuse_optimizers(optimizers: Sequence[Optimizer]) -> None:
    if any(isinstance(one, LBFGS) for one in optimizers):
        raise InputError(
            "`optimizer` must take a learning rate for every parameter, got LBFGS, which has one "
            "for all. Transfer with an optimiser that has parameter groups."
        )
    held = [id(p) for one in optimizers for group in one.param_groups for p in group["params"]]
    if len(held) != len(set(held)):
        raise InputError(
            "the optimisers must share the parameters out, got some that more than one owns. Give "
            "each parameter to one."
        )


def scale_init(model: nn.Module, factors: Mapping[str, float]) -> None:
    """Multiply parameters, in place.

    Args:
        model: without its wrapper.
        factors: the factors, by parameter name.
    """
    with torch.no_grad():
        for name, p in model.named_parameters():
            if factors.get(name, 1.0) != 1.0:
                p.mul_(factors[name])


def split_groups(optimizer: Optimizer, model: nn.Module, factors: Mapping[str, float]) -> None:
    """Give an optimiser a group for every factor, with the learning rate times it.

    Where weights decay by η·λ a step λ is divided by the factor.

    Args:
        optimizer: the optimiser before its first step.
        model: without its wrapper.
        factors: the factors, by parameter name.
    """
    of = {id(p): factors.get(name, 1.0) for name, p in model.named_parameters()}
    groups = []
    follows = decay_follows_rate(optimizer, model)
    for group, decays in zip(optimizer.param_groups, follows, strict=True):
        for factor, part in parts_of_group(group, lambda p: of.get(id(p), 1.0)):
            rate = group["lr"]
            part["lr"] = rate.clone() * factor if isinstance(rate, Tensor) else rate * factor
            if decays:
                part["weight_decay"] = group["weight_decay"] / factor
            groups.append({**part, "lr_factor": factor * group.get("lr_factor", 1.0)})
    optimizer.param_groups[:] = groups  # in place: a wrapper shows those of the one inside
