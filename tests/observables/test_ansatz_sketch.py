"""Sketches of K against the ansatz of the full matrices, and their stated error."""

import math

import pytest
import torch

from lazyrich.observables import (
    agop,
    ansatz_correlation,
    ansatz_from_sketches,
    correlation_with_error,
    debiased_correlation,
    haar_null,
    nfm,
    ptk,
    sketch,
)
from lazyrich.observables.ansatz_sketch import share_with_error

torch.set_num_threads(1)
KINDS = ["cosine", "pearson"]


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("correlation", KINDS)
@pytest.mark.parametrize(("k", "d"), [(5, 8), (8, 5), (1, 4), (60, 7), (300, 7)])
def test_sketches_give_the_correlation_and_null_of_their_covariances(k, d, correlation):
    w, g1, g2 = randn(k, d) + 0.3, randn(20, 3, k, seed=1), randn(20, 3, k, seed=2)
    k1, k2 = ptk(g1, 20), ptk(g2, 20)
    found = ansatz_from_sketches(w, sketch(g1), sketch(g2), correlation=correlation)
    value = debiased_correlation(w, k1, k2, correlation=correlation)
    assert found.value * (1 + found.bias) == pytest.approx(value, abs=1e-12)
    null = value if k == 1 else haar_null(w, k1, k2, correlation=correlation)
    assert found.null * (1 + found.null_bias) == pytest.approx(null, abs=1e-12)
    inner = float((nfm(w) * agop(w, (k1 + k2) / 2)).sum())  # without a mean taken off
    assert found.inner == pytest.approx(inner, rel=1e-10)


@pytest.mark.parametrize("correlation", KINDS)
def test_one_exact_sketch_is_the_matrices_correlation(correlation):
    w, g = randn(6, 9) + 0.3, randn(20, 1, 6, seed=1)
    f, agop_ = nfm(w), agop(w, ptk(g, 20))
    if correlation == "pearson":
        f, agop_ = f - f.mean(), agop_ - agop_.mean()
    expected = float((f * agop_).sum() / (f.norm() * agop_.norm()))
    found = ansatz_from_sketches(w, sketch(g), sketch(g), correlation=correlation)
    assert found.value == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("correlation", KINDS)
def test_error_is_the_derivative_with_respect_to_the_samples_weights(correlation):
    """All samples are among the rows here, so that the influence can be taken by autograd."""
    n, w = 30, randn(5, 7) + 0.3
    g1, g2 = randn(n, 2, 5, seed=1), randn(n, 2, 5, seed=2)
    weights = torch.ones(n, dtype=torch.float64, requires_grad=True)
    grams = [torch.einsum("a,ark,arl->kl", weights, g, g) / n for g in (g1, g2)]
    f, (a, b) = nfm(w), (agop(w, k) for k in grams)
    if correlation == "pearson":
        f, a, b = f - f.mean(), a - a.mean(), b - b.mean()
    rho = (f * (a + b) / 2).sum() / (f.norm() * (a * b).sum().sqrt())
    influence = n * torch.autograd.grad(rho, weights)[0]
    expected = (influence.square().sum() / (n * (n - 1))).sqrt()
    found = ansatz_from_sketches(w, sketch(g1), sketch(g2), correlation=correlation)
    assert found.stderr == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("correlation", KINDS)
