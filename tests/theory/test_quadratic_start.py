"""The closed form of the quadratic network against its limits and against drawn networks."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr

from lazyrich import InputError
from lazyrich.theory.quadratic_start import quadratic_network_prediction

GAUSSIAN = (1.0, 3.0, 15.0, 105.0)


def cosine(a, b):
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def alpha_data(labels, decay, *, d=256, n=512, seed=2):
    """Gaussian inputs with covariance eigenvalues (1 + i)^−α, and three kinds of labels."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, d))
    y = {
        "random": rng.choice([-1.0, 1.0], n),
        "quadratic": z[:, 0] * z[:, 1] + z[:, 1] * z[:, 2],
        "linear": z[:, 0],
    }[labels]
    return z * (1.0 + np.arange(d)) ** (-decay / 2), y


def simulated(x, y, width, readout, draws):
    """ρ(ẆᵀẆ, ẆᵀKẆ) of drawn networks, from explicit gradients of every sample and neuron."""
    n, d = x.shape
    found = []
    for seed in range(draws):
        rng = np.random.default_rng(100 + seed)
        w = rng.standard_normal((width, d)) / np.sqrt(d)
        a = rng.choice([-1.0, 1.0], width) if readout == "signs" else rng.standard_normal(width)
        g = 2 * a * (x @ w.T)  # ∂f/∂(w_i·x)
        step = (y[:, None] * g).T @ x / n
        found.append(cosine(step.T @ step, step.T @ (g.T @ g / n) @ step))
    return np.mean(found)


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("labels", ["random", "quadratic", "linear"])
def test_prediction_is_what_drawn_networks_show(labels, decay):
    x, y = alpha_data(labels, decay)
    s, s_y = x.T @ x / len(x), (x * y[:, None]).T @ x / len(x)
    predicted = float(quadratic_network_prediction(s, s_y, width=256))
    assert simulated(x, y, 256, "signs", draws=8) == pytest.approx(predicted, abs=0.02)


@pytest.mark.parametrize("width", [128, 512])
def test_gaussian_readout_and_other_widths(width):
    x, y = alpha_data("quadratic", 1.0)
    s, s_y = x.T @ x / len(x), (x * y[:, None]).T @ x / len(x)
    predicted = float(quadratic_network_prediction(s, s_y, width=width, readout_moments=GAUSSIAN))
    assert simulated(x, y, width, "gaussian", draws=10) == pytest.approx(predicted, abs=0.025)


def test_limits():
    one = np.eye(16)
    assert float(quadratic_network_prediction(one, one, width=16)) == pytest.approx(5 / 28**0.5)
    rng = np.random.default_rng(0)
    root = rng.standard_normal((30, 16))
    s, s_y = root.T @ root / 30, np.diag(rng.standard_normal(16))
    wide = float(quadratic_network_prediction(s, s_y, width=1e9))  # M is the identity
    assert wide == pytest.approx(cosine(s_y @ s_y, s_y @ s @ s_y), abs=1e-6)
    few = np.zeros(100_000)
    few[0] = 1.0  # labels of low rank, isotropic inputs
    found = quadratic_network_prediction(np.ones(100_000), few, width=100_000)
    assert float(found) == pytest.approx(1.0, abs=1e-4)


def test_eigenvalues_stand_for_matrices_of_one_basis():
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    s, s_y = rng.uniform(0.1, 1, 12), rng.standard_normal(12)
    matrices = [(basis * values) @ basis.T for values in (s, s_y)]
    expected = float(quadratic_network_prediction(*matrices, width=20))
    assert float(quadratic_network_prediction(s, s_y, width=20)) == pytest.approx(expected)


def test_width_is_an_axis_and_scales_do_not_count():
    s, s_y = np.linspace(0.1, 1, 9), np.linspace(-1, 1, 9)
    found = quadratic_network_prediction(s, s_y, width=[4, 8])
    assert found.dims == ("width",)
    assert found.attrs["symbol"] == "ρ(W̄ᵀW̄, W̄ᵀKW̄)"
    for k in (4, 8):
        single = quadratic_network_prediction(1e-3 * s, 1e-150 * s_y, width=k)
        assert float(single) == pytest.approx(float(found.sel(width=k)))
    named = quadratic_network_prediction(s, s_y, width=xr.DataArray([4.0, 8.0], dims="run"))
    assert named.dims == ("run",)


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150, 1e300])
def test_sizes_do_not_count_at_any_scale(size):
    """S, S_y and a may be of any size: the prediction is a cosine."""
    s, s_y = np.linspace(0.1, 1, 9), np.linspace(-1, 1, 9)
    plain = float(quadratic_network_prediction(s, s_y, width=8, readout_moments=GAUSSIAN))
    a = size ** (1 / 8)
    moments = [moment * a ** (2 * j + 2) for j, moment in enumerate(GAUSSIAN)]
    for found in (
        quadratic_network_prediction(size * s, s_y, width=8, readout_moments=GAUSSIAN),
        quadratic_network_prediction(s, size * s_y, width=8, readout_moments=GAUSSIAN),
        quadratic_network_prediction(size * s, s_y / size, width=8, readout_moments=GAUSSIAN),
        quadratic_network_prediction(s, s_y, width=8, readout_moments=moments),
    ):
        assert float(found) == pytest.approx(plain, rel=1e-12)


