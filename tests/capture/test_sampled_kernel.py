"""Kernels from random directions: unbiased squares, errors and intervals over samples."""

import pytest
import torch

from lazyrich.observables import (
    block_squares,
    change_interval,
    jackknife_error,
    pair_sums,
    rotation_interval,
    sampled_traces,
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
        traces.append(sampled_traces(theta, random=True).sum())
    found = torch.stack(squares)
    error = found.std(0) / len(found) ** 0.5
    truth = block_squares(exact, random=False)
    torch.testing.assert_close(truth, exact.square().sum((1, 3)))
    assert ((found.mean(0) - truth).abs() < 4.5 * error).all()
    assert (error < 0.1 * truth.max()).all()
    traces = torch.tensor(traces)
    trace = float(exact.reshape(n * k, n * k).trace())
    assert abs(float(traces.mean()) - trace) < 4 * float(traces.std()) / 3000**0.5


def test_pair_sums_are_those_of_the_samples_left():
    squares = randn(4, 4).square()
    squares = squares + squares.T
    every, different = pair_sums(squares)
    for j, left in enumerate([[0, 1, 2, 3], [1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]):
        rest = squares[left][:, left]
        assert float(every[j]) == pytest.approx(float(rest.sum()))
        assert float(different[j]) == pytest.approx(float(rest.sum() - rest.trace()))
    torch.testing.assert_close(pair_sums(torch.stack([squares, squares]))[1], pair_sums(squares))


def test_jackknife_error_is_the_spread_over_batches():
    """Of a ratio of two means, against its spread in many batches; of one sample it is unknown."""
    ratios, errors = [], []
    for _ in range(300):
        a, b = 1 + 0.3 * randn(30), 2 + 0.3 * randn(30)
        ratios.append(float(a.mean() / b.mean()))
        errors.append(float(jackknife_error((a.sum() - a) / (b.sum() - b))))
    assert sum(errors) / 300 == pytest.approx(float(torch.tensor(ratios).std()), rel=0.15)
    assert jackknife_error(randn(1)).isnan()


def changes(start, now, *, random=False):
    sums = [pair_sums(block_squares(k, random=random)) for k in (now - start, start, now)]
    return change_interval(*sums[:2], random=random), rotation_interval(*sums, random=random)


@pytest.mark.parametrize("samples", [8, 25])
def test_the_interval_covers_what_many_samples_say(samples):
    """95 % intervals from few samples, against the population's ratio and rotation."""

    def draw(n):
        h, moved = randn(n, 6), randn(n, 1) * 0.5
        kernels = (h @ h.T, (h * (1 + moved)) @ (h * (1 + moved)).T)
        return [k.view(n, 1, n, 1) for k in kernels]

    start, now = draw(3000)
    truth = float((now - start).norm() / start.norm())
    turned = float(1 - (now * start).sum() / now.norm() / start.norm())
    hits, of_rotation, rounds = 0, 0, 400
    for _ in range(rounds):
        change, rotation = changes(*draw(samples))
        hits += bool(change.low <= truth <= change.high)
        of_rotation += bool(rotation.low <= turned <= rotation.high)
    assert 0.9 < hits / rounds <= 0.985
    assert 0.9 < of_rotation / rounds <= 0.99


def test_rotation_keeps_small_angles():
    theta = randn(6, 1, 6, 1)
    theta = theta + theta.permute(2, 3, 0, 1)
    small = 1e-7 * randn(6, 1, 6, 1)
    turned = 3 * theta + small + small.permute(2, 3, 0, 1)
    _, rotation = changes(theta, turned)
    a, b = theta / theta.norm(), turned / turned.norm()
    assert float(rotation.value) == pytest.approx(float(0.5 * (a - b).square().sum()), rel=0.2)
    assert rotation.low <= rotation.value <= rotation.high < 1e-11


def test_what_no_interval_can_be_made_of():
    """One sample has no error; two have no pair without one; nothing that moved has none either."""
    h = randn(3, 4)
    theta = (h @ h.T).view(3, 1, 3, 1)
    one, _ = changes(theta[:1, :, :1], 2 * theta[:1, :, :1])
    assert float(one.value) == pytest.approx(1.0)
    assert one.stderr.isnan()
    assert one.low.isnan()
    still, _ = changes(theta[:1, :, :1], theta[:1, :, :1])
    assert (still.value, still.low, still.high) == (0, 0, 0)  # nothing moved, whatever the sample
    two, _ = changes(theta[:2, :, :2], (theta + theta.square())[:2, :, :2])
    assert two.low <= two.value <= two.high < torch.inf
    still, rotation = changes(theta, theta)
    assert (still.value, still.low, still.high, rotation.high) == (0, 0, 0, 0)
    alone = torch.eye(3, dtype=torch.float64).view(3, 1, 3, 1)  # pairs that never interact
    apart, _ = changes(alone, 2 * alone)
    assert float(apart.low) == pytest.approx(1.0)
    assert float(apart.high) == pytest.approx(1.0)
