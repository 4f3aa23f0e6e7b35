"""A network and its data, as solved models see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.labels import real
from lazyrich.theory.two_layer_linear.data import LineData, MomentData
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import GramState, LineState


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is to be described.

    Attributes:
        weights: the weights from the first layer on, matrices (outputs, inputs) of its own, or
            vectors of which each weight multiplies one input.
        data: moments of inputs and targets.
        inputs: x, (n, m), where samples are known.
        targets: y, (n, k), likewise.
        output_scale: γ.
        lr: learning rate of every layer on `E‖f − y‖²`.
        power: β of the hidden neurons; 1 of a linear network.
        linear_gap: what of the output is not linear, of its size.
        power_gap: what of the output is not that of neurons of power β, of its size.
        biases: numbers that are added and learned.
    """

    weights: tuple[Array, ...]
    data: MomentData
    inputs: Array | None = None
    targets: Array | None = None
    output_scale: float = 1.0
    lr: float = 0.0
    power: float = 1.0
    linear_gap: float = 0.0
    power_gap: float = 0.0
    biases: int = 0

    @property
    def diagonal(self) -> bool:
        """Whether every weight multiplies one input."""
        return self.weights[0].ndim == 1

    @property
    def two(self) -> bool:
        """Whether there are two layers, of matrices."""
        return len(self.weights) == 2 and not self.diagonal

    @property
    def linear(self) -> LinearNetwork:
        """Scale and rates of two layers."""
        return LinearNetwork(output_scale=self.output_scale, lr_u=self.lr, lr_w=self.lr)

    @property
    def gram(self) -> GramState:
        """The state of two layers."""
        return GramState.from_weights(self.weights[1], self.weights[0])

    @cached_property
    def direction(self) -> Array:
        """The direction in which the inputs vary most."""
        direction: Array = np.linalg.eigh(self.data.sigma_xx)[1][:, -1]
        return direction

    @property
    def line_gap(self) -> float:
        """The share of the inputs' norm that is off their best line."""
        if self.inputs is not None:
            n = self.direction
            off = np.linalg.norm(self.inputs - np.outer(self.inputs @ n, n))
            return float(off / (np.linalg.norm(self.inputs) or 1.0))
        powers = np.linalg.eigvalsh(self.data.sigma_xx)
        return float(max(powers[:-1].sum(), 0.0) / (powers.sum() or 1.0)) ** 0.5

    @property
    def line(self) -> tuple[LineState, LineData]:
        """Two layers and one output along the best line."""
        n = self.direction
        data = LineData(
            mean_aa=float(n @ self.data.sigma_xx @ n),
            mean_ay=float(self.data.sigma_yx[0] @ n),
            mean_yy=self.data.mean_yy,
        )
        return LineState.from_weights(self.weights[1][0], self.weights[0] @ n), data

    @property
    def map_now(self) -> Array:
        """`γ W_L … W_1`, (k, m), of a linear network."""
        if self.diagonal:
            return self.output_scale * np.prod(self.weights, axis=0)[None]
        return self.output_scale * reduce(lambda before, w: w @ before, self.weights)


def as_weights(weights: Sequence[ArrayLike]) -> tuple[Array, ...]:
    """The layers of a network, which fit together.

    Args:
        weights: the weights as the user gave them.

    Raises:
        InputError: no layers, layers that do not follow each other, numbers that are not finite.
    """
    layers = tuple(real("weights", layer) for layer in weights)
    shapes = [layer.shape for layer in layers]
    chained = all(layer.ndim == 2 for layer in layers) and all(
        before[0] == after[1] for before, after in pairwise(shapes)
    )
    diagonal = all(layer.ndim == 1 for layer in layers) and len(set(shapes)) == 1
    if len(layers) < 2 or not (chained or diagonal):
        raise InputError(
            f"`weights` must be at least two matrices (outputs, inputs) from the first layer on, "
            f"or vectors of one length for a diagonal network, got shapes {shapes}"
        )
    if not all(np.isfinite(layer).all() for layer in layers):
        raise InputError("`weights` must be finite, got NaN or infinity")
    return layers


def require_shapes(case: Case) -> None:
    """Refuse a network that does not map the inputs of the data to its targets.

    Args:
        case: the case to be checked.
    """
    first, last = case.weights[0], case.weights[-1]
    have = (1, len(first)) if case.diagonal else (last.shape[0], first.shape[1])
    need = case.data.sigma_yx.shape
    if have != need:
        raise InputError(
            f"the network has (outputs, inputs) = {have}, the data have {need}: they must agree. "
            "Give the weights from the first layer on, each (outputs, inputs)"
        )
