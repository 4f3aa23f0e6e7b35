"""The chain with weight decay against vectors, many starts of a minimiser, and gradient descent."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.optimize import minimize

from lazyrich import InputError
from lazyrich.theory.two_layer_linear import MomentData
from lazyrich.theory.weight_decay_chain import MODEL, chain_minima, chain_modes


@pytest.mark.parametrize(
    ("A", "s", "N", "gamma", "weight", "critical", "spinodal"),
    [
        (
            *(1.0, 1.0, 3, 0.3),
            *(0.86821787498403248468, 0.39685026299204986869, 0.47247039371057743679),
        ),
        (1.3, 0.9, 3, 0.2, 0.79277164076824325864, 0.31596251902422543213, None),
        (1.0, 1.0, 2, 0.3, 0.83666002653407554798, 1.0, 1.0),
    ],
)
def test_vectors(A, s, N, gamma, weight, critical, spinodal):
    """Of γ Σ w², which is half of PyTorch's λ."""
    found = chain_minima(A, s, factors=N, weight_decay=2 * gamma)
    assert found.chain_weight.item() == pytest.approx(weight, rel=1e-12)
    assert found.critical_decay.item() / 2 == pytest.approx(critical, rel=1e-12)
    if spinodal:
        assert found.spinodal_decay.item() / 2 == pytest.approx(spinodal, rel=1e-12)


@pytest.mark.parametrize("N", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("share", [0.05, 0.7, 0.97, 1.03])
def test_the_best_of_many_starts(N, share):
    """A minimiser in all weights, from many starts; λ around the critical one."""
    A, s = 1.3, -0.8
    scale = chain_minima(A, s, factors=N, weight_decay=0.0).critical_decay.item()
    decay = share * (scale if np.isfinite(scale) else 1.0)

    def objective(w):
        product = np.prod(w)
        rest = np.array([np.prod(np.delete(w, i)) for i in range(N)])
        return (
            A * product**2 - 2 * s * product + decay / 2 * w @ w,
            (2 * A * product - 2 * s) * rest + decay * w,
        )

    rng = np.random.default_rng(N)
    runs = [
        minimize(objective, rng.normal(size=N) * 1.5, jac=True, method="BFGS", tol=1e-9)
        for _ in range(12)
    ]
    best = min(runs, key=lambda run: run.fun)
    found = chain_minima(A, s, factors=N, weight_decay=decay)
    assert np.prod(best.x) == pytest.approx(found.end_to_end_map.item(), abs=1e-6)
    assert best.fun == pytest.approx(-max(found.learned_gain.item(), 0.0), abs=1e-10)


def test_both_sides_of_a_first_order_transition():
    """Below λ_c learned, up to λ_sp metastable, beyond it collapsed; two layers are continuous."""
    three = chain_minima(1.0, 1.0, factors=3, weight_decay=[0.7, 0.85, 0.95])
    assert three.collapse.values.tolist() == ["learned", "metastable", "collapsed"]
    assert three.end_to_end_map.values[1] == 0.0 < three.learned_map.values[1]
    edge = chain_minima(1.0, 1.0, factors=3, weight_decay=three.critical_decay.values[0])
    assert abs(edge.learned_gain.item()) < 1e-15
    assert edge.learned_map.item() == pytest.approx(0.5, rel=1e-12)  # it jumps from here to zero
    last = chain_minima(1.0, 1.0, factors=3, weight_decay=three.spinodal_decay.values[0])
    assert last.learned_map.item() == pytest.approx(0.25, abs=1e-7)
    two = chain_minima(1.0, 1.0, factors=2, weight_decay=[1.999, 2.0, 2.001])
    assert two.collapse.values.tolist() == ["learned", "collapsed", "collapsed"]
    assert two.end_to_end_map.values[0] == pytest.approx(0.0005, rel=1e-9)


def test_gradient_descent_is_held_by_the_branch_it_is_on():
    """From large weights it stays metastable, from small ones it never learns, for N = 3."""
    found = chain_minima(1.0, 1.0, factors=3, weight_decay=0.85)

    def end(w):
        for _ in range(4000):
            product = np.prod(w)
            rest = product / w
            w = w - 0.05 * ((2 * product - 2) * rest + 0.85 * w)
        return w

    large = end(np.array([1.2, -0.9, -1.1]))
    np.testing.assert_allclose(np.abs(large), found.chain_weight.item(), rtol=1e-9)
    assert np.prod(large) == pytest.approx(found.learned_map.item(), rel=1e-9)
    small = end(np.array([0.3, 0.3, 0.3]))
    assert np.abs(small).max() < 1e-9


@pytest.mark.parametrize("N", [3, 4, 50, 10_000])
@pytest.mark.parametrize("share", [1e-30, 1e-6, 0.3, 0.999999])
@pytest.mark.parametrize("scale", [1e-100, 1.0, 1e90])
def test_many_digits(N, share, scale):
    """The larger root of A b^{2N−2} − |s| b^{N−2} + λ/2, also in extreme units."""
    A, s = 1.7, 0.6 * scale
    last = chain_minima(A, s, factors=N, weight_decay=0.0).spinodal_decay.item()
    found = chain_minima(A, s, factors=N, weight_decay=share * last)
    with mp.workdps(60):
        p, best = 1 - mp.mpf(2) / N, mp.mpf(s) / mp.mpf(A)
        kappa = mp.mpf(share * last) / (2 * mp.mpf(s) * best**p)
        low, high = p / (1 + p), mp.mpf(1)
        for _ in range(150):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if middle ** (1 + p) - middle**p + kappa < 0 else (low, middle)
            )
        exact = float(best * high)
    loose = 1e-9 if share > 0.9 else 1e-12  # the two roots meet at the last λ
    assert found.learned_map.item() == pytest.approx(exact, rel=loose)


