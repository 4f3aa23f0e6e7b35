"""Every value of a history that is estimated from random directions has its error beside it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.observables.catalogue import observables

EVERY = [name for observable in observables() for name in observable.names]


@pytest.fixture(scope="module")
def histories():
    """One training of 12 outputs, looked at along different directions, and along all."""
    torch.manual_seed(0)
    x, y = torch.randn(24, 5).double(), torch.randn(24, 12).double()
    model = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 9), nn.Tanh())
    model = nn.Sequential(*model, nn.Linear(9, 12)).double()
    states = [copy.deepcopy(model.state_dict())]
    for _ in range(2):
        with torch.no_grad():
            for p in model.parameters():
                p += 0.2 * torch.randn_like(p)
        states.append(copy.deepcopy(model.state_dict()))

    def look(**options):
        probe = lazyrich.Probe(model, (x, y), observables=EVERY, **options)
        for step, state in enumerate(states):
            model.load_state_dict(state)
            probe.measure(step)
        return probe.history.isel(step=-1)

    return [look(seed=seed) for seed in range(30)], look(directions="all")


def test_what_differs_between_directions_has_an_error(histories):
    one, other = histories[0][:2]
    differs = {
        str(name)
        for name in one.data_vars
        if not np.allclose(one[name], other[name], rtol=1e-9, atol=0, equal_nan=True)
    }
    values = {name for name in differs if not name.endswith(("_stderr", "_low", "_high"))}
    assert values >= {"ntk_change", "kernel_distance", "ntk_trace_ratio", "nfa", "centred_share"}
    assert {f"{name}_stderr" for name in values} <= differs


def test_the_errors_are_as_large_as_the_deviations(histories):
    """They count the choice of samples, too, and may be larger, but not by much more than that."""
    drawn, exact = histories
    for name in map(str, exact.data_vars):
        if f"{name}_stderr" not in exact:
            continue
        scores = np.array([(h[name] - exact[name]) / h[f"{name}_stderr"] for h in drawn])
        size = np.sqrt(np.nanmean(scores**2))
        assert size < 1.4, name
        assert size > 0.05, name
