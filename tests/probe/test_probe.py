"""What a probe records, against brute force and against the exact theory."""

import copy
import itertools
import json
import math

import numpy as np
import pytest
import torch
import xarray as xr
from docs.vocabulary import vocabulary
from torch import nn

import lazyrich
from lazyrich import InputError, Probe
from lazyrich.capture.capture import capture
from lazyrich.capture.look import Look, Plan
from lazyrich.capture.losses import output_loss
from lazyrich.observables import linearisation_error, stable_rank
from lazyrich.theory import two_layer_linear as linear
from lazyrich.vocabulary.losses import under
from tests.models import Residual, brute_kernel, cases, randn


class TwoLayers(nn.Module):
    """`f = γ U W x`."""

    def __init__(self, inputs, width, multiplier):
        super().__init__()
        self.w = nn.Linear(inputs, width, bias=False)
        self.u = nn.Linear(width, 1, bias=False)
        self.multiplier = multiplier

    def forward(self, x):
        return self.multiplier * self.u(self.w(x))


def mlp(*sizes):
    layers = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1]).double()


def moved(model, size=0.3):
    """Somebody trained it."""
    with torch.no_grad():
        for p in model.parameters():
            p += size * torch.randn_like(p)


def measured(model, x, y, change=moved, **options):
    probe = Probe(model, (x, y), **options)
    probe.measure(0)
    change(model)
    probe.measure(1)
    return probe


