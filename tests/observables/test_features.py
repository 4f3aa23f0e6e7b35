"""Weights, representations, speeds and linearisation against definitions and limits."""

import itertools
import math

import pytest
import torch

from lazyrich.observables import (
    backward_feature_cosine,
    condensation,
    feature_speed,
    linear_cka,
    linearisation_error,
    speed_from_angle,
    stable_rank,
    weight_movement,
)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def test_weight_movement_in_both_norms():
    w0 = randn(4, 6)
    w = w0 + torch.outer(torch.ones(4).double(), torch.ones(6).double())
    assert weight_movement(w, w0) == pytest.approx(24**0.5 / float(w0.norm()))
    top = float(torch.linalg.svdvals(w0)[0])
    assert weight_movement(w, w0, norm="spectral") == pytest.approx(24**0.5 / top)


def test_stable_rank_between_one_and_the_rank():
    assert stable_rank(torch.outer(torch.ones(3), torch.ones(4))) == pytest.approx(1)
    q, _ = torch.linalg.qr(randn(5, 5))
    assert stable_rank(q[:3]) == pytest.approx(3)
    assert math.isnan(stable_rank(torch.zeros(2, 2)))


@pytest.mark.parametrize("widths", [(3, 3), (40, 40), (40, 3)])  # covariances, Gram matrices
def test_cka_is_the_centred_gram_correlation(widths):
    h, h0 = randn(12, widths[0]), randn(12, widths[1]).flip(0) ** 3
    centre = torch.eye(12).double() - 1 / 12
    k, k0 = centre @ h @ h.T @ centre, centre @ h0 @ h0.T @ centre
    biased = float((k * k0).sum() / (k.norm() * k0.norm()))
    assert linear_cka(h, h0, unbiased=False) == pytest.approx(biased)
    expected = hsic_1(h, h0) / (hsic_1(h, h) * hsic_1(h0, h0)) ** 0.5
    assert linear_cka(h, h0) == pytest.approx(expected, rel=1e-10)
    q, _ = torch.linalg.qr(randn(widths[0], widths[0]))
    for unbiased in (True, False):
        assert linear_cka(2 * h @ q + 1, h, unbiased=unbiased) == pytest.approx(1)


def hsic_1(x, y):
    """Equation 5 of Song et al. (2012), word by word, from features that are not centred."""
    n, one = len(x), torch.ones(len(x)).double()
    p, q = ((h @ h.T).fill_diagonal_(0) for h in (x, y))
    terms = (p @ q).trace() + (one @ p @ one) * (one @ q @ one) / ((n - 1) * (n - 2))
    return float((terms - 2 / (n - 2) * (one @ p @ q @ one)) / (n * (n - 3)))


def test_hsic_1_is_the_mean_over_fours_of_different_samples():
    """Its definition by permutations, which makes it unbiased: Song et al. (2012), theorem 3."""
    x, y, n = randn(6, 2), randn(6, 3) ** 2, 6
    p, q = x @ x.T, y @ y.T
    total, count = 0.0, 0
    for i, j, a, b in itertools.permutations(range(n), 4):
        total += float(p[i, j] * (q[i, j] + q[a, b] - 2 * q[i, a]))
        count += 1
    assert hsic_1(x, y) == pytest.approx(total / count, rel=1e-10)


def test_unrelated_features_have_no_cka():
    """The null of the docs: 0 with a scatter of √(2/(n(n−3))), where the biased one has 0.94."""
    n, d, draws = 32, 512, 200
    torch.manual_seed(0)
    pairs = [(torch.randn(n, d), torch.randn(n, d)) for _ in range(draws)]
    found = torch.tensor([linear_cka(*pair) for pair in pairs])
    scatter = (2 / (n * (n - 3))) ** 0.5
    assert abs(float(found.mean())) < 3 * scatter / draws**0.5
    assert float(found.std()) == pytest.approx(scatter, rel=0.15)
    biased = [linear_cka(*pair, unbiased=False) for pair in pairs]
    assert sum(biased) / draws == pytest.approx(d / (d + n), abs=0.01)


def test_cka_of_too_few_or_of_constant_features_is_unknown():
    assert math.isnan(linear_cka(randn(3, 5), randn(3, 5)))
    assert math.isnan(linear_cka(torch.ones(6, 5), randn(6, 5)))


def test_condensation_of_random_and_of_equal_neurons():
    w = torch.randn(200, 300, generator=torch.Generator().manual_seed(1))
    assert condensation(w) == pytest.approx((2 / (math.pi * 300)) ** 0.5, rel=0.02)
    line = torch.outer(torch.tensor([1.0, -2.0, 0.0, 3.0]), torch.ones(5))
    assert condensation(line) == pytest.approx(1)  # the silent neuron is left out
    assert math.isnan(condensation(torch.ones(1, 3)))


def test_backward_feature_angle_identity():
    """−⟨b, ḣ⟩ = Σ η‖∇L‖² over the layers below, in a chain, by autograd."""
    torch.manual_seed(0)
    rates = (0.3, 0.7)
    x, y = randn(5, 3), randn(5, 2)
    weights = [torch.randn(4, 3).double(), torch.randn(6, 4).double(), torch.randn(2, 6).double()]
    for w in weights:
        w.requires_grad_()

    def features(a, b):
        return torch.tanh(x @ a.T) @ b.T

    h = features(*weights[:2])
    loss = (torch.tanh(h) @ weights[2].T - y).square().mean()
    b, *grads = torch.autograd.grad(loss, [h, *weights[:2]])
    velocity = tuple(-eta * g for eta, g in zip(rates, grads, strict=True))
    _, h_dot = torch.func.jvp(features, tuple(w.detach() for w in weights[:2]), velocity)
    descent = sum(eta * float(g.square().sum()) for eta, g in zip(rates, grads, strict=True))
    assert float(-(b * h_dot).sum()) == pytest.approx(descent, rel=1e-12)
    cosine = backward_feature_cosine(b, h_dot)
    assert 0 < cosine <= 1
    assert speed_from_angle(descent, b, cosine) == pytest.approx(float(h_dot.norm()), rel=1e-12)
    assert feature_speed(h.detach(), h_dot) == pytest.approx(
        float(h_dot.norm() / h.detach().norm())
    )


def test_linearisation_error_vanishes_linearly_with_the_step():
    def f(w):
        return torch.tanh(randn(6, 3) @ w)

    w0, direction = randn(3), randn(3).flip(0)
    errors = []
    for step in (1e-2, 1e-3):
        _, tangent = torch.func.jvp(f, (w0,), (step * direction,))
        errors.append(linearisation_error(f(w0 + step * direction), f(w0), tangent))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.05)
    exact = randn(6, 3) @ direction
    assert linearisation_error(exact + 1, torch.ones_like(exact), exact) < 1e-14
    assert math.isnan(linearisation_error(exact, exact, 0 * exact))
