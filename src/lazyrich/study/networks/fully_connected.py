"""Fully connected networks."""

from __future__ import annotations

from math import prod

from torch import nn

from lazyrich._errors import InputError
from lazyrich.study.activations import ACTIVATIONS


def fcn(
    inputs: tuple[int, ...],
    outputs: int,
    *,
    width: int = 64,
    depth: int = 1,
    activation: str = "relu",
    bias: bool = False,
) -> nn.Module:
    """A fully connected network: f(x) = U φ(W_L … φ(W_1 x)).

    Its layers are called `layer1` to `layer{depth}` and `readout`.

    Args:
        inputs: the shape of one sample; it is flattened.
        outputs: how many numbers it returns for one sample.
        width: neurons d of every hidden layer.
        depth: number L of hidden layers; 1 is the two-layer network of the theory.
        activation: φ, a name of `ACTIVATIONS`.
        bias: whether every layer adds a bias.

    Raises:
        InputError: unknown activation; a size below 1.

    Example:
        >>> import torch
        >>> network = fcn((1, 8, 8), 10, width=32, depth=2)
        >>> network(torch.zeros(3, 1, 8, 8)).shape
        torch.Size([3, 10])
        >>> [name for name, _ in network.named_parameters()]
        ['layer1.weight', 'layer2.weight', 'readout.weight']
    """
    require_sizes(*inputs, outputs=outputs, width=width, depth=depth)
    if activation not in ACTIVATIONS:
        raise InputError(
            f"`activation` must be one of {', '.join(ACTIVATIONS)}, got {activation!r}. "
            "For any other build the network yourself, with torch.nn."
        )
    network = nn.Sequential()
    network.add_module("flatten", nn.Flatten())
    size = prod(inputs)
    for layer in range(1, depth + 1):
        network.add_module(f"layer{layer}", nn.Linear(size, width, bias=bias))
        network.add_module(f"activation{layer}", ACTIVATIONS[activation]())
        size = width
    network.add_module("readout", nn.Linear(size, outputs, bias=bias))
    return network


def require_sizes(*inputs: int, **sizes: int) -> None:
    """Refuse sizes below 1.

    Args:
        inputs: the shape of one sample.
        sizes: other sizes by the name of their argument.

    Raises:
        InputError: names the first bad one.

    Example:
        >>> require_sizes(3, 32, 32, width=0)
        Traceback (most recent call last):
        lazyrich.InputError: `width` must be at least 1, got 0. Give a larger number.
    """
    if not inputs or min(inputs) < 1:
        raise InputError(
            f"`inputs` must be the shape of one sample, such as (3, 32, 32), got {inputs}. "
            "Leave out the number of samples."
        )
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"`{name}` must be at least 1, got {size}. Give a larger number.")
