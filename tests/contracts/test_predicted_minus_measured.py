"""Theory minus a probe is zero by the documented path, for every quantity that both of them give.

The network is the two-layer linear one with unequal learning rates, watched while its optimiser
steps; nothing is renamed, reindexed or dropped.
"""

import json
import math

import numpy as np
import pytest
import torch
from docs.vocabulary import vocabulary
from torch import nn

import lazyrich
from lazyrich.observables.catalogue import observables
from lazyrich.theory.two_layer_linear.data import LineData
from lazyrich.theory.two_layer_linear.descent import descent
from lazyrich.theory.two_layer_linear.network import LinearNetwork
from lazyrich.theory.two_layer_linear.state import LineState

EVERYTHING = [name for observable in observables() for name in observable.names]


def both(lr_u, lr_w, sign=1):
    """The exact recursion and a watched training run from the same weights."""
    generator = torch.Generator().manual_seed(1)
    w, u = nn.Linear(1, 7, bias=False).double(), nn.Linear(7, 1, bias=False).double()
    for layer in (w, u):
        layer.weight.data = 0.4 * torch.randn(
            layer.weight.shape, dtype=torch.float64, generator=generator
        )
    u.weight.data *= sign  # the layers begin aligned with each other, or opposed
    model = nn.Sequential(w, u)
    x = torch.linspace(-1, 2, 9, dtype=torch.float64)[:, None]
    y = 1.5 * x + torch.sin(5 * x)
    state = LineState.from_weights(u.weight.detach()[0].numpy(), w.weight.detach()[:, 0].numpy())
    optimizer = torch.optim.SGD(
        [{"params": u.parameters(), "lr": lr_u}, {"params": w.parameters(), "lr": lr_w}], lr=1.0
    )
    probe = lazyrich.Probe(model, (x, y), "squared_error", observables=EVERYTHING)
    with probe.watch(optimizer, when=lazyrich.every(5)):
        for _ in range(20):
            optimizer.zero_grad()
            (model(x) - y).square().sum(1).mean().backward()
            optimizer.step()
    network = LinearNetwork(output_scale=1.0, lr_u=lr_u, lr_w=lr_w)
    data = LineData.from_samples(x[:, 0].numpy(), y[:, 0].numpy())
    return descent(state, network, data, steps=20, every=5), probe.history


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("lr_u", "lr_w"), [(0.2, 0.01), (0.01, 0.2), (0.1, 0.1)])
def test_predicted_minus_measured_is_zero(lr_u, lr_w, sign):
    predicted, measured = both(lr_u, lr_w, sign)
    assert np.sign(predicted.alignment[0]) == sign
    shared = set(map(str, predicted.data_vars)) & set(map(str, measured.data_vars))
    assert {"loss", "ntk_change", "alignment", "nfa"} <= shared
    gap = predicted - measured
    assert set(map(str, gap.data_vars)) == shared
    assert gap.step.values.tolist() == [0, 5, 10, 15, 20]
    for name in shared:
        assert int(gap[name].notnull().any([d for d in gap[name].dims if d != "step"]).sum()) == 5
        assert float(abs(gap[name]).max()) < 1e-10, name
        assert predicted[name].attrs == measured[name].attrs, name
        for road in (predicted, measured):
            assert float(road[name].min()) >= vocabulary()[name].low - 1e-12, name
            assert float(road[name].max()) <= vocabulary()[name].high + 1e-12, name


def test_the_kernel_knows_the_optimisers_rates_and_says_so():
    """2.6e-4 by theory and 1.28e-3 by the probe had one name."""
    predicted, measured = both(0.2, 0.01)
    unweighted = lazyrich.Probe(
        nn.Linear(1, 1), (torch.ones(2, 1), torch.zeros(2, 1)), lrs={"": 1.0}
    )
    unweighted.measure(0)
    rates = json.loads(measured.attrs["setting"])["learning_rates"]
    assert rates == {"0.weight": pytest.approx(0.05), "1.weight": 1.0}
    given = json.loads(unweighted.history.attrs["setting"])["learning_rates"]
    assert given == {"": 1.0}
    assert "learning rates inside" in predicted.ntk_change.attrs["long_name"]
    assert not math.isclose(
        float(measured.ntk_change[-1]), float(both(0.1, 0.1)[1].ntk_change[-1]), rel_tol=0.01
    )
