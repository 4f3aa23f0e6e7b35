"""Rows that are drawn in place of all say the same of K, and of products of independent ones."""

from __future__ import annotations

import torch

from lazyrich.capture.sketch import ROWS, random_rows, sketch
from lazyrich.observables.ansatz import debiased_correlation, haar_null
from lazyrich.observables.ansatz_sketch import ansatz_from_sketches


def _gradients(n: int, positions: int, neurons: int, seed: int) -> torch.Tensor:
    """Samples of unlike sizes with a common direction."""
    generator = torch.Generator().manual_seed(seed)
    g = torch.randn(n, positions, neurons, generator=generator, dtype=torch.float64)
    g[..., 0] += 2
    return g * torch.randn(n, positions, 1, generator=generator, dtype=torch.float64)


def test_drawn_rows_are_unbiased_in_squares_and_in_products_of_independent_draws() -> None:
    n = ROWS // 4
    g = _gradients(n, 16, 3, seed=0)
    k = torch.einsum("nri,nrj->ij", g, g) / n
    draws, products = [], []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        first, second = (sketch(random_rows(g[:, None], generator)).covariance for _ in range(2))
        draws += [first, second]
        products.append((first * second).sum())
    errors = torch.stack(draws)
    assert ((errors.mean(0) - k).abs() <= 4 * errors.std(0) / len(draws) ** 0.5).all()
    of_products = torch.stack(products)
    error = of_products.std() / len(products) ** 0.5
    assert abs(of_products.mean() - k.square().sum()) <= 4 * error
    assert error < 0.03 * k.square().sum()  # so that the test says something


def test_all_rows_are_taken_where_there_are_no_more() -> None:
    g = _gradients(ROWS, 1, 3, seed=0)
    assert torch.equal(random_rows(g[:, None], torch.Generator()), g)


def test_the_correlation_of_drawn_rows_is_that_of_all_within_its_error() -> None:
    n, neurons, inputs = 16, 40, 20
    g = _gradients(n, 512, neurons, seed=1)
    w = torch.randn(neurons, inputs, generator=torch.Generator().manual_seed(2)).double()
    w[0] *= 3
    k = torch.einsum("nri,nrj->ij", g, g) / n
    exact, null = debiased_correlation(w, k, k), haar_null(w, k)
    found = []
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        found.append(
            ansatz_from_sketches(w, *(sketch(random_rows(g[:, None], generator)) for _ in range(2)))
        )
    value = torch.tensor([one.value for one in found])
    assert abs(value.mean() - exact) <= 4 * value.std() / len(found) ** 0.5 + 2e-3
    assert value.std() < 0.05
    inside = [abs(one.value - exact) <= 2 * one.stderr for one in found]
    assert sum(inside) >= 0.9 * len(found)
    assert abs(torch.tensor([one.null for one in found]).mean() - null) < 0.02
