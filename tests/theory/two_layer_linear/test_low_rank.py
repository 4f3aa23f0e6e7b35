"""Few neurons: the Gram matrix keeps its rank, so that alignment and kernel keep their digits."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
)

LINE = LineData(mean_aa=1.0, mean_ay=1.0, mean_yy=1.0)
RULES = (
    {},
    {"momentum": 0.9},
    {"propagator": True},
    {"weight_decay_u": 0.1, "weight_decay_w": 0.02},
    {"momentum": 0.5, "weight_decay_w": 0.3},
)


def stepped(u, w, xx, yx, *, scale, lr_u, lr_w, steps, mu=0.0, decay_u=0.0, decay_w=0.0):
    """The weights themselves, step by step, with 60 digits."""
    with mp.workdps(60):
        u, w, xx, yx = (mp.matrix(np.asarray(a, dtype=float).tolist()) for a in (u, w, xx, yx))
        g, eta_u, eta_w = map(mp.mpf, (scale, lr_u, lr_w))
        vu, vw = 0 * u, 0 * w
        for _ in range(steps):
            residual = g * u * w * xx - yx
            of_u, of_w = 2 * g * residual * w.T, 2 * g * u.T * residual
            vu = mp.mpf(mu) * vu + of_u + mp.mpf(decay_u) * u
            vw = mp.mpf(mu) * vw + of_w + mp.mpf(decay_w) * w
            u, w = u - eta_u * vu, w - eta_w * vw
        return u, w


def size(matrix):
    with mp.workdps(60):
        return mp.sqrt(sum(x**2 for x in matrix))


def test_a_frozen_layer_keeps_the_layers_parallel():
    """u stays, w shrinks by a factor 5 a step: `‖w‖² = ¼·5⁻⁸⁰`."""
    network = LinearNetwork(output_scale=1.0, lr_u=0.0, lr_w=0.1)
    data = LineData(mean_aa=1.0, mean_ay=0.0, mean_yy=0.0)
    found = descent(LineState(uu=4.0, uw=1.0, ww=0.25), network, data, steps=40)
    np.testing.assert_allclose(found.ww, 0.25 * 0.2 ** (2 * found.step.values), rtol=1e-12)
    np.testing.assert_allclose(found.alignment, 1.0, rtol=1e-14)
    np.testing.assert_allclose(found.ntk_trace, 0.4, rtol=1e-14)
    assert (found.ntk_change <= 1e-14).all()


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_one_neuron_is_aligned(rule):
    """`U W` of one neuron has rank one: `‖UW‖ = ‖U‖‖W‖` at every step."""
    rng = np.random.default_rng(0)
    u, w = rng.normal(size=(2, 1)), rng.normal(size=(1, 3))
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    network = LinearNetwork(output_scale=1.0, lr_u=0.02, lr_w=0.02)
    data = MomentData.from_samples(x, y)
    for state in (
        GramState.from_weights(u, w),
        GramState(matrix=GramState.from_weights(u, w).matrix, outputs=2),
    ):
        found = descent(state, network, data, steps=300, every=100, **rule)
        np.testing.assert_allclose(found.alignment, 1.0, rtol=1e-12)
        for step in found.nfm.values:
            assert np.linalg.eigvalsh(step).min() >= -1e-15 * np.linalg.norm(step)


@pytest.mark.parametrize("neurons", [1, 2, 3])
@pytest.mark.parametrize("rule", [{}, {"mu": 0.9}, {"mu": 0.5, "decay_w": 0.3}], ids=str)
def test_a_layer_that_dies_keeps_its_digits(rule, neurons):
    """Target zero: everything decays by many orders, against explicit weights with 60 digits."""
    rng = np.random.default_rng(neurons)
    u, w = rng.normal(size=(2, neurons)), rng.normal(size=(neurons, 2))
    xx, yx = np.array([[1.0, 0.3], [0.3, 0.5]]), np.zeros((2, 2))
    names = {"mu": "momentum", "decay_w": "weight_decay_w"}
    found = descent(
        GramState.from_weights(u, w),
        LinearNetwork(output_scale=0.8, lr_u=0.0, lr_w=0.1),
        MomentData(sigma_xx=xx, sigma_yx=yx, mean_yy=0.0),
        steps=200,
        every=200,
        **{names[key]: value for key, value in rule.items()},
    ).isel(step=-1)
    end_u, end_w = stepped(u, w, xx, yx, scale=0.8, lr_u=0.0, lr_w=0.1, steps=200, **rule)
    assert found.ww.item() == pytest.approx(float(size(end_w) ** 2), rel=1e-9)
    alignment = size(end_u * end_w) / (size(end_u) * size(end_w))
    assert found.alignment.item() == pytest.approx(float(alignment), rel=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_without_learning_nothing_moves_at_all(rule):
    """Learning rate zero: the numbers of the start, bit for bit."""
    still = LinearNetwork(output_scale=1.0, lr_u=0.0, lr_w=0.0)
    state = LineState.sample(7, init_std_u=1.0, init_std_w=1.0, draws=3, seed=0)
    general = GramState.sample(
        7, outputs=2, inputs=3, init_std_u=1.0, init_std_w=1.0, draws=3, seed=0
    )
    data = MomentData(sigma_xx=np.diag([1.0, 2.0, 3.0]), sigma_yx=np.ones((2, 3)), mean_yy=9.0)
    for found in (
        descent(state, still, LINE, steps=5, **rule),
        descent(general, still, data, steps=5, **rule),
        flow(state, still, LINE, [0.0, 1.0]).rename(time="step"),
        flow(general, still, data, [0.0, 1.0]).rename(time="step"),
    ):
        assert (found.ntk_change == 0).all()
        for name in ("uu", "uw", "ww", "loss", "alignment"):
            assert (found[name] == found[name].isel(step=0)).all(), name


@pytest.mark.parametrize("rule", [{"momentum": 0.9}, {"propagator": True}], ids=str)
@pytest.mark.parametrize("rates", [(0.1, 0.2), (0.0, 0.2)])
def test_draws_and_axes_run_side_by_side(rates, rule):
    """Each draw at each width is the run of it alone."""
    state = LineState.sample([3, 100], init_std_u=0.5, init_std_w=0.5, draws=3, seed=0)
    network = LinearNetwork(output_scale=[0.5, 1.0], lr_u=rates[0], lr_w=rates[1])
    found = descent(state, network, LINE, steps=20, every=10, **rule)
    assert dict(found.loss.sizes) == {"draw": 3, "width": 2, "output_scale": 2, "step": 3}
    cell = {"draw": 1, "width": 1}
    alone = LineState(
        **{name: getattr(state, name).isel(cell) for name in ("uu", "uw", "ww", "sine_squared")}
    )
    network = LinearNetwork(output_scale=1.0, lr_u=rates[0], lr_w=rates[1])
    alone = descent(alone, network, LINE, steps=20, every=10, **rule)
    for name in ("loss", "alignment", "uu", "ntk_change"):
        np.testing.assert_array_equal(found[name].isel(cell | {"output_scale": 1}), alone[name])
    matrix = state.gram()
    assert matrix.matrix.dims == ("draw", "width", "row", "col")
    np.testing.assert_array_equal(matrix.matrix.isel(row=0, col=1), state.uw)


@pytest.mark.parametrize("seed", range(8))
def test_runs_diverge_at_the_same_step_however_they_are_stepped(seed):
    rng = np.random.default_rng(seed)
    uu, ww, lr_u, lr_w = 10 ** rng.uniform(-2, 2, 4)
    scale = 10 ** rng.uniform(-3, 3)
    state = LineState(uu=uu, uw=0.3 * np.sqrt(uu * ww), ww=ww)
    network = LinearNetwork(output_scale=scale, lr_u=lr_u, lr_w=lr_w)
    runs = [
        descent(state, network, LINE, steps=60, propagator=propagator)
        for propagator in (False, True)
    ]
    moments = MomentData(sigma_xx=np.eye(1), sigma_yx=np.eye(1), mean_yy=1.0)
    runs.append(descent(state.gram(), network, moments, steps=60))
    assert len({run.status.item() for run in runs}) == 1
    for run in runs[1:]:
        for name in ("uu", "ww", "loss", "ntk_trace", "end_to_end_map"):
            np.testing.assert_array_equal(
                np.isinf(run[name].values.squeeze()), np.isinf(runs[0][name].values), name
            )


@pytest.mark.parametrize("size", [1e150, 1e250])
def test_large_weights_with_a_small_output_have_not_diverged(size):
    """What counts is whether the loss and the norms are numbers, in the units of the user."""
    state = LineState(uu=size, uw=0.0, ww=size)
    network = LinearNetwork(output_scale=1 / size, lr_u=0.1 * size, lr_w=0.1 * size)
    for propagator in (False, True):
        found = descent(state, network, LINE, steps=50, propagator=propagator)
        assert found.status.item() == "ok"
        assert found.end_to_end_map[-1] == pytest.approx(1.0, rel=1e-3)


def test_a_run_that_diverges_has_no_missing_numbers():
    """Also where entries of the moments are zero."""
    state = GramState.from_weights(np.eye(2), np.diag([1.0, 0.3]))
    data = MomentData(sigma_xx=np.diag([1.0, 2.0]), sigma_yx=np.eye(2), mean_yy=2.0)
    network = LinearNetwork(output_scale=1.0, lr_u=3.0, lr_w=3.0)
    found = descent(state, network, data, steps=50, every=25)
    assert found.status.item().startswith("diverged at step")
    assert not [name for name in found if found[name].isnull().any()]
    assert np.isinf(found.loss[-1])
    assert np.isinf(found.nfm[-1]).all()


def test_a_factor_must_be_one():
    matrix = np.array([[1.0, 0.5], [0.5, 1.0]])
    with pytest.raises(
        InputError, match=r"`factor` must give ΘΘᵀ = `matrix`, is off by 0.5. Omit it"
    ):
        GramState(matrix=matrix, outputs=1, factor=xr.DataArray(np.eye(2), dims=("row", "neuron")))
    with pytest.raises(InputError, match=r"must have the last dims \('row', 'neuron'\)"):
        GramState(matrix=matrix, outputs=1, factor=xr.DataArray(np.eye(2), dims=("a", "b")))
    with pytest.raises(InputError, match=r"`outputs` must be a whole number ≥ 1, got 1.5"):
        GramState(matrix=np.eye(3), outputs=1.5)
    with pytest.raises(InputError, match=r"`sine_squared` must be 1 - .*got 0.5 for ‖u‖² = 1"):
        LineState(uu=1.0, uw=0.0, ww=1.0, sine_squared=0.5)
