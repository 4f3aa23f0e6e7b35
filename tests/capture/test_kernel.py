"""Kernels from factors against explicit Jacobians."""

import pytest
import torch

from lazyrich.capture.kernel import TiedFactor, kernel
from lazyrich.observables import (
    DenseFactor,
    OuterFactor,
    effective_rank,
    full_kernel,
    kernel_distance,
    kernel_matvec,
    relative_change,
    target_alignment,
    trace_ratio,
    traced_kernel,
    velocity,
)

SHAPES = {  # n, k, positions, groups, m, d
    "dense": (4, 3, 1, 1, 5, 6),
    "pairs are cheap": (3, 1, 2, 1, 20, 30),
    "blocks, dense": (60, 5, 1, 1, 3, 2),
    "blocks, positions": (60, 5, 3, 1, 3, 2),
    "gradients are cheap": (3, 2, 30, 1, 2, 3),
    "groups": (3, 2, 4, 2, 3, 5),
}


def factor(shape):
    n, k, t, groups, m, d = shape
    generator = torch.Generator().manual_seed(sum(shape))
    return OuterFactor(
        inputs=torch.randn(n, t, groups, d, dtype=torch.float64, generator=generator),
        gradients=torch.randn(n, k, t, groups, m, dtype=torch.float64, generator=generator),
    )


def jacobian(factor):
    return torch.einsum("nktgm,ntgd->nkgmd", factor.gradients, factor.inputs).flatten(2)


def brute(factor):
    j = factor.jacobian if isinstance(factor, DenseFactor) else jacobian(factor)
    return torch.einsum("icp,jep->icje", j, j)


@pytest.mark.parametrize("memory", [2**30, 500])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_outer_kernel_is_the_jacobians_gram(shape, memory):
    f = factor(shape)
    torch.testing.assert_close(kernel(f, memory=memory), brute(f), rtol=1e-12, atol=1e-12)


def test_dense_factor_of_many_rows():
    f = DenseFactor(jacobian=torch.randn(100, 3, 7, dtype=torch.float64))
    torch.testing.assert_close(kernel(f), brute(f), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_trace_and_matvec_need_no_full_kernel(shape):
    f = factor(shape)
    theta = brute(f)
    traced = torch.einsum("icjc->ij", theta)
    torch.testing.assert_close(traced_kernel(f), traced, rtol=1e-12, atol=1e-12)
    v = torch.randn(shape[:2], dtype=torch.float64)
    expected = torch.einsum("icje,je->ic", theta, v)
    torch.testing.assert_close(kernel_matvec([f], v), expected, rtol=1e-12, atol=1e-11)


def test_factors_add_up_and_dense_ones_work():
    outer = factor(SHAPES["dense"])
    dense = DenseFactor(jacobian=torch.randn(4, 3, 7, dtype=torch.float64))
    total = brute(outer) + brute(dense)
    torch.testing.assert_close(full_kernel([outer, dense]), total, rtol=1e-12, atol=1e-12)
    v = torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(
        kernel_matvec([outer, dense], v), torch.einsum("icje,je->ic", total, v)
    )
    torch.testing.assert_close(traced_kernel(dense), torch.einsum("icjc->ij", brute(dense)))


@pytest.mark.parametrize("lookups", [1, 4])
def test_a_table_that_is_looked_up_and_multiplies(lookups):
    """Its Jacobian has a part of either use, in the same entries."""
    n, k, t, vocabulary, d = 3, 2, 4, 5, 6
    generator = torch.Generator().manual_seed(0)
    product = factor((n, k, t, 1, vocabulary, d))
    tied = TiedFactor(
        tokens=torch.randint(0, vocabulary, (n, lookups), generator=generator),
        lookups=torch.randn(n, k, lookups, d, dtype=torch.float64, generator=generator),
        product=product,
    )
    j = jacobian(product).view(n, k, vocabulary, d)
    for i in range(n):
        for s, token in enumerate(tied.tokens[i]):
            j[i, :, token] += tied.lookups[i, :, s]
    theta = torch.einsum("icmd,jemd->icje", j, j)
    torch.testing.assert_close(kernel(tied), theta, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(traced_kernel(tied), torch.einsum("icjc->ij", theta))
    v = torch.randn(n, k, dtype=torch.float64)
    torch.testing.assert_close(kernel_matvec([tied], v), torch.einsum("icje,je->ic", theta, v))


def test_small_kernel_distances_survive():
    theta = brute(factor(SHAPES["dense"]))
    direction = torch.randn_like(theta)
    direction -= theta * (direction * theta).sum() / theta.square().sum()  # ⟂ Θ
    direction *= theta.norm() / direction.norm()
    for angle in (1e-1, 1e-5, 1e-9):
        distance = kernel_distance(theta + angle * direction, theta)
        expected = 1 - 1 / (1 + angle**2) ** 0.5 if angle > 1e-3 else angle**2 / 2
        assert distance == pytest.approx(expected, rel=1e-6)
        assert relative_change(theta + angle * direction, theta) == pytest.approx(angle, rel=1e-6)


def test_scale_is_no_rotation():
    theta = brute(factor(SHAPES["dense"]))
    assert kernel_distance(3 * theta, theta) == pytest.approx(0, abs=1e-15)
    assert relative_change(3 * theta, theta) == pytest.approx(2)
    assert trace_ratio(3 * theta, theta) == pytest.approx(3)
    assert velocity(3 * theta, theta, 4.0) == pytest.approx(0.5)


def test_effective_rank_and_alignment_of_a_rank_one_kernel():
    y = torch.randn(4, 3, dtype=torch.float64)
    theta = torch.einsum("ic,je->icje", y, y)
    assert effective_rank(theta) == pytest.approx(1)
    assert target_alignment(theta, y) == pytest.approx(1)
    other = torch.randn(4, 3, dtype=torch.float64)
    expected = (other * y).sum() ** 2 / (y.square().sum() * other.square().sum())
    assert target_alignment(theta, other) == pytest.approx(float(expected))


def test_effective_rank_counts_equal_eigenvalues():
    projector = torch.diag(torch.tensor([2.0] * 5 + [0.0] * 3)).view(4, 2, 4, 2)
    assert effective_rank(projector) == pytest.approx(5)
