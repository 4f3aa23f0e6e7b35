"""Kernels from random directions, bootstrap sums, and the ansatz from few rows."""

import pytest
import torch

from lazyrich.observables import (
    block_squares,
    change_interval,
    resampled_sum,
    resamples,
    rotation_interval,
    sampled_trace,
)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def test_random_directions_give_unbiased_squares_and_trace():
    n, k, s = 3, 5, 2
    j = randn(n, k, 7)
    exact = torch.einsum("icp,jdp->icjd", j, j)
    squares, traces = [], []
    for _ in range(3000):
        v = torch.randint(0, 2, (n, s, k)).double() * 2 - 1
        theta = torch.einsum("iac,icjd,jbd->iajb", v, exact, v)
        squares.append(block_squares(theta, random=True))
        traces.append(sampled_trace(theta, random=True))
    found = torch.stack(squares)
    error = found.std(0) / len(found) ** 0.5
    truth = block_squares(exact, random=False)
    torch.testing.assert_close(truth, exact.square().sum((1, 3)))
    assert ((found.mean(0) - truth).abs() < 4.5 * error).all()
    assert (error < 0.1 * truth.max()).all()
    traces = torch.tensor(traces)
    trace = float(exact.reshape(n * k, n * k).trace())
    assert abs(float(traces.mean()) - trace) < 4 * float(traces.std()) / 3000**0.5


def test_a_resample_is_a_sum_over_its_samples():
    squares, counts = randn(4, 4).square(), resamples(4, draws=20, seed=3)
    assert (counts.sum(1) == 4).all()
    assert (counts[0] == 1).all()
    for sums, w in zip(resampled_sum(squares, counts), counts, strict=True):
        apart = sum(w[i] * w[j] * squares[i, j] for i in range(4) for j in range(4) if i != j)
        assert float(sums) == pytest.approx(float(apart + (w * squares.diagonal()).sum()))


def test_the_interval_covers_what_many_samples_say():
    """95 % intervals from 25 samples, against the population's ratio."""
    hits, rounds = 0, 200
    for seed in range(rounds):
        h, moved = randn(25, 6), randn(25, 1) * 0.1
        start = (h @ h.T).square()
        change = ((h * (1 + moved)) @ (h * (1 + moved)).T - h @ h.T).square()
        counts = resamples(25, seed=seed)
        _, ends = change_interval(resampled_sum(change, counts), resampled_sum(start, counts))
        h, moved = randn(3000, 6), randn(3000, 1) * 0.1
        if seed == 0:
            a, b = h @ h.T, (h * (1 + moved)) @ (h * (1 + moved)).T
            truth = float((b - a).norm() / a.norm())
        hits += bool(ends[0] <= truth <= ends[1])
    assert 0.8 < hits / rounds <= 1


def test_rotation_keeps_small_angles():
    theta = randn(6, 1, 6, 1)
    turned = 3 * theta + 1e-7 * randn(6, 1, 6, 1)
    counts = resamples(6)
    sums = [
        resampled_sum(block_squares(k, random=False), counts)
        for k in (turned - theta, theta, turned)
    ]
    value, _ = rotation_interval(*sums)
    a, b = theta / theta.norm(), turned / turned.norm()
    assert float(value) == pytest.approx(float(0.5 * (a - b).square().sum()), rel=0.2)