def test_any_width_has_a_limit():
    s, s_y = np.linspace(0.1, 1, 9), np.linspace(-1, 1, 9)
    found = quadratic_network_prediction(s, s_y, width=[1e9, 1e100, 1e300])
    np.testing.assert_allclose(found, cosine(s_y**2, s_y * s * s_y), rtol=1e-8)
    assert np.isnan(float(quadratic_network_prediction(0 * s, s_y, width=2)))


def test_labels_without_a_quadratic_part_are_nan():
    assert np.isnan(float(quadratic_network_prediction(np.eye(3), np.zeros((3, 3)), width=2)))


@pytest.mark.parametrize(
    ("s", "s_y", "options", "message"),
    [
        (np.ones((2, 3)), np.ones(2), {}, r"`input_covariance` must be a square .* shape \(2, 3\)"),
        (np.ones(3), np.eye(3), {}, r"must have the shape of `input_covariance`, got \(3, 3\)"),
        (np.ones(2), np.array([1, np.nan]), {}, "`label_covariance` must be finite, got NaN"),
        (np.eye(2), np.triu(np.ones((2, 2))), {}, "`label_covariance` must be symmetric"),
        (
            np.array([1.0, -0.5]),
            np.ones(2),
            {},
            "`input_covariance` must be positive semidefinite, its lowest eigenvalue is -0.5",
        ),
        (
            np.array([[1.0, 2.0], [2.0, 1.0]]),
            np.eye(2),
            {},
            "`input_covariance` must be positive semidefinite, its lowest eigenvalue is -0.5",
        ),
        (
            np.ones(2),
            np.ones(2),
            {"readout_moments": (1.0, 0.5, 1.0, 1.0)},
            r"`readout_moments` must be .* of some a, got \[1.0, 0.5, 1.0, 1.0\]",
        ),
        (np.ones(2), np.ones(2), {"width": 0}, "`width` must be finite and ≥ 1, got 0"),
        (
            np.ones(2),
            np.ones(2),
            {"readout_moments": (1, 2)},
            r"`readout_moments` must be four positive numbers .* got \(1, 2\)",
        ),
    ],
)
def test_refusals(s, s_y, options, message):
    with pytest.raises(InputError, match=message):
        quadratic_network_prediction(s, s_y, **{"width": 4, **options})


@pytest.mark.parametrize(
    "moments",
    [
        (1e-200,) * 4,
        (5e-324,) * 4,
        (1e-200, 1e-200, 1e-200, 1e-100),
        (1e-100, 1e-200, 1e-300, 1e-300),
        (1.0, 1e100, 1e200, 1e300),
        (1e-10, 1e-20, 1e-30, 1e-40),
        (1.0, 3.0, 15.0, 105.0),
    ],
)
@pytest.mark.parametrize("width", [1.0, 64.0, 1e300])
def test_any_moments(moments, width):
    """Was NaN at extremes; the formula by mpmath, for S = S_y = 1, with d = 4."""
    found = quadratic_network_prediction(
        np.ones(4), np.ones(4), width=width, readout_moments=moments
    )
    with mp.workdps(60):
        k1, k2, k3, k4 = (
            mp.mpf(moment) / mp.mpf(moments[0]) ** (j + 1) * (4 / mp.mpf(width)) ** j
            for j, moment in enumerate(moments)
        )
        n = k1**3 + 3 * k1 * k2 + k3
        d1, d2 = k1**2 + k2, k1**4 + 6 * k1**2 * k2 + 2 * k2**2 + 4 * k1 * k3 + k4
        exact = n / mp.sqrt(d1 * d2)
    assert found.item() == pytest.approx(float(exact), rel=1e-13, abs=0)
