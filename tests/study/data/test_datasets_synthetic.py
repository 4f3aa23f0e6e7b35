from itertools import combinations

import numpy as np
import pytest
import torch
from torch.nn import functional

from lazyrich import InputError
from lazyrich.study.data import synthetic
from lazyrich.study.data.datasets import load
from lazyrich.study.networks.catalogue import fcn
from lazyrich.study.networks.parametrisation import parametrise
from lazyrich.theory.two_layer_linear import LineData

MANY = 200_000
SETS = {
    "line": {},
    "gaussian": {},
    "teacher-student": {},
    "chain-monomial": {},
    "sparse-parity": {},
    "staircase": {},
}


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_decided_by_its_seed(name):
    one, same, other = (load(name, samples=40, test=30, seed=seed) for seed in (0, 0, 1))
    assert one.name == name
    assert (len(one.train), len(one.test), one.outputs, one.classes) == (40, 30, 1, 0)
    assert torch.equal(one.train.x, same.train.x)
    assert torch.equal(one.test.y, same.test.y)
    assert not torch.equal(one.train.x, other.train.x)
    assert not torch.equal(one.train.x[:30], one.test.x)


@pytest.mark.parametrize("name", SETS)
def test_the_number_of_training_samples_does_not_change_the_test(name):
    few, many = (load(name, samples=n, test=30) for n in (10, 50))
    assert torch.equal(few.test.x, many.test.x)
    assert torch.equal(few.test.y, many.test.y)


@pytest.mark.parametrize("name", SETS)
def test_noise_is_added_to_the_targets_alone(name):
    clean, noisy = (load(name, samples=10, test=MANY, noise=s).test for s in (0.0, 0.5))
    assert torch.equal(clean.x, noisy.x)
    rest = noisy.y - clean.y
    assert rest.std().item() == pytest.approx(0.5, rel=0.01)
    assert abs(rest.mean().item()) < 5 * 0.5 / MANY**0.5


@pytest.mark.parametrize("dimension", [1, 3, 784])
def test_a_line_has_the_moments_of_its_theory(dimension):
    data = synthetic.line(samples=5_000, dimension=dimension, slope=-1.5, noise=0.3)
    x, y = data.train.x.numpy(), data.train.y.numpy()
    moments = LineData.from_samples(x, y)  # refuses inputs off the line by 1e-9 of their norm
    width = 5 / 5_000**0.5
    assert moments.mean_aa.item() == pytest.approx(1, abs=width * 2**0.5)
    assert moments.mean_ay.item() == pytest.approx(-1.5, abs=2 * 1.5 * width)
    assert moments.noise.item() == pytest.approx(0.09, rel=0.1)
    # the same by hand: a is the projection on (1, …, 1)/√d
    a = x.astype(float).sum(1) / dimension**0.5
    assert moments.mean_aa.item() == pytest.approx(np.mean(a**2), rel=1e-6)
    assert moments.mean_ay.item() == pytest.approx(np.mean(a * y[:, 0]), rel=1e-6)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0])
def test_the_spectrum_is_a_power_law(alpha):
    x = synthetic.gaussian(samples=MANY, dimension=6, alpha=alpha).train.x.double()
    expected = torch.arange(1.0, 7).double() ** -alpha
    found = x.T @ x / MANY
    assert torch.allclose(found.diagonal() / expected, torch.ones(6).double(), atol=0.02)
    scale = expected.outer(expected).sqrt()
    assert ((found - found.diagonal().diag()) / scale).abs().max() < 0.02


@pytest.mark.parametrize("target", ["linear", "products", "signs"])
def test_targets_of_the_spectrum_have_variance_one(target):
    data = synthetic.gaussian(samples=MANY, dimension=5, alpha=1.5, target=target).train
    assert data.y.square().mean().item() == pytest.approx(1, abs=0.05)
    products = data.x[:, 0] * data.x[:, 1] + data.x[:, 1] * data.x[:, 2]
    likeness = {
        "linear": torch.corrcoef(torch.stack([data.y[:, 0], data.x.sum(1)]))[0, 1],
        "products": torch.corrcoef(torch.stack([data.y[:, 0], products]))[0, 1],
        "signs": data.y.abs().min(),
    }
    assert likeness[target].item() == pytest.approx(1, abs=1e-5)
    assert set(data.y.unique().tolist()) == {-1.0, 1.0} or target != "signs"


