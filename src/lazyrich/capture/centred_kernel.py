"""The kernel without what it says of all samples alike, HΘH.

H takes the mean over the samples off, of every output. Most of a kernel's norm is often a mean that
stands still in direction while all that tells samples apart turns.

Random directions that are independent for every sample, as those of `sampled_kernel`, do not see
the centred kernel: a mean over samples mixes their signs. So it is read along a few vectors e over
all outputs of all samples, the same at every look, by one backward and one forward-mode pass
each: E‖HΘHe‖² = ‖HΘH‖².
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Columns = Float[Tensor, "s n *k"]


@torch.no_grad()
def centred(x: Float[Tensor, "*s"], dim: int = 0) -> Float[Tensor, "*s"]:
    """H x: without the mean over samples, in float64.

    Args:
        x: any values, an axis of which counts the samples.
        dim: this axis.

    Example:
        >>> centred(torch.tensor([[1.0], [3.0]])).tolist()
        [[-1.0], [1.0]]
    """
    wide = x.double()
    return wide - wide.mean(dim, keepdim=True)


def centred_columns(kernel: Float[Tensor, "n k n k"]) -> Columns:
    """HΘH of a kernel that is known whole, one column for each output of each sample.

    Args:
        kernel: Θ.

    Returns:
        (columns, samples, outputs), in float64.
    """
    return centred(centred(kernel), 2).flatten(2).permute(2, 0, 1)
