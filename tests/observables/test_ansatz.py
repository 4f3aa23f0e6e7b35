"""The neural feature ansatz without d×d matrices against the matrices themselves."""

import math

import pytest
import torch

from lazyrich.observables import (
    agop,
    ansatz_correlation,
    centred_share,
    correlation_with_error,
    debiased_correlation,
    haar_null,
    nfm,
    predicted_centred,
    ptk,
)

torch.set_num_threads(1)


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def correlate(a, b, kind):
    if kind == "pearson":
        a, b = a - a.mean(), b - b.mean()
    return float((a * b).sum() / (a.norm() * b.norm()))


def power_of(matrix, power):
    values, vectors = torch.linalg.eigh(matrix)
    values = torch.where(values > 1e-12 * values.max(), values, 0)  # noise would grow as a root
    return (vectors * values**power) @ vectors.T


@pytest.mark.parametrize("correlation", ["cosine", "pearson"])
@pytest.mark.parametrize("power", [1.0, 0.5, 0.25])
@pytest.mark.parametrize(("k", "d", "rank"), [(5, 8, 5), (8, 5, 8), (6, 9, 2), (1, 4, 1)])
def test_small_algebra_equals_the_matrices(k, d, rank, power, correlation):
    w, g = randn(k, d, seed=k), randn(rank, k, seed=d)
    covariance = ptk(g, samples=3)
    expected = correlate(nfm(w), power_of(agop(w, covariance), power), correlation)
    found = ansatz_correlation(w, covariance, power=power, correlation=correlation)
    assert found == pytest.approx(expected, abs=1e-12)


def test_double_centred_difference_may_be_indefinite():
    w, w0 = randn(4, 6), randn(4, 6, seed=1)
    difference = ptk(randn(9, 4, seed=2), 9) - ptk(randn(9, 4, seed=3), 9)
    moved = w - w0
    expected = correlate(nfm(moved), agop(moved, difference), "cosine")
    assert ansatz_correlation(moved, difference) == pytest.approx(expected, abs=1e-12)


def test_centred_share_is_the_ratio_of_the_matrices_inner_products():
    w, moved = randn(4, 6), 0.3 * randn(4, 6, seed=1)
    k = ptk(randn(9, 4, seed=2), 9)
    inner = [float((nfm(v) * agop(v, k)).sum()) for v in (moved, w)]
    assert centred_share(w, moved, k) == pytest.approx(inner[0] / inner[1], rel=1e-12)
    assert centred_share(w, 0 * w, k) == 0
    assert math.isnan(centred_share(w, moved, 0 * k))


def test_no_movement_is_nan_not_zero():
    covariance = ptk(randn(9, 4), 9)
    assert math.isnan(ansatz_correlation(torch.zeros(4, 6), covariance))
    assert math.isnan(ansatz_correlation(randn(4, 6), torch.zeros(4, 4).double()))
    assert math.isnan(ansatz_correlation(torch.zeros(4, 6), covariance, power=0.5))
    assert math.isnan(haar_null(torch.zeros(4, 6), covariance))


@pytest.mark.parametrize("correlation", ["cosine", "pearson"])
def test_haar_null_is_the_monte_carlo_mean(correlation):
    k, d, draws = 6, 9, 20_000
    w = randn(k, d) + 0.5
    covariance = ptk(randn(4, k, seed=1), 4)
    q, r = torch.linalg.qr(randn(draws, k, k, seed=2))
    q = q * torch.diagonal(r, dim1=1, dim2=2).sign()[:, None]  # Haar
    f, g = nfm(w), w.T @ (q @ covariance @ q.transpose(1, 2)) @ w
    if correlation == "pearson":
        f, g = f - f.mean(), g - g.mean((1, 2), keepdim=True)
    inner = (f * g).sum((1, 2)).mean()
    expected = float(inner / (f.norm() * g.square().sum((1, 2)).mean().sqrt()))
    assert haar_null(w, covariance, correlation=correlation) == pytest.approx(expected, rel=0.01)