@pytest.mark.parametrize("width", [5, 60])
def test_gradient_descent_on_a_line_gives_the_exact_theory(width):
    """The contract between the columns: loss, ζ, NTK change and NFA, step by step."""
    n = torch.nn.functional.normalize(randn(3), dim=0)
    a = randn(6)
    y = 3 * a + randn(6)
    x = torch.outer(a, n)
    model = TwoLayers(3, width, 0.7).double()
    with torch.no_grad():
        model.u.weight.normal_(std=width**-0.5)
        model.w.weight.normal_(std=0.6)
    u, w = (layer.weight.detach().numpy().copy() for layer in (model.u, model.w))
    lr_u, lr_w, steps = 0.06, 0.006, 40
    groups = [{"params": [model.u.weight], "lr": lr_u}, {"params": [model.w.weight], "lr": lr_w}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    probe = Probe(model, (x, y[:, None]))
    with probe.watch(optimizer, when=lazyrich.every(8)):
        for _ in range(steps):
            optimizer.zero_grad()
            (model(x)[:, 0] - y).square().mean().backward()
            optimizer.step()
    network = linear.LinearNetwork(output_scale=0.7, lr_u=lr_u, lr_w=lr_w)
    on_line = linear.LineState.from_weights(u[0], w @ n.numpy())
    line = linear.descent(
        on_line,
        network,
        linear.LineData.from_samples(a.numpy(), y.numpy()),
        steps=steps,
        every=8,
    )
    full = linear.descent(
        linear.GramState.from_weights(u, w),
        network,
        linear.MomentData.from_samples(x.numpy(), y.numpy()),
        steps=steps,
        every=8,
    )
    history = probe.history
    assert list(history.step) == list(line.step)
    exact = {"rtol": 1e-10, "atol": 1e-13}
    np.testing.assert_allclose(history.loss, line.loss, **exact)
    np.testing.assert_allclose(history.ntk_change, line.ntk_change, **exact)
    np.testing.assert_allclose(
        history.parameter_data_alignment.sel(layer="u"), abs(line.alignment), **exact
    )
    np.testing.assert_allclose(history.nfa.sel(layer="w"), full.nfa, **exact)
    norms = 0.5 * np.log(line.uu / line.uu[0])
    np.testing.assert_allclose(history.layer_log_rescaling.sel(layer="u"), norms, **exact)
    assert line.ntk_change[-1] > 1e-3


@pytest.mark.parametrize("name", ["mlp", "convolutions"])
def test_the_kernels_numbers_against_brute_force(name):
    """With as many directions as outputs nothing is random."""
    build, shape = {
        "mlp": (lambda: mlp(4, 6, 3), (5, 4)),
        "convolutions": (lambda: Residual().double(), (5, 2, 5, 5)),
    }[name]
    model, x, y = build(), randn(*shape), randn(5, 3)
    before = brute_kernel(model, x)
    probe = measured(model, x, y, directions=3)
    after = brute_kernel(model, x)
    row = probe.history.isel(step=1)
    assert float(row.ntk_change) == pytest.approx(float((after - before).norm() / before.norm()))
    cosine = float((after * before).sum() / (after.norm() * before.norm()))
    assert float(row.kernel_distance) == pytest.approx(1 - cosine)
    traces = [theta.reshape(15, 15).trace() for theta in (before, after)]
    assert float(row.ntk_trace_ratio) == pytest.approx(float(traces[1] / traces[0]))
    v = y.flatten()
    aligned = v @ after.reshape(15, 15) @ v / (after.norm() * v.square().sum())
    assert float(row.target_alignment) == pytest.approx(float(aligned))
    p = torch.linalg.eigvalsh(after.reshape(15, 15)).clamp(min=1e-300)
    p = p / p.sum()
    assert float(row.effective_rank) == pytest.approx(math.exp(float(-(p * p.log()).sum())))
    assert row.ntk_change_low <= row.ntk_change <= row.ntk_change_high


def test_the_change_of_every_layers_kernel():
    model, x, y = mlp(4, 6, 3), randn(5, 4), randn(5, 3)
    only = {n: (lambda p, n=n: float(p.startswith(n))) for n in ("0", "2")}
    before = {n: brute_kernel(model, x, rates) for n, rates in only.items()}
    probe = measured(model, x, y, directions=3)
    for n, rates in only.items():
        change = (brute_kernel(model, x, rates) - before[n]).norm() / before[n].norm()
        assert float(probe.history.layer_ntk_change.sel(layer=n)[1]) == pytest.approx(float(change))


def test_random_directions_estimate_the_same_without_bias():
    model, x, y = mlp(4, 16, 12), randn(24, 4), randn(24, 12)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    before = brute_kernel(model, x)
    found = []
    for seed in range(12):
        with torch.no_grad():
            for n, p in model.named_parameters():
                p.copy_(start[n])
        torch.manual_seed(1)
        probe = measured(model, x, y, seed=seed)
        found.append(float(probe.history.ntk_change[1]) ** 2)
    after = brute_kernel(model, x)
    exact = float((after - before).square().sum() / before.square().sum())
    error = np.std(found, ddof=1) / len(found) ** 0.5
    assert error < 0.1 * exact
    assert abs(np.mean(found) - exact) < 4 * error


@pytest.mark.parametrize("name", [name for name in cases() if name != "named"])
def test_awkward_networks(name):
    model, x = cases()[name]
    probe = Probe(model, (x, torch.zeros(1)), lambda f, _: (f - 1).square().mean())
    probe.measure(0)
    moved(model, 0.01)
    probe.measure(1)
    row = probe.history.isel(step=1)
    numbers = ["loss", "ntk_change", "linearisation_error", "target_alignment", "output_change"]
    assert all(float(row[number]) > 0 for number in numbers)
    if "layer_log_alignment" in row:
        shares = row.layer_log_alignment + row.layer_log_rescaling + row.layer_log_gain
        assert float(shares.sum() + row.input_log_change - row.log_output) == pytest.approx(
            0, abs=1e-6
        )
        assert (row.weight_movement.dropna("layer") > 0).all()


def test_several_outputs_leave_the_loss_open():
    model, x = cases()["named"]
    with pytest.raises(InputError, match="must return one floating-point tensor, got 2"):
        Probe(model, (x, torch.zeros(1)), lambda f, _: f.mean()).measure(0)


def test_shares_add_up_to_the_change_of_the_output():
    model, x, y = mlp(4, 6, 5, 3), randn(5, 4), randn(5, 3)
    start = model(x).detach().norm()
    row = measured(model, x, y).history.isel(step=1)
    shares = row.layer_log_alignment + row.layer_log_rescaling + row.layer_log_gain
    total = math.log(float(model(x).detach().norm() / start))
    assert float(shares.sum() + row.input_log_change) == pytest.approx(total, abs=1e-12)
    assert float(row.log_output) == pytest.approx(total, abs=1e-12)


def test_linearisation_error_against_torch_func():
    model, x, y = mlp(4, 6, 3), randn(5, 4), randn(5, 3)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    f_0 = model(x).detach()
    probe = measured(model, x, y)
    moves = {n: p.detach() - start[n] for n, p in model.named_parameters()}
    _, tangent = torch.func.jvp(
        lambda p: torch.func.functional_call(model, p, (x,)), (start,), (moves,)
    )
    exact = linearisation_error(model(x).detach(), f_0, tangent)
    assert float(probe.history.linearisation_error[1]) == pytest.approx(exact, rel=1e-10)


@pytest.mark.parametrize("directions", [2, 3, "all"])
def test_the_ansatz_is_that_of_the_one_shot_function(directions):
    """By rows (few samples), by covariances (many), with the same numbers as `lazyrich.nfa`."""
    for samples in (3, 40):
        model, x, y = mlp(4, 12, 9, 3), randn(samples, 4), randn(samples, 3)
        start = {n: p.detach().clone() for n, p in model.named_parameters()}
        probe = measured(model, x, y, directions=directions, samples=None, observables=["nfa"])
        table = lazyrich.nfa(model, x, start, directions=directions)
        row = probe.history.isel(step=1).sel(layer=["0", "2"])
        for name in ("nfa", "cnfa", "nfa_null", "cnfa_null", "centred_share"):
            np.testing.assert_allclose(row[name], table[name], rtol=1e-10)
        if samples == 40:
            np.testing.assert_allclose(row.nfa_stderr, table.nfa_stderr, rtol=0.6)
        assert "4" not in list(row.layer)


def test_other_observables_on_request():
    model, x, y = mlp(4, 6, 3), randn(5, 4), randn(5, 3)
    names = ["stable_rank", "feature_speed", "condensation"]
    probe = measured(model, x, y, loss="squared_error", observables=names)
    assert set(probe.history.data_vars) == set(names)
    row = probe.history.isel(step=1)
    assert float(row.stable_rank[0]) == pytest.approx(stable_rank(model[0].weight))
    gradients = torch.autograd.grad((model(x) - y).square().sum() / 5, list(model.parameters()))
    named = dict(zip(dict(model.named_parameters()), gradients, strict=True))
    z, z_dot = torch.func.jvp(
        lambda p: torch.func.functional_call(model, p, (x,)),
        ({n: p.detach() for n, p in model.named_parameters()},),
        ({n: -g for n, g in named.items()},),
    )
    assert float(row.feature_speed[-1]) == pytest.approx(float(z_dot.norm() / z.norm()))


def test_kernel_velocity_is_counted_from_the_last_other_step():
    model, x, y = mlp(4, 6, 3), randn(5, 4), randn(5, 3)
    probe, kernels = Probe(model, (x, y), observables=["ntk_velocity"], directions=3), []
    for step in (0, 0, 4, 6, 6):
        with torch.no_grad():
            model[0].weight.mul_(1.1)
        probe.measure(step)
        kernels.append(brute_kernel(model, x))
    found = probe.history.ntk_velocity
    assert math.isnan(found[0])
    pairs = [(kernels[1], kernels[2], 4), (kernels[2], kernels[4], 2)]
    for value, (a, b, elapsed) in zip(found[1:], pairs, strict=True):
        assert float(value) == pytest.approx(float((b - a).norm() / a.norm()) / elapsed)


def test_neighbouring_layers_where_shapes_allow():
    model, x, y = Residual().double(), randn(5, 2, 5, 5), randn(5, 3)
    Probe(model, (x, y), observables=["imbalance"]).measure(0)
    model, x, y = mlp(4, 6, 7, 3), randn(5, 4), randn(5, 3)
    rates = {"0": 0.5, "": 2.0}
    probe = Probe(model, (x, y), observables=["alignment", "imbalance"], lrs=rates)
    probe.measure(0)
    row = probe.history.isel(step=0)
    a, b, c = (model[i].weight.detach() for i in (0, 2, 4))
    zeta = [(v @ u).norm() / (v.norm() * u.norm()) for u, v in ((a, b), (b, c))]
    np.testing.assert_allclose(row.alignment, [*zeta, math.nan])
    off = [(0.5 * b.T @ b - 2 * a @ a.T).norm(), (2 * c.T @ c - 2 * b @ b.T).norm()]
    np.testing.assert_allclose(row.imbalance, [*off, math.nan])


def test_backward_feature_angle_by_its_identity():
    """In a chain `−⟨b, ż⟩ = Σ_{k≤l} ‖∇_k L‖²` (arXiv:2311.18718)."""
    model, x, y = mlp(4, 6, 7, 3), randn(5, 4), randn(5, 3)
    names = ["backward_feature_cosine", "feature_speed"]
    probe = Probe(model, (x, y), "squared_error", observables=names)
    probe.measure(0)
    row = probe.history.isel(step=0)
    z, h = [], x
    for module in model:
        h = module(h)
        if isinstance(module, nn.Linear):
            z.append(h)
    loss = (h - y).square().sum() / 5
    backward = torch.autograd.grad(loss, z, retain_graph=True)
    squares = [g.square().sum() for g in torch.autograd.grad(loss, list(model.parameters()))]
    for i, (one, b) in enumerate(zip(z, backward, strict=True)):
        expected = sum(squares[: 2 * i + 2]) / (b.norm() * one.norm() * float(row.feature_speed[i]))
        assert float(row.backward_feature_cosine[i]) == pytest.approx(float(expected.detach()))


def test_shares_of_the_kernel():
    model, x, y = mlp(4, 6, 3), randn(5, 4), randn(5, 3)
    whole, start = brute_kernel(model, x).norm(), copy.deepcopy(model)
    shares = measured(model, x, y, directions=3).history.layer_ntk_share
    assert (shares > 0).all()
    assert (shares <= 1).all()
    assert float(shares[0, 0]) == float(shares[1, 0])  # of the start
    only = lazyrich.ntk(start, x, lrs={"0": 1.0, "": 0.0})
    assert float(shares[0, 0]) == pytest.approx(float(only.norm() / whole))


def test_nothing_has_moved_at_the_reference():
    model, x, y = mlp(4, 6, 3), randn(5, 4), randn(5, 3)
    probe = Probe(model, (x, y))
    probe.measure(0)
    row = probe.history.isel(step=0)
    zero = ["ntk_change", "kernel_distance", "output_change", "log_output", "weight_movement"]
    assert all((row[name] == 0).all() for name in zero)
    assert float(row.ntk_trace_ratio) == 1
    assert row.cnfa.isnull().all()


def test_history_has_names_and_attributes_of_the_vocabulary():
    probe = measured(mlp(4, 6, 3), randn(5, 4), randn(5, 3))
    history = probe.history
    assert history.sizes == {"step": 2, "layer": 2}
    for name, variable in history.data_vars.items():
        known = vocabulary()[name]
        assert variable.attrs == (under("mse", known) if name == "loss" else known).attrs
    setting = json.loads(history.setting)
    assert setting["samples"] == 5
    assert setting["directions"] == "all outputs"
    assert 0 < history.overhead <= 1


def test_skipped_layers_are_listed_with_reasons():
    model = Residual().double()
    model.stem.weight.requires_grad_(False)
    probe = measured(model, randn(3, 2, 5, 5), randn(3, 3), observables=["weight_movement"])
    skipped = probe.history.skipped.splitlines()
    assert "stem: all its parameters are frozen" in skipped
    assert any(line.startswith("norm: a norm or an embedding") for line in skipped)
    assert list(probe.history.layer) == ["body", "head"]


def test_samples_are_spread_over_the_batch():
    model, x, y = mlp(4, 6, 1), randn(10, 4), randn(10, 1)
    probe = Probe(model, (x, y), samples=5)
    probe.measure(0)
    loss = (model(x[::2]).detach() - y[::2]).square().mean()
    assert float(probe.history.loss[0]) == pytest.approx(float(loss))


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_saved_and_loaded(tmp_path, suffix):
    probe = measured(mlp(4, 6, 3), randn(5, 4), randn(5, 3))
    path = tmp_path / f"history.{suffix}"
    probe.save(path)
    open_ = xr.load_dataset if suffix == "nc" else xr.open_zarr
    loaded = open_(path)
    xr.testing.assert_identical(loaded.drop_attrs(), probe.history.drop_attrs())
    assert loaded.attrs["setting"] == probe.history.attrs["setting"]


def test_a_folder_that_is_no_history_stays(tmp_path):
    (tmp_path / "h.zarr").mkdir()
    (tmp_path / "h.zarr" / "thesis.txt").write_text("years of work")
    probe = measured(mlp(4, 6, 3), randn(5, 4), randn(5, 3), observables=["loss"])
    with pytest.raises(InputError, match=r"is there and is no zarr. Choose another name"):
        probe.save(tmp_path / "h.zarr")
    assert (tmp_path / "h.zarr" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize(("suffix", "library"), [("nc", "netCDF4"), ("zarr", "zarr")])
def test_a_missing_library_is_named(tmp_path, monkeypatch, suffix, library):
    def fail(*_, **__):
        raise ImportError

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    monkeypatch.setattr(xr.Dataset, "to_zarr", fail)
    probe = measured(mlp(4, 6, 3), randn(5, 4), randn(5, 3), observables=["loss"])
    with pytest.raises(lazyrich.MissingExtraError, match=rf"needs {library}.*lazyrich\[store\]"):
        probe.save(tmp_path / f"h.{suffix}")


def test_forecast_is_kept():
    model, x, y = mlp(4, 6, 1), randn(10, 4), randn(10, 1)
    probe = Probe(model, (x, y), samples=5)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert probe.forecasted is None
    assert probe.forecast(optimizer=optimizer, steps=3) == lazyrich.forecast(
        model, (x, y), optimizer=optimizer, steps=3
    )
    assert probe.forecasted is not None


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m, x, y: Probe(m, [x, y, y]), "`batch` must be a pair"),
        (
            lambda m, x, y: Probe(m, (x, y), samples=0),
            '`samples` must be a whole number ≥ 1, "auto" or None, got 0',
        ),
        (lambda m, x, y: Probe(m, (x, y), observables=["ntk"]), "`observables` must be among"),
        (lambda m, x, y: Probe(m, (x[:0], y[:0])), "at least one sample"),
        (lambda m, x, y: Probe(m, (x, y)).history, "at least one measurement, got none"),
        (lambda m, x, y: Probe(m, (x, y)).verdict(), "at least one measurement, got none"),
        (
            lambda m, x, y: Probe(m, (x, y[:, :1])).measure(0),
            "targets must have the outputs' shape",
        ),
        (lambda m, x, y: Probe(m, (x * math.nan, y)), "must be finite"),
        (lambda m, x, y: Probe(nn.Tanh(), (x, y)).measure(0), "must have parameters"),
        (lambda m, x, y: measured(m, x, y).measure(0), "`step` must not be before 1, got 0"),
        (lambda m, x, y: measured(m, x, y).save("no/h.nc"), "the folder 'no' does not exist"),
        (
            lambda m, x, y: measured(m, x, y).save("h.csv"),
            "must end in .nc, .zarr, .json, got 'h.csv'",
        ),
    ],
)
def test_refusals(act, message):
    with pytest.raises(InputError, match=message):
        act(mlp(4, 6, 3), randn(5, 4), randn(5, 3))


