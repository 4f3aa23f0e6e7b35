"""Networks of one shape trained together: their parameters stacked, one step for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.utils.flop_counter import FlopCounterMode

from lazyrich._errors import InputError
from lazyrich.capture.isolation import undisturbed
from lazyrich.capture.network import DROPOUT, Parameters
from lazyrich.capture.statistics import RUNNING_NORM
from lazyrich.probe.schedule import Schedule
from lazyrich.study.compute import autocast
from lazyrich.study.data.samples import DataSet
from lazyrich.study.training.recipe import Outcome, Recipe, ended
from lazyrich.study.training.stacked import StackedOptimizer, put_back, rates_of, stacked
from lazyrich.study.training.task import CHUNK, batches, drawn, loss_value, task_of
from lazyrich.study.training.train import ScheduledObserver, check_factors

BLOCK = 64  # networks in one stack; more of them leave the processor's cache
LEAST = 8  # networks for which stacking makes up for its overhead; see the record of the benchmark
MOST_WORK = 5e6  # operations of a network's forward pass on a batch, above which it does not
MOST_NUMBERS = 1e5  # that its layers give on a batch; measured: 60,000 pay, 130,000 do not


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of the networks that train together.

    Attributes:
        model: trained in place.
        seed: seed of its order of samples and its augmentation, ≥ 0.
        lr: its learning rate; None is the recipe's.
        lr_factors: factors on the learning rates, by parameter name.
        observe: called as by `train`, with its own model.
    """

    model: nn.Module
    seed: int
    lr: float | None = None
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    observe: Callable[[int], None] | None = None


