"""Where the modes of an embedding start: a QR decomposition of its weights, or of a kernel's.

Early on every column of W along an eigenvector of Γ grows at its own rate, and what the first modes
have learned is taken from those that follow. So the s of a mode is what its column adds to those of
larger γ. What this leaves out is of the size `ε^{2(1 − γ′/γ)}` for two neighbours γ > γ′ and a
start of size ε, and nothing if the start is aligned.
"""

from __future__ import annotations

from math import inf

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from lazyrich._errors import InputError
from lazyrich.numerics.exact import Array
from lazyrich.theory.barlow_twins.flow import KNOWN
from lazyrich.theory.labels import dataset, real, require_range

TOLERANCE = 0.05  # of eigenvalues of the embeddings, which come to 1
SAME = 1e-9  # of the largest γ: eigenvalues that are one
ALIGNED = 1e-10  # of the weights, that may lie off the axes of an aligned start
NOTHING = 1e-13  # of a column: what is left when those before are taken off, by rounding
SYMMETRIC = 1e-9
RANK = 1e-12  # of the largest eigenvalue of a kernel
OUTSIDE = 1e-6  # of outputs that a kernel cannot give


def barlow_start(
    weights: ArrayLike, second_moment: ArrayLike, *, tolerance: float = TOLERANCE
) -> xr.Dataset:
    """The modes of an embedding at its start, which must be small, or aligned.

    Args:
        weights: W, (d, m), of any start.
        second_moment: Γ, (m, m), symmetric, such as `view_correlation` gives.
        tolerance: how large `start_error` may be. It is 0 for aligned starts, and falls with
            the size of others, the slower the closer two eigenvalues of Γ that differ.

    Returns:
        `view_eigenvalue` γ and `embedding_weight` s of the modes that are learned, at most d, in
        order of falling γ; `start_error`, by how much their eigenvalues will be off, about.

    Raises:
        InputError: a Γ that is not symmetric, shapes that do not fit, a start that is too large,
            each with by how much.

    Example:
        >>> found = barlow_start([[1e-4, 2e-4, 0], [1e-4, 1e-4, 3e-4]], np.diag([1.0, 4.0, 0.1]))
        >>> found.view_eigenvalue.values, found.embedding_weight.values.round(7)
        (array([4., 1.]), array([2.236e-04, 4.470e-05]))

    References:
        Derived in the documentation.
    """
    W, G = real("weights", weights), real("second_moment", second_moment)
    if W.ndim != 2 or G.shape != (W.shape[1], W.shape[1]):
        raise InputError(
            f"`weights` must have shape (d, m) and `second_moment` (m, m), got {W.shape} and "
            f"{G.shape}"
        )
    for name, matrix in (("weights", W), ("second_moment", G)):
        require_range(name, xr.DataArray(matrix), -inf, inf)
    off = float(np.abs(G - G.T).max()) / (float(np.abs(G).max()) or 1.0)
    if off > SYMMETRIC:
        raise InputError(
            f"`second_moment` must be symmetric, got one that is off by {off:.2g} of its largest "
            f"entry. Take (Γ + Γᵀ)/2, as the loss does"
        )
    gamma, axes = np.linalg.eigh((G + G.T) / 2)
    gamma, along_axes = gamma[::-1], (W @ axes)[:, ::-1]
    s, at, aligned = _start(gamma, along_axes)
    error = 0.0 if aligned else _error(gamma, along_axes, len(at))
    if error > tolerance:
        raise InputError(
            f"a start must be small, or aligned with the eigenvectors of `second_moment`: from "
            f"this one eigenvalues of the embedding would be off by about {error:.2g}, more than "
            f"the `tolerance` of {tolerance:g}. Scale `weights` down, or allow more."
        )
    found = {"view_eigenvalue": gamma[at], "embedding_weight": s}
    modes = {name: xr.DataArray(x, dims="mode") for name, x in found.items()}
    numbered = {"mode": np.arange(len(at))}
    return dataset(modes | {"start_error": xr.DataArray(error)}, KNOWN).assign_coords(numbered)


def view_correlation(x: ArrayLike, other: ArrayLike) -> Array:
    """`Γ = (XᵀX′ + X′ᵀX)/2n` of n pairs of views.

    Args:
        x: the first view of each sample, (n, m).
        other: the second, (n, m).

    Raises:
        InputError: shapes that differ.

    Example:
        >>> view_correlation([[1.0, 0.0]], [[1.0, 2.0]])
        array([[1., 1.],
               [1., 0.]])

    References:
        Simon et al., arXiv:2303.15438.
    """
    first, second = real("x", x), real("other", other)
    if first.ndim != 2 or first.shape != second.shape:
        raise InputError(
            f"`x` and `other` must both have shape (n, m), got {first.shape} and {second.shape}"
        )
    half: Array = first.T @ second / (2 * len(first))
    return half + half.T


