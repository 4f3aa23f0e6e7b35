"""Which layers have rows that matter to several samples.

Gradients of samples times powers of two are those times the same powers, without rounding, but for
rows that matter to others, too. So what samples share shows however little it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lazyrich.capture.capture import Capture

_APART = 1e-5  # of a sample's gradient: sums may come in another order
_NEAR = 3e-6  # the same of fine codes, which are nearer to each other by as much
_BLOCK = 2**17  # entries that are compared at a time
_CODES = 32  # powers of two with signs, far from what half precision does not hold
_FINE = 128  # quarters of such powers


def mixing_layers(
    capture: Capture, v: Float[Tensor, "n k"], gradients: Mapping[str, Sequence[Tensor]]
) -> set[str]:
    """Names of the layers whose rows some samples share.

    Args:
        capture: one forward pass.
        v: a random direction.
        gradients: gradients of `v·f` at all calls of all layers.
    """
    if _CODES < len(v) <= _FINE and not _apart(capture, v, gradients, _fine_code(len(v)), _NEAR):
        return set()
    found: set[str] = set()
    for code in sample_codes(len(v)):
        found |= _apart(capture, v, gradients, code, _APART)
    return found


def _apart(
    capture: Capture,
    v: Float[Tensor, "n k"],
    gradients: Mapping[str, Sequence[Tensor]],
    code: Float[Tensor, " n"],
    tolerance: float,
) -> set[str]:
    """Layers where coded gradients are not the code times the gradients, up to rounding."""
    coded = capture.gradients(code.to(v)[:, None] * v)
    return {
        layer.name
        for layer, of_calls in zip((*capture.layers, *capture.small), coded, strict=True)
        if any(
            _is_apart(plain, other, code.to(plain), tolerance)
            for plain, other in zip(gradients[layer.name], of_calls, strict=True)
        )
    }


def _is_apart(
    plain: Float[Tensor, "n *shape"],
    coded: Float[Tensor, "n *shape"],
    code: Float[Tensor, " n"],
    tolerance: float,
) -> bool:
    """Whether that is so for some sample of one call."""
    step = max(1, _BLOCK // max(plain[0].numel(), 1))  # samples at a time that stay in a cache
    parts = (torch.split(x, step) for x in (plain.flatten(1), coded.flatten(1), code))
    for g, other, c in zip(*parts, strict=True):
        rest = torch.addcmul(other, g, c[:, None], value=-1)
        apart, size = (torch.linalg.vector_norm(x, dim=1) for x in (rest, g))
        if (apart > tolerance * c.abs() * size).any():
            return True
    return False


def _fine_code(samples: int) -> Float[Tensor, " n"]:
    """One number for every sample, quarters of powers of two: any two differ by a fifth at least.

    Products with them are rounded, so that what they clear is clear, and no more.
    """
    index = torch.arange(samples)
    return (1.0 - 2.0 * (index % 2)) * 2.0 ** ((index // 2 - _FINE // 4) / 4)


def sample_codes(samples: int) -> Iterator[Float[Tensor, " n"]]:
    """Powers of two with signs for every sample, of which any two have different ones at some time.

    Args:
        samples: n; up to 32 are told apart at once, up to 1,024 in two times.

    Example:
        >>> [code.tolist() for code in sample_codes(4)]
        [[0.00390625, -0.00390625, 0.0078125, -0.0078125]]
    """
    rest = torch.arange(samples)
    while True:
        digit, rest = rest % _CODES, rest // _CODES
        yield (1.0 - 2.0 * (digit % 2)) * 2.0 ** (digit // 2 - _CODES // 4)
        if not rest.any():
            return