def train_together(
    members: Sequence[Member], data: DataSet, recipe: Recipe, *, when: Schedule | int | None = None
) -> list[Outcome]:
    """Train networks of one shape in common steps; each as `train` would, up to rounding.

    The networks may differ in the values of parameters and buffers (so in seeds and in scales of
    weights and output), in learning rates, factors and orders of samples. One that reaches the
    loss to stop at, or diverges, leaves with the parameters of that step; the others go on.

    Args:
        members: the networks.
        data: the set that all of them learn.
        recipe: how.
        when: the schedule of their observers, besides the first and the last step.

    Returns:
        How each ended, in the order of the members.

    Raises:
        InputError: no members; members that differ in more than that; random or running state
            inside the network (dropout, batch normalisation); and what `train` refuses.

    Example:
        >>> from lazyrich.study import digits
        >>> _ = torch.manual_seed(0)
        >>> nets = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(3)]
        >>> members = [Member(model=net, seed=0, lr=lr) for net, lr in zip(nets, (0.01, 0.02, 9.0))]
        >>> recipe = Recipe(lr=0.01, batch_size=100, steps=40)
        >>> [outcome.status for outcome in train_together(members, digits(), recipe)]
        ['finished', 'finished', 'diverged']
    """
    _check(members, data)
    outcomes: list[Outcome] = []
    for start in range(0, len(members), BLOCK):
        block = _Block(members[start : start + BLOCK], data, recipe, when)
        outcomes += block.train()
    return outcomes


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Whether training together is worth it.

    Attributes:
        pays: whether it is.
        sentence: why.
    """

    pays: bool
    sentence: str


def pays(model: nn.Module, data: DataSet, recipe: Recipe, members: int) -> Advice:
    """Whether training together is faster than one by one, by what we measured.

    Stacking saves the overhead of starting each operation, a few hundred microseconds a step and
    network. It gains nothing where the arithmetic itself takes longer than that, or where the
    numbers between the layers leave the processor's cache.

    Args:
        model: one of the networks.
        data: what they learn.
        recipe: how.
        members: how many there are.

    Example:
        >>> from lazyrich.study import digits
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        >>> print(pays(net, digits(), Recipe(lr=0.1, steps=9, batch_size=64), 256).sentence)
        Together: 0.61 million operations a forward pass are less than 5 million.
        >>> pays(net, digits(), Recipe(lr=0.1, steps=9), 256).pays
        False
    """
    refused = _refused(model)
    if refused:
        return Advice(pays=False, sentence=f"One by one: {refused}")
    if members < LEAST:
        sentence = f"One by one: {members} networks are less than {LEAST}."
        return Advice(pays=False, sentence=sentence)
    batch = min(recipe.batch_size or len(data.train), len(data.train))
    work, numbers = (batch * each for each in _costs(model, data.train.x[:1]))
    most = MOST_WORK / 1e6
    cost = f"{work / 1e6:.2g} million operations a forward pass are"
    if work > MOST_WORK:
        return Advice(pays=False, sentence=f"One by one: {cost} more than {most:g} million.")
    if numbers > MOST_NUMBERS:
        sentence = f"One by one: {numbers:,} numbers of a batch are more than {MOST_NUMBERS:,.0f}."
        return Advice(pays=False, sentence=sentence)
    return Advice(pays=True, sentence=f"Together: {cost} less than {most:g} million.")


def _costs(model: nn.Module, x: Tensor) -> tuple[int, int]:
    """Operations of a forward pass on a sample, and the numbers that its layers give."""
    numbers = 0

    def count(_: nn.Module, __: object, output: Tensor) -> None:
        nonlocal numbers
        numbers += output.numel()

    views = (nn.Flatten, nn.Identity)  # compute nothing
    leaves = [m for m in model.modules() if not list(m.children()) and not isinstance(m, views)]
    hooks = [leaf.register_forward_hook(count) for leaf in leaves]
    counter = FlopCounterMode(display=False)
    try:
        with undisturbed(model), torch.no_grad(), counter:
            model(x.to(next(model.parameters())))
    finally:
        for hook in hooks:
            hook.remove()
    return counter.get_total_flops(), numbers


def _refused(model: nn.Module) -> str:
    """Why a network cannot be stacked; empty if it can."""
    for module in model.modules():
        if isinstance(module, (RUNNING_NORM, DROPOUT)):
            return f"a {type(module).__name__} has random or running state."
    return ""


class _Block:
    """Members that share a stack; `active` are the numbers of those that still train."""

    def __init__(
        self, members: Sequence[Member], data: DataSet, recipe: Recipe, when: Schedule | int | None
    ) -> None:
        self.members, self.recipe = members, recipe
        self.recipes = [recipe if m.lr is None else replace(recipe, lr=m.lr) for m in members]
        self.task = task_of(members[0].model, data, recipe.loss)
        self.observers = [ScheduledObserver(m.model, self.task, m.observe, when) for m in members]
        self.active = list(range(len(members)))
        theta, self.fixed = stacked([m.model for m in members])
        rates = rates_of(theta, self.recipes, [m.lr_factors for m in members])
        self.optimizer = StackedOptimizer(theta, rates, recipe)
        self.limits = self.task.x.new_zeros(len(members), dtype=torch.float64)
        self.outcomes: dict[int, Outcome] = {}

    def train(self) -> list[Outcome]:
        """All steps; returns how each member ended."""
        epoch, stop = self.recipe.epoch(len(self.task.x)), self.recipe.stop_loss
        for observer in self.observers:
            observer.see(0)
        for step, (x, y, axis) in enumerate(self._drawn()):
            grads, now = self._gradients(x, y, axis)
            if step == 0:
                self.limits = now.new_tensor([self.task.limit(first) for first in now.tolist()])
            leave = ~(now <= self.limits)
            if stop is not None and step % epoch == 0:
                whole = now if self.recipe.batch_is_all else self._mean_losses()
                now = torch.where(leave, now, whole)
                leave |= now <= stop
            if leave.any():
                grads = {name: g[~leave] for name, g in grads.items()}
                self._end(step, now, leave)
                if not len(self.active):
                    break
            self.optimizer.step(grads, self.recipe.lr_share(step))
            self._show(step + 1)
        else:
            everyone = self.task.x.new_ones(len(self.active), dtype=torch.bool)
            self._end(step + 1, self._mean_losses(), everyone)
        return [self.outcomes[number] for number in range(len(self.members))]

    def _drawn(self) -> Iterator[tuple[Tensor, Tensor, int | None]]:
        """Inputs and targets of every step, and their axis of members: None when all share them."""
        task, recipe = self.task, self.recipe
        seeds = list(dict.fromkeys(m.seed for m in self.members))
        order_of = [seeds.index(m.seed) for m in self.members]
        if len(seeds) == 1 or recipe.batch_is_all:
            for x, y in drawn(task, recipe, seeds[0]):
                yield x, y, None
        elif recipe.augment:
            for pairs in zip(*[drawn(task, recipe, seed) for seed in seeds], strict=True):
                x, y = (torch.stack(parts) for parts in zip(*pairs, strict=True))
                own = [order_of[number] for number in self.active]
                yield x[own], y[own], 0
        else:
            size = recipe.batch_size or len(task.x)
            device = task.x.device
            orders = [
                batches(len(task.x), size, recipe.steps, seed=seed, device=device) for seed in seeds
            ]
            for each in zip(*orders, strict=True):
                rows = torch.stack(each)[[order_of[number] for number in self.active]]
                yield _taken(task.x, rows), _taken(task.y, rows), 0

    def _loss(self, theta: Parameters, fixed: Parameters, x: Tensor, y: Tensor) -> Tensor:
        outputs = functional_call(self.members[0].model, {**fixed, **theta}, (x,))
        return loss_value(self.task.loss, outputs.to(x) if self.recipe.mixed else outputs, y)

    def _gradients(
        self, x: Tensor, y: Tensor, axis: int | None
    ) -> tuple[Parameters, Float[Tensor, "m"]]:
        """Gradients and losses (in float64) of the networks that still train."""
        step = vmap(grad_and_value(self._loss), in_dims=(0, 0, axis, axis))
        with autocast(x.device, self.recipe.mixed):
            grads, losses = step(self.optimizer.theta, self.fixed, x, y)
        return grads, losses.double()

    def _mean_losses(self) -> Float[Tensor, "m"]:
        """The loss of each over all training samples, in evaluation mode."""
        total = self.task.x.new_zeros(len(self.active), dtype=torch.float64)
        loss = vmap(self._loss, in_dims=(0, 0, None, None))
        x_parts, y_parts = torch.split(self.task.x, CHUNK), torch.split(self.task.y, CHUNK)
        with undisturbed(self.members[0].model), torch.no_grad():
            for x, y in zip(x_parts, y_parts, strict=True):
                total += loss(self.optimizer.theta, self.fixed, x, y).double() * len(x)
        return total / len(self.task.x)

    def _show(self, step: int) -> None:
        """Let the observers of the networks that still train see them, where it is due."""
        for place, number in enumerate(self.active):
            if self.observers[number].due(step):
                put_back(self.optimizer.theta, place, self.members[number].model)
                self.observers[number].see(step)

    def _end(self, step: int, losses: Float[Tensor, "m"], leave: Bool[Tensor, "m"]) -> None:
        """Take networks out of the stack, with their outcome."""
        for place in leave.nonzero()[:, 0].tolist():
            number = self.active[place]
            put_back(self.optimizer.theta, place, self.members[number].model)
            loss, limit = losses[place].item(), self.limits[place].item()
            self.outcomes[number] = ended(self.recipes[number], step, loss, limit)
            self.observers[number].see(step)
        self.optimizer.keep(~leave)
        self.fixed = {name: tensor[~leave] for name, tensor in self.fixed.items()}
        gone = leave.tolist()
        self.active = [number for number, left in zip(self.active, gone, strict=True) if not left]
        self.limits = self.limits[~leave]


def _check(members: Sequence[Member], data: DataSet) -> None:
    if not members:
        raise InputError(
            "`members` must hold at least one network, got none. Pass a list of `Member`, one for "
            "each network to train."
        )
    first = members[0].model
    if refused := _refused(first):
        raise InputError(
            "networks that train together must be functions of their parameters, got another: "
            f"{refused} Train one by one."
        )
    x = data.train.x[:2].to(next(first.parameters()))
    shapes = {name: tensor.shape for name, tensor in _moved(first).items()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for number, member in enumerate(members):
            check_factors(member.lr_factors, member.model)
            tensors = _moved(member.model)
            own_shapes = {name: tensor.shape for name, tensor in tensors.items()}
            if own_shapes != shapes or _trainable(member.model) != _trainable(first):
                raise InputError(
                    f"`members` must have the same parameters and shapes, got others in member "
                    f"{number} than in member 0. Train each shape by itself."
                )
            own, came = (functional_call(m, tensors, (x,)) for m in (member.model, first))
            if not torch.allclose(own, came, rtol=1e-4, equal_nan=True):
                raise InputError(
                    f"`members` must differ in parameters and buffers only, got another function "
                    f"in member {number} than in member 0. Keep scales in buffers, or train one by "
                    "one."
                )


def _taken(samples: Tensor, rows: Int[Tensor, "m b"]) -> Float[Tensor, "m b *shape"]:
    """Samples at these rows; faster than indexing with them."""
    return samples.index_select(0, rows.flatten()).view(*rows.shape, *samples.shape[1:])


def _trainable(model: nn.Module) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def _moved(model: nn.Module) -> Parameters:
    """Parameters and buffers, the trainable ones away from where the output may be zero."""
    generator = torch.Generator().manual_seed(0)
    moved = dict(model.named_buffers())
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator).to(p) if p.requires_grad else 0.0
        moved[name] = p.detach() + 0.1 * noise
    return moved
