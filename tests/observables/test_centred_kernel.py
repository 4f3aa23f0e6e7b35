"""Turning between samples: against explicit kernels, and what the common mode hides."""

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.observables import centred_kernel_distance, kernel_distance
from lazyrich.observables.centred_kernel import ERROR_OF_ONE
from tests.models import Residual, brute_kernel, randn


def by_hand(theta, start):
    """1 − cos(HΘH, HΘ₀H) with H as an explicit matrix, in NumPy."""
    n, k = theta.shape[:2]
    H = np.kron(np.eye(n) - 1 / n, np.eye(k))
    a, b = (H @ kernel.reshape(n * k, n * k).double().numpy() @ H for kernel in (theta, start))
    return 1 - (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)


def kernels(seed=0, n=5, k=3):
    torch.manual_seed(seed)
    factors = [torch.randn(n * k, 8, dtype=torch.float64) for _ in range(2)]
    return [(J @ J.T).view(n, k, n, k) for J in factors]


def test_the_definition():
    theta, start = kernels()
    assert centred_kernel_distance(theta, start) == pytest.approx(by_hand(theta, start), rel=1e-12)
    assert centred_kernel_distance(7 * theta, theta) == pytest.approx(0, abs=1e-15)


def test_what_is_common_to_all_samples_does_not_count():
    """It hides a turn from the uncentred distance, and is no turn itself."""
    theta, start = kernels()
    common = 1e3 * torch.ones(5, 1, 5, 1).double() * torch.eye(3).double()[None, :, None, :]
    turned = centred_kernel_distance(theta, start)
    assert centred_kernel_distance(theta + common, start + common) == pytest.approx(
        turned, rel=1e-9
    )
    assert turned > 0.3 > 1e-3 > kernel_distance(theta + common, start + common)
    assert centred_kernel_distance(theta + common, theta) == pytest.approx(0, abs=1e-9)
    assert kernel_distance(theta + common, theta) > 0.3


def two_looks(model, x, y, **options):
    probe = lazyrich.Probe(model, (x, y), **options)
    before = brute_kernel(model, x)
    probe.measure(0)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    probe.measure(1)
    return probe.history.isel(step=1), brute_kernel(model, x), before


def mlp(outputs):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 12), nn.Tanh(), nn.Linear(12, outputs)).double()


@pytest.mark.parametrize("name", ["few outputs", "all directions", "convolutions"])
def test_a_probe_measures_it_exactly_where_it_has_all_outputs(name):
    torch.manual_seed(0)
    model, shape, outputs, options = {
        "few outputs": (mlp(2), (6, 4), 2, {}),
        "all directions": (mlp(7), (6, 4), 7, {"directions": "all"}),
        "convolutions": (Residual().double(), (5, 2, 5, 5), 3, {}),
    }[name]
    row, after, before = two_looks(model, randn(*shape), randn(shape[0], outputs), **options)
    assert float(row.centred_kernel_distance) == pytest.approx(by_hand(after, before), rel=1e-9)
    assert float(row.centred_kernel_distance_stderr) == 0


def test_few_vectors_estimate_it_and_their_error():
    """Over many seeds: the mean is right within its error, the error is not below the scatter."""
    x, y = randn(12, 4), randn(12, 10)
    values, errors = [], []
    for seed in range(40):
        model = mlp(10)
        row, after, before = two_looks(model, x, y, seed=seed, observables=NAMES)
        values.append(float(row.centred_kernel_distance))
        errors.append(float(row.centred_kernel_distance_stderr))
    exact, scatter = by_hand(after, before), np.std(values, ddof=1)
    assert np.mean(values) == pytest.approx(exact, abs=3 * scatter / 40**0.5 + 0.03 * exact)
    assert 0.03 * exact < scatter < 0.3 * exact
    assert 0.8 * scatter < np.sqrt(np.mean(np.square(errors))) < 2 * scatter
    assert min(errors) > 0


class Tokens(nn.Module):
    """Each position sees those before it."""

    def __init__(self):
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(24, 16), nn.Linear(16, 16), nn.Linear(16, 24)

    def forward(self, x):
        h = self.embed(x)
        return self.head(torch.tanh(self.mix(h + h.cumsum(1) / 8)))


