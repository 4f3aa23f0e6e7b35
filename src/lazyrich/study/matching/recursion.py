"""Gradient descent on the very network, step by step: what solutions are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TypeAlias

import numpy as np

from lazyrich.numerics.exact import Array
from lazyrich.study.matching.case import Case
from lazyrich.theory.power_neurons import power_data

Layers: TypeAlias = Sequence[Array]
Pair: TypeAlias = tuple[Array, Array]

SMALL_STEP = 0.01  # lr times the sharpness: how far descent is from the flow
LEARNED = 1e-3  # share of the excess loss at which descent ends by itself
MOST_STEPS = 30_000
DIVERGED = 1e8  # times the loss at the start


@dataclass(frozen=True, kw_only=True)
class DescentRun:
    """How a network was trained.

    Attributes:
        steps: how many.
        first_loss: loss before training.
        loss: loss after training, `E‖f − y‖²`.
        least_loss: the least loss that any network of the kind has.
        ntk_change: `‖Θ − Θ₀‖/‖Θ₀‖`, after.
    """

    steps: int
    first_loss: float
    loss: float
    least_loss: float
    ntk_change: float


def small_rate(case: Case) -> float:
    """A learning rate with which descent is close to the flow, at the start and at the target.

    Args:
        case: network and data.
    """
    chain, weights = _chain(case)
    start = 2 * sum(np.linalg.norm(a, 2) * np.linalg.norm(b, 2) for a, b in chain.kernel(weights))
    goal = float(np.linalg.norm(chain.best, 2))
    depth = len(case.weights)
    scale = abs(case.output_scale) ** (2 / depth)
    end = 2 * depth * scale * goal ** (2 - 2 / depth) * float(np.linalg.norm(chain.xx, 2))
    return SMALL_STEP / (max(float(start), end) or 1.0)


def descend(case: Case, steps: int | None) -> DescentRun:
    """Train by full-batch gradient descent on `E‖f − y‖²`.

    Args:
        case: network, data and learning rate.
        steps: how many; None until all but a thousandth of the excess loss is gone.
    """
    chain, weights = _chain(case)
    first = chain.kernel(weights)
    start = excess = chain.excess(weights)
    made, most = 0, MOST_STEPS if steps is None else steps
    while made < most:
        made += 1
        gradients = chain.gradients(weights)
        weights = [w - case.lr * g for w, g in zip(weights, gradients, strict=True)]
        excess = chain.excess(weights)
        if not excess <= DIVERGED * (start + chain.noise):
            break
        if steps is None and excess <= LEARNED * start:
            break
    return DescentRun(
        steps=made,
        first_loss=chain.noise + start,
        loss=chain.noise + excess,
        least_loss=chain.noise,
        ntk_change=change_of_kernel(first, chain.kernel(weights)),
    )


@dataclass(frozen=True, kw_only=True)
class _Chain:
    """A chain of layers on features with moments: matrices, or one number each for an input."""

    scale: float
    xx: Array
    best: Array
    noise: float
    root: Array  # R with RRᵀ = Σ_xx
    power: float = 1.0

    def product(self, weights: Layers) -> Array:
        """The map of features to outputs."""
        if weights[0].ndim == 1:
            return self.scale * np.prod(weights, axis=0)[None]
        first = np.sign(weights[0]) * np.abs(weights[0]) ** self.power
        return self.scale * reduce(lambda before, w: w @ before, weights[1:], first)

    def excess(self, weights: Layers) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sum(((self.product(weights) - self.best) @ self.root) ** 2))

    def sides(self, weights: Layers) -> list[tuple[Array, Array]]:
        """What comes after and before each layer: the map is `γ A W B`."""
        k, m = self.best.shape
        features = np.sign(weights[0]) * np.abs(weights[0]) ** self.power
        layers = [features, *weights[1:]]
        return [
            (
                reduce(lambda after, w: after @ w, reversed(layers[at + 1 :]), np.eye(k)),
                reduce(lambda before, w: w @ before, layers[:at], np.eye(m)),
            )
            for at in range(len(layers))
        ]

    def slope(self, first: Array) -> Array:
        """What a weight of the first layer moves its feature by."""
        found: Array = self.power * np.abs(first) ** (self.power - 1)
        return found

    def gradients(self, weights: Layers) -> list[Array]:
        off = 2 * self.scale * (self.product(weights) - self.best) @ self.xx
        if weights[0].ndim == 1:
            return [off[0] * rest for rest in _others(weights)]
        found = [after.T @ off @ before.T for after, before in self.sides(weights)]
        return [found[0] * self.slope(weights[0]), *found[1:]]

    def kernel(self, weights: Layers) -> list[Pair]:
        """`RᵀΘR`, of each layer as a matrix of outputs and one of inputs, whose product it is."""
        if weights[0].ndim == 1:
            squares = np.sum([rest**2 for rest in _others(weights)], axis=0)
            return [(np.eye(1) * self.scale**2, (self.root.T * squares) @ self.root)]
        found = []
        for at, (after, before) in enumerate(self.sides(weights)):
            reached = after * self.slope(weights[0])[:, 0] if at == 0 and self.power != 1 else after
            seen = before @ self.root
            found.append((self.scale**2 * reached @ reached.T, seen.T @ seen))
        return found


def change_of_kernel(first: Sequence[Pair], now: Sequence[Pair]) -> float:
    """`‖Θ − Θ₀‖/‖Θ₀‖`, of kernels as `kernel_size` takes them.

    Args:
        first: Θ₀.
        now: Θ.
    """
    moved = [
        pair for (a, b), (c, d) in zip(first, now, strict=True) for pair in ((c - a, d), (a, d - b))
    ]
    return kernel_size(moved) / (kernel_size(first) or 1.0)


def kernel_size(pairs: Sequence[Pair]) -> float:
    """`‖Σ a ⊗ b‖`, which over pairs of samples is the norm of the kernel.

    Args:
        pairs: what comes, for each layer, after and before it, matrices or their diagonals.
    """
    squared = sum(np.sum(a * c) * np.sum(b * d) for a, b in pairs for c, d in pairs)
    return float(max(squared, 0.0)) ** 0.5


def _others(weights: Layers) -> list[Array]:
    """The product of all factors but one."""
    return [
        np.prod([w for j, w in enumerate(weights) if j != i], axis=0) for i in range(len(weights))
    ]


def _chain(case: Case) -> tuple[_Chain, Layers]:
    """In features of the inputs, themselves or their power along a line, and the weights there."""
    if case.power == 1:
        powers, directions = case.data.spectrum
        chain = _Chain(
            scale=case.output_scale,
            xx=case.data.sigma_xx,
            best=case.data.best_map,
            noise=case.data.noise,
            root=directions * powers**0.5,
        )
        return chain, case.weights
    assert case.inputs is not None  # of a module, which is read on samples
    assert case.targets is not None
    data = power_data(case.inputs @ case.direction, case.targets[:, 0], power=case.power)
    seen, signal = data.mean_aa.item(), data.mean_ay.item()
    chain = _Chain(
        scale=case.output_scale,
        xx=np.array([[seen]]),
        best=np.array([[signal / seen if seen else 0.0]]),
        noise=data.noise.item(),
        root=np.array([[seen**0.5]]),
        power=case.power,
    )
    return chain, (case.weights[0] @ case.direction[:, None], case.weights[1])