def test_haar_null_of_one_neuron_is_the_value_itself():
    w, covariance = randn(1, 5), torch.tensor([[2.0]]).double()
    assert haar_null(w, covariance) == pytest.approx(1)


@pytest.mark.parametrize("correlation", ["cosine", "pearson"])
def test_two_estimates_remove_the_bias(correlation):
    n, outputs, k, d, trials = 20, 20, 8, 10, 300
    w, jacobian = randn(k, d), randn(n, outputs, k, seed=1)
    exact = ansatz_correlation(w, ptk(jacobian, n), correlation=correlation)
    generator = torch.Generator().manual_seed(3)
    found, raw = [], []
    for _ in range(trials):
        signs = torch.randint(0, 2, (2, n, outputs), generator=generator).double() * 2 - 1
        first, second = (ptk(torch.einsum("nc,nck->nk", s, jacobian), n) for s in signs)
        found.append(debiased_correlation(w, first, second, correlation=correlation))
        raw.append(ansatz_correlation(w, first, correlation=correlation))
    found, raw = torch.tensor(found), torch.tensor(raw)
    error = float(found.std()) / trials**0.5
    assert abs(float(found.mean()) - exact) < 3 * error + 0.003
    assert exact - float(raw.mean()) > 5 * error  # what is removed is really there


@pytest.mark.parametrize("correlation", ["cosine", "pearson"])
def test_standard_error_is_the_spread_over_samples(correlation):
    n, k, groups, trials = 400, 5, 20, 300
    w = randn(k, 7) * torch.tensor([3.0, 1, 1, 1, 0.3]).double()[:, None]
    spread, errors = [], []
    generator = torch.Generator().manual_seed(1)
    for _ in range(trials):
        g = torch.randn(groups, n // groups, k, dtype=torch.float64, generator=generator)
        g = g * torch.tensor([0.5, 2.0, 1.0, 3.0, 1.0]).double()
        covariances = g.transpose(1, 2) @ g / (n // groups)
        value, error = correlation_with_error(w, covariances, covariances, correlation=correlation)
        spread.append(value)
        errors.append(error)
    assert float(torch.tensor(errors).mean()) == pytest.approx(
        float(torch.tensor(spread).std()), rel=0.15
    )


def test_one_group_has_no_error():
    covariance = ptk(randn(9, 4), 9)[None]
    value, error = correlation_with_error(randn(4, 6), covariance, covariance)
    assert value == pytest.approx(ansatz_correlation(randn(4, 6), covariance[0]))
    assert math.isnan(error)


def test_groups_without_a_gradient_tell_no_error():
    w, k = randn(5, 8), randn(3, 5, 5, seed=1)
    some = k @ k.mT
    every = torch.cat([some, torch.zeros_like(some)])
    found = correlation_with_error(w, every, every)
    assert found == pytest.approx(correlation_with_error(w, some, some), rel=1e-12)
    assert math.isnan(correlation_with_error(w, every[2:], every[2:])[1])


def test_prediction_is_the_gradient_steps_correlation():
    """nfa.md 2.1: the label-weighted inputs and the Gram matrix of g, without weights."""
    n, outputs, k, d = 7, 3, 5, 4
    h, g, r = randn(n, 1, d), randn(n, outputs, 1, k, seed=1), randn(n, outputs, seed=2)
    labelled = (r[:, :, None] * h).reshape(n * outputs, d)
    flat = g.reshape(n * outputs, k)
    gram = flat @ flat.T
    expected = correlate(
        labelled.T @ gram @ labelled, labelled.T @ gram @ gram @ labelled, "cosine"
    )
    assert predicted_centred(h, g, r) == pytest.approx(expected, abs=1e-13)


def test_float32_inputs_are_correlated_in_float64():
    w, g = randn(5, 8), randn(20, 5, seed=1)
    double = ansatz_correlation(w, ptk(g, 20))
    assert ansatz_correlation(w.float(), ptk(g.float(), 20)) == pytest.approx(double, abs=1e-6)
