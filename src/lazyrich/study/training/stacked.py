"""Parameters of many networks in one stack, and SGD and Adam with a learning rate for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from lazyrich.capture.network import Parameters
from lazyrich.capture.update_rules import adam, momentum_buffer
from lazyrich.study.training.recipe import Recipe

BETAS, EPS = (0.9, 0.999), 1e-8  # of torch.optim.Adam


def stacked(models: Sequence[nn.Module]) -> tuple[Parameters, Parameters]:
    """Trainable parameters, and all other parameters and buffers, in copies with a leading axis."""
    names = [name for name, p in models[0].named_parameters() if p.requires_grad]
    tensors = [{**dict(m.named_parameters()), **dict(m.named_buffers())} for m in models]
    both = {name: torch.stack([t[name].detach() for t in tensors]) for name in tensors[0]}
    return {n: both[n] for n in names}, {n: t for n, t in both.items() if n not in names}


def put_back(theta: Parameters, place: int, model: nn.Module) -> None:
    """Copy the parameters of one place of the stack into a model."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in theta:
                parameter.copy_(theta[name][place])


def rates_of(
    theta: Parameters, recipes: Sequence[Recipe], lr_factors: Sequence[Mapping[str, float]]
) -> Parameters:
    """The learning rate of every parameter of every network, in the shape of the stack."""
    pairs = list(zip(recipes, lr_factors, strict=True))
    rates = {}
    for name, tensor in theta.items():
        own = tensor.new_tensor([recipe.lr * factors.get(name, 1.0) for recipe, factors in pairs])
        rates[name] = own.view(-1, *(1,) * (tensor.ndim - 1))
    return rates


class StackedOptimizer:
    """SGD or Adam of `torch.optim` on a stack, where each network has its own learning rates.

    Args:
        theta: the stack, changed in place by `step`.
        rates: learning rates that broadcast to it.
        recipe: momentum, weight decay, kind.
    """

    def __init__(self, theta: Parameters, rates: Parameters, recipe: Recipe) -> None:
        self.theta, self._rates, self._recipe = theta, rates, recipe
        self._first: Parameters = {}
        self._second: Parameters = {}
        self._steps = 0

    def step(self, grads: Parameters, share: float) -> None:
        """One step with a share of the learning rates; the gradients are changed in place."""
        self._steps += 1
        for name, theta in self.theta.items():
            g = grads[name]
            if self._recipe.weight_decay:
                g.add_(theta, alpha=self._recipe.weight_decay)
            rule = self._adam if self._recipe.optimizer == "adam" else self._sgd
            rule(name, theta, g, share)

    def _sgd(self, name: str, theta: Tensor, g: Tensor, share: float) -> None:
        momentum = self._recipe.momentum
        if momentum:
            g = self._first[name] = momentum_buffer(g, self._first.get(name), momentum=momentum)
        theta.addcmul_(g, self._rates[name], value=-share)

    def _adam(self, name: str, theta: Tensor, g: Tensor, share: float) -> None:
        if name not in self._first:
            self._first[name], self._second[name] = torch.zeros_like(g), torch.zeros_like(g)
        means = self._first[name], self._second[name]
        made = adam(g, *means, step=self._steps, betas=BETAS, eps=EPS)
        self._first[name], self._second[name] = made.mean, made.square
        theta.addcmul_(made.mean / made.root, self._rates[name], value=-share / made.bias)

    def keep(self, kept: Bool[Tensor, "m"]) -> None:
        """Go on with these networks only."""
        for tensors in (self.theta, self._rates, self._first, self._second):
            for name in tensors:
                tensors[name] = tensors[name][kept]