def kernel_views(kernel: ArrayLike, outputs: ArrayLike) -> tuple[Array, Array]:
    """What a kernel machine is in its own features: weights and correlation for `barlow_start`.

    With `K = AAᵀ` of all 2n views, the rows of A are their features, and the outputs F at the
    start those of the weights `W = (A⁺ F)ᵀ`.

    Args:
        kernel: K, (2n, 2n), first views before second ones, such as a tangent kernel at the start.
        outputs: outputs of all views at the start, (2n, d).

    Returns:
        W, (d, r), and Γ, (r, r), r being the rank of K.

    Raises:
        InputError: shapes that do not fit; a kernel that is not symmetric or has a negative
            eigenvalue, outputs that it cannot give, each with by how much.

    Example:
        >>> W, correlation = kernel_views([[1.0, 0.8], [0.8, 1.0]], [[0.01], [0.0]])
        >>> np.linalg.eigvalsh(correlation).round(3)
        array([-0.1,  0.9])

    References:
        Simon et al., arXiv:2303.15438.
    """
    K, F = real("kernel", kernel), real("outputs", outputs)
    n = len(K) // 2
    if K.shape != (2 * n, 2 * n) or F.ndim != 2 or len(F) != 2 * n:
        raise InputError(
            f"`kernel` must have shape (2n, 2n) and `outputs` (2n, d), got {K.shape} and {F.shape}"
        )
    values, axes = np.linalg.eigh((K + K.T) / 2)
    top = float(np.abs(values).max()) or 1.0
    off = max(float(np.abs(K - K.T).max()), -float(values.min())) / top
    if off > SYMMETRIC:
        raise InputError(
            f"`kernel` must be symmetric without negative eigenvalues, got one that is off by "
            f"{off:.2g} of its largest. Take the kernel of all 2n views with themselves, in float64"
        )
    kept = values > RANK * top
    features = axes[:, kept] * np.sqrt(values[kept])
    weights = (axes[:, kept].T @ F / np.sqrt(values[kept])[:, None]).T
    left = float(np.linalg.norm(F - features @ weights.T)) / (float(np.linalg.norm(F)) or 1.0)
    if left > OUTSIDE:
        raise InputError(
            f"`outputs` must be those of some weights in the features of `kernel`: {left:.2g} of "
            f"them are not. Give the rows of both in one order, first views before second ones"
        )
    return weights, view_correlation(features[:n], features[n:])


def _start(gamma: Array, W: Array) -> tuple[Array, list[int], bool]:
    """s, which modes they are, and whether the start is aligned with the axes.

    The weights of each mode lose their part in the directions of those before; modes of one
    γ turn into each other, and are those of a singular value decomposition.
    """
    size = float(np.abs(W).max()) or 1.0
    taken, left_over = np.zeros((len(W), 0)), 0.0
    s: list[float] = []
    at: list[int] = []
    ends = np.flatnonzero(np.append(-np.diff(gamma) > SAME * np.abs(gamma).max(), True)) + 1
    for first, end in zip([0, *ends[:-1]], ends, strict=True):
        if taken.shape[1] == len(W):
            left_over = max(left_over, float(np.abs(W[:, first:]).max()) / size)
            break
        block = W[:, first:end]
        rest = block - taken @ (taken.T @ block)
        rest = rest - taken @ (taken.T @ rest)
        left_over = max(left_over, float(np.abs(block - rest).max()) / size)
        directions, sizes, _ = np.linalg.svd(rest, full_matrices=False)
        new = sizes > NOTHING * size
        taken = np.hstack([taken, directions[:, new]])
        s += sizes[new].tolist()
        at += range(first, first + int(new.sum()))
    return np.array(s), at, left_over <= ALIGNED


def _error(gamma: Array, W: Array, count: int) -> float:
    """`ε^{2(1 − γ′/γ)}` for the closest γ > γ′ that differ, ε being the size of the start."""
    size = float(np.linalg.norm(W * np.sqrt(np.abs(gamma)), 2))
    above, below = gamma[:count], gamma[1 : count + 1]
    apart = (above[: len(below)] - below > SAME * np.abs(gamma).max()) & (above[: len(below)] > 0)
    ratios = np.maximum(below[apart], 0.0) / above[: len(below)][apart]
    return min(1.0, size) ** (2 * (1 - float(ratios.max(initial=0.0)))) if size else 0.0
