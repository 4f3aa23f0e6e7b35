"""A small transformer for images and sequences, with its queries, keys and values as layers.

Reference:
    Dosovitskiy et al., An image is worth 16 × 16 words, arXiv:2010.11929.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lazyrich._errors import InputError
from lazyrich.study.networks.fully_connected import require_sizes

HEAD = 8  # numbers a head


def transformer(
    inputs: tuple[int, ...],
    outputs: int,
    *,
    width: int = 32,
    depth: int = 1,
    patch: int | None = None,
    head_size: int = HEAD,
) -> nn.Module:
    """Pre-norm encoder blocks over the rows or patches of an image, or over a sequence.

    A block is attention, with separate layers `query`, `key`, `value` and `join`, then two layers
    `up` and `down` with a ReLU between them, each on the normalised sum of what came before. Heads
    have a fixed size, so that a wider network has more of them: the scores q·k/√size then keep
    their order of magnitude at any width, and no rule is needed for them.

    Args:
        inputs: (channels, height, width) of one image, or (tokens, numbers) of one sequence.
        outputs: how many numbers it returns for one sample.
        width: numbers a token inside the network.
        depth: number of blocks.
        patch: side of the square patches of an image that become tokens; None takes its rows.
        head_size: numbers a head.

    Raises:
        InputError: the width is no multiple of the head's size, patches do not fill the image, or
            the inputs have another shape.

    Example:
        >>> transformer((3, 32, 32), 10, width=16, patch=8)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])

    References:
        Vaswani et al., arXiv:1706.03762; norms before the blocks: Xiong et al., arXiv:2002.04745.
    """
    require_sizes(
        *inputs, outputs=outputs, width=width, depth=depth, patch=patch or 1, head_size=head_size
    )
    if width % head_size:
        raise InputError(
            f"`width` must be a multiple of {head_size} (the size of a head), got {width}. "
            f"Take {max(1, width // head_size) * head_size}, or a `head_size` that divides it."
        )
    tokens = _tokens(inputs, patch)
    with torch.no_grad():
        places, numbers = tokens(torch.zeros(1, *inputs)).shape[1:]
    network = nn.Sequential()
    network.add_module("tokens", tokens)
    network.add_module("embed", nn.Linear(numbers, width))
    network.add_module("place", Place(places, width))
    for number in range(1, depth + 1):
        network.add_module(f"block{number}", _Block(width, head_size))
    network.add_module("norm", nn.LayerNorm(width))
    network.add_module("flatten", nn.Flatten())
    network.add_module("readout", nn.Linear(places * width, outputs))
    return network


class Place(nn.Module):
    """Adds a learned vector to each place of a sequence.

    Args:
        places: how many there are.
        width: numbers of each.

    Example:
        >>> Place(5, 4)(torch.zeros(2, 5, 4)).shape
        torch.Size([2, 5, 4])
    """

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.empty(places, width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors: smaller than the tokens, so that what stands there is heard."""
        nn.init.normal_(self.shift, std=0.3)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        """The shifted sequence."""
        return x + self.shift


class _Tokens(nn.Module):
    """Cuts an image (n, c, h, w) into tokens (n, t, numbers)."""

    def __init__(self, patch: tuple[int, int]) -> None:
        super().__init__()
        self.patch = patch

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n t d"]:
        return functional.unfold(x, self.patch, stride=self.patch).transpose(1, 2)


def _tokens(inputs: tuple[int, ...], patch: int | None) -> nn.Module:
    if len(inputs) == 2 and patch is None:
        return nn.Identity()
    if len(inputs) != 3:
        raise InputError(
            "`inputs` must be (channels, height, width) of one image, or (tokens, numbers) without "
            f"`patch`, got {inputs}. Take a fully connected network for other shapes."
        )
    _, height, width = inputs
    if patch is None:
        return _Tokens((1, width))
    if height % patch or width % patch:
        raise InputError(
            f"`patch` must divide the sides of the image, {height} × {width}, got {patch}. "
            "Choose a divisor of both."
        )
    return _Tokens((patch, patch))


class _Attention(nn.Module):
    """Every place asks every other one, head by head."""

    def __init__(self, width: int, head_size: int) -> None:
        super().__init__()
        self.head_size = head_size
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.join = nn.Linear(width, width)

    def forward(self, h: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        q, k, v = (
            part(h).unflatten(2, (-1, self.head_size)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heads = functional.scaled_dot_product_attention(q, k, v)
        joined: Tensor = self.join(heads.transpose(1, 2).flatten(2))
        return joined


class _Block(nn.Module):
    """Attention, then two layers, each on the normalised sum of what came before."""

    def __init__(self, width: int, head_size: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = _Attention(width, head_size)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.activation = nn.ReLU()
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Float[Tensor, "n t d"]) -> Float[Tensor, "n t d"]:
        x = x + self.attention(self.norm1(x))
        return x + self.down(self.activation(self.up(self.norm2(x))))
