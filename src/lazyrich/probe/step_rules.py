"""What SGD and Adam make of gradients, as linear maps: of each of many columns at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from lazyrich._errors import InputError
from lazyrich.capture.network import Parameters
from lazyrich.capture.optimizer_step import ScalesGradients, next_step

Columns: TypeAlias = dict[str, Tensor]
"""By parameter: (p, targets + 1), what a vector of it is of each target, and what it is besides."""


@dataclass(frozen=True, kw_only=True)
class StepRule:
    """A step of one parameter, with the rates that the optimiser has now.

    Attributes:
        rate: what multiplies the running mean of Adam, (p,), or the gradient of SGD, a number.
        keep: share of the memory that stays: μ or β₁.
        take: share of the gradient that is added to it: 1 − dampening or 1 − β₁.
        nesterov: how much of the memory is added to the gradient; None for the memory alone.
        decay: share of the weights that is added to the gradient.
        shrink: share of the weights that is taken away beside the step.
        ascends: whether the loss is maximised.
    """

    rate: Tensor
    keep: float
    take: float
    nesterov: float | None
    decay: float
    shrink: float
    ascends: bool

    def made_of(
        self, gradient: Tensor, weights: Tensor, memory: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The step and the memory after it.

        Args:
            gradient: (p, columns), the last of which is what does not depend on the targets.
            weights: θ, as the gradient: what of it the targets have made, and the rest.
            memory: what is kept of the steps before, shaped as the gradient; None before the first
                one.
        """
        gradient = -gradient if self.ascends else gradient
        gradient = gradient + self.decay * weights
        direction, kept = gradient, None
        if self.keep or self.take != 1:
            kept = self.take * gradient if memory is None else self.keep * memory
            kept = kept if memory is None else kept + self.take * gradient
            direction = kept if self.nesterov is None else gradient + self.nesterov * kept
        return -self.rate[..., None] * direction - self.shrink * weights, kept


def rules_of(
    optimizer: Optimizer, model: nn.Module, parameters: Mapping[str, nn.Parameter]
) -> dict[str, StepRule]:
    """The rules of the next step, of all parameters that the optimiser owns.

    Args:
        optimizer: an optimiser with the gradients at hand; it is only read.
        model: the model of the parameters.
        parameters: those that are trained, by name.

    Raises:
        InputError: another optimiser than SGD, Adam and AdamW, a gradient that is missing.
    """
    if isinstance(optimizer, ScalesGradients):
        raise InputError(
            f"the optimiser must be torch.optim.SGD, Adam or AdamW itself, got "
            f"{type(optimizer).__name__}, whose factors depend on the targets. Train "
            "with the optimiser that it wraps, alone"
        )
    theta: Parameters = {name: p.detach() for name, p in parameters.items()}
    given = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    missing = [name for name, p in parameters.items() if id(p) in groups and p.grad is None]
    if missing:
        raise InputError(
            f"the model must have its gradients, got none of `{missing[0]}`. Call `step` after "
            "`backward`"
        )
    rates = next_step(optimizer, model, theta, {n: given.get(n, theta[n]) for n in theta}).rates
    rule = _sgd_rule if type(optimizer) is SGD else _adam_rule
    return {
        name: rule(
            {"decoupled_weight_decay": type(optimizer) is AdamW, **groups[id(p)]},
            rates[name].double().flatten(),
            optimizer.state.get(p, {}),
        )
        for name, p in parameters.items()
        if id(p) in groups
    }


def _sgd_rule(group: Mapping[str, Any], rate: Tensor, state: Mapping[str, Any]) -> StepRule:
    momentum = float(group["momentum"])
    first = state.get("momentum_buffer") is None  # takes the gradient whole
    return StepRule(
        rate=rate.new_tensor(float(group["lr"])),
        keep=momentum,
        take=1.0 if first or not momentum else 1.0 - float(group["dampening"]),
        nesterov=momentum if group["nesterov"] else None,
        decay=float(group["weight_decay"]),
        shrink=0.0,
        ascends=bool(group["maximize"]),
    )


def _adam_rule(group: Mapping[str, Any], rate: Tensor, state: Mapping[str, Any]) -> StepRule:
    beta, lr = float(group["betas"][0]), float(group["lr"])
    step = int(state.get("step", 0)) + 1
    decay, apart = float(group["weight_decay"]), bool(group["decoupled_weight_decay"])
    return StepRule(
        rate=rate * (lr > 0) / (1 - beta**step),  # a warm-up may begin at 0
        keep=beta,
        take=1 - beta,
        nesterov=None,
        decay=0.0 if apart else decay,
        shrink=lr * decay if apart else 0.0,
        ascends=bool(group["maximize"]),
    )
