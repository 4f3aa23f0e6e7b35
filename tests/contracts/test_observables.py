"""Every observable, on awkward networks: names, dims, attributes, ranges, and no trace left."""

import copy

import numpy as np
import pytest
import torch
from docs.vocabulary import vocabulary
from torch import nn

import lazyrich
from lazyrich.observables.catalogue import observables
from lazyrich.vocabulary.losses import LOSSES, under
from tests.models import cases, randn

OBSERVABLES = observables()
CASES = {name: case for name, case in cases().items() if name != "named"}  # two outputs: no loss
ROUNDING = 1e-9


def history(name, names, *, loss="mse", **options):
    """Two looks, between which every parameter has moved."""
    torch.manual_seed(3)
    model, x = copy.deepcopy(CASES[name])
    with torch.no_grad():
        outputs = copy.deepcopy(model).eval()(x)
    f = outputs["logits"] if isinstance(outputs, dict) else outputs
    f = f[0] if isinstance(f, tuple) else f
    probe = lazyrich.Probe(
        model, (x, torch.randn_like(f)), loss, observables=names, directions="all", **options
    )
    probe.measure(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    probe.measure(1)
    return model, probe.history


def own_names(observable):
    return {
        name
        for quantity in observable.quantities
        for name in (quantity.name, *(end.name for end in quantity.beside))
    }


@pytest.mark.parametrize("case", CASES)
def test_names_dims_attributes_and_ranges(case):
    _, data = history(case, [name for one in OBSERVABLES for name in one.names])
    known, given = vocabulary(), set(map(str, data.data_vars))
    declared = set().union(*map(own_names, OBSERVABLES))
    assert given <= declared
    assert given >= {"loss", "output_change", "ntk_change", "linearisation_error"}
    if "parameter_data_alignment" in data:  # there are weights to study
        assert given == declared
    for name in given:
        values, quantity = data[name], known[name]
        assert values.dims == ("step", *quantity.dims), name
        if name != "loss":
            assert values.attrs == quantity.attrs, name
        finite = values.values[np.isfinite(values.values)]
        assert (finite >= quantity.low - ROUNDING).all(), (name, finite.min())
        assert (finite <= quantity.high + ROUNDING).all(), (name, finite.max())


@pytest.mark.parametrize("observable", OBSERVABLES, ids=lambda one: one.names[0])
def test_each_alone_gives_what_it_declares(observable):
    """Neither more nor less than its own quantities, whatever else is measured."""
    _, data = history("mlp", list(observable.names))
    assert set(map(str, data.data_vars)) == own_names(observable)
    for name in data.data_vars:
        assert np.isfinite(data[name].values[-1]).any(), name


@pytest.mark.parametrize("observable", OBSERVABLES, ids=lambda one: one.names[0])
def test_each_leaves_the_model_bitwise_untouched(observable):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(8, 2)
    )
    model.train()
    model[0](torch.ones(1, 3)).sum().backward()
    x, y = torch.randn(6, 3), torch.randn(6, 2)
    before = copy.deepcopy(model.state_dict())
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    inputs, generator = x.clone(), torch.get_rng_state()
    probe = lazyrich.Probe(model, (x, y), observables=list(observable.names))
    for step in range(2):
        probe.measure(step)
    assert all(
        torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True)
    )
    for old, p in zip(gradients, model.parameters(), strict=True):
        assert (old is None) == (p.grad is None)
        assert old is None or torch.equal(old, p.grad)
    assert torch.equal(x, inputs)
    assert torch.equal(generator, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_says_its_convention(loss):
    x, y = randn(5, 3), torch.arange(5) % 4 if loss == "cross_entropy" else randn(5, 4)
    probe = lazyrich.Probe(nn.Linear(3, 4).double(), (x, y), loss, observables=["loss"])
    probe.measure(0)
    assert probe.history.loss.attrs == under(loss, vocabulary()["loss"]).attrs
    assert ("squared" in probe.history.loss.attrs["long_name"]) == (loss != "cross_entropy")


def test_every_quantity_is_given_by_one_observable_alone():
    names = [name for one in OBSERVABLES for name in own_names(one)]
    assert len(names) == len(set(names))