def jacobian_kernel(model, x):
    theta = {name: p.detach() for name, p in model.named_parameters()}
    found = torch.func.jacrev(lambda at: torch.func.functional_call(model, at, (x,)))(theta)
    rows = torch.cat([part.flatten(3).flatten(0, 2) for part in found.values()], 1)
    return (rows @ rows.T).view(len(x), -1, len(x), rows.shape[0] // len(x))


def test_of_sequences_of_tokens_one_vector_is_within_the_error_that_is_given():
    torch.manual_seed(0)
    x, y = torch.randint(0, 24, (6, 24)), torch.zeros(6, 24, 24).double()
    first, later = Tokens().double(), Tokens().double()
    later.load_state_dict({k: p + 0.1 * torch.randn_like(p) for k, p in first.state_dict().items()})
    a, b = (jacobian_kernel(model, x) for model in (later, first))
    a, b = (k - k.mean(0, keepdim=True) for k in (a, b))
    a, b = (k - k.mean(2, keepdim=True) for k in (a, b))
    exact = float(1 - (a * b).sum() / a.norm() / b.norm())
    values, errors = [], []
    for seed in range(10):
        model = Tokens().double()
        probe = lazyrich.Probe(model, (x, y), seed=seed, observables=NAMES)
        for step, weights in enumerate((first, later)):
            model.load_state_dict(weights.state_dict())
            probe.measure(step)
        values.append(float(probe.history.centred_kernel_distance[1]))
        errors.append(float(probe.history.centred_kernel_distance_stderr[1]))
    scatter = np.std(values, ddof=1)
    assert np.mean(values) == pytest.approx(exact, abs=3 * scatter / 10**0.5 + 0.03 * exact)
    assert 0.01 * exact < scatter < 1.3 * np.mean(errors)  # a scatter of few is rough
    assert errors == pytest.approx(ERROR_OF_ONE * np.array(values))


NAMES = ["centred_kernel_distance"]


def test_learning_rates_are_inside():
    """With a rate of 0 for the first layer, the kernel is that of the readout."""
    model, x, y = mlp(10), randn(9, 4), randn(9, 10)
    lrs = {"0": 0.0, "2": 1.0}
    rates = {"0.weight": 0.0, "0.bias": 0.0, "2.weight": 1.0, "2.bias": 1.0}.get
    for directions in ("all", 4):
        before = brute_kernel(model, x, rates)
        probe = lazyrich.Probe(model, (x, y), lrs=lrs, directions=directions, observables=NAMES)
        probe.measure(0)
        with torch.no_grad():
            model[0].weight *= 1.7
        probe.measure(1)
        exact = by_hand(brute_kernel(model, x, rates), before)
        found = float(probe.history.centred_kernel_distance[1])
        assert found == pytest.approx(exact, rel=1e-9 if directions == "all" else 0.6)


@pytest.mark.parametrize("outputs", [2, 10])
def test_samples_that_are_all_alike_have_nothing_between_them(outputs):
    """In single precision rounding is left of the centred kernel; it is no turn."""
    model, x = mlp(outputs).float(), torch.ones(6, 4)
    row, *_ = two_looks(model, x, torch.zeros(6, outputs))
    assert np.isnan(float(row.centred_kernel_distance))
    assert np.isfinite(float(row.kernel_distance))


@pytest.mark.parametrize("outputs", [2, 10])
def test_a_network_that_stands_still_has_not_turned(outputs):
    model, x, y = mlp(outputs).float(), torch.randn(6, 4), torch.zeros(6, outputs)
    probe = lazyrich.Probe(model, (x, y))
    probe.measure(0)
    probe.measure(1)
    assert (probe.history.centred_kernel_distance == 0).all()


def test_training_that_turns_what_the_common_mode_hides_is_said_to_turn():
    """Inputs far from the origin: the kernel is nearly one constant, uncentred."""
    torch.manual_seed(0)
    x = torch.randn(32, 4) + 4
    y = torch.sin(2 * (x[:, :1] - 4))
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    probe = lazyrich.Probe(model, (x, y))
    with probe.watch(optimizer, when=400):
        for _ in range(400):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    row, verdict = probe.history.isel(step=-1), probe.verdict()
    assert float(row.kernel_distance) < 0.05 < float(row.centred_kernel_distance)
    assert "and turned: features" in verdict.sentence, verdict.sentence
