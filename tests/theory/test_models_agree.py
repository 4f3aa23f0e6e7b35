"""Where two models solve the same network, they have the same numbers."""

import numpy as np
import pytest
import xarray as xr

from lazyrich.theory.aligned_modes import mode_flow, modes_of
from lazyrich.theory.balanced_linear import balanced_flow
from lazyrich.theory.single_neuron import neuron_flow
from lazyrich.theory.two_layer_linear import GramState, LinearNetwork
from tests.theory.balanced_linear.problems import whitened_data

TIMES = [0.0, 0.3, 1.0, 4.0, 30.0]
NETWORKS = [LinearNetwork(output_scale=g, lr_u=u, lr_w=w) for g, u, w in (
    (1.0, 0.5, 0.5), (-0.7, 0.3, 0.1), (1e-3, 80.0, 700.0),
)]  # fmt: skip
NEURONS = [
    (3.0, [0.1, 0.2, -0.1]),  # upstream
    (0.5, [0.3, -0.4, 0.0]),  # of equal norms
    (0.02, [-3.0, 2.0, 1.0]),  # downstream, and against the target
    (-1.5, [0.0, 0.0, 0.0]),
    (0.0, [0.7, -0.3, 0.2]),
    (2.0, [1.5]),
    (0.1, [-2.0]),
]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("u", "w"), NEURONS)
def test_a_balanced_network_of_one_neuron_is_the_single_neuron(u, w, network):
    data = whitened_data(np.array([[1.2, 0.5, -0.8]])[:, : len(w)], power=1.3)
    neuron = neuron_flow(u, w, network, data, TIMES)
    balanced = balanced_flow(GramState.from_weights([[u]], [w]), network, data, TIMES)
    shared = set(neuron.data_vars) & set(balanced.data_vars)
    assert {"end_to_end_map", "loss", "ntk_trace", "ntk_change", "uw", "nfm", "agop"} <= shared
    for name in sorted(shared):
        here, there = xr.broadcast(neuron[name], balanced[name])
        size = float(abs(here.where(np.isfinite(here))).max()) or 1.0
        close = {"rtol": 1e-9, "atol": 1e-10 * size + 1e-14}  # differences of weights of order 1
        np.testing.assert_allclose(here, there, **close, err_msg=name)
    np.testing.assert_allclose(balanced.readout_gram, (neuron.u**2).values[:, None, None], 1e-9)
    sigma = np.linalg.norm(data.best_map)
    imbalance = balanced.relative_scale / (2 * sigma)
    np.testing.assert_allclose(imbalance, neuron.neuron_imbalance, rtol=1e-9, atol=1e-12)
    assert balanced.regime.item() == neuron.regime.item()
    assert balanced.delayed.item() == neuron.delayed.item()


@pytest.mark.parametrize(("outputs", "inputs"), [(3, 3), (2, 4), (5, 3)])
def test_a_balanced_network_that_is_aligned_is_its_modes(outputs, inputs):
    rng = np.random.default_rng(outputs)
    y, x, inner = (np.linalg.qr(rng.standard_normal((n, n))).Q for n in (outputs, inputs, 4))
    rank = min(outputs, inputs)
    sizes, targets = np.array([0.9, 1e-4, 0.3])[:rank], np.array([3.0, 1.0, 0.2])[:rank]
    root = np.diag(sizes**0.5)
    u = y[:, :rank] @ root @ inner[:rank]
    w = inner[:rank].T @ root @ x[:, :rank].T
    best = y[:, :rank] @ np.diag(targets) @ x[:, :rank].T
    data = whitened_data(best, power=1.3, noise=0.0)
    network = LinearNetwork(output_scale=1.0, lr_u=0.2, lr_w=0.2)
    balanced = balanced_flow(GramState.from_weights(u, w), network, data, TIMES)
    modes = modes_of([w, u], data)
    found = mode_flow(modes.mode_target, modes.mode_size, TIMES, lr=0.2, mean_aa=1.3)
    size = found.mode_size.transpose("time", "mode").values
    on_modes = y[:, :rank].T @ balanced.end_to_end_map.values @ x[:, :rank]
    np.testing.assert_allclose(on_modes, [np.diag(each) for each in size], rtol=1e-9, atol=1e-10)
    readout = y[:, :rank].T @ balanced.readout_gram.values @ y[:, :rank]
    np.testing.assert_allclose(readout, [np.diag(each) for each in size], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(balanced.excess_loss, found.excess_loss, rtol=1e-9, atol=1e-15)
    change = found.mode_kernel_change.transpose("time", "mode").values
    np.testing.assert_allclose(size / sizes - 1, change, rtol=1e-9, atol=1e-12)
    assert float(abs(balanced.relative_scale)) < 1e-12
