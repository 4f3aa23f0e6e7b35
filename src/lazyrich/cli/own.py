"""Data, loss and optimiser of the user's own, and training with them under a probe's eyes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import LBFGS, SGD, Adam, Optimizer

from lazyrich._errors import InputError, LazyRichError, NoDescentError
from lazyrich.capture.isolation import (
    arguments,
    batch_size,
    brought_to,
    single_output,
    take,
    tensors_in,
    undisturbed,
)
from lazyrich.capture.losses import Loss
from lazyrich.cli.factory import called, named_function, told_error
from lazyrich.cli.progress import shown
from lazyrich.cli.show import say
from lazyrich.cli.training import MEASUREMENTS, PER_CLASS, REHEARSAL
from lazyrich.probe.arguments import inputs_and_targets
from lazyrich.probe.forecast.first_step import first_step
from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import every
from lazyrich.study.data.samples import DataSet, targets
from lazyrich.study.training.train import learning_rate, loss_value
from lazyrich.vocabulary.losses import LOSSES

PROBED = 100  # samples, at most
PAIR = (
    "a pair (inputs, targets) of tensors with a row a sample, a mapping with `labels`, or batches "
    "of either"
)

Batch = tuple[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What is learned.

    Attributes:
        epoch: the batches of one pass through the data, from a seed.
        steps: how many these are.
        probed: what the probe looks at.
    """

    epoch: Callable[[int], Iterator[Batch]]
    steps: int
    probed: Batch

    def on(self, network: nn.Module) -> Learned:
        """The same, looked at on a network's device.

        Args:
            network: any.
        """
        return replace(self, probed=brought_to(network, self.probed))


def own_data(name: str, *, batch: int, samples: int | None, seed: int) -> Learned:
    """What the user's function gives: a pair, or batches such as those of a `DataLoader`.

    Args:
        name: `package.module:function`, which takes no arguments.
        batch: samples a step, of a pair.
        samples: take so many of a pair; None for all.
        seed: seed of the choice, and of PyTorch's random numbers before the call.

    Raises:
        InputError: the function cannot be found, fails, or returns something else.
    """
    torch.manual_seed(seed + 1)  # other numbers than those of the weights
    came = called(name, "the data")
    if isinstance(came, tuple | list | Mapping):
        return in_batches(_pair(came, name), batch=batch, samples=samples, seed=seed)
    if not hasattr(came, "__iter__") or not hasattr(came, "__len__") or isinstance(came, Tensor):
        raise InputError(f"{name}() must return {PAIR}, got {type(came).__name__}")
    if samples is not None:
        raise InputError(f"--samples is for a pair of tensors: {name}() returns batches")
    if not len(came):
        raise InputError(f"{name}() must return at least one batch, got none")
    return Learned(
        epoch=lambda _: (_pair(one, name) for one in came),
        steps=len(came),
        probed=_some(_pair(next(iter(came)), name), PROBED, seed),
    )


def own_pair(name: str, *, seed: int) -> Batch:
    """Samples to test on, which the user's function returns.

    Args:
        name: `package.module:function`, which takes no arguments.
        seed: the seed of PyTorch's random numbers before the call.

    Raises:
        InputError: the function cannot be found, fails, or returns something else.
    """
    torch.manual_seed(seed + 2)  # other numbers than those of weights and training data
    return _pair(called(name, "the test data"), name)


