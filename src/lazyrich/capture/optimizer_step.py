"""The step that an optimiser would make next: its direction, and every parameter's rate."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from lazyrich._arguments import shown
from lazyrich._errors import InputError
from lazyrich.capture.network import Parameters
from lazyrich.capture.update_rules import adam, momentum_buffer


@dataclass(frozen=True, kw_only=True)
class Step:
    """The velocity v of the parameters, per step, and the rates η that multiply the gradient.

    Attributes:
        velocity: v, by parameter name.
        rates: η, by parameter name; each broadcasts against its parameter.
        notes: what a reader has to know, in sentences.
    """

    velocity: Parameters
    rates: Parameters
    notes: tuple[str, ...] = ()


@runtime_checkable
class ScalesGradients(Protocol):
    """An optimiser that multiplies gradients by factors and lets the one inside do the rest.

    Attributes:
        optimizer: the one inside.
    """

    optimizer: Optimizer

    def factors(self, gradients: Mapping[Tensor, Tensor]) -> Mapping[Tensor, Tensor]:
        """What multiplies the gradients, a number for each parameter."""
        ...


def gradient_step(gradient: Parameters) -> Step:
    """Gradient descent with one rate for all parameters: η = 1, v = −∇L."""
    return Step(
        velocity={name: -g for name, g in gradient.items()},
        rates={name: g.new_ones(()) for name, g in gradient.items()},
    )


def checked_optimizer(optimizer: object) -> Optimizer:
    """The optimiser that makes the steps, if it is one.

    Args:
        optimizer: what the user gave; a wrapper that has its parameter groups will do. From one
            without hooks of its own, as Accelerate's, the optimiser inside is taken.

    Raises:
        InputError: it is none.
    """
    if not hasattr(optimizer, "param_groups") or not hasattr(optimizer, "state"):
        raise InputError(
            f"`optimizer` must be a torch.optim.Optimizer, got {shown(optimizer)}. Pass the one "
            "that trains the model."
        )
    inside = getattr(optimizer, "optimizer", None)
    if (
        isinstance(inside, Optimizer)
        and not isinstance(optimizer, ScalesGradients)
        and not has_hooks(optimizer)
    ):
        return checked_optimizer(inside)
    return cast(Optimizer, optimizer)


def has_hooks(optimizer: object) -> bool:
    """Whether functions can be registered that its steps call; not if it never was initialised.

    Args:
        optimizer: an optimiser, or what wraps one.
    """
    return hasattr(optimizer, "_optimizer_step_post_hooks")


def next_step(
    optimizer: Optimizer, module: nn.Module, theta: Parameters, gradient: Parameters
) -> Step:
    """The step that `optimizer.step()` would make now, from these gradients.

    SGD: v = −η(g + λθ), with its momentum buffer and Nesterov's factor; Adam and AdamW:
    v = −η m̂/(√v̂ + ε), so that the rate of each parameter is η/(√v̂ + ε). On the first step
    m̂ = g and √v̂ = |g|. Weight decay, `maximize`, `amsgrad` and parameter groups count.
    A wrapper that multiplies gradients by factors multiplies the rates by them.
    Parameters that the optimiser does not own have rate 0.

    Args:
        optimizer: `torch.optim.SGD`, `Adam` or `AdamW`, or one of them inside a wrapper that
            `ScalesGradients`. It is only read.
        module: the model, for the names of its parameters.
        theta: the values of the trainable parameters.
        gradient: the loss's gradient at these values.

    Returns:
        The step.

    Raises:
        InputError: an optimiser of another kind, or one that owns none of the parameters.
    """
    if isinstance(optimizer, ScalesGradients):
        return _scaled_step(optimizer, module, theta, gradient)
    if type(optimizer) not in (SGD, Adam, AdamW):
        raise InputError(
            f"the optimiser must be torch.optim.SGD, Adam or AdamW, got "
            f"{type(optimizer).__name__}. Pass the one inside a wrapper; for another kind pass SGD "
            "or Adam with the same parameter groups, whichever its steps resemble: SGD if they "
            "grow with the gradient, Adam if they do not."
        )
    rates_now = zip(optimizer.param_groups, rates_of_groups(optimizer), strict=True)
    groups = {id(p): {**group, "lr": lr} for group, lr in rates_now for p in group["params"]}
    parameters = {name: p for name, p in module.named_parameters() if name in theta}
    owned = {name: p for name, p in parameters.items() if id(p) in groups}
    if not owned:
        raise InputError(
            f"the optimiser must own the model's parameters, got one that owns none of the "
            f"{len(parameters)} trainable tensors. Build it from model.parameters() of this very "
            "model."
        )
    rule = _sgd if type(optimizer) is SGD else _adam
    velocity = {name: torch.zeros_like(g) for name, g in gradient.items()}
    rates = {name: torch.zeros_like(g) for name, g in gradient.items()}
    for name, p in owned.items():
        group = {"decoupled_weight_decay": type(optimizer) is AdamW, **groups[id(p)]}
        g = -gradient[name] if group["maximize"] else gradient[name]
        state = optimizer.state.get(p, {})
        velocity[name], rates[name] = rule(g, theta[name], group, state)
    left_out = sorted(set(parameters) - set(owned))
    note = f"The optimiser does not own {', '.join(left_out)}: counted as frozen."
    return Step(velocity=velocity, rates=rates, notes=(note,) if left_out else ())


def relative_rates(
    optimizer: Optimizer, module: nn.Module, trainable: Collection[str] | None = None
) -> dict[str, float] | None:
    """The learning rates that an optimiser's groups give, in units of the largest one.

    A schedule that has not begun (a warm-up from 0) counts by the rates that it leads to.

    Args:
        optimizer: an optimiser with parameters of the module; it is only read.
        module: the model, for the names of its parameters.
        trainable: names of those that train; None for those that require a gradient now.

    Returns:
        η by parameter name, at most 1, and 0 for what the optimiser does not own; None if all are
        equal, or all 0.

    Example:
        >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
        >>> groups = [{"params": net[0].parameters(), "lr": 0.05}, {"params": net[1].parameters()}]
        >>> relative_rates(SGD(groups, lr=0.2), net)
        {'0.weight': 0.25, '1.weight': 1.0}
    """
    named = dict(module.named_parameters())
    names = (
        [name for name, p in named.items() if p.requires_grad] if trainable is None else trainable
    )
    groups = zip(optimizer.param_groups, rates_of_groups(optimizer), strict=True)
    of = {id(p): rate for group, rate in groups for p in group["params"]}
    rates = {name: of.get(id(named.get(name)), 0.0) for name in names}
    largest = max(rates.values(), default=0.0)
    if not largest or len(set(rates.values())) == 1:
        return None
    return {name: rate / largest for name, rate in rates.items()}


def rates_of_groups(optimizer: Optimizer) -> list[float]:
    """The learning rate of every group; where all are 0, as a warm-up begins, what it leads to.

    Args:
        optimizer: the optimiser, which is only read.

    Example:
        >>> optimizer = SGD(nn.Linear(1, 1).parameters(), lr=0.1)
        >>> _ = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 10, 1.0))
        >>> optimizer.param_groups[0]["lr"], rates_of_groups(optimizer)
        (0.0, [0.1])
    """
    now, later = (
        [float(group.get(key, 0.0)) for group in optimizer.param_groups]
        for key in ("lr", "initial_lr")
    )
    return later if any(later) and not any(now) else now


def knows_rates(optimizer: Optimizer) -> bool:
    """Whether the rates of the groups can be compared: one is not 0, or there is one group."""
    groups = optimizer.param_groups
    known = any(float(g.get(key, 0)) for g in groups for key in ("lr", "initial_lr"))
    return known or len(groups) == 1


def has_stepped(optimizer: Optimizer) -> bool:
    """Whether an optimiser has a memory of steps; plain SGD never has.

    Args:
        optimizer: the optimiser, which is only read.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> adam = Adam(net.parameters())
        >>> net(torch.ones(1, 1)).sum().backward()
        >>> has_stepped(adam), adam.step(), has_stepped(adam)
        (False, None, True)
    """
    memories = (kept for kept in optimizer.state.values() if isinstance(kept, Mapping))
    return any(_remembers(kept) for kept in memories)


def _remembers(kept: Mapping[str, Any]) -> bool:
    if "step" in kept:  # some rules fill their memory before the first one
        return float(kept["step"]) > 0
    return any(bool(value.any()) for value in kept.values() if isinstance(value, Tensor))


def _scaled_step(
    wrapper: ScalesGradients, module: nn.Module, theta: Parameters, gradient: Parameters
) -> Step:
    owned = {p for group in wrapper.optimizer.param_groups for p in group["params"]}
    names = {p: name for name, p in module.named_parameters() if name in theta and p in owned}
    factors = wrapper.factors({p: gradient[name] for p, name in names.items()})
    by_name = {name: factors[p] for p, name in names.items()}
    scaled = {name: g * by_name.get(name, 1.0) for name, g in gradient.items()}
    inside = next_step(wrapper.optimizer, module, theta, scaled)
    rates = {name: eta * by_name.get(name, 1.0) for name, eta in inside.rates.items()}
    return replace(inside, rates=rates)


def _sgd(
    g: Tensor, theta: Tensor, group: Mapping[str, Any], state: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    eta, mu, dampening = (float(group[key]) for key in ("lr", "momentum", "dampening"))
    g = g + group["weight_decay"] * theta
    direction, gain = g, 1.0
    if mu:
        buffer = state.get("momentum_buffer")
        previous = None if buffer is None else buffer.to(g.dtype)
        b = momentum_buffer(g, previous, momentum=mu, dampening=dampening)
        # a first step takes the gradient whole; later ones damp it
        gain = 1.0 if buffer is None else 1.0 - dampening
        direction = g + mu * b if group["nesterov"] else b
        gain = 1.0 + mu * gain if group["nesterov"] else gain
    return -eta * direction, torch.full_like(g, eta * gain)


def _adam(
    g: Tensor, theta: Tensor, group: Mapping[str, Any], state: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    eta, (beta_1, beta_2) = float(group["lr"]), (float(b) for b in group["betas"])
    decay = group["weight_decay"]
    decoupled = group["decoupled_weight_decay"]
    if decay and not decoupled:
        g = g + decay * theta
    kept = {key: t.to(g.dtype) for key, t in state.items() if key != "step"}
    made = adam(
        g,
        kept.get("exp_avg", torch.zeros_like(g)),
        kept.get("exp_avg_sq", torch.zeros_like(g)),
        step=int(state.get("step", 0)) + 1,
        betas=(beta_1, beta_2),
        eps=float(group["eps"]),
        largest=kept.get("max_exp_avg_sq") if group["amsgrad"] else None,
    )
    rates = eta / made.root
    v = -rates * made.mean / made.bias
    return (v - eta * decay * theta if decay and decoupled else v), rates
