"""The usual augmentation of small images: a random crop of the padded image, and a mirror."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from lazyrich._errors import InputError

PADDING = 4


def shifted_and_mirrored(
    x: Float[Tensor, "n *shape"], generator: torch.Generator, padding: int = PADDING
) -> Float[Tensor, "n *shape"]:
    """Each image cropped at random from its padded self, and mirrored with probability 1/2.

    The padding is zero, which is the mean of standardised images.

    Args:
        x: images (n, channels, height, width).
        generator: on the CPU; each image has its own draw.
        padding: pixels on every side; shifts are uniform in −padding … padding, each way.

    Raises:
        InputError: `x` holds no images.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> shifted_and_mirrored(torch.ones(5, 3, 8, 8), generator).shape
        torch.Size([5, 3, 8, 8])
    """
    if x.ndim != 4:
        raise InputError(
            f"augmentation needs images (n, channels, height, width), got {tuple(x.shape)}. Train "
            "with augment=False."
        )
    n, channels, height, width = x.shape
    shift = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator)
    mirror = torch.randint(0, 2, (n, 1), generator=generator, dtype=torch.bool)
    rows = shift[0] + torch.arange(height)
    columns = shift[1] + torch.arange(width)
    columns = torch.where(mirror, columns.flip(1), columns)
    padded = functional.pad(x, (padding,) * 4)
    image, channel = torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