def test_so_are_the_errors_of_the_null_and_of_the_centred_share(correlation):
    n, w, moved = 30, randn(5, 7) + 0.3, randn(5, 7, seed=4)
    g1, g2 = randn(n, 2, 5, seed=1), randn(n, 2, 5, seed=2)
    weights = torch.ones(n, dtype=torch.float64, requires_grad=True)
    k1, k2 = (torch.einsum("a,ark,arl->kl", weights, g, g) / n for g in (g1, g2))

    def error(value):
        influence = n * torch.autograd.grad(value, weights, retain_graph=True)[0]
        return float((influence.square().sum() / (n * (n - 1))).sqrt())

    mean = (k1 + k2) / 2
    share = (nfm(moved) * agop(moved, mean)).sum() / (nfm(w) * agop(w, mean)).sum()
    # E over rotations of ‖G‖² by its values for unit and rank-one parts: linear in both numbers
    k, f = 5, nfm(w)
    f = f - f.mean() if correlation == "pearson" else f
    traces, product = k1.trace() * k2.trace(), (k1 * k2).sum()
    a = ((k + 1) * traces - 2 * product) / (k * (k - 1) * (k + 2))
    b = (k * product - traces) / (k * (k - 1) * (k + 2))
    gram, u = w @ w.T, w.sum(1) if correlation == "pearson" else torch.zeros(5).double()
    size = (a + b) * gram.square().sum() + b * gram.trace() ** 2
    size = size - (a + 2 * b) * (u @ u / 7) ** 2
    null = f.norm() * (mean.trace() / k) / size.sqrt()
    whole, part = (
        ansatz_from_sketches(x, sketch(g1), sketch(g2), correlation=correlation) for x in (w, moved)
    )
    assert whole.null * (1 + whole.null_bias) == pytest.approx(null.item(), rel=1e-10)
    assert whole.null_stderr == pytest.approx(error(null), rel=0.1)  # tr K₁ ≈ tr K₂
    found = share_with_error(part, whole)
    assert found[0] == pytest.approx(share.item(), rel=1e-10)
    assert found[1] == pytest.approx(error(share), rel=1e-8)


def test_error_from_some_samples_is_the_spread_over_batches():
    n, trials, w = 400, 200, randn(5, 7) * torch.tensor([3.0, 1, 1, 1, 0.3]).double()[:, None]
    scale = torch.tensor([0.5, 2.0, 1.0, 3.0, 1.0]).double()
    spread, errors = [], []
    for trial in range(trials):
        g = sketch(randn(n, 1, 5, seed=trial) * scale)
        assert len(g.rows) < n
        found = ansatz_from_sketches(w, g, g)
        spread.append(found.value)
        errors.append(found.stderr)
    assert sum(errors) / trials == pytest.approx(float(torch.tensor(spread).std()), rel=0.15)


def test_float32_and_half_precision():
    w, g = randn(5, 8), randn(40, 1, 5, seed=1)
    exact = ansatz_from_sketches(w, sketch(g), sketch(g))
    single = ansatz_from_sketches(w.float(), sketch(g.float()), sketch(g.float()))
    assert single.value == pytest.approx(exact.value, abs=1e-6)
    assert single.stderr == pytest.approx(exact.stderr, rel=1e-4)
    assert sketch(g.bfloat16()).covariance.dtype == torch.float32


def test_tiny_movement_does_not_underflow_and_none_is_nan():
    w, g = randn(5, 8), sketch(randn(40, 1, 5, seed=1).float())
    value = ansatz_from_sketches(w, g, g).value
    assert ansatz_from_sketches(w * 1e-30, g, g).value == pytest.approx(value, abs=1e-6)
    tiny = ansatz_from_sketches(w * 1e-30, g, g).inner
    assert tiny == pytest.approx(1e-120 * ansatz_from_sketches(w, g, g).inner, rel=1e-5)
    nothing = ansatz_from_sketches(w * 0, g, g)
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.stderr)
    assert math.isnan(nothing.null)
    assert nothing.inner == 0


def test_one_sample_has_no_error():
    w, g = randn(5, 8), randn(1, 1, 5)
    found = ansatz_from_sketches(w, sketch(g), sketch(g))
    assert math.isnan(found.stderr)
    assert found.value == pytest.approx(ansatz_correlation(w, ptk(g, 1)))


