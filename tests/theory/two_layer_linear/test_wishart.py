"""Sampled states against Gaussian weights, by Kolmogorov and Smirnov."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import ks_2samp

from lazyrich.theory.two_layer_linear import GramState, LineState

DRAWS = 4000
ALPHA = 1e-4  # some fifty comparisons, seeds fixed: passes or fails for good


def weights(rng, k, d, m, std_u, std_w):
    return std_u * rng.normal(size=(DRAWS, k, d)), std_w * rng.normal(size=(DRAWS, d, m))


@pytest.mark.parametrize("width", [1, 2, 3, 30])
def test_line_states_are_those_of_gaussian_weights(width, rng):
    u, w = weights(rng, 1, width, 1, 0.7, 1.9)
    uu, uw, ww = (u**2).sum((1, 2)), (u @ w)[:, 0, 0], (w**2).sum((1, 2))
    drawn = LineState.sample(width, init_std_u=0.7, init_std_w=1.9, draws=DRAWS, seed=5)
    pairs = [(drawn.uu, uu), (drawn.uw, uw), (drawn.ww, ww)]
    pairs += [(drawn.uu * drawn.ww, uu * ww)]  # the joint law, not the margins alone
    pairs += [(drawn.uw / (drawn.uu * drawn.ww) ** 0.5, uw / np.sqrt(uu * ww))]
    if width > 1:
        pairs += [(drawn.sine_squared, 1 - uw**2 / (uu * ww))]
    for ours, theirs in pairs[: len(pairs) if width > 1 else 4]:
        assert ks_2samp(ours.values, theirs).pvalue > ALPHA
    assert np.allclose(drawn.sine_squared, 1 - drawn.uw**2 / (drawn.uu * drawn.ww), atol=1e-12)


@pytest.mark.parametrize("width", [1, 3, 4, 5, 20])
def test_gram_states_are_those_of_gaussian_weights(width, rng):
    k, m = 2, 3
    u, w = weights(rng, k, width, m, 0.5, 1.5)
    theta = np.concatenate([u, w.transpose(0, 2, 1)], axis=1)
    explicit = theta @ theta.transpose(0, 2, 1)
    drawn = GramState.sample(
        width, outputs=k, inputs=m, init_std_u=0.5, init_std_w=1.5, draws=DRAWS, seed=6
    ).matrix.values
    mix = rng.normal(size=(k + m, k + m))
    for of in (
        lambda g: np.trace(g[:, :k, :k], axis1=1, axis2=2),
        lambda g: np.linalg.norm(g[:, :k, k:], axis=(1, 2)),
        lambda g: g[:, k + 1, k + 2],
        lambda g: np.einsum("nij,ij->n", g, mix),
        lambda g: np.linalg.eigvalsh(g)[:, -1],
        lambda g: np.linalg.eigvalsh(g)[:, max(0, k + m - width)],
    ):
        assert ks_2samp(of(drawn), of(explicit)).pvalue > ALPHA
    assert (np.linalg.matrix_rank(drawn[:50], tol=1e-9) == min(width, k + m)).all()


def test_one_neuron_is_aligned():
    drawn = LineState.sample(1, init_std_u=1.0, init_std_w=1.0, draws=100, seed=0)
    assert (drawn.sine_squared == 0).all()
    np.testing.assert_allclose(drawn.uw**2, drawn.uu * drawn.ww, rtol=1e-13)


def test_width_of_a_million_millions():
    width = 10**12
    drawn = LineState.sample(width, init_std_u=1.0, init_std_w=1.0, draws=2000, seed=1)
    for norm in (drawn.uu, drawn.ww):
        centred = (norm - width) / np.sqrt(2 * width)
        assert abs(centred.mean()) < 0.1
        assert abs(centred.std() - 1) < 0.1
    assert abs((drawn.uw / width**0.5).std() - 1) < 0.1
    general = GramState.sample(width, outputs=2, inputs=2, init_std_u=1.0, init_std_w=2.0, seed=1)
    np.testing.assert_allclose(general.matrix / width, np.diag([1, 1, 4, 4]), atol=1e-5)


def test_axes_and_shared_draws():
    widths, std = [10, 1000, 10**9], xr.DataArray([1.0, 2.0], dims="std")
    drawn = LineState.sample(widths, init_std_u=std, init_std_w=1.0, draws=7, seed=3)
    assert dict(drawn.uw.sizes) == {"draw": 7, "width": 3, "std": 2}
    assert list(drawn.uw.width) == widths
    np.testing.assert_allclose(drawn.uu.isel(std=1), 4 * drawn.uu.isel(std=0), rtol=1e-14)
    one = LineState.sample(10, init_std_u=1.0, init_std_w=1.0, seed=3)
    assert one.uu.ndim == 0
    general = GramState.sample(
        widths, outputs=1, inputs=2, init_std_u=std, init_std_w=1.0, draws=7, seed=3
    )
    assert general.matrix.dims[-2:] == ("row", "col")
    assert dict(general.matrix.sizes) == {"draw": 7, "width": 3, "std": 2, "row": 3, "col": 3}


def test_seeds_and_generators():
    first, again, other = (
        LineState.sample(10, init_std_u=1.0, init_std_w=1.0, seed=seed).uw.item()
        for seed in (3, np.random.default_rng(3), 4)
    )
    assert first == again != other