@pytest.mark.parametrize("N", [2, 3])
def test_matrices_have_a_chain_for_each_mode(N):
    rng = np.random.default_rng(0)
    best, c, decay = rng.normal(size=(2, 3)), 1.4, 0.5

    def layers(flat):
        shapes = [(3, 3)] * (N - 1) + [(2, 3)]
        parts = np.split(flat, np.cumsum([a * b for a, b in shapes])[:-1])
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def objective(flat):
        product = np.eye(3)
        for layer in layers(flat):
            product = layer @ product
        return c * np.sum((product - best) ** 2) + decay / 2 * flat @ flat

    size = 9 * (N - 1) + 6
    runs = [minimize(objective, rng.normal(size=size), tol=1e-10) for _ in range(4)]
    lowest = min(run.fun for run in runs)
    data = MomentData(sigma_xx=c * np.eye(3), sigma_yx=c * best, mean_yy=c * np.sum(best**2))
    found = chain_modes(data, factors=N, weight_decay=decay)
    gained = found.learned_gain.clip(min=0).sum().item()
    assert lowest == pytest.approx(c * np.sum(best**2) - gained, rel=1e-7)
    singular = np.linalg.svd(found.end_to_end_map, compute_uv=False)
    np.testing.assert_allclose(singular, found.mode_size, atol=1e-12)


def test_degenerate_and_extreme():
    nothing = chain_minima(1.0, 0.0, factors=[1, 2, 3], weight_decay=[0.0, 1.0])
    assert (nothing.collapse == "collapsed").all()
    assert (nothing.end_to_end_map == 0).all()
    assert (nothing.critical_decay == 0).all()
    free = chain_minima(2.0, -3.0, factors=[1, 2, 3, 9], weight_decay=0.0)
    np.testing.assert_allclose(free.end_to_end_map, -1.5, rtol=1e-15)
    one = chain_minima(1.3, 0.9, factors=1, weight_decay=[0.4, 1e9])
    np.testing.assert_allclose(one.end_to_end_map, 0.9 / (1.3 + np.array([0.2, 5e8])), rtol=1e-14)
    assert np.isinf(one.critical_decay).all()
    wide = chain_minima(1.0, [1e-300, 1e150], factors=[2, 3, 1000], weight_decay=1e-3)
    assert np.isfinite(wide.end_to_end_map).all()
    assert wide.collapse.sel(mean_ay=1e-300).values.tolist() == ["collapsed"] * 3


def test_axes_are_problems_alone():
    s = xr.DataArray([0.5, -2.0], dims="case")
    grid = chain_minima([1.0, 1.5], s, factors=[1, 2, 3], weight_decay=[0.1, 0.9])
    alone = chain_minima(1.5, -2.0, factors=3, weight_decay=0.9)
    cell = grid.isel(case=1).sel(mean_aa=1.5, factors=3, weight_decay=0.9)
    for name in alone.data_vars:
        assert cell[name].item() == alone[name].item(), name


def test_as_it_is_typed():
    line = MODEL.commands["solve"](factors=3, weight_decay=0.6)
    assert line.chain_weight.item() == pytest.approx(0.86821787498403248468, rel=1e-12)
    matrix = MODEL.commands["solve"](factors=3, weight_decay=0.6, target=[[1.0, 0.0], [0.0, 0.1]])
    assert matrix.mode_size.values[0] == pytest.approx(line.learned_map.item(), rel=1e-12)
    assert matrix.collapse.values.tolist() == ["learned", "collapsed"]
    judged = MODEL.commands["phase"](factors=[2, 3], weight_decay=[0.5, 0.9])
    assert judged.collapse.sel(factors=3).values.tolist() == ["learned", "metastable"]


def test_what_is_refused():
    data = MomentData(sigma_xx=np.diag([1.0, 1.2]), sigma_yx=np.eye(2), mean_yy=5.0)
    with pytest.raises(InputError, match=r"must be whitened, .* off by 0\.091 of their mean"):
        chain_modes(data, factors=3, weight_decay=0.1)
    with pytest.raises(InputError, match=r"`factors` must be whole numbers, got 2\.5"):
        chain_minima(1.0, 1.0, factors=[2, 2.5], weight_decay=0.1)
    with pytest.raises(InputError, match="`factors` must be between 1 and"):
        chain_minima(1.0, 1.0, factors=0, weight_decay=0.1)
    with pytest.raises(InputError, match="`mean_aa` must be > 0: without inputs"):
        chain_minima(0.0, 0.0, factors=2, weight_decay=0.1)
    with pytest.raises(InputError, match="`weight_decay` must be finite and ≥ 0"):
        chain_minima(1.0, 1.0, factors=2, weight_decay=-0.1)
    with pytest.raises(InputError, match=r"got learned_map\. Rename it"):
        chain_minima(xr.DataArray([1.0], dims="learned_map"), 1.0, factors=2, weight_decay=0.1)