@pytest.mark.parametrize("exact", [True, False])
def test_few_rows_give_the_error_of_groups_of_one_sample(exact):
    n, r, m, d = 5, 2, 16, 7
    weight, first = randn(m, d), randn(n, r, m, seed=1)
    second = first if exact else randn(n, r, m, seed=2)
    k1 = first.mT @ first
    k2 = k1 if exact else second.mT @ second
    value, error = correlation_with_error(weight, k1, k2)
    sketches = [sketch(first)] * 2 if exact else [sketch(first), sketch(second)]
    assert sketches[0].covariance is None
    found = ansatz_from_sketches(weight, *sketches)
    assert found.value * (1 + found.bias) == pytest.approx(value, rel=1e-10)
    assert found.stderr == pytest.approx(error, rel=1e-10)
    null = found.null * (1 + found.null_bias)
    assert null == pytest.approx(haar_null(weight, k1.mean(0), k2.mean(0)), rel=1e-10)
    inner = (nfm(weight) * agop(weight, (k1 + k2).mean(0) / 2)).sum()
    assert found.inner == pytest.approx(float(inner), rel=1e-10)


@pytest.mark.parametrize("correlation", KINDS)
@pytest.mark.parametrize("k", [8, 40])  # gradients as a covariance, and as rows
def test_few_directions_give_the_value_of_all_outputs_in_the_mean(k, correlation):
    """Without what is taken off, the mean is too large by many of its own errors."""
    n, outputs, times = 12, 10, 300
    w = randn(k, 6) + 0.3
    j = randn(n, outputs, k, seed=1) * torch.linspace(0.2, 2, k, dtype=torch.float64)
    one = sketch(j)
    exact = ansatz_from_sketches(w, one, one, correlation=correlation)
    signs = randn(times, 4, n, outputs, seed=2).sign()
    of_all = torch.einsum("tsnc,nck->tnsk", signs, j) / 2**0.5
    found = [
        ansatz_from_sketches(w, sketch(g[:, :2]), sketch(g[:, 2:]), correlation=correlation)
        for g in of_all
    ]
    for name, bias in (("value", "bias"), ("null", "null_bias")):
        values = torch.tensor([getattr(x, name) for x in found])
        raw = values * (1 + torch.tensor([getattr(x, bias) for x in found]))
        right, error = getattr(exact, name), float(values.std()) / times**0.5
        assert abs(float(values.mean()) - right) < 3 * error
        assert name == "null" or float(raw.mean()) - right > 4 * error
    assert exact.bias == exact.null_bias == 0


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("k", [4, 300], ids=["covariances", "rows"])
@pytest.mark.parametrize("asked", [1, 4])
def test_samples_without_a_gradient_tell_no_error(k, exact, asked):
    """Those that another expert is asked for: the same as if they were not in the batch."""
    w, moved = randn(k, 6), randn(k, 6, seed=3)
    some = [randn(asked, 3, k, seed=i) for i in (1, 2)]
    every = [torch.cat([g, torch.zeros(9, 3, k)]) for g in some]

    def found(rows):
        first = sketch(rows[0])
        both = first, first if exact else sketch(rows[1])
        return [ansatz_from_sketches(x, *both) for x in (w, moved)]

    (alone, alone_moved), (among, among_moved) = found(some), found(every)
    for name in ("value", "stderr", "null", "null_stderr"):
        expected = pytest.approx(getattr(alone, name), rel=1e-9, nan_ok=True)
        assert getattr(among, name) == expected, name
    assert math.isnan(among.stderr) == (asked == 1)
    assert among.inner == pytest.approx(alone.inner * asked / (9 + asked))
    shares = share_with_error(alone_moved, alone), share_with_error(among_moved, among)
    assert shares[1] == pytest.approx(shares[0], rel=1e-9, nan_ok=True)


def test_of_a_rare_sample_that_is_not_among_the_rows_there_is_no_error():
    rows = torch.zeros(200, 3, 4, dtype=torch.float64)
    rows[1] = randn(3, 4)
    found = ansatz_from_sketches(randn(4, 6), sketch(rows), sketch(rows))
    assert found.value > 0
    assert math.isnan(found.stderr)
    assert math.isnan(found.null_stderr)
