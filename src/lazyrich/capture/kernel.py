"""The empirical neural tangent kernel from the factors of its Jacobian.

A linear layer's part of the Jacobian is `∂f_ic/∂W = Σ_t g_ict h_itᵀ` over the positions t of
sample i (pixels, tokens, repeated uses), so its kernel needs no Jacobian:
`Θ_ic,jc' = Σ_ts (h_it·h_js)(g_ict·g_jsc')`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class OuterFactor:
    """Jacobian of one weight matrix, kept as its two factors.

    Attributes:
        inputs: `h`, (samples, positions, groups, inputs); a bias is one more input that is 1, a
            learning rate η multiplies `h` by √η.
        gradients: `g = ∂f_c/∂z`, (samples, outputs, positions, groups, neurons).
        columns: the numbers of those of the layer's inputs `h` holds, in rising order, if those
            that are zero in the whole batch are left out (tokens that do not occur); None if it
            holds all.
    """

    inputs: Float[Tensor, "n t groups d"]
    gradients: Float[Tensor, "n k t groups m"]
    columns: Int[Tensor, " d"] | None = None


@dataclass(frozen=True, kw_only=True)
class DenseFactor:
    """Jacobian of parameters that have no factor form (norms, position vectors).

    Attributes:
        jacobian: `∂f_ic/∂θ_p`, times √η where a learning rate is wanted.
    """

    jacobian: Float[Tensor, "n k p"]


@dataclass(frozen=True, kw_only=True)
class TiedFactor:
    """Jacobian of one table of vectors, looked up and used as the matrix of a linear layer, too.

    Attributes:
        tokens: indices of the vectors that are looked up, (samples, lookups).
        lookups: `∂f_c/∂e` at every lookup, (samples, outputs, lookups, inputs); a learning rate η
            multiplies it by √η.
        product: the factor of the linear layer, whose neurons are the tokens.
    """

    tokens: Int[Tensor, "n s"]
    lookups: Float[Tensor, "n k s d"]
    product: OuterFactor


def table_factor(tokens: Int[Tensor, "n s"], lookups: Float[Tensor, "n k s d"]) -> OuterFactor:
    """The factor of a table that is looked up alone: a linear layer on one-hot inputs.

    Args:
        tokens: indices of the vectors that are looked up.
        lookups: `∂f_c/∂e` at every lookup.
    """
    occurring, index = torch.unique(tokens, return_inverse=True)
    rows = functional.one_hot(index, len(occurring)).to(lookups.dtype)
    return OuterFactor(inputs=rows[:, :, None], gradients=lookups[:, :, :, None], columns=occurring)


Factor = OuterFactor | DenseFactor | TiedFactor

_DEFAULT_MEMORY = 2**30
_BLOCK_BYTES = 2**26  # of temporary arrays: larger ones are no faster
_ELEMENT = 128  # multiplications in the time in which one entry goes through memory
BLOCK = 64  # rows of a symmetric product that is made strip by strip


def kernel(factor: Factor, *, memory: int = _DEFAULT_MEMORY) -> Float[Tensor, "n k n k"]:
    """One factor's part of the neural tangent kernel.

    `Θ = J Jᵀ`; positions are paired or summed into per-sample gradients, whichever costs less.

    Args:
        factor: the factor of the Jacobian J.
        memory: bytes that temporary arrays may take; the work is blocked to stay below.

    Returns:
        Θ, (samples, outputs, samples, outputs).

    Example:
        >>> h, g = torch.ones(2, 1, 1, 3), torch.ones(2, 1, 1, 1, 5)
        >>> kernel(OuterFactor(inputs=h, gradients=g))[0, 0]
        tensor([[15.],
                [15.]])

    References:
        Jacot, Gabriel & Hongler, arXiv:1806.07572.
    """
    if isinstance(factor, DenseFactor):
        n, k, _ = factor.jacobian.shape
        return gram(factor.jacobian.flatten(0, 1)).view(n, k, n, k)
    if isinstance(factor, TiedFactor):
        return _tied_kernel(factor, memory)
    n, k, t, groups, m = factor.gradients.shape
    d = factor.inputs.shape[-1]
    if groups == 1 and t == 1:
        g = factor.gradients.reshape(n * k, m)
        h = factor.inputs.reshape(n, d)
        return gram(g).view(n, k, n, k).mul_((h @ h.T)[:, None, :, None])
    pairs = n * n * t * t * (d + k * k * (m + _ELEMENT))
    sums = n * k * t * m * d + (n * k) ** 2 * m * d
    if groups == 1 and pairs < sums:
        return _kernel_by_pairs(factor, memory)
    return _kernel_by_gradients(factor, memory)


def _tied_kernel(factor: TiedFactor, memory: int) -> Float[Tensor, "n k n k"]:
    """Lookups, products, and both together, twice."""
    theta = kernel(table_factor(factor.tokens, factor.lookups), memory=memory)
    theta += kernel(factor.product, memory=memory)
    both = lookups_with_product(factor, factor.product)
    return theta.add_(both).add_(both.permute(2, 3, 0, 1))


def lookups_with_product(table: TiedFactor, product: OuterFactor) -> Float[Tensor, "n k m q"]:
    """The lookups of one batch with the linear layer of another: `Σ_st g_jqt[a_is] (e_ics · h_jt)`.

    Args:
        table: its lookups a with their gradients e.
        product: h and g of the linear layer that the same table is.
    """
    h, g = product.inputs[:, :, 0], product.gradients[:, :, :, 0]
    parts = []
    for tokens, lookups in zip(table.tokens, table.lookups, strict=True):
        rows = torch.einsum("jqts,jtd->jqsd", g[..., tokens], h)
        parts.append(torch.einsum("csd,jqsd->cjq", lookups, rows))
    return torch.stack(parts)


def _kernel_by_pairs(factor: OuterFactor, memory: int) -> Float[Tensor, "n k n k"]:
    n, k, t, _, m = factor.gradients.shape
    h = factor.inputs[:, :, 0].flatten(0, 1)  # (n t, d)
    g = factor.gradients[:, :, :, 0]  # (n, k, t, m)
    columns = g.reshape(n * k * t, m).T
    theta = g.new_empty(n, k, n, k)
    memory = min(memory, _BLOCK_BYTES)
    step = max(1, memory // (2 * k * t * n * k * t * g.element_size()))
    for i in range(0, n, step):
        block = g[i : i + step]
        b = len(block)
        gg = (block.reshape(b * k * t, m) @ columns).view(b, k, t, n, k, t)
        hh = (h[i * t : (i + b) * t] @ h.T).view(b, 1, t, n, 1, t)
        theta[i : i + b] = gg.mul_(hh).sum((2, 5))
    return theta


def _kernel_by_gradients(factor: OuterFactor, memory: int) -> Float[Tensor, "n k n k"]:
    n, k, t, groups, m = factor.gradients.shape
    d = factor.inputs.shape[-1]
    h = factor.inputs.transpose(1, 2)  # (n, groups, t, d)
    g = factor.gradients.permute(0, 3, 1, 4, 2)  # (n, groups, k, m, t)
    theta = g.new_zeros(n * k, n * k)
    memory = min(memory, _BLOCK_BYTES)
    step = max(1, memory // (2 * n * k * groups * d * g.element_size()))
    for j in range(0, m, step):  # a block of neurons at a time
        block = g[:, :, :, j : j + step].reshape(n, groups, -1, t)
        rows = (block @ h).view(n, groups, k, -1).transpose(1, 2).reshape(n * k, -1)
        add_gram(theta, rows)
    return mirrored(theta).view(n, k, n, k)


def gram(rows: Float[Tensor, "r p"]) -> Float[Tensor, "r r"]:
    """`J Jᵀ`, of which one triangle of blocks is multiplied.

    Args:
        rows: J.

    Example:
        >>> gram(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
        tensor([[5., 2.],
                [2., 1.]])
    """
    total = rows.new_zeros(len(rows), len(rows))
    add_gram(total, rows)
    return mirrored(total)


def add_gram(total: Float[Tensor, "r r"], rows: Float[Tensor, "r p"]) -> None:
    """`Θ += J Jᵀ` on the diagonal and above; what is below is for `mirrored`.

    Args:
        total: Θ, changed in place.
        rows: J.
    """
    step = _strip(len(rows))
    for i in range(0, len(rows), step):
        total[i : i + step, i:].addmm_(rows[i : i + step], rows[i:].T)


def mirrored(total: Float[Tensor, "r r"]) -> Float[Tensor, "r r"]:
    """The same, symmetric by what `add_gram` put above the diagonal.

    Args:
        total: Θ, changed in place.
    """
    step = _strip(len(total))
    for end in range(step, len(total), step):
        total[end:, end - step : end] = total[end - step : end, end:].T
    return total


def _strip(rows: int) -> int:
    """Rows of a strip: smaller products waste more time than symmetry saves."""
    return max(BLOCK, -(-rows // 8))


def full_kernel(
    factors: Sequence[Factor], *, memory: int = _DEFAULT_MEMORY
) -> Float[Tensor, "n k n k"]:
    """Neural tangent kernel of all factors, `Θ = Σ_l Θ_l`.

    Args:
        factors: one factor a parameter block, at least one.
        memory: bytes that temporary arrays may take.

    Returns:
        Θ, (samples, outputs, samples, outputs).

    References:
        Jacot, Gabriel & Hongler, arXiv:1806.07572.
    """
    total = kernel(factors[0], memory=memory)
    for factor in factors[1:]:
        total += kernel(factor, memory=memory)
    return total


def traced_kernel(factor: Factor) -> Float[Tensor, "n n"]:
    """One factor's kernel traced over the outputs, `Θ_ij = Σ_c Θ_ic,jc`.

    Args:
        factor: the factor of the Jacobian.

    Returns:
        (samples, samples): k² times smaller than the full kernel.

    References:
        Jacot, Gabriel & Hongler, arXiv:1806.07572.
    """
    if isinstance(factor, DenseFactor):
        rows = factor.jacobian.flatten(1)
        return rows @ rows.T
    if isinstance(factor, TiedFactor):
        return torch.einsum("icjc->ij", kernel(factor))
    h, g = factor.inputs, factor.gradients
    n, k, t, groups, m = g.shape
    d = h.shape[-1]
    if groups == 1 and t * t * (d + k * m) < k * m * d:
        hh = torch.einsum("itd,jsd->itjs", h[:, :, 0], h[:, :, 0])
        gg = torch.einsum("iktm,jksm->itjs", g[:, :, :, 0], g[:, :, :, 0])
        return (hh * gg).sum((1, 3))
    theta = h.new_zeros(n, n)
    for c in range(k):
        rows = torch.einsum("itgm,itgd->igmd", g[:, c], h).flatten(1)
        theta.addmm_(rows, rows.T)
    return theta


def kernel_matvec(factors: Sequence[Factor], vector: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Product of the kernel with a vector, without the kernel.

    `Θv = J(Jᵀv)`, cost linear in samples × outputs.

    Args:
        factors: one factor a parameter block.
        vector: v, (samples, outputs).

    Returns:
        Θv, (samples, outputs).

    References:
        Jacot, Gabriel & Hongler, arXiv:1806.07572.
    """
    product = torch.zeros_like(vector)
    for factor in factors:
        if isinstance(factor, DenseFactor):
            j = factor.jacobian.flatten(0, 1)
            product += (j @ (j.T @ vector.flatten())).view_as(vector)
            continue
        if isinstance(factor, TiedFactor):
            product += _tied_matvec(factor, vector)
            continue
        h, g = factor.inputs, factor.gradients
        pulled = torch.einsum("nk,nktgm->ntgm", vector, g)
        step = torch.einsum("ntgm,ntgd->gmd", pulled, h)  # Jᵀv, shaped like W
        moved = torch.einsum("gmd,ntgd->ntgm", step, h)
        product += torch.einsum("nktgm,ntgm->nk", g, moved)
    return product


def _tied_matvec(factor: TiedFactor, vector: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    h, g = factor.product.inputs[:, :, 0], factor.product.gradients[:, :, :, 0]
    step = torch.einsum("nk,nktm,ntd->md", vector, g, h)  # Jᵀv, shaped like the table
    pulled = torch.einsum("nk,nksd->nsd", vector, factor.lookups)
    step.index_add_(0, factor.tokens.flatten(), pulled.flatten(0, 1))
    moved = torch.einsum("md,ntd->ntm", step, h)
    looked_up = torch.einsum("nksd,nsd->nk", factor.lookups, step[factor.tokens])
    return torch.einsum("nktm,ntm->nk", g, moved) + looked_up
