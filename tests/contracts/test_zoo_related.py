"""Architectures of related papers: the kernel is that of explicit Jacobians, nothing is touched."""

import copy

import pytest
import torch
from torch import nn

import lazyrich
from lazyrich.capture.capture import capture
from tests.zoo_related import RELATED, made


def settled(model, parts):
    """A copy whose batch norms hold the statistics of these samples, as constants."""
    own = copy.deepcopy(model)

    def hold(norm, args):
        norm.running_mean = args[0].mean((0, 2, 3)).detach()
        norm.running_var = args[0].var((0, 2, 3), correction=0).detach()

    norms = [module for module in own.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(hold) for norm in norms]
    own(*parts)
    for hook in hooks:
        hook.remove()
    return own


def explicit(model, batch):
    """The kernel from the gradient of every output of every sample, seen alone."""
    parts = batch if isinstance(batch, tuple) else (batch,)
    own = settled(model, parts)
    weights, rows = list(own.parameters()), []
    for index in range(len(parts[0])):
        for output in own(*(part[index : index + 1] for part in parts)).flatten():
            found = torch.autograd.grad(output, weights, retain_graph=True, materialize_grads=True)
            rows.append(torch.cat([gradient.flatten() for gradient in found]))
    j, size = torch.stack(rows), len(parts[0])
    return (j @ j.T).view(size, len(rows) // size, size, -1)


@pytest.mark.parametrize("name", RELATED)
def test_the_kernel_is_right_all_is_seen_and_nothing_moves(name):
    model, batch = made(name)
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    exact = explicit(model, batch)
    theta = lazyrich.ntk(model, batch)
    assert theta.shape == exact.shape
    assert float((theta - exact).abs().max() / exact.abs().max()) < 1e-9

    seen = capture(model, batch)
    inside = {piece.parameter for layer in seen.layers for piece in layer.tensors.values()}
    for parameter, _ in model.named_parameters():
        assert {parameter, parameter.rpartition(".")[0]} & {*inside, *seen.skipped}, parameter

    y = torch.ones(seen.shape, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    probe = lazyrich.Probe(model, (batch, y), directions=2)
    with probe.watch(optimizer, when=1):
        optimizer.step()
    verdict = probe.verdict()
    assert verdict.regime == "frozen"
    assert {layer.regime for layer in verdict.layers} == {"frozen"}
    assert probe.history.ntk_change[-1] == 0

    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert before.keys() == after.keys()
    assert torch.equal(generator, torch.get_rng_state())
