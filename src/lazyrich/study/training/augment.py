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
        generator: a generator on the CPU, the same draws on every device; each image has its own.
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
    at = x.device
    shift = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator).to(at)
    mirror = torch.randint(0, 2, (n, 1), generator=generator, dtype=torch.bool).to(at)
    rows = shift[0] + torch.arange(height, device=at)
    columns = shift[1] + torch.arange(width, device=at)
    columns = torch.where(mirror, columns.flip(1), columns)
    padded = functional.pad(x, (padding,) * 4)
    image = torch.arange(n, device=at)[:, None, None, None]
    channel = torch.arange(channels, device=at)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]