def test_a_linear_teacher_is_linear_and_a_quadratic_one_quadratic():
    linear = synthetic.teacher_student(samples=50, dimension=6, activation="linear").train
    fit = torch.linalg.lstsq(linear.x, linear.y).solution
    assert torch.allclose(linear.x @ fit, linear.y, atol=1e-5)
    quadratic = synthetic.teacher_student(
        samples=60, dimension=6, width=2, activation="quadratic"
    ).train
    pairs = [(i, j) for i in range(6) for j in range(i, 6)]
    features = torch.stack([quadratic.x[:, i] * quadratic.x[:, j] for i, j in pairs], 1)
    fit = torch.linalg.lstsq(features.double(), quadratic.y.double()).solution
    assert torch.allclose(features.double() @ fit, quadratic.y.double(), atol=1e-4)
    form = torch.zeros(6, 6).double()
    for (i, j), value in zip(pairs, fit[:, 0], strict=True):
        form[i, j] += value / 2
        form[j, i] += value / 2
    # y = Σ a_j (w_j·x)²/√2 with unit w_j and a_j = ±1: rank 2
    assert (torch.linalg.eigvalsh(form).abs() > 1e-4).sum() == 2


def test_relu_teachers_have_the_second_moment_of_their_formula():
    y = synthetic.teacher_student(samples=MANY, dimension=8, width=1).train.y
    # one neuron: E relu(z)² = 1/2 for z ~ N(0, 1)
    assert y.square().mean().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("order", [2, 3, 5])
def test_chains_are_sums_of_products_of_neighbours(order):
    data = synthetic.chain_monomial(samples=MANY, dimension=6, order=order).train
    x, y = data.x.numpy(), np.zeros(MANY)
    for k in range(order):
        y += x[:, k] * x[:, (k + 1) % order]
    assert np.allclose(data.y[:, 0].numpy(), y, atol=1e-4)
    # orthogonal products of variance 1; for r = 2 the same one twice
    assert y.var() == pytest.approx(4 if order == 2 else order, rel=0.03)


def fourier(data, subset):
    """Coefficient of a parity: E y Π x."""
    return (data.y[:, 0] * data.x[:, list(subset)].prod(1)).mean().item()


@pytest.mark.parametrize(
    ("make", "steps"),
    [(synthetic.sparse_parity, {(0, 1, 2)}), (synthetic.staircase, {(0,), (0, 1), (0, 1, 2)})],
)
def test_functions_of_signs_by_their_fourier_coefficients(make, steps):
    data = make(samples=MANY, dimension=5).train
    assert set(data.x.unique().tolist()) == {-1.0, 1.0}
    for size in range(6):
        for subset in combinations(range(5), size):
            expected = 1.0 if subset in steps else 0.0
            assert fourier(data, subset) == pytest.approx(expected, abs=0.02)


BAD = {
    "samples": (lambda: synthetic.line(samples=0), "`samples` must be at least 1, got 0"),
    "test": (lambda: synthetic.staircase(test=0), "`test` must be at least 1, got 0"),
    "dimension": (lambda: synthetic.line(dimension=0), "`dimension` must be at least 1"),
    "width": (lambda: synthetic.teacher_student(width=0), "`width` must be at least 1, got 0"),
    "noise": (lambda: synthetic.line(noise=-1.0), "`noise` must be ≥ 0 and finite, got -1.0"),
    "alpha": (lambda: synthetic.gaussian(alpha=-1.0), "`alpha` must be ≥ 0 and finite, got -1.0"),
    "target": (lambda: synthetic.gaussian(target="cubic"), "`target` must be one of linear, prod"),
    "products": (
        lambda: synthetic.gaussian(dimension=2, target="products"),
        "`dimension` must be at least 3 for products, got 2",
    ),
    "activation": (
        lambda: synthetic.teacher_student(activation="step"),
        "`activation` must be one of linear, relu, .* got 'step'",
    ),
    "short chain": (lambda: synthetic.chain_monomial(order=1), "`order` must lie in 2 to 32"),
    "long parity": (
        lambda: synthetic.sparse_parity(dimension=3, order=4),
        "`order` must lie in 1 to 3, the dimension, got 4",
    ),
    "no steps": (lambda: synthetic.staircase(order=0), "`order` must lie in 1 to 32"),
}


@pytest.mark.parametrize(("act", "message"), BAD.values(), ids=BAD)
def test_bad_numbers_are_refused(act, message):
    with pytest.raises(InputError, match=message):
        act()


@pytest.mark.parametrize("seed", [0, 1])
def test_weights_of_the_same_seed_do_not_repeat_the_data(seed):
    """A student must not start with the teacher planted, nor with its inputs as weights."""
    data = load("teacher-student", samples=64, test=64, dimension=16, width=4, seed=seed)
    for name in ("ntk", "default"):
        network = parametrise(fcn(data.inputs, 1, width=64), name, seed=seed).model
        w = functional.normalize(next(network.parameters()).detach())
        x = functional.normalize(torch.cat([data.test.x, data.train.x]))
        assert (w @ x.T).abs().max() < 0.95  # 64 · 128 pairs in 16 dimensions: 0.88 by chance
    with pytest.raises(InputError, match="`seed` must be ≥ 0, got -1"):
        load("line", seed=-1)
