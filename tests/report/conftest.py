import pytest
import torch
from torch import nn

from lazyrich.probe.probe import Probe
from lazyrich.probe.schedule import every


@pytest.fixture(scope="session")
def probe():
    """A small network with a frozen layer, watched while it learns richly."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = torch.randn(16, 3)
    y = x[:, :1] * x[:, 1:2]
    model = nn.Sequential(
        nn.Linear(3, 24), nn.Tanh(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 1)
    )
    model[2].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    made = Probe(model, (x, y))
    made.forecast(optimizer=optimizer, max_steps=20)
    with made.watch(optimizer, when=every(20)):
        for _ in range(80):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
            optimizer.step()
    return made
