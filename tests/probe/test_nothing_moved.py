"""Where no weight moved, nothing was learned: no observable, verdict or forecast says otherwise."""

import pytest
import torch

import lazyrich
from lazyrich.observables.catalogue import observables
from tests.architectures import ARCHITECTURES, output_of, targets

STEPS = 50
ALL = sorted(name for observable in observables() for name in observable.names)


def train(model, x, y, optimizer, steps=STEPS):
    """Ordinary steps on batches of their own, each like the probe's, with some shift."""
    for step in range(steps):
        batch = x if not x.is_floating_point() else x + torch.randn_like(x) + step % 3
        optimizer.zero_grad()
        (output_of(model(batch)) - y).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("lr", [0.0, 1e-12])
def test_a_network_that_does_not_train_is_never_rich(name, lr):
    model, x = ARCHITECTURES[name]()
    y = targets(model, x)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    probe = lazyrich.Probe(model, (x, y), observables=ALL)
    with probe.watch(optimizer, when=lazyrich.every(25)):
        train(model, x, y, optimizer)
    assert probe.verdict().regime == "frozen"
    changes = probe.history[["ntk_change", "kernel_distance", "output_change", "layer_ntk_change"]]
    bound = 1e-6 if lr or name == "embedding, max norm" else 0.0  # renormed again: last digits
    for change in changes.data_vars.values():
        assert float(change.max()) <= bound


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equal_weights_give_equal_numbers(name):
    """Whatever running statistics and random generators have seen in between."""
    model, x = ARCHITECTURES[name]()
    y = targets(model, x)
    before = lazyrich.richness(model, (x, y), directions=2), lazyrich.ntk(model, x)
    if name in HELD:
        return  # each call is a first look: at another state, another function
    for _ in range(30):
        model(x if not x.is_floating_point() else x + torch.randn_like(x) + 1)
    after = lazyrich.richness(model, (x, y), directions=2), lazyrich.ntk(model, x)
    assert after[0] == pytest.approx(before[0], rel=1e-5)
    torch.testing.assert_close(after[1], before[1], rtol=1e-5, atol=1e-6)


# state of the forward pass that is neither a weight nor settles on the batch
HELD = {
    "codebook",
    "moving average",
    "counter, buffer",
    "counter, attribute",
    "remembering",
    "plain tensors",
}
