"""Small networks for images, with the two scales that decide between lazy and rich."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from lazyrich._errors import InputError
from lazyrich.probe.centred import CentredOutput
from lazyrich.probe.isolation import undisturbed
from lazyrich.probe.network import as_network
from lazyrich.study.datasets import Images

HEADS = 4


def mlp(images: Images, width: int) -> nn.Module:
    """Two hidden ReLU layers.

    Example:
        >>> from lazyrich.study.datasets import digits
        >>> mlp(digits(), width=32)(digits().x[:3]).shape
        torch.Size([3, 10])
    """
    pixels = images.x[0].numel()
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(pixels, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, images.classes),
    )


def cnn(images: Images, width: int) -> nn.Module:
    """Two 3 × 3 convolutions, of `width` and twice as many channels, and a mean over places."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * width, images.classes),
    )


def transformer(images: Images, width: int) -> nn.Module:
    """One pre-norm encoder block over the rows of the image, `width` numbers a row.

    Raises:
        InputError: the width is no multiple of the heads.
    """
    if width % HEADS:
        raise InputError(f"`width` must be a multiple of {HEADS} (the heads), got {width}.")
    head = nn.Linear(width * images.x.shape[2], images.classes)
    return nn.Sequential(
        _Rows(images, width), _Block(width), nn.LayerNorm(width), nn.Flatten(), head
    )


def as_taken_by(network: nn.Module, images: Images) -> Images:
    """The images in the form that a network takes: as they are, or as vectors of their pixels.

    Raises:
        InputError: neither form leads to one number a class.

    Example:
        >>> from lazyrich.study.datasets import digits
        >>> as_taken_by(nn.Linear(64, 10), digits()).x.shape
        torch.Size([1797, 64])
    """
    came = []
    for form in (images, replace(images, x=images.x.flatten(1))):
        seen = as_network(network, form.x[:2])
        try:
            with undisturbed(seen.module):
                shape = tuple(seen(seen.theta).shape)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            came.append(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
            continue
        if shape == (2, images.classes):
            return form
        came.append(f"outputs of shape {shape}")
    raise InputError(
        f"the network must map two images {tuple(images.x[:2].shape)}, or their pixels as vectors, "
        f"to outputs (2, {images.classes}). With images: {came[0]}. With vectors: {came[1]}."
    )


class _Rows(nn.Module):
    """An image as a sequence of its rows, each with a learned place."""

    def __init__(self, images: Images, width: int) -> None:
        super().__init__()
        _, _, rows, columns = images.x.shape
        self.embed = nn.Linear(columns, width)
        self.place = nn.Parameter(0.3 * torch.randn(rows, width))

    def forward(self, x: Float[Tensor, "n 1 rows columns"]) -> Float[Tensor, "n rows width"]:
        return self.embed(x[:, 0]) + self.place


class _Block(nn.Module):
    """Attention, then two layers, each on the normalised sum of what came before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before_attention, self.before_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.join = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Float[Tensor, "n rows width"]) -> Float[Tensor, "n rows width"]:
        h = self.before_attention(x)
        q, k, v = (
            part(h).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        heads = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.join(heads.transpose(1, 2).flatten(2))
        return x + self.down(functional.relu(self.up(self.before_layers(x))))


def scaled(
    build: Callable[[], nn.Module], *, init_scale: float = 1.0, output_scale: float = 1.0, seed: int
) -> nn.Module:
    """A network with scaled weights and a centred, scaled output: α(h − h₀).

    Args:
        build: makes the network h.
        init_scale: factor on every weight matrix at the start; biases and norms stay as they are.
        output_scale: α > 0; small is rich, large is lazy.
        seed: of the initial weights; the global random state is left as it is.

    Raises:
        InputError: `init_scale` is not a positive number.
    """
    if not 0 < init_scale < float("inf"):
        raise InputError(f"`init_scale` must be a positive number, got {init_scale}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(init_scale)
    return CentredOutput(network, output_scale)
