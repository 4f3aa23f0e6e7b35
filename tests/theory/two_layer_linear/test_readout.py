"""Every quantity against explicit Jacobians and kernel matrices of a network of weights."""

import numpy as np
import pytest

from lazyrich.theory.two_layer_linear import (
    GramState,
    LinearNetwork,
    LineData,
    LineState,
    MomentData,
    descent,
    flow,
)
from tests.reference import Network

SHAPES = [(1, 1), (1, 3), (3, 1), (2, 3)]


@pytest.fixture(params=SHAPES, ids=str)
def trained(request, rng):
    """A network before and after 30 steps, its data, and the library's account of it."""
    k, m = request.param
    u, w = rng.normal(size=(k, 5)), rng.normal(size=(5, m))
    x, y = rng.normal(size=(6, m)), rng.normal(size=(6, k))
    before = Network(u, w, scale=0.6, lr_u=0.02, lr_w=0.05)
    after = Network(u, w, scale=0.6, lr_u=0.02, lr_w=0.05)
    for _ in range(30):
        after.step(x, y)
    network = LinearNetwork(output_scale=0.6, lr_u=0.02, lr_w=0.05)
    data = MomentData.from_samples(x, y)
    found = descent(GramState.from_weights(u, w), network, data, steps=30, every=30)
    return before, after, x, y, found.isel(step=-1)


def diagonal(kernel):
    """Blocks `Θ(x, x)`, shape (n, k, k)."""
    return np.einsum("nanb->nab", kernel)


def test_kernel(trained):
    _, after, x, _, found = trained
    with_rates = np.trace(diagonal(after.kernel(x)), axis1=1, axis2=2).sum() / np.sum(x**2)
    plain = after.kernel(x, rates=(1.0, 1.0))
    without = np.trace(diagonal(plain), axis1=1, axis2=2).sum() / np.sum(x**2)
    assert found.ntk_trace.item() == pytest.approx(with_rates, rel=1e-11)
    assert found.ntk_trace_plain.item() == pytest.approx(without, rel=1e-11)


def test_kernel_change(trained):
    before, after, x, _, found = trained
    start, end = before.kernel(x), after.kernel(x)
    change = np.linalg.norm(end - start) / np.linalg.norm(start)
    assert found.ntk_change.item() == pytest.approx(change, rel=1e-11)


def test_feature_matrices(trained):
    _, after, x, _, found = trained
    np.testing.assert_allclose(found.nfm, after.nfm(), atol=1e-12)
    np.testing.assert_allclose(found.agop, after.agop(x), atol=1e-12)
    cosine = np.sum(after.nfm() * after.agop(x))
    cosine /= np.linalg.norm(after.nfm()) * np.linalg.norm(after.agop(x))
    assert found.nfa.item() == pytest.approx(cosine, rel=1e-11)


def test_output_loss_and_norms(trained):
    _, after, x, y, found = trained
    product = after.u @ after.w
    np.testing.assert_allclose(found.end_to_end_map, 0.6 * product, atol=1e-12)
    np.testing.assert_allclose(found.uw, product, atol=1e-12)
    assert found.loss.item() == pytest.approx(after.loss(x, y), rel=1e-12)
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    floor = np.mean(np.sum((x @ best - y) ** 2, axis=1))
    assert found.excess_loss.item() == pytest.approx(after.loss(x, y) - floor, rel=1e-9)
    assert found.uu.item() == pytest.approx(np.sum(after.u**2), rel=1e-12)
    assert found.ww.item() == pytest.approx(np.sum(after.w**2), rel=1e-12)
    balance = 0.05 * np.sum(after.u**2) - 0.02 * np.sum(after.w**2)
    assert found.balancedness.item() == pytest.approx(balance, rel=1e-11)


def test_alignment(trained):
    _, after, _, _, found = trained
    product = after.u @ after.w
    alignment = np.linalg.norm(product) / (np.linalg.norm(after.u) * np.linalg.norm(after.w))
    if product.size == 1:
        alignment *= np.sign(product.item())
    assert found.alignment.item() == pytest.approx(alignment, rel=1e-11)


def test_line_reports_the_same_as_the_matrix(rng):
    """Names, dims apart, and numbers of both roads agree on one-dimensional data."""
    u, w = rng.normal(size=(2, 7))
    x, y = rng.normal(size=(2, 9))
    network = LinearNetwork(output_scale=0.6, lr_u=0.02, lr_w=0.05)
    line = flow(LineState.from_weights(u, w), network, LineData.from_samples(x, y), [0.0, 3.0])
    state = GramState.from_weights(u[None], w[:, None])
    full = flow(state, network, MomentData.from_samples(x, y), [0.0, 3.0])
    assert set(line) == set(full)
    for name in set(line) - {"status"}:
        np.testing.assert_allclose(full[name].squeeze(), line[name], atol=1e-9, err_msg=name)


@pytest.mark.parametrize("size", [1e-120, 1e120])
def test_nfa_does_not_see_the_size_of_the_weights(size, rng):
    u, w = rng.normal(size=(2, 7)), rng.normal(size=(7, 3))
    data = MomentData(sigma_xx=np.eye(3), sigma_yx=np.zeros((2, 3)), mean_yy=0.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.0, lr_w=0.0)
    found = [
        flow(GramState.from_weights(factor * u, factor * w), network, data, 0.0)
        for factor in (1.0, size**0.5)
    ]
    assert found[1].nfa.item() == pytest.approx(found[0].nfa.item(), rel=1e-12)


def test_nothing_has_no_direction():
    """A network of zeros: alignment, NFA and kernel change are 0, not NaN."""
    data = MomentData(sigma_xx=np.eye(2), sigma_yx=np.ones((1, 2)), mean_yy=2.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.1, lr_w=0.1)
    state = GramState(matrix=np.zeros((3, 3)), outputs=1)
    for found in (flow(state, network, data, [0.0, 1.0]), descent(state, network, data, steps=3)):
        for name in ("alignment", "nfa", "ntk_change", "ntk_trace"):
            assert (found[name] == 0).all(), name
        np.testing.assert_allclose(found.loss, 2.0)
