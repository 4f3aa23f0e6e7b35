"""The end of diagonal networks: vectors, integrated weights, mpmath, minima, limits, refusals."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

from lazyrich import ConvergenceError, InputError
from lazyrich.theory.diagonal_linear import diagonal_limit
from lazyrich.theory.diagonal_linear._family import Family

X = np.array([[1.0, 2.0, -0.5, 0.3], [0.3, -1.0, 1.0, 0.8]])
Y = np.array([1.0, 0.5])


def fitted(factors, alpha, x=X, y=Y):
    return diagonal_limit(x, y, factors=factors, init_scale=alpha)


@pytest.mark.parametrize(
    ("factors", "alpha", "expected"),
    [
        (2, 0.01, [0.0070446979446351558958, 0.49647765102768242205]),
        (2, 1.0, [0.19921137741580682092, 0.40039431129209658954]),
        (4, 0.5, [0.098593707698242166895, 0.45070314615087891655]),
    ],
)
def test_vectors(factors, alpha, expected):
    found = fitted(factors, alpha, [[1.0, 2.0]], [1.0])
    np.testing.assert_allclose(found.end_to_end_map, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("z", "value"), [(1.0, 0.24514384755981375109), (1e-8, 2.4999999999999999948e-17)]
)
def test_vectors_of_the_potential(z, value):
    assert fitted(2, 1.0, [[1.0]], [z]).bias_potential.item() == pytest.approx(value, rel=1e-13)


def test_vectors_of_the_map():
    one = Family(factors=3.0, log_size=np.zeros(1)).coefficients(np.array([0.5]))
    assert one.item() == pytest.approx(7.7037037037037037037, rel=1e-14)
    other = Family(factors=4.0, log_size=np.zeros(1)).coefficients(np.array([0.99]))
    assert other.item() == pytest.approx(9999.747481124214035, rel=1e-13)


def weights_at_the_end(factors, alpha, time, x=X, y=Y):
    """`u` and `v` under the flow of ‖Xβ − y‖², integrated."""
    m = x.shape[1]

    def velocity(_, w):
        u, v = w[:m], w[m:]
        pull = 2 * x.T @ (x @ (u**factors - v**factors) - y)
        return factors * np.concatenate([-pull * u ** (factors - 1), pull * v ** (factors - 1)])

    start = np.concatenate([np.broadcast_to(alpha, m)] * 2).astype(float)
    found = solve_ivp(velocity, (0, time), start, method="DOP853", rtol=1e-12, atol=1e-14)
    return found.y[:m, -1], found.y[m:, -1]


@pytest.mark.parametrize(
    ("factors", "alpha", "time"),
    [
        (2, 0.05, 30.0),
        (2, 1.0, 30.0),
        (2, 4.0, 3.0),
        (2.5, 0.4, 30.0),
        (3, 0.3, 30.0),
        (3, 1.5, 5.0),
        (4, 0.5, 40.0),
        (6, 0.8, 40.0),
        (2, [0.1, 0.5, 1.0, 0.2], 30.0),
        (3, [0.5, 0.3, 0.8, 0.6], 30.0),
    ],
)
def test_it_is_where_integrated_weights_end(factors, alpha, time):
    """Coefficients, and the change and the distance of the kernel by its definition."""
    alpha = np.array(alpha)
    u, v = weights_at_the_end(factors, alpha, time)
    scale = xr.DataArray(alpha, dims="m") if alpha.ndim else float(alpha)
    found = fitted(factors, scale)
    np.testing.assert_allclose(found.end_to_end_map, u**factors - v**factors, rtol=0, atol=2e-9)

    def kernel(u, v):
        return (X * factors**2 * (u ** (2 * factors - 2) + v ** (2 * factors - 2))) @ X.T

    first, last = kernel(*[alpha * np.ones(4)] * 2), kernel(u, v)
    change = np.linalg.norm(last - first) / np.linalg.norm(first)
    assert found.ntk_change.item() == pytest.approx(change, rel=1e-7)
    cosine = np.sum(first * last) / np.linalg.norm(first) / np.linalg.norm(last)
    assert found.kernel_distance.item() == pytest.approx(1 - cosine, rel=1e-6, abs=1e-12)


def by_bisection(factors, alpha, weights):
    """`Σ x β = 1` in one number ν, with 60 digits."""
    with mp.workdps(60 + int(factors * abs(mp.log10(mp.mpf(alpha))))):
        factors, alpha = mp.mpf(factors), mp.mpf(alpha)
        x = [mp.mpf(w) for w in weights]

        def beta(z):
            if factors == 2:
                return 2 * alpha**2 * mp.sinh(z)
            p = factors / (factors - 2)
            return alpha**factors * ((1 - z) ** -p - (1 + z) ** -p)

        top = max(map(abs, x))
        low, high = mp.mpf(0), mp.mpf(300) if factors == 2 else 1 / top
        for _ in range(4 * mp.mp.dps):
            middle = (low + high) / 2
            below = sum(w * beta(w * middle) for w in x) < 1
            low, high = (middle, high) if below else (low, middle)
        return [float(beta(w * low)) for w in x]


@pytest.mark.parametrize("factors", [2, 3, 4, 10])
@pytest.mark.parametrize("alpha", [3.0, 0.3, 1e-2, 1e-4, 1e-8, 1e-30])
def test_one_sample_with_many_digits(factors, alpha):
    weights = [1.0, 0.9, -0.4]
    exact = by_bisection(factors, alpha, weights)
    found = fitted(factors, alpha, [weights], [1.0]).end_to_end_map.values
    np.testing.assert_allclose(found, exact, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("factors", [2, 3, 5])
@pytest.mark.parametrize("alpha", [0.3, 1.0, 5.0])
def test_it_has_the_smallest_potential_of_all_fits(factors, alpha):
    """To second order in every direction that keeps the fit: `∇Q` lies in the rows of X."""

    def potential(beta):
        return sum(
            fitted(factors, alpha, [[1.0]], [b]).bias_potential.item() if b else 0.0 for b in beta
        )

    found = fitted(factors, alpha)
    best = found.end_to_end_map.values
    assert found.bias_potential.item() == pytest.approx(potential(best), rel=1e-9)
    for direction in np.linalg.svd(X)[2][2:]:
        near = [potential(best + h * direction) for h in (-1e-5, 1e-5)]
        assert near[0] - 2 * potential(best) + near[1] > 0
        assert abs(near[1] - near[0]) < 1e-3 * (near[0] + near[1] - 2 * potential(best))


def test_large_starts_have_the_least_squares_and_small_ones_the_least_sum():
    random = np.random.default_rng(0)
    x = random.standard_normal((8, 20))
    y = x @ np.concatenate([random.standard_normal(4), np.zeros(16)]) + 0.1
    least = np.linalg.lstsq(x, y, rcond=None)[0]
    sparse = linprog(np.ones(40), A_eq=np.hstack([x, -x]), b_eq=y)
    sparse = sparse.x[:20] - sparse.x[20:]
    for factors in (2, 3, 4, 10):
        lazy, rich = (fitted(factors, a, x, y) for a in (1e3, 1e-30))
        np.testing.assert_allclose(lazy.end_to_end_map, least, atol=1e-10)
        atol = 0.05 if factors == 2 else 1e-10  # |β| ln|β| is slow
        np.testing.assert_allclose(rich.end_to_end_map, sparse, atol=atol)
        assert (lazy.regime.item(), rich.regime.item()) == ("lazy", "rich")
        assert lazy.loss.item() < 1e-24 > rich.loss.item()
    excess = [fitted(2, a, x, y).l1_norm.item() - np.abs(sparse).sum() for a in (1, 1e-4, 1e-16)]
    assert excess[0] > excess[1] > excess[2] > 0


def test_units_of_targets_and_inputs():
    """`β^{1/D}` is the unit of a start; inputs have units of their own."""
    plain = fitted(3, 0.4)
    for size in (1e-100, 1e100):
        scaled = fitted(3, 0.4 * size ** (1 / 3), X, size * Y)
        np.testing.assert_allclose(scaled.end_to_end_map / size, plain.end_to_end_map, rtol=1e-11)
        assert scaled.ntk_change.item() == pytest.approx(plain.ntk_change.item(), rel=1e-11)
    other = fitted(3, 0.4 * 10 ** (1 / 3), X / 10, Y)
    np.testing.assert_allclose(other.end_to_end_map / 10, plain.end_to_end_map, rtol=1e-11)


def test_extreme_starts_and_depths():
    least = np.linalg.lstsq(X, Y, rcond=None)[0]
    for factors, alpha in ((50, 1e30), (2, 1e300), (1000, 2.0)):
        found = fitted(factors, alpha)
        np.testing.assert_allclose(found.end_to_end_map, least, rtol=1e-12)
        assert found.ntk_change.item() < 1e-200
    assert fitted(2, 1e-150).regime.item() == "rich"
    assert np.isinf(fitted(50, 1e-30).ntk_change.item())


def test_signs_and_order_do_not_matter():
    plain = fitted(3, 0.2).end_to_end_map.values
    np.testing.assert_allclose(fitted(3, 0.2, X, -Y).end_to_end_map, -plain, rtol=1e-12)
    turned = fitted(3, 0.2, X[::-1, ::-1], Y[::-1]).end_to_end_map.values
    np.testing.assert_allclose(turned[::-1], plain, rtol=1e-11)


def test_samples_that_say_the_same_count_once():
    found = fitted(3, 0.2, np.vstack([X, X[0] + X[1]]), np.append(Y, Y.sum()))
    np.testing.assert_allclose(found.end_to_end_map, fitted(3, 0.2).end_to_end_map, rtol=1e-11)


def test_nothing_to_learn():
    found = fitted(3, 0.2, X, [0.0, 0.0])
    assert not found.end_to_end_map.any()
    assert (found.ntk_change.item(), found.regime.item()) == (0.0, "lazy")


def test_axes_are_the_cells_alone():
    grid = fitted([2, 3], [0.1, 1.0])
    assert dict(grid.l1_norm.sizes) == {"factors": 2, "init_scale": 2}
    for factors in (2, 3):
        for alpha in (0.1, 1.0):
            cell, alone = grid.sel(factors=factors, init_scale=alpha), fitted(factors, alpha)
            for name in alone.data_vars:
                np.testing.assert_array_equal(cell[name], alone[name])
            assert cell.regime.item() == alone.regime.item()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"factors": 1}, "`factors` must be finite and ≥ 2, got 1"),
        ({"init_scale": 0.0}, "`init_scale` must be > 0: at 0 the network stays what it is"),
        ({"init_scale": -1.0}, "`init_scale` must be finite and ≥ 0"),
        ({"init_scale": xr.DataArray([1.0, 2.0], dims="m")}, "must have 4 entries along m, got 2"),
        ({"x": [1.0, 2.0]}, r"`x` must have shape \(n, m\) and `y` \(n,\), got \(2,\)"),
        ({"y": [1.0]}, r"`x` must have shape"),
        ({"y": [1.0, np.inf]}, "`y` must be finite"),
        ({"init_scale": xr.DataArray([1.0], dims="loss")}, "an axis must not have the name of"),
        (
            {"x": [[1.0], [1.0]], "y": [1.0, 1.1]},
            "the 2 inputs have rank 1, and the best fit leaves 0.048 of the targets' norm",
        ),
    ],
)
def test_refusals(change, said):
    with pytest.raises(InputError, match=said):
        diagonal_limit(**{"x": X, "y": Y, "factors": 2, "init_scale": 1.0} | change)


def test_a_tie_that_floats_cannot_decide_is_said():
    """At small starts and above 2 factors, two coefficients for one target."""
    np.testing.assert_allclose(fitted(2, 1e-30, [[1, 1]], [1.0]).end_to_end_map, 0.5, rtol=1e-12)
    with pytest.raises(ConvergenceError, match="2 coefficients share 1 targets, and what decides"):
        fitted(3, 1e-30, [[1, 1]], [1.0])