def in_batches(pair: Batch, *, batch: int, samples: int | None, seed: int) -> Learned:
    """Samples that are learned batch by batch, in another order each time.

    Args:
        pair: inputs and targets.
        batch: samples a step.
        samples: take so many; None for all.
        seed: seed of the choice.

    Raises:
        InputError: so many samples are not there.
    """
    count = batch_size(pair[0])
    if samples is not None and not 1 <= samples <= count:
        raise InputError(f"--samples must lie in 1 to {count}, got {samples}")
    chosen = _some(pair, samples or count, seed)
    kept = samples or count
    steps = max(1, kept // batch)

    def epoch(number: int) -> Iterator[Batch]:
        order = _order(kept, seed + number)
        for rows in torch.split(order[: steps * batch], min(batch, kept)):
            yield take(chosen[0], kept, rows), take(chosen[1], kept, rows)

    return Learned(epoch=epoch, steps=steps, probed=_some(chosen, PROBED, seed))


def known_data(data: DataSet, loss: str, *, batch: int, seed: int) -> Learned:
    """A data set that comes with the package, for a loss or an optimiser of the user's own.

    Args:
        data: the data in the form that the network takes.
        loss: a name, or a function of the user's, which is given the labels.
        batch: samples a step.
        seed: seed of the order.
    """
    few = data.balanced(PER_CLASS, seed=seed)
    pairs = [
        (part.x, targets(part, data.classes, loss) if loss in LOSSES else part.y)  # type: ignore[arg-type]
        for part in (data.train, few)
    ]
    learned = in_batches(pairs[0], batch=batch, samples=None, seed=seed)
    return Learned(epoch=learned.epoch, steps=learned.steps, probed=pairs[1])


def own_loss(name: str, network: nn.Module, probed: Batch) -> Loss:
    """A loss by its name, or the user's function (outputs, targets) -> scalar, tried once.

    Args:
        name: name of `LOSSES`, or `package.module:function`.
        network: the network whose outputs it takes.
        probed: inputs and targets to try it on.

    Raises:
        InputError: the function cannot be found, fails, or gives no finite number.
    """
    if name in LOSSES:
        return name
    function = named_function(name, "the loss")
    with undisturbed(network), torch.no_grad():
        outputs = outputs_of(network, probed[0])
        try:
            value = function(outputs, probed[1])
        except (Exception, SystemExit) as error:
            raise InputError(
                f"{name}(outputs, targets) failed with {told_error(error)}. It is called with "
                f"outputs of shape {tuple(outputs.shape)}"
            ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{name}(outputs, targets) must return one number as a tensor, got {came}")
    return function


def own_optimizer(name: str, network: nn.Module) -> Optimizer:
    """What the user's function of the network returns.

    Args:
        name: `package.module:function`.
        network: its argument.

    Raises:
        InputError: the function cannot be found, fails, or returns no optimiser of this network.
    """
    return _checked_optimizer(name, called(name, "the optimiser", network), network)


def _checked_optimizer(name: str, made: object, network: nn.Module) -> Optimizer:
    if not isinstance(made, Optimizer):
        raise InputError(f"{name}() must return a torch.optim.Optimizer, got {type(made).__name__}")
    owned = {id(p) for group in made.param_groups for p in group["params"]}
    if not any(id(p) in owned for p in network.parameters() if p.requires_grad):
        raise InputError(
            f"{name}() must return an optimiser of the network that it was given, got one that "
            "owns none of its trainable parameters"
        )
    return made


def own_optimizer_or_adam(name: str | None) -> Callable[[nn.Module, int], Optimizer]:
    """The user's own optimiser of a network of any size, or Adam at its default rate.

    Args:
        name: `package.module:function`; None for Adam.
    """
    if name is None:
        return lambda model, size: Adam(model.parameters())
    return lambda model, size: own_optimizer(name, model)


def own_optimizers_or_adam(name: str | None) -> Callable[[nn.Module, int], list[Optimizer]]:
    """The same of a function that may return several, which share the parameters out.

    Args:
        name: `package.module:function`; None for Adam.
    """
    if name is None:
        return lambda model, size: [Adam(model.parameters())]

    def made(model: nn.Module, size: int) -> list[Optimizer]:
        given = called(name, "the optimiser", model)
        each = given if isinstance(given, tuple | list) else [given]
        return [_checked_optimizer(name, one, model) for one in each]

    return made


def outputs_of(network: nn.Module, x: Any) -> Tensor:  # noqa: ANN401 - any nesting
    """What a network gives for a batch as it takes it.

    Args:
        network: any.
        x: a tensor, a sequence of arguments or a mapping.
    """
    positional, named = arguments(network, x)
    return single_output(network(*positional, **named))


def watched_own(
    network: nn.Module,
    learned: Learned,
    loss: Loss,
    *,
    optimizer: str | None,
    lr: float | None,
    epochs: int,
    seed: int,
) -> tuple[Probe, str | None]:
    """Train a network under a probe's eyes.

    Args:
        network: the network to be trained, in place.
        learned: what it learns.
        loss: loss of the outputs.
        optimizer: name of the user's function; None for plain SGD.
        lr: learning rate of plain SGD; None to take that of the first step.
        epochs: how often the data are gone through.
        seed: seed of the order of samples.

    Returns:
        The probe, and how training diverged, if it did.
    """
    batch = learned.probed
    if optimizer is None:
        rate = _rate(network, batch, loss) if lr is None else lr
        stepping: Optimizer = SGD(network.parameters(), lr=rate)
    else:
        stepping = own_optimizer(optimizer, network)
    probe = Probe(network, batch, loss, samples=None, seed=seed)
    try:
        probe.forecast(optimizer=stepping, max_steps=REHEARSAL)
    except LazyRichError as error:  # training goes on without
        say(f"there is no forecast: {error}")
    steps = epochs * learned.steps
    with (
        shown("training", steps) as done,
        probe.watch(stepping, when=every(max(1, steps // MEASUREMENTS))),
    ):
        diverged = _train(network, learned, loss, stepping, epochs, done)
    return probe, diverged


def _rate(network: nn.Module, batch: Batch, loss: Loss) -> float:
    """The learning rate of the first step, where that tells one."""
    try:
        return learning_rate(first_step(network, batch, loss))
    except NoDescentError as error:
        raise InputError(
            f"{error} Give --lr: the first step does not determine a learning rate."
        ) from error


def _train(
    network: nn.Module,
    learned: Learned,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    done: Callable[[int], None],
) -> str | None:
    made = 0
    for number in range(epochs):
        for x, y in learned.epoch(number):
            inputs, given = brought_to(network, (x, y))
            closure = partial(_backward, network, loss, optimizer, inputs, given)
            if isinstance(optimizer, LBFGS):  # which asks for the loss as often as it likes
                now = float(optimizer.step(closure))  # type: ignore[no-untyped-call]
            elif isfinite(now := float(closure())):
                optimizer.step()
            if not isfinite(now):
                return f"The loss was {now} after {made} steps."
            made += 1
            done(made)
    return None


def _backward(
    network: nn.Module,
    loss: Loss,
    optimizer: Optimizer,
    x: Any,  # noqa: ANN401 - any nesting
    y: Any,  # noqa: ANN401 - any nesting
) -> Tensor:
    """The loss of a batch, and its gradients."""
    optimizer.zero_grad()
    outputs = outputs_of(network, x)
    value: Tensor = loss(outputs, y) if callable(loss) else loss_value(loss, outputs, y)  # type: ignore[arg-type]
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def _pair(came: object, name: str) -> Batch:
    """A batch, or an error that says what it is instead."""
    if isinstance(came, Mapping) and came.get("labels") is not None:
        came = inputs_and_targets(came)
    if not isinstance(came, tuple | list) or len(came) != 2:
        size = f" of {len(came)}" if isinstance(came, tuple | list) else ""
        raise InputError(f"{name}() must return {PAIR}, got a {type(came).__name__}{size}")
    x, y = came
    rows = [
        len(next(iter(tensors_in(part)), torch.tensor([]))) if _has_rows(part) else 0
        for part in (x, y)
    ]
    if not all(rows):
        kinds = " and ".join(type(part).__name__ for part in (x, y))
        raise InputError(f"{name}() must return {PAIR}, got {kinds}")
    if rows[0] != rows[1]:
        raise InputError(
            f"{name}() must return as many targets as inputs, got {rows[0]} inputs and {rows[1]} "
            "targets"
        )
    return x, y


def _has_rows(part: object) -> bool:
    if not isinstance(part, Tensor | tuple | list | Mapping):
        return False
    first = next(iter(tensors_in(part)), None)
    return first is not None and first.ndim > 0


def _some(pair: Batch, most: int, seed: int) -> Batch:
    count = batch_size(pair[0])
    if most >= count:
        return pair
    rows = _order(count, seed)[:most]
    return take(pair[0], count, rows), take(pair[1], count, rows)


def _order(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))
