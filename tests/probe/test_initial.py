"""The centred ansatz before training against its identity, and against one tiny step."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

import lazyrich
from lazyrich import InputError
from lazyrich.theory.quadratic_start import quadratic_network_prediction
from tests.models import Residual, Twice, randn, with_batch_statistics


def correlate(a, b):
    return float((a * b).sum() / (a.norm() * b.norm()))


def mlp():
    hidden = nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 12), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(12, 3)).double()


def mse(f, y):
    return (f - y).square().sum() / len(f)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_is_the_alignment_of_labelled_inputs_with_the_tangent_gram_matrix(loss):
    """`ρ(X̃ᵀ𝒦X̃, X̃ᵀ𝒦²X̃)`, with 𝒦 from explicit Jacobians over samples and outputs."""
    model, x = mlp(), randn(9, 5)
    y = randn(9, 3) if loss == "mse" else torch.arange(9) % 3
    f = model(x).detach()
    r = y - f if loss == "mse" else functional.one_hot(y, 3) - f.softmax(1)
    table = lazyrich.initial_cnfa(model, (x, y), loss, directions="all")
    for index, name in ((0, "0"), (2, "2")):
        h = model[:index](x).detach()
        z = model[: index + 1](x).detach()
        g = torch.func.vmap(torch.func.jacrev(model[index + 1 :]))(z).flatten(0, 1).detach()
        labelled = (r[:, :, None] * h[:, None]).flatten(0, 1)
        gram = g @ g.T
        expected = correlate(labelled.T @ gram @ labelled, labelled.T @ gram @ gram @ labelled)
        assert float(table.cnfa.sel(layer=name)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("build", "shape"), [(mlp, (20, 5)), (lambda: Residual().double(), (12, 2, 5, 5))]
)
def test_one_tiny_step_shows_it(build, shape):
    x, y = randn(*shape), randn(shape[0], 3)
    model = with_batch_statistics(build(), x)
    predicted = lazyrich.initial_cnfa(model, (x, y), directions="all")
    start = copy.deepcopy(model)
    mse(model(x), y).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 1e-7 * parameter.grad
    found = lazyrich.nfa(model, x, start, directions="all")
    assert list(found.layer.values) == list(predicted.layer.values)
    assert abs(found.cnfa - predicted.cnfa).max() < 1e-5
    assert abs(found.cnfa_null - predicted.cnfa_null).max() < 1e-5


def test_a_weight_used_twice_moves_by_both_uses():
    model, x = Twice().double(), randn(8, 3, 5)
    y = randn(8, 3, 1)
    predicted = lazyrich.initial_cnfa(model, (x, y), directions="all")
    start = copy.deepcopy(model)
    mse(model(x), y).backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 1e-8 * parameter.grad
    found = lazyrich.nfa(model, x, start, directions="all")
    for name in ("again", "first", "second"):
        step = float(found.cnfa.sel(layer=name))
        assert float(predicted.cnfa.sel(layer=name)) == pytest.approx(step, abs=1e-5)


def test_random_directions_agree_with_the_exact_value_and_heads_with_rows():
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 40)).double()
    batch = randn(200, 5), randn(200, 40)
    exact = lazyrich.initial_cnfa(model, batch, directions="all", heads={"0": 3})
    assert list(exact.layer.values) == ["0[0]", "0[1]", "0[2]"]
    found = [lazyrich.initial_cnfa(model, batch, heads={"0": 3}, seed=s) for s in range(20)]
    values = torch.stack([torch.tensor(table.cnfa.values) for table in found])
    error = values.std(0) / 20**0.5
    assert ((values.mean(0) - torch.tensor(exact.cnfa.values)).abs() < 4 * error + 1e-3).all()
    assert float(error.max()) < 0.01


def test_leaves_the_model_alone_and_says_what_it_skips():
    model = nn.Sequential(
        nn.Linear(5, 6), nn.ReLU(), weight_norm(nn.Linear(6, 6)), nn.Linear(6, 6), nn.Linear(6, 1)
    ).double()
    model[3].requires_grad_(False)
    state = copy.deepcopy(model.state_dict())
    table = lazyrich.initial_cnfa(model, (randn(8, 5), randn(8, 1)))
    assert list(table.layer.values) == ["0"]
    assert "2: its weight is computed from other parameters" in table.skipped
    assert "3: its weight is frozen" in table.skipped
    assert "4: the readout: K = 1, its correlation is 1 by construction" in table.skipped
    assert all(
        torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True)
    )
    assert all(p.grad is None for p in model.parameters())


def test_a_quadratic_network_with_its_start_taken_away_follows_the_closed_form():
    class Square(nn.Module):
        def forward(self, x):
            return x.square()

    d = 128
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(256, d, generator=generator, dtype=torch.float64)
    x *= (1 + torch.arange(d)) ** -0.5
    y = x[:, :1] * x[:, 1:2]
    network = nn.Sequential(nn.Linear(d, d, bias=False), Square(), nn.Linear(d, 1, bias=False))
    network.double()
    with torch.no_grad():
        network[0].weight.normal_(std=d**-0.5, generator=generator)
        network[2].weight.normal_(generator=generator).sign_()
    table = lazyrich.initial_cnfa(lazyrich.CentredOutput(network), (x, y), directions="all")
    assert list(table.layer.values) == ["network.0"]
    s, s_y = (x.T @ x / 256).numpy(), (x.T @ (y * x) / 256).numpy()
    predicted = quadratic_network_prediction(s, s_y, width=d)
    assert float(table.cnfa[0]) == pytest.approx(float(predicted), abs=0.02)


def test_fitted_targets_leave_nothing_to_align():
    model, x = mlp(), randn(8, 5)
    table = lazyrich.initial_cnfa(model, (x, model(x).detach()))
    assert table.cnfa.isnull().all()


def test_refusals():
    model, x = mlp(), randn(8, 5)
    with pytest.raises(
        InputError,
        match=r"`batch` must be a pair \(inputs, targets\), or a mapping with `labels`, got a list",
    ):
        lazyrich.initial_cnfa(model, [x])
    with pytest.raises(InputError, match="the targets must have the outputs' shape"):
        lazyrich.initial_cnfa(model, (x, randn(8, 2)))
    model[0].requires_grad_(False)
    model[2].requires_grad_(False)
    with pytest.raises(InputError, match="a hidden linear layer that learns, got none"):
        lazyrich.initial_cnfa(model, (x, randn(8, 3)))
