"""Networks as people have them: the kernel is right, all is seen or explained, none is touched."""

import copy

import pytest
import torch

import lazyrich
from lazyrich.capture.belongings import same
from lazyrich.capture.capture import capture
from tests.zoo import ODD, SINGLE, ZOO, made

STUDIED = {  # share of the kernel's trace that layers with a weight to study bring, at least
    "PINN": 0.0,  # its weights act in a gradient, too: in rows of the kernel, without factors
    "weight and spectral norm": 0.2,
}


def kernel_of(seen):
    """From the gradient of every output of every sample."""
    leaves = [leaf for leaf in seen.leaves.values() if leaf.requires_grad]
    rows = []
    for y in seen.outputs.reshape(-1):
        found = torch.autograd.grad(y, leaves, retain_graph=True, allow_unused=True)
        both = zip(leaves, found, strict=True)
        rows.append(
            torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in both])
        )
    j = torch.stack(rows)
    return (j @ j.T).view(*seen.outputs.shape, *seen.outputs.shape)


@pytest.mark.filterwarnings("ignore")  # of the libraries that make the networks
@pytest.mark.parametrize("name", [*ZOO, *ODD])
def test_the_zoo(name):
    model, batch = made(name)
    before = copy.deepcopy(model.state_dict())
    seen = capture(model, batch)
    theta, exact = lazyrich.ntk(model, batch), kernel_of(seen)
    tolerance = 1e-4 if name in SINGLE else 1e-9
    assert float((theta - exact).abs().max() / exact.abs().max()) < tolerance

    inside = {piece.parameter for layer in seen.layers for piece in layer.tensors.values()}
    for parameter, _ in model.named_parameters():
        explained = {parameter, parameter.rpartition(".")[0]} & set(seen.skipped)
        assert parameter in inside or explained, parameter

    y = torch.randn(seen.shape).to(seen.outputs)
    generator = torch.get_rng_state()
    probe = lazyrich.Probe(model, (batch, y), directions=2)
    for step in (0, 1):
        probe.measure(step)
    assert probe.history.studied >= STUDIED.get(name, 0.5)
    verdict = probe.verdict()
    assert verdict.regime == "frozen"
    assert all(word in str(verdict) for word in (["Not studied"] if seen.skipped else []))

    after = model.state_dict()
    assert all(same(value, after[key]) for key, value in before.items())
    assert before.keys() == after.keys()
    assert torch.equal(generator, torch.get_rng_state())