def test_a_model_that_is_nan_from_the_start_is_refused():
    model = mlp(4, 6, 3)
    with torch.no_grad():
        model[0].bias[0] = math.nan
    with pytest.raises(lazyrich.NotFiniteError, match=r"`0\.bias` must be finite"):
        Probe(model, (randn(5, 4), randn(5, 3))).measure(0)


def test_the_outputs_way_leads_to_the_targets_or_out_of_a_saturated_softmax():
    x, y = torch.eye(3).double(), randn(3, 2)

    def fit(model):
        with torch.no_grad():
            model.weight.copy_((y - model.bias).mT)

    history = measured(nn.Linear(3, 2).double(), x, y, fit).history
    assert history.output_change.values == pytest.approx([0, 1])

    sure = nn.Linear(1, 2).double()  # of class 0 by 100, and class 1 is right
    with torch.no_grad():
        sure.weight.zero_()
        sure.bias.copy_(torch.tensor([100.0, 0.0]))

    def halfway(model):
        with torch.no_grad():
            model.bias.copy_(torch.tensor([50.0, 50.0]))

    labels = torch.ones(2, dtype=torch.long)
    history = measured(
        sure, torch.ones(2, 1).double(), labels, halfway, loss="cross_entropy"
    ).history
    assert history.output_change.values == pytest.approx([0, 0.5])


def test_both_estimates_of_the_gradients_average_their_directions():
    model, x, y = mlp(4, 6, 5), randn(3, 4), randn(3, 5)
    plan = Plan(model=model, inputs=x, directions=4, seed=0, lrs=None, memory=2**20, kernel=True)
    look = Look(plan=plan, capture=capture(model, x), fixed_loss=output_loss("mse", y, y))
    layer, readout = look.layers
    passes = look.backward_passes()
    g = passes.gradients[layer.name][0]  # (samples, directions, neurons)
    for found, part in zip(look.kept.sketches(layer.name), (g[:, :2], g[:, 2:]), strict=True):
        torch.testing.assert_close(found.rows.mT @ found.rows, part.mT @ part / 2)
    squares = g.square().sum(2)
    torch.testing.assert_close(look.kept.squares[layer.name], squares)
    (at_outputs,) = passes.gradients[readout.name]  # no copy of the directions
    assert at_outputs.untyped_storage().data_ptr() == passes.directions.untyped_storage().data_ptr()
    torch.testing.assert_close(at_outputs, passes.directions.transpose(0, 1))
    assert not any(isinstance(x, type(passes)) for x in vars(look).values())  # freed when read
